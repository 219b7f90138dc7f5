//! Sets of positions in a routing key: how many of its words a binding key has used up.
//!
//! Knows no words.

use crate::exchange::limits::BINDING_KEY_BYTES_MAX;

/// Words of a routing key, inclusive: one more than it can have dots.
const WORDS_COUNT_MAX: usize = BINDING_KEY_BYTES_MAX + 1;

/// Positions 0 to [`WORDS_COUNT_MAX`], inclusive, fit.
const PARTS_COUNT: usize = WORDS_COUNT_MAX / 64 + 1;

/// A set of positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Positions([u64; PARTS_COUNT]);

impl Positions {
    /// Makes the set of a range, both ends included.
    pub(super) fn range(first: usize, last: usize) -> Self {
        let mut set = Self::default();
        for position in first..=last {
            set.add(position);
        }
        set
    }

    pub(super) fn add(&mut self, position: usize) {
        if let Some(part) = self.0.get_mut(position / 64) {
            *part |= 1 << (position % 64);
        }
    }

    pub(super) fn contains(&self, position: usize) -> bool {
        let part = self.0.get(position / 64).copied().unwrap_or(0);
        part >> (position % 64) & 1 == 1
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0 == [0; PARTS_COUNT]
    }

    /// Shows the positions, ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = usize> {
        let parts = self.0.iter().enumerate();
        parts.flat_map(|(at, part)| {
            let mut rest = *part;
            std::iter::from_fn(move || {
                let lowest = rest.trailing_zeros();
                // Clears the lowest bit; 0 stays 0 and ends the walk.
                rest &= rest.checked_sub(1)?;
                Some(at * 64 + lowest as usize)
            })
        })
    }
}
