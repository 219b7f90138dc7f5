//! Mechanisms of SASL: how a name and a password lie in `connection.start-ok`.
//!
//! Owns PLAIN and AMQPLAIN. Does not know who may log in.
// Deviation: EXTERNAL comes with TLS; ANONYMOUS, which RabbitMQ offers, lets anybody in.

use bytes::Bytes;
use raftmq_amqp_protocol::{LongString, SyntaxCause, Table};

use crate::exception::{Exception, command_invalid, syntax_error};

/// What is offered, by name.
pub(super) const MECHANISMS: &str = "AMQPLAIN PLAIN";

/// A mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mechanism {
    Plain,
    AmqPlain,
}

impl Mechanism {
    pub(super) fn of_name(name: &str) -> Result<Self, Exception> {
        match name {
            "PLAIN" => Ok(Self::Plain),
            "AMQPLAIN" => Ok(Self::AmqPlain),
            other => Err(command_invalid(format!(
                "unknown authentication mechanism '{other}'"
            ))),
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::AmqPlain => "AMQPLAIN",
        }
    }

    /// Reads name and password. The texts of errors never quote them.
    pub(super) fn read(self, response: Bytes) -> Result<(LongString, LongString), Exception> {
        match self {
            Self::Plain => {
                read_plain(&response).ok_or_else(|| syntax_error("PLAIN response invalid"))
            }
            Self::AmqPlain => read_amqplain(response)
                .map_err(|cause| syntax_error(format!("AMQPLAIN response invalid: {cause}")))?
                .ok_or_else(|| {
                    syntax_error("AMQPLAIN auth info is missing LOGIN or PASSWORD field")
                }),
        }
    }
}

/// `\0user\0password`: nobody acts for somebody else.
fn read_plain(response: &Bytes) -> Option<(LongString, LongString)> {
    let mut parts = response.split(|octet| *octet == 0);
    let (before, user, password) = (parts.next()?, parts.next()?, parts.next()?);
    if !before.is_empty() || parts.next().is_some() {
        return None;
    }
    let share = |part| LongString(response.slice_ref(part));
    Some((share(user), share(password)))
}

/// A table without its length.
fn read_amqplain(response: Bytes) -> Result<Option<(LongString, LongString)>, SyntaxCause> {
    let table = Table::validate(response)?;
    let text = |name| {
        let bytes = table.get(name).and_then(|value| value.as_bytes());
        bytes.map(|bytes| LongString(Bytes::copy_from_slice(bytes)))
    };
    Ok(text("LOGIN").zip(text("PASSWORD")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_response_has_a_name_and_a_password_and_nothing_else() {
        let read = |bytes: &'static [u8]| {
            let (user, password) = read_plain(&Bytes::from_static(bytes))?;
            Some((user.to_vec(), password.to_vec()))
        };
        assert_eq!(
            read(b"\0guest\0pw"),
            Some((b"guest".to_vec(), b"pw".to_vec()))
        );
        assert_eq!(read(b"\0\0"), Some((Vec::new(), Vec::new())));
        for wrong in [
            &b""[..],
            b"guest",
            b"\0guest",
            b"x\0guest\0pw",
            b"\0guest\0pw\0",
        ] {
            assert_eq!(read(wrong), None, "{wrong:?}");
        }
    }
}
