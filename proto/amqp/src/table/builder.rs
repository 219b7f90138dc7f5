//! Writes tables and arrays: server properties, `x-death` and other headers that a broker adds.
//!
//! What comes out is checked by construction: names are short strings, and inner tables and arrays
//! are checked values themselves.

use bytes::{BufMut, Bytes, BytesMut};

use crate::error::SyntaxCause;
use crate::limits::SHORT_STRING_BYTES_MAX;
use crate::strings::TooLong;
use crate::table::{ArrayRef, Table, TableRef, Value, validate};

/// Collects the entries of a table.
#[derive(Debug, Clone, Default)]
pub struct TableBuilder(BytesMut);

impl TableBuilder {
    /// Starts without an entry.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts with the entries of a table, to add to them.
    #[must_use]
    pub fn from_table(table: TableRef<'_>) -> Self {
        Self(BytesMut::from(table.raw()))
    }

    /// Starts with the entries of a table except those of one name; the others keep their bytes.
    #[must_use]
    pub fn from_table_without(table: TableRef<'_>, name: &str) -> Self {
        let mut kept = BytesMut::with_capacity(table.raw().len());
        for (key, entry) in table.raw_entries() {
            if key != name.as_bytes() {
                kept.put_slice(entry);
            }
        }
        Self(kept)
    }

    /// Adds an entry, behind any other of the same name.
    ///
    /// # Errors
    /// When the name is too long.
    pub fn put(&mut self, name: &[u8], value: Value<'_>) -> Result<&mut Self, TooLong> {
        let actual = name.len();
        let length = u8::try_from(actual).map_err(|_| TooLong { actual })?;
        debug_assert!(actual <= SHORT_STRING_BYTES_MAX, "an octet counts so far");
        self.0.put_u8(length);
        self.0.put_slice(name);
        put_value(&mut self.0, value);
        Ok(self)
    }

    /// Adds an entry under a name that is known when the program is written.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: Value<'_>) -> Self {
        debug_assert!(name.len() <= SHORT_STRING_BYTES_MAX, "a short name: {name}");
        let _ = self.put(name.as_bytes(), value);
        self
    }

    /// Ends the table.
    ///
    /// # Errors
    /// `TooDeep` when inner tables made it deeper than a reader allows.
    pub fn finish(self) -> Result<Table, SyntaxCause> {
        Table::validate(self.0.freeze())
    }
}

/// Collects the values of an array.
#[derive(Debug, Clone, Default)]
pub struct ArrayBuilder(BytesMut);

impl ArrayBuilder {
    /// Starts without a value.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a value.
    pub fn push(&mut self, value: Value<'_>) -> &mut Self {
        put_value(&mut self.0, value);
        self
    }

    /// Shows the array, to put it into a table.
    #[must_use]
    pub fn as_array(&self) -> ArrayRef<'_> {
        ArrayRef(&self.0)
    }
}

impl<'a> Extend<Value<'a>> for ArrayBuilder {
    fn extend<I: IntoIterator<Item = Value<'a>>>(&mut self, values: I) {
        for value in values {
            self.push(value);
        }
    }
}

fn put_value(buffer: &mut BytesMut, value: Value<'_>) {
    buffer.put_u8(value.tag());
    match value {
        Value::Bool(value) => buffer.put_u8(u8::from(value)),
        Value::Byte(number) => buffer.put_i8(number),
        Value::UnsignedByte(number) => buffer.put_u8(number),
        Value::Short(number) => buffer.put_i16(number),
        Value::UnsignedShort(number) => buffer.put_u16(number),
        Value::Int(number) => buffer.put_i32(number),
        Value::UnsignedInt(number) => buffer.put_u32(number),
        Value::Long(number) => buffer.put_i64(number),
        Value::Float(number) => buffer.put_f32(number),
        Value::Double(number) => buffer.put_f64(number),
        Value::Decimal { scale, digits } => {
            buffer.put_u8(scale);
            buffer.put_u32(digits);
        }
        Value::LongString(bytes) | Value::Binary(bytes) => put_counted(buffer, bytes),
        Value::Array(array) => put_counted(buffer, array.raw()),
        Value::Timestamp(seconds) => buffer.put_u64(seconds),
        Value::Table(table) => put_counted(buffer, table.raw()),
        Value::Void => {}
    }
}

fn put_counted(buffer: &mut BytesMut, bytes: &[u8]) {
    buffer.put_u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    buffer.put_slice(bytes);
}

impl TryFrom<Bytes> for Table {
    type Error = SyntaxCause;

    fn try_from(bytes: Bytes) -> Result<Self, SyntaxCause> {
        validate::check_table(&bytes).map(|()| Self::trusted(bytes))
    }
}
