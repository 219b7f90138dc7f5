//! Bounds of what front ends share, with their units.

use std::time::Duration;

/// Replies of direct reply-to that wait for a connection; further ones are dropped, as those for a
/// client that is gone.
pub(super) const REPLIES_COUNT_MAX: usize = 1_024;
/// Time for a reply to reach another broker.
pub(super) const REPLY_WAIT: Duration = Duration::from_secs(5);
