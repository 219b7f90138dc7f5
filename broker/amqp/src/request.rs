//! What a connection wants of its host: the broker's exchanges, queues, users and permissions.
//!
//! Owns the interface in this direction; `answer.rs` has the other. A [`Request`] names things as
//! the client named them: which exchange or queue that is, who may use it, and whether it is there,
//! is the host's knowledge. The host takes requests one at a time, in order, and acts on each before
//! it takes the next of the same channel.

use raftmq_amqp_protocol::{Body, LongString, Properties, ShortString, Table, Text};
use raftmq_core::GroupNumber;
use raftmq_core::queue::{AckMode, Outcome, Span};

use crate::reply_to::ReplyAddress;

/// One opening of a channel: a number that is opened again is another channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelKey {
    /// The number on the wire, from 1.
    pub number: u16,
    /// Counts the channels that this connection has opened, from 1.
    pub opening: u64,
}

/// One consumer; never reused by a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConsumerKey(pub u64);

/// One question to the host; never reused by a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(pub u64);

/// One publish of a channel, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublishNumber(pub u64);

/// Something for the host to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Answer with `Connection::answer`, exactly once. A channel, or for `channel: None` the whole
    /// connection, waits for it.
    Ask {
        /// Under which the answer is given.
        id: AskId,
        /// Who asks; `None` = the connection.
        channel: Option<ChannelKey>,
        /// What.
        ask: Ask,
    },
    /// Route a message and enqueue it. Answer with `Connection::published`, exactly once, when it is
    /// committed everywhere, or cannot be: the channel goes on meanwhile.
    Publish(Box<Publish>),
    /// Settle deliveries of a queue (`basic.ack`, `nack`, `reject`, `recover`). Not answered.
    Settle {
        /// Whose deliveries.
        channel: ChannelKey,
        /// The queue.
        queue: GroupNumber,
        /// Which, ascending.
        spans: Vec<Span>,
        /// What became of them.
        outcome: Outcome,
    },
    /// Set what a consumer may hold and get. Not answered.
    Credit {
        /// Its channel.
        channel: ChannelKey,
        /// The consumer.
        consumer: ConsumerKey,
        /// Unsettled deliveries it may hold; 0 = any number.
        prefetch: u32,
        /// Deliveries it may get in all; never sinks.
        granted: u64,
    },
}

/// A question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// Who is this? Answer `Authenticated`, or `Refused(Login)`.
    Authenticate(Login),
    /// May the user enter this virtual host, and is it there? `Done`.
    OpenVhost {
        /// Its name.
        vhost: Text,
    },
    /// The client has a new secret (`connection.update-secret`): may it still be in its virtual host?
    /// `Done`.
    RenewSecret,
    /// Make an exchange, or with `passive` check that it is there. `Done`.
    DeclareExchange(Box<DeclareExchange>),
    /// Remove an exchange, if there is one. `Done`.
    DeleteExchange {
        /// Its name; never empty, never `amq.…`.
        exchange: Text,
        /// Only without bindings from it.
        if_unused: bool,
    },
    /// Make a queue, or with `passive` check that it is there. `QueueDeclared`.
    DeclareQueue(Box<DeclareQueue>),
    /// Remove a queue, if there is one. `Removed`.
    DeleteQueue {
        /// Its name.
        queue: Text,
        /// Only without consumers.
        if_unused: bool,
        /// Only without ready messages.
        if_empty: bool,
    },
    /// Drop a queue's ready messages. `Removed`.
    PurgeQueue {
        /// Its name.
        queue: Text,
    },
    /// Make a binding. Making it again changes nothing. `Done`.
    Bind(Box<BindingOf>),
    /// Remove a binding, if there is one. `Done`.
    Unbind(Box<BindingOf>),
    /// Start a consumer. `Consuming`, before anything else of it.
    Consume(Box<Consume>),
    /// End a consumer; what it holds stays with the channel. `Done`, behind its last delivery.
    Cancel {
        /// The consumer.
        consumer: ConsumerKey,
    },
    /// Take one message. `Got`.
    Get {
        /// The queue.
        queue: Text,
        /// Who acknowledges.
        ack_mode: AckMode,
    },
    /// Is there a consumer at this reply address (`queue.declare` of one)? `Done`, or
    /// `Refused(NoQueue)`.
    ProbeReply {
        /// The address.
        to: ReplyAddress,
    },
    /// The channel ends: its consumers go, what it holds returns, each publish of it is answered.
    /// `Done` when that is so; nothing of the channel comes behind it.
    CloseChannel,
    /// The connection ends: every channel of it as with `CloseChannel`, then its exclusive queues
    /// go. `Done` when that is so.
    CloseConnection,
}

/// What a client logs in with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The name; not always UTF-8.
    pub user: LongString,
    /// The password.
    pub password: LongString,
    /// What the client says of itself: product, version, connection name.
    pub client_properties: Table,
}

/// `exchange.declare`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclareExchange {
    /// Its name, never empty.
    pub exchange: Text,
    /// Its type, as the client spells it.
    pub kind: Text,
    /// Only check that it is there; nothing else counts then.
    pub is_passive: bool,
    /// It outlives the broker. Everything here does; kept for the equivalence of declarations.
    pub is_durable: bool,
    /// It goes with its last binding.
    pub is_auto_delete: bool,
    /// Only bindings may publish to it.
    pub is_internal: bool,
    /// `alternate-exchange` and others.
    pub arguments: Table,
}

/// `queue.declare`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclareQueue {
    /// Its name; empty = choose one (`amq.gen-…`).
    pub queue: Text,
    /// Only check that it is there; nothing else counts then.
    pub is_passive: bool,
    /// It outlives the broker.
    pub is_durable: bool,
    /// Only this connection may use it, and it goes with the connection.
    pub is_exclusive: bool,
    /// It goes with its last consumer.
    pub is_auto_delete: bool,
    /// `x-…`.
    pub arguments: Table,
}

/// Where a binding leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BindTo {
    /// To a queue (`queue.bind`).
    Queue(Text),
    /// To an exchange (`exchange.bind`).
    Exchange(Text),
}

/// A binding, to make or to remove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindingOf {
    /// The exchange that it leads from; never the default one.
    pub source: Text,
    /// Where it leads; never the default exchange.
    pub destination: BindTo,
    /// The binding key.
    pub routing_key: Text,
    /// Its arguments.
    pub arguments: Table,
}

/// `basic.consume`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consume {
    /// Under which deliveries come.
    pub consumer: ConsumerKey,
    /// The queue.
    pub queue: Text,
    /// The tag on the wire, unique in the channel; made here when the client gave none.
    pub tag: Text,
    /// Who acknowledges.
    pub ack_mode: AckMode,
    /// The only consumer of the queue.
    pub is_exclusive: bool,
    /// `x-priority`.
    pub priority: i32,
    /// Unsettled deliveries it may hold; 0 = any number.
    pub prefetch: u32,
    /// Deliveries it may get until `Request::Credit`.
    pub granted: u64,
    /// All arguments.
    pub arguments: Table,
}

/// A message with its envelope.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// The exchange it was published to; empty = the default one.
    pub exchange: ShortString,
    /// Its routing key.
    pub routing_key: ShortString,
    /// Its properties, with the client's bytes.
    pub properties: Properties,
    /// Its body, shared with what was read.
    pub body: Body,
}

/// `basic.publish`, checked as far as that needs no exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// Who publishes.
    pub channel: ChannelKey,
    /// Under which it is answered.
    pub number: PublishNumber,
    /// Where it goes.
    pub to: PublishTo,
    /// Whether an unroutable message comes back (`PublishOutcome::Unroutable`).
    pub is_mandatory: bool,
    /// Whether somebody waits for the outcome (`confirm.select`).
    pub is_confirmed: bool,
    /// `expiration`, milliseconds.
    pub ttl_ms: Option<u64>,
    /// Further routing keys: `CC` and `BCC`; `BCC` is no longer among the headers.
    pub more_keys: Vec<ShortString>,
    /// The message.
    pub message: Message,
}

/// Where a publish goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublishTo {
    /// To the message's exchange.
    Exchange,
    /// To a consumer of `amq.rabbitmq.reply-to`, through the default exchange.
    Reply(ReplyAddress),
}
