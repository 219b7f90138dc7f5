//! Random messages (feature `testing`): every field that a version has gets a value within Kafka's
//! limits, null where null is allowed, empty now and then.
//!
//! The generator is seeded and its own: the same seed gives the same message on every machine.

use bytes::Bytes;
use bytestring::ByteString;

use crate::record_set::RecordSet;
use crate::uuid::Uuid;

/// Longest string and longest byte field of a sample, in bytes.
const SAMPLE_BYTES_MAX: u64 = 12;
/// Most elements in an array of a sample.
const SAMPLE_ELEMENTS_MAX: u64 = 3;

/// A seeded source of samples (splitmix64).
#[derive(Debug, Clone)]
pub struct SampleRng {
    state: u64,
}

impl SampleRng {
    /// A source that repeats itself for the same seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next number.
    pub const fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 if that is 0.
    pub const fn below(&mut self, bound: u64) -> u64 {
        match self.next().checked_rem(bound) {
            Some(number) => number,
            None => 0,
        }
    }

    /// A place in something of `len` elements; 0 if it has none.
    pub fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap_or(0)
    }

    /// Any byte.
    pub const fn byte(&mut self) -> u8 {
        let [byte, ..] = self.next().to_le_bytes();
        byte
    }

    /// A value of the type that the caller expects.
    pub fn sample<T: Sample>(&mut self, version: i16) -> T {
        T::sample(self, version)
    }
}

/// A type of which there are samples.
pub trait Sample {
    /// A random value with the fields that `version` has.
    fn sample(rng: &mut SampleRng, version: i16) -> Self;
}

macro_rules! sample_numbers {
    ($($number:ty),*) => {$(
        impl Sample for $number {
            /// Small numbers, the ends of the range, and anything.
            fn sample(rng: &mut SampleRng, _: i16) -> Self {
                let bits = rng.next();
                let mut bytes = [0; size_of::<Self>()];
                for (byte, random) in bytes.iter_mut().zip(bits.to_le_bytes()) {
                    *byte = random;
                }
                match rng.below(5) {
                    0 => Self::MIN,
                    1 => Self::MAX,
                    2 => 0 as Self,
                    3 => 1 as Self,
                    _ => Self::from_le_bytes(bytes),
                }
            }
        }
    )*};
}

sample_numbers!(i8, i16, u16, i32, i64);

impl Sample for f64 {
    /// Never NaN, which is unlike itself.
    fn sample(rng: &mut SampleRng, version: i16) -> Self {
        Self::from(rng.sample::<i32>(version)) / 8.0
    }
}

impl Sample for bool {
    fn sample(rng: &mut SampleRng, _: i16) -> Self {
        rng.below(2) == 1
    }
}

impl Sample for Uuid {
    fn sample(rng: &mut SampleRng, _: i16) -> Self {
        let mut bytes = [0; 16];
        if rng.below(4) > 0 {
            for byte in &mut bytes {
                *byte = rng.byte();
            }
        }
        Self(bytes)
    }
}

impl Sample for ByteString {
    fn sample(rng: &mut SampleRng, _: i16) -> Self {
        const LETTERS: [char; 8] = ['a', 'Z', '7', '.', '_', '-', 'é', '日'];
        let length = rng.below(SAMPLE_BYTES_MAX);
        let mut text = String::new();
        for _ in 0..length {
            text.push(
                LETTERS
                    .get(rng.index(LETTERS.len()))
                    .copied()
                    .unwrap_or('x'),
            );
        }
        Self::from(text)
    }
}

impl Sample for Bytes {
    fn sample(rng: &mut SampleRng, _: i16) -> Self {
        let length = rng.below(SAMPLE_BYTES_MAX);
        (0..length).map(|_| rng.byte()).collect()
    }
}

impl Sample for RecordSet {
    /// In one piece or in two.
    fn sample(rng: &mut SampleRng, version: i16) -> Self {
        let first: Bytes = rng.sample(version);
        if rng.below(2) == 0 {
            return Self::from(first);
        }
        Self::from(vec![first, rng.sample(version)])
    }
}

impl<T: Sample> Sample for Vec<T> {
    fn sample(rng: &mut SampleRng, version: i16) -> Self {
        let count = rng.below(SAMPLE_ELEMENTS_MAX.saturating_add(1));
        (0..count).map(|_| T::sample(rng, version)).collect()
    }
}

impl<T: Sample> Sample for Option<T> {
    fn sample(rng: &mut SampleRng, version: i16) -> Self {
        (rng.below(4) > 0).then(|| T::sample(rng, version))
    }
}
