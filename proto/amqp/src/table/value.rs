//! The values of a field table, one variant for each type octet that RabbitMQ knows.
//!
//! Reads checked bytes: a value that does not decode ends the walk instead of giving an error.

use crate::slice::{take_array, take_long};
use crate::table::{ArrayRef, TableRef};

/// A value of a table or array. Equality is that of types and bits: `Short(1)` is not `Byte(1)`,
/// and two `Double`s are equal when they compare so.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// `t`: a truth value; any octet but 0 is true.
    Bool(bool),
    /// `b`: signed, 8 bit.
    Byte(i8),
    /// `B`: unsigned, 8 bit.
    UnsignedByte(u8),
    /// `s`: signed, 16 bit.
    Short(i16),
    /// `u`: unsigned, 16 bit.
    UnsignedShort(u16),
    /// `I`: signed, 32 bit.
    Int(i32),
    /// `i`: unsigned, 32 bit.
    UnsignedInt(u32),
    /// `l` and `L`: signed, 64 bit; written as `l`.
    Long(i64),
    /// `f`: IEEE 754, 32 bit.
    Float(f32),
    /// `d`: IEEE 754, 64 bit.
    Double(f64),
    /// `D`: a number and how many of its digits stand behind the point.
    Decimal {
        /// Digits behind the point.
        scale: u8,
        /// All digits; RabbitMQ reads them as unsigned, clients write signed ones.
        digits: u32,
    },
    /// `S`: text, by convention UTF-8.
    LongString(&'a [u8]),
    /// `x`: bytes.
    Binary(&'a [u8]),
    /// `A`: values.
    Array(ArrayRef<'a>),
    /// `T`: seconds since 1970, unsigned, 64 bit.
    Timestamp(u64),
    /// `F`: a table.
    Table(TableRef<'a>),
    /// `V`: nothing.
    Void,
}

impl<'a> Value<'a> {
    /// Returns the bytes of text or of binary data.
    #[must_use]
    pub const fn as_bytes(self) -> Option<&'a [u8]> {
        match self {
            Self::LongString(bytes) | Self::Binary(bytes) => Some(bytes),
            Self::Bool(_)
            | Self::Byte(_)
            | Self::UnsignedByte(_)
            | Self::Short(_)
            | Self::UnsignedShort(_)
            | Self::Int(_)
            | Self::UnsignedInt(_)
            | Self::Long(_)
            | Self::Float(_)
            | Self::Double(_)
            | Self::Decimal { .. }
            | Self::Array(_)
            | Self::Timestamp(_)
            | Self::Table(_)
            | Self::Void => None,
        }
    }

    /// Returns the text of a long string if it is UTF-8.
    #[must_use]
    pub fn as_str(self) -> Option<&'a str> {
        let Self::LongString(bytes) = self else {
            return None;
        };
        std::str::from_utf8(bytes).ok()
    }

    /// Returns a whole number of any width; a timestamp is none.
    #[must_use]
    pub fn as_i64(self) -> Option<i64> {
        Some(match self {
            Self::Byte(number) => number.into(),
            Self::UnsignedByte(number) => number.into(),
            Self::Short(number) => number.into(),
            Self::UnsignedShort(number) => number.into(),
            Self::Int(number) => number.into(),
            Self::UnsignedInt(number) => number.into(),
            Self::Long(number) => number,
            Self::Bool(_)
            | Self::Float(_)
            | Self::Double(_)
            | Self::Decimal { .. }
            | Self::LongString(_)
            | Self::Binary(_)
            | Self::Array(_)
            | Self::Timestamp(_)
            | Self::Table(_)
            | Self::Void => return None,
        })
    }

    /// Returns the type octet; that of `l` for `L`, which is the same type.
    #[must_use]
    pub const fn tag(self) -> u8 {
        match self {
            Self::Bool(_) => b't',
            Self::Byte(_) => b'b',
            Self::UnsignedByte(_) => b'B',
            Self::Short(_) => b's',
            Self::UnsignedShort(_) => b'u',
            Self::Int(_) => b'I',
            Self::UnsignedInt(_) => b'i',
            Self::Long(_) => b'l',
            Self::Float(_) => b'f',
            Self::Double(_) => b'd',
            Self::Decimal { .. } => b'D',
            Self::LongString(_) => b'S',
            Self::Binary(_) => b'x',
            Self::Array(_) => b'A',
            Self::Timestamp(_) => b'T',
            Self::Table(_) => b'F',
            Self::Void => b'V',
        }
    }

    /// Names the type as RabbitMQ's error texts do.
    #[must_use]
    pub const fn type_name(self) -> &'static str {
        match self {
            Self::Bool(_) => "bool",
            Self::Byte(_) => "byte",
            Self::UnsignedByte(_) => "unsignedbyte",
            Self::Short(_) => "short",
            Self::UnsignedShort(_) => "unsignedshort",
            Self::Int(_) => "signedint",
            Self::UnsignedInt(_) => "unsignedint",
            Self::Long(_) => "long",
            Self::Float(_) => "float",
            Self::Double(_) => "double",
            Self::Decimal { .. } => "decimal",
            Self::LongString(_) => "longstr",
            Self::Binary(_) => "binary",
            Self::Array(_) => "array",
            Self::Timestamp(_) => "timestamp",
            Self::Table(_) => "table",
            Self::Void => "void",
        }
    }
}

/// Takes a type octet and its value.
pub(super) fn take_value<'a>(rest: &mut &'a [u8]) -> Option<Value<'a>> {
    let tag = *rest.split_off_first()?;
    Some(match tag {
        b't' => Value::Bool(take_array::<1>(rest).ok()? != [0]),
        b'b' => Value::Byte(i8::from_be_bytes(take_array(rest).ok()?)),
        b'B' => Value::UnsignedByte(u8::from_be_bytes(take_array(rest).ok()?)),
        b's' => Value::Short(i16::from_be_bytes(take_array(rest).ok()?)),
        b'u' => Value::UnsignedShort(u16::from_be_bytes(take_array(rest).ok()?)),
        b'I' => Value::Int(i32::from_be_bytes(take_array(rest).ok()?)),
        b'i' => Value::UnsignedInt(u32::from_be_bytes(take_array(rest).ok()?)),
        b'l' | b'L' => Value::Long(i64::from_be_bytes(take_array(rest).ok()?)),
        b'f' => Value::Float(f32::from_be_bytes(take_array(rest).ok()?)),
        b'd' => Value::Double(f64::from_be_bytes(take_array(rest).ok()?)),
        b'D' => {
            let [scale] = take_array(rest).ok()?;
            let digits = u32::from_be_bytes(take_array(rest).ok()?);
            Value::Decimal { scale, digits }
        }
        b'S' => Value::LongString(take_long(rest).ok()?),
        b'x' => Value::Binary(take_long(rest).ok()?),
        b'A' => Value::Array(ArrayRef(take_long(rest).ok()?)),
        b'T' => Value::Timestamp(u64::from_be_bytes(take_array(rest).ok()?)),
        b'F' => Value::Table(TableRef(take_long(rest).ok()?)),
        b'V' => Value::Void,
        _ => return None,
    })
}
