//! Ranges of message versions, and the two ways in which a version writes its lengths.

/// Versions from `min` to `max`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VersionRange {
    /// The oldest.
    pub min: i16,
    /// The newest.
    pub max: i16,
}

impl VersionRange {
    /// Whether `version` lies in the range.
    #[must_use]
    pub const fn contains(self, version: i16) -> bool {
        self.min <= version && version <= self.max
    }

    /// Every version, oldest first.
    pub fn iter(self) -> impl Iterator<Item = i16> {
        self.min..=self.max
    }
}

/// How a version writes lengths, and whether it has tagged fields (KIP-482).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Lengths in 16 or 32 bits, -1 for null.
    Classic,
    /// Lengths as varints of length + 1, 0 for null; each struct ends in tagged fields.
    Flexible,
}
