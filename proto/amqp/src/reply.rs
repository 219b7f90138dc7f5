//! Reply codes: what a close, a return or an error says in a number.
//!
//! Owns the table of AMQP 0-9-1, 1.2, with RabbitMQ's names and its choice of what closes the
//! whole connection. Does not know which event leads to which code.

use std::fmt;

macro_rules! reply_codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal $text:literal $scope:ident;)*) => {
        /// A reply code.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ReplyCode {
            $($(#[$doc])* $name,)*
        }

        impl ReplyCode {
            /// Every code, in ascending order of the standard's table.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Returns the number on the wire.
            #[must_use]
            pub const fn code(self) -> u16 {
                match self { $(Self::$name => $code,)* }
            }

            /// Returns the name that RabbitMQ puts before each text, `NAME_IN_CAPS`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// Tells whether the code ends the connection, not just a channel.
            #[must_use]
            pub const fn closes_connection(self) -> bool {
                match self { $(Self::$name => reply_codes!(@ $scope),)* }
            }
        }
    };
    (@ connection) => { true };
    (@ channel) => { false };
}

reply_codes! {
    /// Nothing went wrong.
    ReplySuccess = 200 "REPLY_SUCCESS" channel;
    /// A body over the limit, in the standard; RabbitMQ answers `PreconditionFailed`.
    ContentTooLarge = 311 "CONTENT_TOO_LARGE" channel;
    /// A mandatory message found no queue; only in `basic.return`.
    NoRoute = 312 "NO_ROUTE" channel;
    /// An immediate message found no consumer; only in the standard.
    NoConsumers = 313 "NO_CONSUMERS" channel;
    /// An operator, or the broker's end, closed it.
    ConnectionForced = 320 "CONNECTION_FORCED" connection;
    /// An unknown virtual host, in the standard; RabbitMQ answers `NotAllowed`.
    InvalidPath = 402 "INVALID_PATH" connection;
    /// No permission.
    AccessRefused = 403 "ACCESS_REFUSED" channel;
    /// There is no such queue or exchange.
    NotFound = 404 "NOT_FOUND" channel;
    /// The queue is another connection's.
    ResourceLocked = 405 "RESOURCE_LOCKED" channel;
    /// An argument or tag does not fit what is there.
    PreconditionFailed = 406 "PRECONDITION_FAILED" channel;
    /// Bytes that are no frame.
    FrameError = 501 "FRAME_ERROR" connection;
    /// A field with an impossible value.
    SyntaxError = 502 "SYNTAX_ERROR" connection;
    /// A method that does not exist or may not come now.
    CommandInvalid = 503 "COMMAND_INVALID" connection;
    /// A channel that is not open, or open already.
    ChannelError = 504 "CHANNEL_ERROR" connection;
    /// A frame that may not come now.
    UnexpectedFrame = 505 "UNEXPECTED_FRAME" connection;
    /// The broker ran out of something.
    ResourceError = 506 "RESOURCE_ERROR" connection;
    /// Forbidden whoever asks.
    NotAllowed = 530 "NOT_ALLOWED" connection;
    /// Not offered by this broker.
    NotImplemented = 540 "NOT_IMPLEMENTED" connection;
    /// A bug of ours.
    InternalError = 541 "INTERNAL_ERROR" connection;
}

impl fmt::Display for ReplyCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
