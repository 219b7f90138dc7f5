//! Deliberate bugs of this crate, which prove that tests and chaos checkers can fail.
//!
//! Compiled in only with the feature `planted-bugs`; chosen at run time, for the whole process.

raftmq_planted::bugs! {
    /// A publish is confirmed again with the next ones.
    ConfirmedTwice = "amqp-confirmed-twice",
    /// An out-of-order confirm says `multiple`: it covers publishes that are not settled.
    ConfirmTooMuch = "amqp-confirm-too-much",
    /// `multiple` settles the delivery behind the last one, too.
    MultipleSettlesTooMuch = "amqp-multiple-settles-too-much",
    /// `basic.get` uses the delivery tag of the delivery before.
    DeliveryTagReused = "amqp-delivery-tag-reused",
    /// A channel that was closed by an error goes on working.
    ClosedChannelWorks = "amqp-closed-channel-works",
    /// A channel's limit for all its consumers is forgotten.
    GlobalPrefetchIgnored = "amqp-global-prefetch-ignored",
}
