//! Every bound of routing, with its unit. Knows no behaviour.

/// Length of a binding key or routing key, bytes, inclusive: they travel as short strings. A longer
/// routing key matches no binding key of a topic exchange.
pub const BINDING_KEY_BYTES_MAX: usize = 255;
/// Arguments of one binding, inclusive.
pub const ARGUMENTS_COUNT_MAX: usize = 256;
/// Entries that a small map keeps in one sorted list, inclusive.
pub(super) const SMALL_MAP_COUNT_MAX: usize = 32;
