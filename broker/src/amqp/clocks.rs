//! When a connection last heard and said something, and what is due because of it.
//!
//! Owns the measuring; the machine owns how long anything may take (`Timing`). The time comes in.

use std::time::Duration;

use raftmq_amqp::{Connection, Phase, Timing};
use tokio::time::Instant;

/// Something that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// A sign of life is to be sent.
    Heartbeat,
    /// The client is given up.
    Lost,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Clocks {
    phase: Phase,
    phase_at: Instant,
    read_at: Instant,
    written_at: Instant,
    /// Whether the client was read from when it was last looked at: its silence counts only then.
    was_read: bool,
}

impl Clocks {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            phase: Phase::Handshake,
            phase_at: now,
            read_at: now,
            written_at: now,
            was_read: true,
        }
    }

    /// The client said something.
    pub(super) const fn note_read(&mut self, now: Instant) {
        self.read_at = now;
    }

    /// Something was said to the client.
    pub(super) const fn note_written(&mut self, now: Instant) {
        self.written_at = now;
    }

    /// What is due first, and when. While the client `is_read`, its silence counts; while it `is_written`
    /// to, something waits for it already: one sign of life more would only wait behind it.
    pub(super) fn next(
        &mut self,
        machine: &Connection,
        (is_read, is_written): (bool, bool),
        now: Instant,
    ) -> Option<(Instant, Due)> {
        let phase = machine.phase();
        if phase != self.phase {
            (self.phase, self.phase_at) = (phase, now);
        }
        if is_read && !self.was_read {
            self.read_at = self.read_at.max(now);
        }
        self.was_read = is_read;
        self.first_of(counted(machine.timing(), (is_read, is_written)))
    }

    fn first_of(&self, timing: Timing) -> Option<(Instant, Due)> {
        let after = |at: Instant, wait_ms: Option<u64>, due| {
            wait_ms.map(|ms| (at + Duration::from_millis(ms), due))
        };
        let all = [
            after(self.written_at, timing.send_idle_ms, Due::Heartbeat),
            after(self.read_at, timing.receive_idle_ms, Due::Lost),
            after(self.phase_at, timing.phase_ms, Due::Lost),
        ];
        all.into_iter().flatten().min_by_key(|(at, _)| *at)
    }
}

/// The deadlines that count while the client is read from, and written to.
fn counted(timing: Timing, (is_read, is_written): (bool, bool)) -> Timing {
    Timing {
        receive_idle_ms: timing.receive_idle_ms.filter(|_| is_read),
        send_idle_ms: timing.send_idle_ms.filter(|_| !is_written),
        phase_ms: timing.phase_ms,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_first_of_the_three_deadlines_counts() {
        let start = Instant::now();
        let mut clocks = Clocks::new(start);
        clocks.note_written(start + Duration::from_secs(3));
        clocks.note_read(start + Duration::from_secs(1));
        let timing = |send_idle_ms, receive_idle_ms, phase_ms| Timing {
            send_idle_ms,
            receive_idle_ms,
            phase_ms,
        };
        let at = |seconds, due| Some((start + Duration::from_secs(seconds), due));
        let second = Some(1_000);
        assert_eq!(clocks.first_of(Timing::default()), None);
        assert_eq!(
            clocks.first_of(timing(second, None, None)),
            at(4, Due::Heartbeat)
        );
        assert_eq!(
            clocks.first_of(timing(second, second, None)),
            at(2, Due::Lost)
        );
        assert_eq!(
            clocks.first_of(timing(second, second, second)),
            at(1, Due::Lost)
        );
    }

    #[test]
    fn no_sign_of_life_is_due_while_the_client_does_not_take_what_waits_for_it() {
        let timing = Timing {
            send_idle_ms: Some(1),
            receive_idle_ms: Some(2),
            phase_ms: Some(3),
        };
        assert_eq!(counted(timing, (true, false)), timing);
        let stuck = counted(timing, (true, true));
        assert_eq!((stuck.send_idle_ms, stuck.receive_idle_ms), (None, Some(2)));
        let full = counted(timing, (false, false));
        assert_eq!((full.send_idle_ms, full.receive_idle_ms), (Some(1), None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_handshake_may_take_as_long_as_the_machine_says() {
        let start = Instant::now();
        let machine = Connection::new(raftmq_amqp::Settings::default());
        let limit = Duration::from_millis(raftmq_amqp::HANDSHAKE_MS_MAX);
        let next = Clocks::new(start).next(&machine, (true, false), start + Duration::from_secs(5));
        assert_eq!(next, Some((start + limit, Due::Lost)));
    }
}
