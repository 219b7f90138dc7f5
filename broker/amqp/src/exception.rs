//! An error that closes a channel or the connection (AMQP 0-9-1, 1.2), before it is a close.
//!
//! Owns the form of the text: `NAME - explanation`, cut to a short string. Clients parse it.

use raftmq_amqp_protocol::{MethodId, REPLY_TEXT_BYTES_MAX, ReplyCode, Text, WireError};

/// What goes into `channel.close` or `connection.close`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exception {
    /// The code; it says whether the connection ends, too.
    pub code: ReplyCode,
    /// The whole text, with the code's name before it.
    pub text: Text,
    /// The method that is to blame; `NONE` when there is none.
    pub method: MethodId,
}

impl Exception {
    /// Makes an exception of a code and what went wrong, without the code's name.
    #[must_use]
    pub fn new(code: ReplyCode, explanation: impl AsRef<str>) -> Self {
        let mut text = format!("{code} - {}", explanation.as_ref());
        text.truncate(text.floor_char_boundary(REPLY_TEXT_BYTES_MAX));
        Self {
            code,
            text: Text::try_from(text).unwrap_or_default(),
            method: MethodId::NONE,
        }
    }

    /// Names the method to blame, unless one is named already.
    #[must_use]
    pub fn blame(mut self, method: MethodId) -> Self {
        if self.method == MethodId::NONE {
            self.method = method;
        }
        self
    }
}

impl From<WireError> for Exception {
    fn from(error: WireError) -> Self {
        Self {
            code: error.reply_code(),
            text: error.reply_text(),
            method: error.method(),
        }
    }
}

macro_rules! shorthands {
    ($($(#[$doc:meta])* $name:ident $code:ident;)*) => {
        $($(#[$doc])*
        pub(crate) fn $name(explanation: impl AsRef<str>) -> Exception {
            Exception::new(ReplyCode::$code, explanation)
        })*
    };
}

shorthands! {
    /// 403, of a channel.
    access_refused AccessRefused;
    /// 404, of a channel.
    not_found NotFound;
    /// 406, of a channel.
    precondition_failed PreconditionFailed;
    /// 502, of the connection.
    syntax_error SyntaxError;
    /// 503, of the connection.
    command_invalid CommandInvalid;
    /// 504, of the connection.
    channel_error ChannelError;
    /// 530, of the connection.
    not_allowed NotAllowed;
    /// 540, of the connection.
    not_implemented NotImplemented;
    /// 541, of the connection.
    internal_error InternalError;
}
