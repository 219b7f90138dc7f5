//! The fourteen properties of a message of class `basic` (AMQP 0-9-1, 1.8.4, 4.2.6.1).
//!
//! [`Properties`] keeps the bytes they came in, checked once, so that a message leaves the broker
//! with the same bytes; [`BasicProperties`] is the view, read on demand without copies, and the
//! form in which properties are written. Does not know what any property means.

use bytes::{Bytes, BytesMut};

use crate::error::SyntaxCause;
use crate::slice::{take_array, take_long, take_short};
use crate::strings::{TooLong, check_length};
use crate::table::{Table, TableRef, check_table};
use crate::writer::Writer;

/// The flag that announces a second word of flags.
const CONTINUES: u16 = 1;

/// Checked properties: flags and values, as in a content header.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Properties(Bytes);

/// No property at all.
impl Default for Properties {
    fn default() -> Self {
        Self(Bytes::from_static(&[0, 0]))
    }
}

/// A form that a property's value can have, while it is only looked at.
trait Part<'a>: Sized {
    fn read(rest: &mut &'a [u8]) -> Result<Self, SyntaxCause>;

    /// Checks a value as it comes in; reading is checking where nothing lies deeper.
    fn check(rest: &mut &'a [u8]) -> Result<(), SyntaxCause> {
        Self::read(rest).map(|_| ())
    }

    fn write(self, writer: &mut Writer<'_>) -> Result<(), TooLong>;
}

macro_rules! properties {
    ($a:lifetime $($(#[$doc:meta])* $flag:literal $field:ident : $type:ty;)*) => {
        /// The properties of a message; `None` for those that are absent.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct BasicProperties<$a> {
            $($(#[$doc])* pub $field: Option<$type>,)*
        }

        impl BasicProperties<'_> {
            /// Writes the properties down.
            ///
            /// # Errors
            /// When a string is too long for a short string.
            pub fn encode(&self) -> Result<Properties, TooLong> {
                let mut buffer = BytesMut::with_capacity(64);
                let mut writer = Writer::new(&mut buffer);
                let mut flags = 0;
                $(if self.$field.is_some() {
                    flags |= 1 << $flag;
                })*
                writer.u16(flags);
                $(if let Some(value) = self.$field {
                    value.write(&mut writer)?;
                })*
                Ok(Properties(buffer.freeze()))
            }
        }

        fn check_values<$a>(
            flags: u16,
            rest: &mut &$a [u8],
        ) -> Result<(), (&'static str, SyntaxCause)> {
            $(if flags & (1 << $flag) != 0 {
                <$type>::check(rest).map_err(|cause| (stringify!($field), cause))?;
            })*
            Ok(())
        }

        impl Properties {
            /// Checks the bytes of the properties, flags included.
            ///
            /// # Errors
            /// The name of the property at fault, and why: `Truncated`, `FlagsContinue`, `LeftOver`,
            /// or what a table can have.
            pub fn validate(bytes: Bytes) -> Result<Self, (&'static str, SyntaxCause)> {
                let mut rest = &bytes[..];
                let flags = take_array(&mut rest).map_err(|cause| ("flags", cause))?;
                let flags = u16::from_be_bytes(flags);
                // Deviation: RabbitMQ ignores this bit and passes it on; consumers that heed it
                // would then read values as flags.
                if flags & CONTINUES != 0 {
                    return Err(("flags", SyntaxCause::FlagsContinue));
                }
                check_values(flags, &mut rest)?;
                match rest.len() {
                    0 => Ok(Self(bytes)),
                    remaining => Err(("end", SyntaxCause::LeftOver { remaining })),
                }
            }

            /// Shows the properties.
            #[must_use]
            pub fn view<$a>(&$a self) -> BasicProperties<$a> {
                let mut view = BasicProperties::default();
                let Some((flags, mut rest)) = self.0.split_first_chunk() else {
                    return view;
                };
                let flags = u16::from_be_bytes(*flags);
                // The bytes were checked: each value that a flag announces is there.
                $(if flags & (1 << $flag) != 0 {
                    view.$field = <$type>::read(&mut rest).ok();
                })*
                view
            }
        }
    };
}

properties! {
    'a
    /// MIME type of the body.
    15 content_type: &'a [u8];
    /// MIME encoding of the body.
    14 content_encoding: &'a [u8];
    /// The sender's headers.
    13 headers: TableRef<'a>;
    /// 1 = may be lost with the broker, 2 = persistent.
    12 delivery_mode: u8;
    /// The priority.
    11 priority: u8;
    /// Which request this answers.
    10 correlation_id: &'a [u8];
    /// Where an answer goes.
    9 reply_to: &'a [u8];
    /// Milliseconds to live, as decimal text.
    8 expiration: &'a [u8];
    /// The message's id, chosen by the sender.
    7 message_id: &'a [u8];
    /// Seconds since 1970.
    6 timestamp: u64;
    /// The message's type.
    5 kind: &'a [u8];
    /// The user who published it.
    4 user_id: &'a [u8];
    /// The application that published it.
    3 app_id: &'a [u8];
    /// Retired; passed on.
    2 cluster_id: &'a [u8];
}

impl Properties {
    /// Shows the bytes, flags included.
    #[must_use]
    pub const fn raw(&self) -> &Bytes {
        &self.0
    }

    /// Shows the headers as a table that shares these bytes; empty when there are none.
    #[must_use]
    pub fn headers(&self) -> Table {
        match self.view().headers {
            Some(headers) => Table::trusted(self.0.slice_ref(headers.raw())),
            None => Table::default(),
        }
    }
}

impl<'a> Part<'a> for &'a [u8] {
    fn read(rest: &mut &'a [u8]) -> Result<Self, SyntaxCause> {
        take_short(rest)
    }

    fn write(self, writer: &mut Writer<'_>) -> Result<(), TooLong> {
        check_length(self.len())?;
        writer.short_bytes(self);
        Ok(())
    }
}

impl<'a> Part<'a> for TableRef<'a> {
    fn read(rest: &mut &'a [u8]) -> Result<Self, SyntaxCause> {
        take_long(rest).map(TableRef::trusted)
    }

    fn check(rest: &mut &'a [u8]) -> Result<(), SyntaxCause> {
        check_table(take_long(rest)?)
    }

    fn write(self, writer: &mut Writer<'_>) -> Result<(), TooLong> {
        writer.long_bytes(self.raw());
        Ok(())
    }
}

impl<'a> Part<'a> for u8 {
    fn read(rest: &mut &'a [u8]) -> Result<Self, SyntaxCause> {
        take_array(rest).map(Self::from_be_bytes)
    }

    fn write(self, writer: &mut Writer<'_>) -> Result<(), TooLong> {
        writer.u8(self);
        Ok(())
    }
}

impl<'a> Part<'a> for u64 {
    fn read(rest: &mut &'a [u8]) -> Result<Self, SyntaxCause> {
        take_array(rest).map(Self::from_be_bytes)
    }

    fn write(self, writer: &mut Writer<'_>) -> Result<(), TooLong> {
        writer.u64(self);
        Ok(())
    }
}
