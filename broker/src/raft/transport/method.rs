//! What brokers ask of each other, and how they refuse, as numbers.
//!
//! Knows neither bodies nor who carries a call out.

/// What a call asks for. Numbers are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Method {
    /// openraft `AppendEntries`.
    Append = 1,
    /// openraft `Vote`.
    Vote = 2,
    /// openraft pre-vote.
    PreVote = 3,
    /// openraft full snapshot.
    Snapshot = 4,
    /// Vote, last log and health of many groups.
    GroupStates = 5,
    /// Drop the lease of named votes.
    DropLeases = 6,
    /// Campaign in many groups.
    Campaign = 7,
    /// Propose a metadata command.
    Propose = 8,
    /// A broker is alive.
    Heartbeat = 9,
    /// Who are you, and who leads the metadata group.
    Hello = 10,
    /// Move the log start of a partition led by the receiver.
    DeleteRecords = 12,
    /// Hand the leadership of many groups over, each to a named replica.
    HandOver = 16,
    /// Campaign, because the leader hands over to the receiver.
    TakeLeadership = 17,
    /// Take a step of a move of replicas in a group led by the receiver. (11 did all at once.)
    MoveReplicas = 20,
    /// Take the sender into the cluster, and give it an id where it has none.
    Join = 35,
    /// How far the sender has flushed groups that the receiver leads.
    FlushedMarks = 40,
    /// Keep survivors of a compacted log aside, for the snapshot that follows.
    StageSurvivors = 30,
    /// openraft full snapshot, of a group whose survivors were sent before.
    SnapshotWithSurvivors = 31,
    /// How far the moves of replicas are that the receiver drives, as the controller.
    MovesProgress = 50,
    /// What is written to each partition, as the receiver, the controller, was told.
    Loads = 51,
    /// Commands of a broker's clients for a queue led by the receiver.
    QueueSubmit = 60,
    /// What a queue has for channels of the receiver's clients.
    QueuePush = 61,
    /// A reply of AMQP's direct reply-to, for a client of the receiver.
    DirectReply = 70,
}

impl Method {
    /// The method of a number.
    #[must_use]
    pub const fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            1 => Self::Append,
            2 => Self::Vote,
            3 => Self::PreVote,
            4 => Self::Snapshot,
            5 => Self::GroupStates,
            6 => Self::DropLeases,
            7 => Self::Campaign,
            8 => Self::Propose,
            9 => Self::Heartbeat,
            10 => Self::Hello,
            20 => Self::MoveReplicas,
            40 => Self::FlushedMarks,
            12 => Self::DeleteRecords,
            16 => Self::HandOver,
            17 => Self::TakeLeadership,
            35 => Self::Join,
            30 => Self::StageSurvivors,
            31 => Self::SnapshotWithSurvivors,
            50 => Self::MovesProgress,
            51 => Self::Loads,
            60 => Self::QueueSubmit,
            61 => Self::QueuePush,
            70 => Self::DirectReply,
            _ => return None,
        })
    }
}

/// How a peer answered a call that it did not carry out. Numbers are never reused; 0 is success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Refusal {
    /// The peer does not host the group (yet).
    UnknownGroup = 1,
    /// The sender's broker epoch is fenced.
    Fenced = 2,
    /// The sender belongs to another cluster.
    ForeignCluster = 3,
    /// The body or method could not be decoded.
    Malformed = 4,
    /// The peer is stopping, or its group has failed.
    Stopped = 5,
    /// The peer does not lead the metadata group.
    NotController = 6,
    /// A planned refusal of the method itself; the body says why.
    Failed = 7,
    /// The receiver's disk has no room for the records.
    DiskFull = 40,
    /// The receiver does not lead the queue, or what came is out of order: nothing was done.
    NotTaken = 60,
    /// The receiver led the queue and lost that: what became of the commands is not known.
    OutcomeUnknown = 61,
}

impl Refusal {
    pub(super) const fn from_number(number: u32) -> Self {
        match number {
            1 => Self::UnknownGroup,
            2 => Self::Fenced,
            3 => Self::ForeignCluster,
            5 => Self::Stopped,
            6 => Self::NotController,
            7 => Self::Failed,
            40 => Self::DiskFull,
            60 => Self::NotTaken,
            61 => Self::OutcomeUnknown,
            _ => Self::Malformed,
        }
    }
}
