//! Deliberate bugs of this crate, which prove that tests and chaos checkers can fail.
//!
//! Compiled in only with the feature `planted-bugs`; chosen at run time, for the whole process.

raftmq_planted::bugs! {
    /// A new leader has forgotten what each producer sent before.
    DedupLostOnLeaderChange = "dedup-lost-on-leader-change",
    /// A gap in a producer's sequence is accepted.
    SequenceGapAccepted = "sequence-gap-accepted",
    /// An entry stamped for another term or another offset is applied.
    VoidAccepted = "void-accepted",
    /// Retention by time trusts any clock.
    ClockTrusted = "clock-trusted",
    /// A broker that drains is given leaderships.
    DrainingBrokerLeads = "draining-broker-leads",
    /// A reassignment that is redirected or cancelled forgets the brokers of the target before:
    /// they wipe replicas that may vote.
    AbandonedReplicasForgotten = "abandoned-replicas-forgotten",
    /// Placement and balancing take every broker for one in a rack of its own.
    RacksIgnored = "racks-ignored",
    /// A broker that lost its disk goes on under its old id.
    WipedBrokerKeepsId = "wiped-broker-keeps-id",
    /// A broker of the metadata group votes before it has the log.
    LearnerVotesTooEarly = "learner-votes-too-early",
    /// A voter of the metadata group is replaced although too few of the others live.
    MetadataQuorumIgnored = "metadata-quorum-ignored",
    /// A move of replicas counts as done while others may still vote: they wipe their replicas.
    MoveDoneTooEarly = "move-done-too-early",
    /// Leaders take records whatever the disks have room for.
    FullDiskIgnored = "full-disk-ignored",
    /// A disk counts as roomy again as soon as it is back at the line where it was full.
    FullDiskFlaps = "full-disk-flaps",
    /// A loss is accepted although a majority of the replicas is whole.
    LossAcceptedNeedlessly = "loss-accepted-needlessly",
    /// Compaction drops the last record of a key, too.
    CompactionDropsNewest = "compaction-drops-newest",
    /// A tombstone goes with the first cleaning pass that sees it.
    TombstonesDroppedAtOnce = "tombstones-dropped-at-once",
    /// Leaders are replaced by those who have just answered them.
    VouchesIgnored = "vouches-ignored",
    /// A large piece costs no more than what the bucket holds: the rate is exceeded.
    ThrottleForgetsDebt = "throttle-forgets-debt",
    /// Replication to voters is slowed, too.
    VotersThrottled = "voters-throttled",
    /// The controller goes on planning with loads that nobody repeats.
    OldLoadsCount = "old-loads-count",
    /// A leader does not say that a partition has become idle.
    IdleLoadsNotSaid = "idle-loads-not-said",
    /// A client's default quota counts before its own.
    QuotaDefaultsFirst = "quota-defaults-first",
    /// No client is ever told to wait.
    QuotaNeverThrottles = "quota-never-throttles",
    /// What a closed channel had not settled is gone.
    QueueRequeueLost = "queue-requeue-lost",
    /// Settling a delivery twice settles the next one.
    QueueDoubleAckSettlesNext = "queue-double-ack-settles-next",
    /// A message that is returned goes behind the others.
    QueueRequeueLosesOrder = "queue-requeue-loses-order",
    /// A snapshot of a queue does not contain the ids it has seen.
    QueueDedupForgotten = "queue-dedup-forgotten",
    /// A repeated delivery looks like the first one.
    QueueRedeliveredMissing = "queue-redelivered-missing",
    /// A message that dies is not remembered until it is published.
    QueueDeadLetterLost = "queue-dead-letter-lost",
    /// A purge counts what is ready, and leaves it there.
    QueuePurgeRemovesNothing = "queue-purge-removes-nothing",
    /// A message that is to wait is ready at once.
    QueueDelayIgnored = "queue-delay-ignored",
    /// The next single active consumer begins while the last one still holds messages.
    QueueActiveConsumersOverlap = "queue-active-consumers-overlap",
    /// An exclusive queue stays when its connection is closed.
    ExclusiveQueueOutlivesOwner = "exclusive-queue-outlives-owner",
    /// A user whose tags are changed has no password any more.
    ChangedUserLosesPassword = "changed-user-loses-password",
    /// A queue may be declared again with other arguments.
    InequivalentDeclareAccepted = "inequivalent-declare-accepted",
}
