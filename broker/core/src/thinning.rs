//! Keeping a list of boundaries short: beyond a length every second one goes. Knows nothing of what
//! they bound.

use crate::limits::BOUNDARIES_COUNT_MAX;

/// Drops every second item when there are too many; the newest and the oldest stay.
pub(crate) fn thin_out<T>(items: &mut Vec<T>) {
    if items.len() <= BOUNDARIES_COUNT_MAX {
        return;
    }
    let newest = items.len() - 1;
    let mut at = 0;
    items.retain(|_| {
        let stays = at == 0 || (newest - at).is_multiple_of(2);
        at += 1;
        stays
    });
}
