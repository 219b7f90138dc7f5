//! Which APIs and versions the schema has, which headers they use, and the enums over all bodies.
//!
//! What is *advertised* is the front end's: it never lists a key without a handler, and lists
//! Produce from version 0 although 3 is the oldest here (KAFKA-18659: librdkafka else turns
//! compression off).

use crate::error::{DecodeError, EncodeError};
use crate::reader::Reader;
use crate::sink::Sink;
use crate::version::VersionRange;
use crate::wire::Message;

include!(concat!(env!("OUT_DIR"), "/api.rs"));

/// What the schema has of one API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApiInfo {
    /// The API.
    pub key: ApiKey,
    /// Kafka's name.
    pub name: &'static str,
    /// Its versions, the same for request and response.
    pub versions: VersionRange,
    /// The first flexible version (KIP-482), if any.
    pub flexible_from: Option<i16>,
}

/// Every API of the schema, by ascending key.
#[must_use]
pub fn supported() -> &'static [ApiInfo] {
    &TABLE
}

impl ApiKey {
    /// The API under a number from the wire; `None` if the schema does not have it.
    #[must_use]
    pub fn from_i16(key: i16) -> Option<Self> {
        let at = TABLE
            .binary_search_by_key(&key, |row| i16::from(row.key))
            .ok()?;
        TABLE.get(at).map(|row| row.key)
    }

    /// What the schema has of this API.
    #[must_use]
    pub fn info(self) -> &'static ApiInfo {
        TABLE
            .binary_search_by_key(&self, |row| row.key)
            .ok()
            .and_then(|at| TABLE.get(at))
            .expect("the generator writes a row for each variant, by ascending key")
    }

    /// Kafka's name, such as `Fetch`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.info().name
    }

    /// The versions that can be decoded and encoded.
    #[must_use]
    pub fn versions(self) -> VersionRange {
        self.info().versions
    }

    /// Whether `version` has compact lengths and tagged fields.
    #[must_use]
    pub fn is_flexible(self, version: i16) -> bool {
        self.info()
            .flexible_from
            .is_some_and(|from| version >= from)
    }

    /// Version of the header before a request in `version`.
    #[must_use]
    pub fn request_header_version(self, version: i16) -> i16 {
        if self.is_flexible(version) { 2 } else { 1 }
    }

    /// Version of the header before a response in `version`.
    ///
    /// ApiVersions has header 0 throughout (KIP-511): a client must be able to read an answer in a
    /// version other than the one that it asked for.
    #[must_use]
    pub fn response_header_version(self, version: i16) -> i16 {
        i16::from(self != Self::ApiVersions && self.is_flexible(version))
    }
}

impl From<ApiKey> for i16 {
    fn from(key: ApiKey) -> Self {
        key as Self
    }
}
