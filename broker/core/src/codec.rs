//! Little pieces of the hand-written formats: big-endian numbers, counted bytes, counted lists.
//!
//! Knows no command and no state. Every length is checked against the bytes that remain before
//! memory is taken for it, so a hostile count costs nothing.

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Bytes that are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum CodecError {
    /// Fewer bytes than a field needs.
    #[error("truncated: {needed} bytes needed, {remaining} remain")]
    Truncated {
        /// Bytes the field needs.
        needed: usize,
        /// Bytes there are.
        remaining: usize,
    },
    /// A version that this build does not know.
    #[error("unknown version {version} of {what}")]
    UnknownVersion {
        /// What was being read.
        what: String,
        /// The version found.
        version: u8,
    },
    /// A tag that this build does not know.
    #[error("unknown tag {tag} of {what}")]
    UnknownTag {
        /// What was being read.
        what: String,
        /// The tag found.
        tag: u8,
    },
    /// A count or length over its limit.
    #[error("{what}: {actual} is over the limit of {limit}")]
    OverLimit {
        /// What was being read.
        what: String,
        /// The count or length found.
        actual: usize,
        /// The largest that is allowed.
        limit: usize,
    },
    /// Text that is not UTF-8.
    #[error("text is not valid UTF-8")]
    NotUtf8,
    /// Bytes after the end.
    #[error("{remaining} bytes left over")]
    LeftOver {
        /// How many.
        remaining: usize,
    },
}

/// Persisted state that cannot be taken back.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RestoreError {
    /// A row or checkpoint does not decode.
    #[error("state does not decode: {0}")]
    Codec(#[from] CodecError),
    /// A row whose key belongs to no family.
    #[error("unknown state row of {key_bytes} bytes, family {family}")]
    UnknownRow {
        /// First byte of the key; 0 when the key is empty.
        family: u8,
        /// Length of the key.
        key_bytes: usize,
    },
    /// Rows without the head row that every persisted state has.
    #[error("the head row is missing, {rows_count} other rows are there")]
    HeadMissing {
        /// How many other rows there are.
        rows_count: usize,
    },
    /// The log would start after its end.
    #[error("log start {log_start} lies after log end {log_end}")]
    LogBounds {
        /// The log start that was read.
        log_start: i64,
        /// The log end that was read.
        log_end: i64,
    },
    /// Rows that contradict each other.
    #[error("state rows contradict each other: {what}")]
    Contradiction {
        /// Which rule is broken.
        what: &'static str,
    },
}

/// Reads fields from the front of some bytes.
#[derive(Debug, Clone)]
pub struct Reader {
    bytes: Bytes,
}

macro_rules! read_number {
    ($name:ident, $type:ty, $size:literal) => {
        #[doc = concat!("Reads a big-endian `", stringify!($type), "`.")]
        ///
        /// # Errors
        /// `Truncated`.
        pub fn $name(&mut self) -> Result<$type, CodecError> {
            Ok(<$type>::from_be_bytes(self.array::<$size>()?))
        }
    };
}

impl Reader {
    /// Starts at the front.
    #[must_use]
    pub const fn new(bytes: Bytes) -> Self {
        Self { bytes }
    }

    /// Counts what is left.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.bytes.len()
    }

    /// Reads as many bytes as the array holds.
    ///
    /// # Errors
    /// `Truncated`.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], CodecError> {
        let mut array = [0; N];
        array.copy_from_slice(&self.take(N)?);
        Ok(array)
    }

    read_number!(u8, u8, 1);
    read_number!(u16, u16, 2);
    read_number!(u32, u32, 4);
    read_number!(u64, u64, 8);
    read_number!(i16, i16, 2);
    read_number!(i32, i32, 4);
    read_number!(i64, i64, 8);

    /// Takes so many bytes, without copying them.
    ///
    /// # Errors
    /// `Truncated`.
    pub fn take(&mut self, length: usize) -> Result<Bytes, CodecError> {
        if length > self.bytes.len() {
            return Err(CodecError::Truncated {
                needed: length,
                remaining: self.bytes.len(),
            });
        }
        Ok(self.bytes.split_to(length))
    }

    /// Takes everything that is left, without copying it.
    #[must_use]
    pub fn rest(&mut self) -> Bytes {
        std::mem::take(&mut self.bytes)
    }

    /// Reads the count of a list whose items take at least `item_bytes_min` bytes each.
    ///
    /// # Errors
    /// `Truncated` when so many items cannot fit into what remains; `OverLimit`.
    pub fn count(
        &mut self,
        what: &'static str,
        item_bytes_min: usize,
        limit: usize,
    ) -> Result<usize, CodecError> {
        let count = self.u32()? as usize;
        if count > limit {
            return Err(CodecError::OverLimit {
                what: what.to_owned(),
                actual: count,
                limit,
            });
        }
        let needed = count.saturating_mul(item_bytes_min.max(1));
        if needed > self.remaining() {
            return Err(CodecError::Truncated {
                needed,
                remaining: self.remaining(),
            });
        }
        Ok(count)
    }

    /// Reads counted text.
    ///
    /// # Errors
    /// `Truncated`, `OverLimit`, `NotUtf8`.
    pub fn text(&mut self, what: &'static str, limit: usize) -> Result<String, CodecError> {
        let length = self.count(what, 1, limit)?;
        let bytes = self.take(length)?;
        std::str::from_utf8(&bytes)
            .map(str::to_owned)
            .map_err(|_| CodecError::NotUtf8)
    }

    /// Reads a truth value.
    ///
    /// # Errors
    /// `Truncated`; `UnknownTag` for anything but 0 and 1.
    pub fn flag(&mut self, what: &'static str) -> Result<bool, CodecError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            tag => Err(CodecError::UnknownTag {
                what: what.to_owned(),
                tag,
            }),
        }
    }

    /// Reads and checks a leading version byte.
    ///
    /// # Errors
    /// `Truncated`; `UnknownVersion` for any other version.
    pub fn version(&mut self, what: &'static str, known: u8) -> Result<(), CodecError> {
        let version = self.u8()?;
        if version == known {
            return Ok(());
        }
        Err(CodecError::UnknownVersion {
            what: what.to_owned(),
            version,
        })
    }

    /// Reads a version from 1 up to the newest that is known.
    ///
    /// # Errors
    /// `Truncated`; `UnknownVersion` for any other version.
    pub fn version_up_to(&mut self, what: &'static str, newest: u8) -> Result<u8, CodecError> {
        let version = self.u8()?;
        if (1..=newest).contains(&version) {
            return Ok(version);
        }
        Err(CodecError::UnknownVersion {
            what: what.to_owned(),
            version,
        })
    }

    /// Checks that nothing is left.
    ///
    /// # Errors
    /// `LeftOver`.
    pub fn finish(self) -> Result<(), CodecError> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        Err(CodecError::LeftOver {
            remaining: self.bytes.len(),
        })
    }
}

/// Writes fields, the reverse of [`Reader`].
#[derive(Debug, Default)]
pub struct Writer {
    bytes: BytesMut,
}

macro_rules! write_number {
    ($name:ident, $type:ty, $put:ident) => {
        #[doc = concat!("Writes a big-endian `", stringify!($type), "`.")]
        pub fn $name(&mut self, value: $type) -> &mut Self {
            self.bytes.$put(value);
            self
        }
    };
}

impl Writer {
    /// Starts empty.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts empty, with room for so many bytes.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            bytes: BytesMut::with_capacity(capacity),
        }
    }

    write_number!(u8, u8, put_u8);
    write_number!(u16, u16, put_u16);
    write_number!(u32, u32, put_u32);
    write_number!(u64, u64, put_u64);
    write_number!(i16, i16, put_i16);
    write_number!(i32, i32, put_i32);
    write_number!(i64, i64, put_i64);

    /// Writes bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.put_slice(bytes);
        self
    }

    /// Writes the count of a list.
    ///
    /// Counts are bounded far below `u32::MAX` by `limits`; a larger one is written as the
    /// largest, which every reader refuses.
    pub fn count(&mut self, count: usize) -> &mut Self {
        self.u32(u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// Writes counted text.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.count(text.len()).raw(text.as_bytes())
    }

    /// Writes something with its length in front, without a copy.
    pub fn counted(&mut self, write: impl FnOnce(&mut Self)) -> &mut Self {
        let start = self.bytes.len();
        self.u32(0);
        write(self);
        let length = self.bytes.len() - start - size_of::<u32>();
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        self.bytes[start..start + size_of::<u32>()].copy_from_slice(&length.to_be_bytes());
        self
    }

    /// Writes a truth value.
    pub fn flag(&mut self, value: bool) -> &mut Self {
        self.u8(u8::from(value))
    }

    /// Ends the writing.
    #[must_use]
    pub fn finish(self) -> Bytes {
        self.bytes.freeze()
    }
}
