//! Every method of AMQP 0-9-1 with RabbitMQ's extensions: one line each, fields in wire order.
//!
//! The facts are those of RabbitMQ's protocol description. Knows no behaviour. `Text` is a short
//! string whose UTF-8 RabbitMQ checks; in methods with content it does not, so there it is
//! `ShortString`. `kind` is the field `type` and `no_wait` the field `nowait`.

use std::primitive::{bool, u8, u16, u32, u64};

use super::declare::declare_methods;

use crate::strings::{LongString, ShortString, Text};
use crate::table::Table;

declare_methods! {
    /// The connection itself, on channel 0.
    class connection Connection = 10 {
        /// Opens the handshake and names what the server can do.
        "start" Start = 10 Server {
            version_major: u8, version_minor: u8, server_properties: Table, mechanisms: LongString,
            locales: LongString
        }
        /// Chooses a mechanism and logs in.
        "start-ok" StartOk = 11 Client {
            client_properties: Table, mechanism: Text, response: LongString, locale: Text
        }
        /// Asks for more than the first response.
        "secure" Secure = 20 Server { challenge: LongString }
        /// Answers a challenge.
        "secure-ok" SecureOk = 21 Client { response: LongString }
        /// Offers limits.
        "tune" Tune = 30 Server { channel_max: u16, frame_max: u32, heartbeat: u16 }
        /// Accepts limits.
        "tune-ok" TuneOk = 31 Client { channel_max: u16, frame_max: u32, heartbeat: u16 }
        /// Enters a virtual host.
        "open" Open = 40 Client { virtual_host: Text, capabilities: Text, insist: bool }
        /// The virtual host is entered.
        "open-ok" OpenOk = 41 Server { known_hosts: Text }
        /// Ends the connection and says why.
        "close" Close = 50 Both { reply_code: u16, reply_text: Text, class_id: u16, method_id: u16 }
        /// The connection may be torn down.
        "close-ok" CloseOk = 51 Both {}
        /// The broker reads no more publishes (RabbitMQ).
        "blocked" Blocked = 60 Server { reason: Text }
        /// The broker reads publishes again (RabbitMQ).
        "unblocked" Unblocked = 61 Server {}
        /// Brings a fresh token (RabbitMQ).
        "update-secret" UpdateSecret = 70 Client { new_secret: LongString, reason: Text }
        /// The fresh token is taken (RabbitMQ).
        "update-secret-ok" UpdateSecretOk = 71 Server {}
    }

    /// A channel of the connection.
    class channel Channel = 20 {
        /// Opens the channel.
        "open" Open = 10 Client { out_of_band: Text }
        /// The channel is open.
        "open-ok" OpenOk = 11 Server { channel_id: LongString }
        /// Pauses or resumes deliveries.
        "flow" Flow = 20 Both { active: bool }
        /// Says what the flow now is.
        "flow-ok" FlowOk = 21 Both { active: bool }
        /// Ends the channel and says why.
        "close" Close = 40 Both { reply_code: u16, reply_text: Text, class_id: u16, method_id: u16 }
        /// The channel is closed.
        "close-ok" CloseOk = 41 Both {}
    }

    /// Tickets of AMQP 0-8: retired, answered for ancient clients.
    class access Access = 30 {
        /// Asks for a ticket.
        "request" Request = 10 Client {
            realm: Text, exclusive: bool, passive: bool, active: bool, write: bool, read: bool
        }
        /// Hands a ticket out.
        "request-ok" RequestOk = 11 Server { ticket: u16 }
    }

    /// Exchanges, and bindings between them.
    class exchange Exchange = 40 {
        /// Makes an exchange, or checks that it is there.
        "declare" Declare = 10 Client {
            ticket: u16, exchange: Text, kind: Text, passive: bool, durable: bool,
            auto_delete: bool, internal: bool, no_wait: bool, arguments: Table
        }
        /// The exchange is there.
        "declare-ok" DeclareOk = 11 Server {}
        /// Removes an exchange.
        "delete" Delete = 20 Client { ticket: u16, exchange: Text, if_unused: bool, no_wait: bool }
        /// The exchange is gone.
        "delete-ok" DeleteOk = 21 Server {}
        /// Binds an exchange to another one (RabbitMQ).
        "bind" Bind = 30 Client {
            ticket: u16, destination: Text, source: Text, routing_key: Text, no_wait: bool,
            arguments: Table
        }
        /// The binding is there (RabbitMQ).
        "bind-ok" BindOk = 31 Server {}
        /// Removes a binding between exchanges (RabbitMQ).
        "unbind" Unbind = 40 Client {
            ticket: u16, destination: Text, source: Text, routing_key: Text, no_wait: bool,
            arguments: Table
        }
        /// The binding is gone (RabbitMQ; its number is 51, not 41).
        "unbind-ok" UnbindOk = 51 Server {}
    }

    /// Queues, and their bindings.
    class queue Queue = 50 {
        /// Makes a queue, or checks that it is there.
        "declare" Declare = 10 Client {
            ticket: u16, queue: Text, passive: bool, durable: bool, exclusive: bool,
            auto_delete: bool, no_wait: bool, arguments: Table
        }
        /// The queue is there.
        "declare-ok" DeclareOk = 11 Server { queue: Text, message_count: u32, consumer_count: u32 }
        /// Binds a queue to an exchange.
        "bind" Bind = 20 Client {
            ticket: u16, queue: Text, exchange: Text, routing_key: Text, no_wait: bool,
            arguments: Table
        }
        /// The binding is there.
        "bind-ok" BindOk = 21 Server {}
        /// Drops every ready message.
        "purge" Purge = 30 Client { ticket: u16, queue: Text, no_wait: bool }
        /// Says how many were dropped.
        "purge-ok" PurgeOk = 31 Server { message_count: u32 }
        /// Removes a queue.
        "delete" Delete = 40 Client {
            ticket: u16, queue: Text, if_unused: bool, if_empty: bool, no_wait: bool
        }
        /// The queue is gone with so many messages.
        "delete-ok" DeleteOk = 41 Server { message_count: u32 }
        /// Removes a binding.
        "unbind" Unbind = 50 Client {
            ticket: u16, queue: Text, exchange: Text, routing_key: Text, arguments: Table
        }
        /// The binding is gone.
        "unbind-ok" UnbindOk = 51 Server {}
    }

    /// Messages: publish, deliver, settle.
    class basic Basic = 60 {
        /// Limits unacknowledged deliveries.
        "qos" Qos = 10 Client { prefetch_size: u32, prefetch_count: u16, global: bool }
        /// The limit holds.
        "qos-ok" QosOk = 11 Server {}
        /// Starts a consumer.
        "consume" Consume = 20 Client {
            ticket: u16, queue: Text, consumer_tag: Text, no_local: bool, no_ack: bool,
            exclusive: bool, no_wait: bool, arguments: Table
        }
        /// The consumer runs under this tag.
        "consume-ok" ConsumeOk = 21 Server { consumer_tag: Text }
        /// Ends a consumer; from the server when its queue went away (RabbitMQ).
        "cancel" Cancel = 30 Both { consumer_tag: Text, no_wait: bool }
        /// The consumer has ended.
        "cancel-ok" CancelOk = 31 Both { consumer_tag: Text }
        /// Publishes a message.
        "publish" Publish = 40 Client content {
            ticket: u16, exchange: ShortString, routing_key: ShortString, mandatory: bool,
            immediate: bool
        }
        /// Brings an unroutable message back.
        "return" Return = 50 Server content {
            reply_code: u16, reply_text: ShortString, exchange: ShortString,
            routing_key: ShortString
        }
        /// Brings a message to a consumer.
        "deliver" Deliver = 60 Server content {
            consumer_tag: ShortString, delivery_tag: u64, redelivered: bool, exchange: ShortString,
            routing_key: ShortString
        }
        /// Fetches one message.
        "get" Get = 70 Client { ticket: u16, queue: Text, no_ack: bool }
        /// Brings the message fetched.
        "get-ok" GetOk = 71 Server content {
            delivery_tag: u64, redelivered: bool, exchange: ShortString, routing_key: ShortString,
            message_count: u32
        }
        /// There was no message.
        "get-empty" GetEmpty = 72 Server { cluster_id: Text }
        /// Settles deliveries; from the server, confirms publishes (RabbitMQ).
        "ack" Ack = 80 Both { delivery_tag: u64, multiple: bool }
        /// Refuses a delivery.
        "reject" Reject = 90 Client { delivery_tag: u64, requeue: bool }
        /// Asks for unsettled deliveries again, without an answer.
        "recover-async" RecoverAsync = 100 Client { requeue: bool }
        /// Asks for unsettled deliveries again.
        "recover" Recover = 110 Client { requeue: bool }
        /// Unsettled deliveries come again.
        "recover-ok" RecoverOk = 111 Server {}
        /// Refuses deliveries; from the server, tells that publishes failed (RabbitMQ).
        "nack" Nack = 120 Both { delivery_tag: u64, multiple: bool, requeue: bool }
    }

    /// Publisher confirms (RabbitMQ).
    class confirm Confirm = 85 {
        /// Turns confirms on for the channel.
        "select" Select = 10 Client { no_wait: bool }
        /// Confirms are on.
        "select-ok" SelectOk = 11 Server {}
    }

    /// Transactions of a channel: decoded so that they can be refused.
    class tx Tx = 90 {
        /// Turns transactions on for the channel.
        "select" Select = 10 Client {}
        /// Transactions are on.
        "select-ok" SelectOk = 11 Server {}
        /// Commits.
        "commit" Commit = 20 Client {}
        /// The commit is done.
        "commit-ok" CommitOk = 21 Server {}
        /// Rolls back.
        "rollback" Rollback = 30 Client {}
        /// The rollback is done.
        "rollback-ok" RollbackOk = 31 Server {}
    }
}
