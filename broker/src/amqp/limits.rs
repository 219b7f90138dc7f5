//! Every bound of this front end that is not a setting, with its unit. Those of one connection are the
//! machine's (`raftmq_amqp`).

use std::time::Duration;

/// Memory taken for reading, bytes.
pub(super) const READ_BYTES: usize = 64 << 10;
/// Outcomes, and deliveries, that are taken in a row before anything is written or read.
pub(super) const ROUND_COUNT_MAX: usize = 256;

/// Publishes of one connection that are not answered; at it no further request of it is taken. Fewer than
/// wait for one queue in its service.
pub(super) const OWN_COUNT_MAX: usize = 8_192;
/// The same that a connection may always have, whatever the others do.
pub(super) const OWN_COUNT_FREE: usize = 1_024;
/// Their stored forms, bytes, once for each queue.
pub(super) const OWN_BYTES_FREE: usize = 4 << 20;
/// Publishes of all clients that are not answered; at it only connections below what is free go on.
pub(super) const PUBLISHED_COUNT_MAX: usize = 32_768;
/// Their stored forms, bytes, once for each queue. Half of what the service lets wait by default.
pub(super) const PUBLISHED_BYTES_MAX: usize = 64 << 20;
/// How long a declaration waits for a queue of the same name to be gone that has ended.
pub(super) const ENDED_WAIT: Duration = Duration::from_secs(5);
/// Pause before a queue is told again for which too much waited.
pub(super) const OVERLOADED_PAUSE: Duration = Duration::from_millis(20);

/// Time for a metadata command to find a controller and a majority.
pub(super) const COMMAND_WAIT: Duration = Duration::from_secs(10);
/// How long a client that comes while the broker starts is kept waiting for its login.
pub(super) const READY_WAIT: Duration = Duration::from_secs(8);
/// How long the end of a connection waits for what its client asked for before; longer than any command,
/// so that no declaration comes behind the end.
pub(super) const UNFINISHED_WAIT: Duration = Duration::from_secs(12);
/// Pause before the end of a connection is told to the controller again.
pub(super) const FAREWELL_PAUSE: Duration = Duration::from_secs(1);
/// How often the disk is looked at for `connection.blocked`.
pub(super) const STANDING_INTERVAL: Duration = Duration::from_millis(500);
/// Pause before the first virtual host and user are proposed again.
pub(super) const SEED_PAUSE: Duration = Duration::from_millis(200);
/// Pause before a wrong password is answered.
pub(super) const LOGIN_PAUSE: Duration = Duration::from_secs(1);
/// Time for the last frames of a connection to be written.
pub(super) const LAST_WRITE_WAIT: Duration = Duration::from_secs(5);
