//! Kafka's error codes, generated from `schema/errors.kerr`.
//!
//! Knows no error of ours: each front end has one table that says which of its errors is which code.

include!(concat!(env!("OUT_DIR"), "/error_code.rs"));

impl From<ErrorCode> for i16 {
    fn from(code: ErrorCode) -> Self {
        code as Self
    }
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
