//! What a quota limits, and the limits that are possible.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What is limited. Numbers are kept on disk and never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum QuotaKind {
    /// Bytes of Produce requests per second.
    ProduceBytes,
    /// Bytes of Fetch answers per second.
    FetchBytes,
    /// Time of request handling, in percent of one thread.
    RequestPercentage,
}

impl QuotaKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [
        Self::ProduceBytes,
        Self::FetchBytes,
        Self::RequestPercentage,
    ];

    /// Kafka's name of the key.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ProduceBytes => "producer_byte_rate",
            Self::FetchBytes => "consumer_byte_rate",
            Self::RequestPercentage => "request_percentage",
        }
    }

    /// Finds a kind by Kafka's name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::ProduceBytes => 1,
            Self::FetchBytes => 2,
            Self::RequestPercentage => 3,
        }
    }

    pub(crate) fn of_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }
}

/// A limit per second, or in percent. Kept as the bits of an `f64`, as Kafka's protocol has it, so that
/// replicas compare the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaValue(u64);

/// The limits of one entity.
pub type QuotaValues = BTreeMap<QuotaKind, QuotaValue>;

impl QuotaValue {
    /// Makes a limit; [`Self::check`] says whether it is one.
    #[must_use]
    pub const fn new(value: f64) -> Self {
        Self(value.to_bits())
    }

    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) const fn bits(self) -> u64 {
        self.0
    }

    /// The limit.
    #[must_use]
    pub const fn get(self) -> f64 {
        f64::from_bits(self.0)
    }

    /// Checks that the limit is above 0 and, for bytes, whole and no more than an `i64` holds.
    ///
    /// # Errors
    /// `Value`.
    pub fn check(self, kind: QuotaKind) -> Result<(), QuotaError> {
        /// 2^63, the first number that an `i64` does not hold.
        const TOO_LARGE: f64 = 9_223_372_036_854_775_808.0;
        let value = self.get();
        let fits = match kind {
            QuotaKind::ProduceBytes | QuotaKind::FetchBytes => {
                value.fract() == 0.0 && value < TOO_LARGE
            }
            QuotaKind::RequestPercentage => value.is_finite(),
        };
        if value > 0.0 && fits {
            return Ok(());
        }
        let value = value.to_string();
        Err(QuotaError::Value { kind, value })
    }
}

/// Why a quota cannot be set.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum QuotaError {
    /// Neither a user nor a client id.
    #[error("a quota needs a user or a client id")]
    NoEntity,
    /// The name of an entity is empty or too long.
    #[error("the name of an entity has {actual} bytes, 1 to {max} are possible")]
    EntityName {
        /// Its length, bytes.
        actual: usize,
        /// The longest, bytes, inclusive.
        max: usize,
    },
    /// A limit that is none.
    #[error("{} cannot be {value}, expected a {} above 0", kind.name(), match kind {
        QuotaKind::ProduceBytes | QuotaKind::FetchBytes => "whole number",
        QuotaKind::RequestPercentage => "number",
    })]
    Value {
        /// Of what.
        kind: QuotaKind,
        /// What came.
        value: String,
    },
    /// A key is to be set and unset.
    #[error("{} is both set and removed", kind.name())]
    SetAndUnset {
        /// The key.
        kind: QuotaKind,
    },
    /// There are enough entities with quotas.
    #[error("{max} entities have quotas, no more are possible")]
    TooMany {
        /// How many are possible.
        max: usize,
    },
}
