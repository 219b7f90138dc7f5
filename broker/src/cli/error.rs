//! How a command fails: the text (cause, object, next step) and the exit code.
//!
//! Does not know how it is printed; `cli::main` does that once.

use std::fmt::{self, Display};
use std::io;

use crate::config::ConfigError;

/// Kinds of failure, each with its own exit code; scripts and service managers rely on the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The command was understood and did not succeed.
    Failure,
    /// The command line or the configuration is wrong.
    Usage,
    /// The cluster answered and is not healthy.
    Unhealthy,
    /// The storage failed: restarting does not help before a person has looked.
    Storage,
    /// The reader of our output went away; nothing more is to be said.
    OutputClosed,
}

impl Kind {
    /// The exit code.
    pub(crate) const fn code(self) -> i32 {
        match self {
            Self::Failure => 1,
            Self::Usage => 2,
            Self::Unhealthy => 10,
            Self::Storage => 74,
            Self::OutputClosed => 0,
        }
    }
}

/// A failed command.
#[derive(Debug)]
pub(crate) struct CliError {
    /// Decides the exit code.
    pub(crate) kind: Kind,
    /// Cause and object, lowercase, no full stop.
    pub(crate) message: String,
    /// What the user can do next; empty when there is nothing to add.
    pub(crate) next_step: String,
}

/// What every command returns.
pub(crate) type CliResult<T = ()> = Result<T, CliError>;

impl CliError {
    /// A failure with exit code 1.
    pub(crate) fn failure(message: impl Display) -> Self {
        Self {
            kind: Kind::Failure,
            message: message.to_string(),
            next_step: String::new(),
        }
    }

    /// A mistake in the command line or configuration, exit code 2.
    pub(crate) fn usage(message: impl Display) -> Self {
        Self {
            kind: Kind::Usage,
            ..Self::failure(message)
        }
    }

    /// Adds what the user can do next.
    pub(crate) fn next(mut self, next_step: impl Display) -> Self {
        self.next_step = next_step.to_string();
        self
    }
}

impl Display for CliError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)?;
        if !self.next_step.is_empty() {
            write!(formatter, "\n  next: {}", self.next_step)?;
        }
        Ok(())
    }
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        Self::usage(error).next("every key is listed in docs/configuration.md")
    }
}

/// Adds the object to an I/O error: `cannot read ./x: No such file or directory`.
pub(crate) fn io_failure(action: impl Display, error: &io::Error) -> CliError {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return CliError {
            kind: Kind::OutputClosed,
            ..CliError::failure("output closed")
        };
    }
    CliError::failure(format!("cannot {action}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_the_documented_ones() {
        let codes = [
            Kind::Failure,
            Kind::Usage,
            Kind::Unhealthy,
            Kind::Storage,
            Kind::OutputClosed,
        ]
        .map(Kind::code);
        assert_eq!(codes, [1, 2, 10, 74, 0]);
    }

    #[test]
    fn a_next_step_stands_on_its_own_line() {
        let error = CliError::usage("no such topic \"a\"").next("raftmq topic list");
        assert_eq!(
            error.to_string(),
            "no such topic \"a\"\n  next: raftmq topic list"
        );
        assert_eq!(error.kind, Kind::Usage);
    }

    #[test]
    fn a_closed_pipe_is_no_failure() {
        let error = io_failure("write", &io::ErrorKind::BrokenPipe.into());
        assert_eq!(error.kind.code(), 0);
    }
}
