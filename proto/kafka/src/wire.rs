//! How each type stands on the wire; the structs of the schema implement [`Wire`] by generated code.
//!
//! Types say which null they have: `Option<ByteString>` may be null, `ByteString` may not.

use bytes::Bytes;
use bytestring::ByteString;

use crate::error::{DecodeError, EncodeError};
use crate::reader::Reader;
use crate::record_set::RecordSet;
use crate::sink::{Sink, SizeCounter};
use crate::uuid::Uuid;
use crate::version::{Encoding, VersionRange};
use crate::writer::Writer;

/// A value that can be read from and written to the wire.
pub trait Wire: Sized {
    /// Fewest bytes that a value takes in `version`: what a count is checked against.
    #[doc(hidden)]
    fn bytes_min(version: i16, encoding: Encoding) -> usize;

    /// Reads a value; an error names `field`.
    #[doc(hidden)]
    fn read(reader: &mut Reader, field: &'static str) -> Result<Self, DecodeError>;

    /// Writes the value; an error names `field`.
    #[doc(hidden)]
    fn write<S: Sink>(
        &self,
        writer: &mut Writer<'_, S>,
        field: &'static str,
    ) -> Result<(), EncodeError>;
}

/// A whole message: the body of a request or a response, a header, or a consumer's metadata.
pub trait Message: Wire {
    /// Kafka's name, such as `FetchRequest`.
    const NAME: &'static str;
    /// The versions that the schema has.
    const VERSIONS: VersionRange;
    /// The first flexible version (KIP-482), if any.
    const FLEXIBLE_FROM: Option<i16>;

    /// How `version` writes lengths.
    #[must_use]
    fn encoding(version: i16) -> Encoding {
        match Self::FLEXIBLE_FROM {
            Some(from) if version >= from => Encoding::Flexible,
            Some(_) | None => Encoding::Classic,
        }
    }

    /// Reads the message from where `reader` stands. Bytes that trail it stay in the reader.
    ///
    /// # Errors
    /// [`DecodeError::Version`] for a version outside [`Self::VERSIONS`]; else whatever is wrong
    /// with the bytes. The reader's position is then unspecified.
    fn decode(reader: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        if !Self::VERSIONS.contains(version) {
            return Err(DecodeError::Version {
                message: Self::NAME,
                version,
            });
        }
        reader.enter(Self::NAME, version, Self::encoding(version));
        Self::read(reader, Self::NAME)
    }

    /// Appends the message to `sink`.
    ///
    /// # Errors
    /// [`EncodeError::Version`] for a version outside [`Self::VERSIONS`]; else a value that this
    /// version cannot carry. Part of the message is then in the sink already: where that matters,
    /// ask for [`Self::encoded_len`] first, which fails alike.
    fn encode<S: Sink>(&self, version: i16, sink: &mut S) -> Result<(), EncodeError> {
        if !Self::VERSIONS.contains(version) {
            return Err(EncodeError::Version {
                message: Self::NAME,
                version,
            });
        }
        let mut writer = Writer::new(sink, Self::NAME, version, Self::encoding(version));
        self.write(&mut writer, Self::NAME)
    }

    /// Bytes that [`Self::encode`] would append.
    ///
    /// # Errors
    /// Those of [`Self::encode`].
    fn encoded_len(&self, version: i16) -> Result<usize, EncodeError> {
        let mut counter = SizeCounter::default();
        self.encode(version, &mut counter)?;
        Ok(counter.size)
    }
}

/// Numbers: big-endian, of fixed size.
macro_rules! wire_numbers {
    ($($number:ty),*) => {$(
        impl Wire for $number {
            #[inline]
            fn bytes_min(_: i16, _: Encoding) -> usize {
                size_of::<Self>()
            }

            #[inline]
            fn read(reader: &mut Reader, field: &'static str) -> Result<Self, DecodeError> {
                Ok(Self::from_be_bytes(reader.take(field)?))
            }

            #[inline]
            fn write<S: Sink>(
                &self,
                writer: &mut Writer<'_, S>,
                _: &'static str,
            ) -> Result<(), EncodeError> {
                writer.raw(&self.to_be_bytes());
                Ok(())
            }
        }
    )*};
}

wire_numbers!(i8, i16, u16, i32, i64, f64);

impl Wire for bool {
    fn bytes_min(_: i16, _: Encoding) -> usize {
        1
    }

    /// Anything but 0 is true, as in Kafka.
    fn read(reader: &mut Reader, field: &'static str) -> Result<Self, DecodeError> {
        Ok(reader.take(field)? != [0])
    }

    fn write<S: Sink>(
        &self,
        writer: &mut Writer<'_, S>,
        _: &'static str,
    ) -> Result<(), EncodeError> {
        writer.raw(&[u8::from(*self)]);
        Ok(())
    }
}

impl Wire for Uuid {
    fn bytes_min(_: i16, _: Encoding) -> usize {
        size_of::<Self>()
    }

    fn read(reader: &mut Reader, field: &'static str) -> Result<Self, DecodeError> {
        Ok(Self(reader.take(field)?))
    }

    fn write<S: Sink>(
        &self,
        writer: &mut Writer<'_, S>,
        _: &'static str,
    ) -> Result<(), EncodeError> {
        writer.raw(&self.0);
        Ok(())
    }
}

/// Types that have a null: `Option<T>` is read and written here, `T` refuses null.
macro_rules! wire_refuses_null {
    ($($type:ty $(, $generic:ident)?);*) => {$(
        impl$(<$generic: Wire>)? Wire for $type {
            fn bytes_min(version: i16, encoding: Encoding) -> usize {
                <Option<Self>>::bytes_min(version, encoding)
            }

            fn read(reader: &mut Reader, field: &'static str) -> Result<Self, DecodeError> {
                match <Option<Self>>::read(reader, field)? {
                    Some(value) => Ok(value),
                    None => Err(DecodeError::Null { place: reader.place(field) }),
                }
            }

            fn write<S: Sink>(
                &self,
                writer: &mut Writer<'_, S>,
                field: &'static str,
            ) -> Result<(), EncodeError> {
                Self::write_some(self, writer, field)
            }
        }
    )*};
}

wire_refuses_null!(ByteString; Bytes; RecordSet; Vec<T>, T);

/// The non-null half of a type that has a null.
trait WriteSome {
    fn write_some<S: Sink>(
        &self,
        writer: &mut Writer<'_, S>,
        field: &'static str,
    ) -> Result<(), EncodeError>;
}

impl WriteSome for ByteString {
    fn write_some<S: Sink>(
        &self,
        writer: &mut Writer<'_, S>,
        field: &'static str,
    ) -> Result<(), EncodeError> {
        writer.string_length(field, Some(self.len()))?;
        writer.raw(self.as_bytes());
        Ok(())
    }
}

impl WriteSome for Bytes {
    fn write_some<S: Sink>(
        &self,
        writer: &mut Writer<'_, S>,
        field: &'static str,
    ) -> Result<(), EncodeError> {
        writer.length(field, Some(self.len()))?;
        writer.shared(self);
        Ok(())
    }
}

impl WriteSome for RecordSet {
    fn write_some<S: Sink>(
        &self,
        writer: &mut Writer<'_, S>,
        field: &'static str,
    ) -> Result<(), EncodeError> {
        writer.length(field, Some(self.len()))?;
        for piece in self.pieces() {
            writer.shared(piece);
        }
        Ok(())
    }
}

impl<T: Wire> WriteSome for Vec<T> {
    fn write_some<S: Sink>(
        &self,
        writer: &mut Writer<'_, S>,
        field: &'static str,
    ) -> Result<(), EncodeError> {
        writer.array(field, Some(self))
    }
}

impl Wire for Option<ByteString> {
    fn bytes_min(_: i16, encoding: Encoding) -> usize {
        match encoding {
            Encoding::Classic => 2,
            Encoding::Flexible => 1,
        }
    }

    fn read(reader: &mut Reader, field: &'static str) -> Result<Self, DecodeError> {
        let Some(length) = reader.string_length(field)? else {
            return Ok(None);
        };
        let place = reader.place(field);
        match ByteString::try_from(reader.share(field, length)?) {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(DecodeError::Utf8 { place }),
        }
    }

    fn write<S: Sink>(
        &self,
        writer: &mut Writer<'_, S>,
        field: &'static str,
    ) -> Result<(), EncodeError> {
        match self {
            Some(text) => text.write_some(writer, field),
            None => writer.string_length(field, None),
        }
    }
}

impl Wire for Option<Bytes> {
    fn bytes_min(_: i16, encoding: Encoding) -> usize {
        match encoding {
            Encoding::Classic => 4,
            Encoding::Flexible => 1,
        }
    }

    fn read(reader: &mut Reader, field: &'static str) -> Result<Self, DecodeError> {
        let Some(length) = reader.length(field)? else {
            return Ok(None);
        };
        reader.share(field, length).map(Some)
    }

    fn write<S: Sink>(
        &self,
        writer: &mut Writer<'_, S>,
        field: &'static str,
    ) -> Result<(), EncodeError> {
        match self {
            Some(bytes) => bytes.write_some(writer, field),
            None => writer.length(field, None),
        }
    }
}

impl Wire for Option<RecordSet> {
    fn bytes_min(version: i16, encoding: Encoding) -> usize {
        <Option<Bytes>>::bytes_min(version, encoding)
    }

    fn read(reader: &mut Reader, field: &'static str) -> Result<Self, DecodeError> {
        Ok(<Option<Bytes>>::read(reader, field)?.map(RecordSet::from))
    }

    fn write<S: Sink>(
        &self,
        writer: &mut Writer<'_, S>,
        field: &'static str,
    ) -> Result<(), EncodeError> {
        match self {
            Some(records) => records.write_some(writer, field),
            None => writer.length(field, None),
        }
    }
}

impl<T: Wire> Wire for Option<Vec<T>> {
    fn bytes_min(_: i16, encoding: Encoding) -> usize {
        match encoding {
            Encoding::Classic => 4,
            Encoding::Flexible => 1,
        }
    }

    fn read(reader: &mut Reader, field: &'static str) -> Result<Self, DecodeError> {
        reader.array(field)
    }

    fn write<S: Sink>(
        &self,
        writer: &mut Writer<'_, S>,
        field: &'static str,
    ) -> Result<(), EncodeError> {
        writer.array(field, self.as_deref())
    }
}

/// Reads a struct that may be null: a byte below zero says so (KIP-893).
pub(crate) fn read_nullable<T: Wire>(
    reader: &mut Reader,
    field: &'static str,
) -> Result<Option<T>, DecodeError> {
    let mark: i8 = reader.get(field)?;
    if mark < 0 {
        Ok(None)
    } else {
        T::read(reader, field).map(Some)
    }
}

/// Writes a struct that may be null.
pub(crate) fn write_nullable<T: Wire, S: Sink>(
    value: Option<&T>,
    writer: &mut Writer<'_, S>,
    field: &'static str,
) -> Result<(), EncodeError> {
    match value {
        Some(value) => {
            writer.put(field, &1_i8)?;
            value.write(writer, field)
        }
        None => writer.put(field, &-1_i8),
    }
}
