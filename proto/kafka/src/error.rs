//! What can be wrong with bytes that came in, and with a message that is to go out.
//!
//! Every error names the message, its version, the field and (decoding) the position in the bytes.
//! Which protocol error code a client gets for it is the front end's business.

use crate::ApiKey;

/// Where in a message decoding stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Name of the message, such as `FetchRequest`.
    pub message: &'static str,
    /// Version of the message.
    pub version: i16,
    /// Struct and field in Kafka's spelling, such as `FetchPartition.FetchOffset`.
    pub field: &'static str,
    /// Bytes from the start of the reader's bytes to the value that could not be read.
    pub position: usize,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            message,
            version,
            field,
            position,
        } = self;
        write!(f, "{message} v{version}, {field} at byte {position}")
    }
}

/// Why bytes are not a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end before the value does.
    #[error("{place}: expected {needed} bytes, {remaining} remain")]
    Truncated {
        /// Where.
        place: Place,
        /// Bytes that the value takes, as far as known.
        needed: usize,
        /// Bytes that are left.
        remaining: usize,
    },
    /// An array, a string or a tag section claims more than the bytes that remain can hold.
    #[error("{place}: expected at most {remaining} bytes, {count} elements need {needed} or more")]
    Count {
        /// Where.
        place: Place,
        /// Elements claimed.
        count: usize,
        /// Fewest bytes that many elements take.
        needed: usize,
        /// Bytes that are left.
        remaining: usize,
    },
    /// The decoded arrays would take more memory than the reader allows for one message.
    #[error("{place}: expected at most {allowed} bytes of memory, elements need {needed}")]
    Memory {
        /// Where.
        place: Place,
        /// Bytes of memory the array would take.
        needed: usize,
        /// Bytes of memory that are left to this message.
        allowed: usize,
    },
    /// A length below zero, other than the -1 of a null.
    #[error("{place}: expected a length, got {length}")]
    NegativeLength {
        /// Where.
        place: Place,
        /// What came.
        length: i32,
    },
    /// A string above Kafka's limit of 32,767 bytes.
    #[error("{place}: expected at most {max} bytes of text, got {length}")]
    StringLength {
        /// Where.
        place: Place,
        /// What came.
        length: usize,
        /// The limit.
        max: usize,
    },
    /// Null where this version of the field has none.
    #[error("{place}: expected a value, got null")]
    Null {
        /// Where.
        place: Place,
    },
    /// A varint that does not fit 32 bits.
    #[error("{place}: expected a varint of at most 32 bits")]
    Varint {
        /// Where.
        place: Place,
    },
    /// Text that is not UTF-8.
    #[error("{place}: expected UTF-8 text")]
    Utf8 {
        /// Where.
        place: Place,
    },
    /// A tag that does not follow the one before it (KIP-482: ascending, none twice).
    #[error("{place}: expected a tag above the last, got {tag}")]
    TagOrder {
        /// Where.
        place: Place,
        /// What came.
        tag: u32,
    },
    /// A known tagged field that is longer or shorter than its size says.
    #[error("{place}: expected tag {tag} to take {size} bytes, took {taken}")]
    TagSize {
        /// Where.
        place: Place,
        /// The tag.
        tag: u32,
        /// What its size field says.
        size: usize,
        /// What its value took.
        taken: usize,
    },
    /// A version that the schema does not have.
    #[error("{message}: version {version} is not supported")]
    Version {
        /// Name of the message.
        message: &'static str,
        /// What came.
        version: i16,
    },
    /// A request under a key that the schema does not have.
    #[error(
        "API key {api_key} is not supported (version {version}, correlation id {correlation_id})"
    )]
    ApiKey {
        /// What came.
        api_key: i16,
        /// The version asked for.
        version: i16,
        /// To answer it, if at all.
        correlation_id: i32,
    },
    /// A request in a version that the schema does not have; to ApiVersions the answer is error 35
    /// in version 0.
    #[error("{api:?}: version {version} is not supported (correlation id {correlation_id})")]
    RequestVersion {
        /// The API asked for.
        api: ApiKey,
        /// What came.
        version: i16,
        /// To answer it.
        correlation_id: i32,
    },
}

/// Why a message cannot be written in a version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The version has no such field, the value is not the default, and it may not be dropped.
    #[error("{message} v{version}: {field} is set, but this version has no such field")]
    FieldVersion {
        /// Name of the message.
        message: &'static str,
        /// Version asked for.
        version: i16,
        /// Struct and field in Kafka's spelling.
        field: &'static str,
    },
    /// Null in a version in which the field has none.
    #[error("{message} v{version}: {field} is null, which this version cannot say")]
    Null {
        /// Name of the message.
        message: &'static str,
        /// Version asked for.
        version: i16,
        /// Struct and field in Kafka's spelling.
        field: &'static str,
    },
    /// A string, an array, bytes or a frame above what its length field can say.
    #[error("{message} v{version}: {field} has {length} bytes or elements, at most {max} fit")]
    Length {
        /// Name of the message.
        message: &'static str,
        /// Version asked for.
        version: i16,
        /// Struct and field in Kafka's spelling.
        field: &'static str,
        /// How long it is.
        length: usize,
        /// How long it may be.
        max: usize,
    },
    /// A version that the schema does not have.
    #[error("{message}: version {version} is not supported")]
    Version {
        /// Name of the message.
        message: &'static str,
        /// Version asked for.
        version: i16,
    },
}
