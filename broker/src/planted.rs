//! Deliberate bugs of this crate, which prove that tests and chaos checkers can fail.
//!
//! Compiled in only with the feature `planted-bugs`; chosen at run time, for the whole process.

raftmq_planted::bugs! {
    /// `acks=-1` is answered as soon as the entry is proposed.
    AckBeforeCommit = "ack-before-commit",
    /// What waited while a leadership was handed over is answered as if it had been written.
    HandoverAnswersWaiting = "handover-answers-waiting",
    /// A follower whose disk is full takes records all the same.
    FullFollowerTakesRecords = "full-follower-takes-records",
    /// After an unclean stop nobody is asked what this broker had acknowledged.
    MarksNotAskedFor = "marks-not-asked-for",
    /// A snapshot of a compacted partition goes without what is left of the log below it.
    SurvivorsNotSent = "survivors-not-sent",
    /// A replica of a broker that had one before and wiped it votes for anybody.
    WipedReplicaVotes = "wiped-replica-votes",
    /// `acks=-1` of a Kafka client counts as `acks=1`.
    KafkaAcksAllAsLeader = "kafka-acks-all-as-leader",
    /// A fetch session keeps the offsets with which it began.
    KafkaSessionKeepsOffsets = "kafka-session-keeps-offsets",
    /// A message is confirmed as soon as it is proposed.
    QueueConfirmBeforeCommit = "queue-confirm-before-commit",
    /// What a new leader sends again is delivered again.
    QueueDeliveriesRepeated = "queue-deliveries-repeated",
    /// What a leader did not answer to is never settled.
    QueueSettleNotRepeated = "queue-settle-not-repeated",
    /// An AMQP client logs in with any password.
    AnyPasswordLogsIn = "any-password-logs-in",
    /// A permission is set whose pattern is no regular expression: it permits nothing for ever.
    PatternsNotChecked = "patterns-not-checked",
    /// The exclusive queues of an AMQP connection stay when it ends.
    OwnQueuesOutliveConnection = "own-queues-outlive-connection",
}
