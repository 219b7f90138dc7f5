//! Which Rust type stands for which field type of AMQP 0-9-1.
//!
//! `bool` is a bit, `u8` an octet, `u16` short, `u32` long, `u64` longlong. Knows no method.

use crate::error::SyntaxCause;
use crate::reader::Reader;
use crate::strings::{LongString, ShortString, Text};
use crate::table::Table;
use crate::writer::Writer;

/// A type that a method's field can have.
pub(crate) trait Field: Sized {
    fn read(reader: &mut Reader) -> Result<Self, SyntaxCause>;
    fn write(&self, writer: &mut Writer<'_>);
}

macro_rules! plain_field {
    ($($type:ident $name:ident;)*) => {
        $(impl Field for $type {
            fn read(reader: &mut Reader) -> Result<Self, SyntaxCause> {
                reader.$name()
            }

            fn write(&self, writer: &mut Writer<'_>) {
                writer.$name(*self);
            }
        })*
    };
}

plain_field! {
    bool bit;
    u8 u8;
    u16 u16;
    u32 u32;
    u64 u64;
}

impl Field for ShortString {
    fn read(reader: &mut Reader) -> Result<Self, SyntaxCause> {
        reader.short_string()
    }

    fn write(&self, writer: &mut Writer<'_>) {
        writer.short_bytes(self);
    }
}

impl Field for Text {
    fn read(reader: &mut Reader) -> Result<Self, SyntaxCause> {
        Self::of(reader.short_string()?).ok_or(SyntaxCause::NotUtf8)
    }

    fn write(&self, writer: &mut Writer<'_>) {
        writer.short_bytes(self.as_bytes());
    }
}

impl Field for LongString {
    fn read(reader: &mut Reader) -> Result<Self, SyntaxCause> {
        reader.long_bytes().map(Self)
    }

    fn write(&self, writer: &mut Writer<'_>) {
        writer.long_bytes(self);
    }
}

impl Field for Table {
    fn read(reader: &mut Reader) -> Result<Self, SyntaxCause> {
        Self::validate(reader.long_bytes()?)
    }

    fn write(&self, writer: &mut Writer<'_>) {
        writer.long_bytes(self.raw());
    }
}
