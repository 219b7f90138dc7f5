//! Where a connection stands, and how long it may stand there.
//!
//! Owns the deadlines as data: the host has the clock.

use crate::connection::Connection;
use crate::connection::login::Mechanism;
use crate::limits::{CLOSE_MS_MAX, HANDSHAKE_MS_MAX};
use crate::request::AskId;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The protocol header is due.
    Header,
    /// `connection.start-ok` is due.
    StartOk,
    /// The host looks at the login.
    Authenticating(AskId, Mechanism),
    /// `connection.tune-ok` is due.
    TuneOk,
    /// `connection.open` is due.
    Open,
    /// The host looks at the virtual host.
    Opening(AskId),
    /// Channels work.
    Running,
    /// We sent `close`: everything is passed over until the client's `close-ok`.
    Closing,
    /// The client sent `close`: `close-ok` follows once the host is done.
    Ending(AskId),
    /// Nothing more is read; what is to be written is written.
    Closed,
}

/// The stages as far as the host needs them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Until `connection.open-ok`.
    Handshake,
    /// Channels work.
    Running,
    /// One side said `close`.
    Closing,
    /// Write what is left, then close the socket.
    Closed,
}

/// How long the host waits, and for what; `None` = for ever. When a deadline passes, the host says
/// `Event::Lost`, except for `send_idle_ms`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timing {
    /// Since the host wrote anything: then `Connection::send_heartbeat`.
    pub send_idle_ms: Option<u64>,
    /// Since the host read anything, or since `wants_input` became true again.
    pub receive_idle_ms: Option<u64>,
    /// Since the phase began.
    pub phase_ms: Option<u64>,
}

impl Stage {
    pub(super) const fn waits_for_host(self) -> bool {
        matches!(
            self,
            Self::Authenticating(..) | Self::Opening(_) | Self::Ending(_)
        )
    }
}

impl Connection {
    /// Where the connection stands.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        match self.stage {
            Stage::Header
            | Stage::StartOk
            | Stage::Authenticating(..)
            | Stage::TuneOk
            | Stage::Open
            | Stage::Opening(_) => Phase::Handshake,
            Stage::Running => Phase::Running,
            Stage::Closing | Stage::Ending(_) => Phase::Closing,
            Stage::Closed => Phase::Closed,
        }
    }

    /// The deadlines that hold now. Heartbeats as RabbitMQ: one is sent after half the interval, and
    /// the client is lost after two.
    #[must_use]
    pub fn timing(&self) -> Timing {
        let interval_ms = u64::from(self.heartbeat_s) * 1_000;
        let beats = |ms: u64| (interval_ms > 0).then_some(ms);
        match self.phase() {
            Phase::Handshake => Timing {
                phase_ms: Some(HANDSHAKE_MS_MAX),
                ..Timing::default()
            },
            Phase::Running => Timing {
                send_idle_ms: beats(interval_ms / 2),
                receive_idle_ms: beats(interval_ms * 2).filter(|_| self.wants_input()),
                phase_ms: None,
            },
            Phase::Closing => Timing {
                phase_ms: Some(beats(interval_ms).map_or(CLOSE_MS_MAX, |ms| ms.min(CLOSE_MS_MAX))),
                ..Timing::default()
            },
            Phase::Closed => Timing::default(),
        }
    }

    /// Adds a sign of life to what is to be written.
    pub fn send_heartbeat(&mut self) {
        if self.stage == Stage::Running {
            self.session.out.put_heartbeat();
        }
    }
}
