//! Deliberate bugs of this crate, which prove that tests and chaos checkers can fail.
//!
//! Compiled in only with the feature `planted-bugs`; chosen at run time, for the whole process.

raftmq_planted::bugs! {
    /// `save_vote` returns before its vote is written.
    VoteNotSynced = "vote-not-synced",
    /// Appends are reported as flushed before the flush.
    AckBeforeFlush = "ack-before-flush",
    /// Recovery does not verify the checksums of the journal's tail.
    TornTailAccepted = "torn-tail-accepted",
    /// Damage that a start finds is not remembered for the next one.
    HoleForgotten = "hole-forgotten",
    /// A newest segment whose header is damaged is dropped, with whatever it holds.
    DamagedSegmentDropped = "damaged-segment-dropped",
    /// Checksums of entries that are read are not looked at.
    DamageServed = "damage-served",
    /// After a start the index says that replay begins in the segment before, which may be freed.
    MarkLeftBehind = "mark-left-behind",
}
