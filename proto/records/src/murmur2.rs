//! The 32-bit MurmurHash2 with which Kafka's clients choose a partition for a key.
//!
//! Knows nothing of topics; its only promise is to be Kafka's `Utils.murmur2`, bit for bit, so that
//! a key lands on the same partition whichever client wrote it.

const SEED: u32 = 0x9747_b28c;
const M: u32 = 0x5bd1_e995;
const R: u32 = 24;
/// Kafka's `toPositive`: clears the sign bit.
const POSITIVE_MASK: u32 = 0x7fff_ffff;

/// Hashes `bytes` as Kafka's `Utils.murmur2`.
///
/// ```
/// assert_eq!(raftmq_records::murmur2(b"foobar").cast_signed(), -790_332_482);
/// ```
#[must_use]
pub fn murmur2(bytes: &[u8]) -> u32 {
    // Kafka mixes in Java's 32-bit length; keys are far shorter, so this never cuts.
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let mut hash = SEED ^ length;
    let (words, tail) = bytes.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> R;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !tail.is_empty() {
        let word = tail
            .iter()
            .rev()
            .fold(0, |word, byte| (word << 8) | u32::from(*byte));
        hash = (hash ^ word).wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

/// Returns the partition, `0..partitions_count`, that Kafka's default partitioner gives to `key`;
/// 0 when there are no partitions.
#[must_use]
pub fn partition_for_key(key: &[u8], partitions_count: u32) -> u32 {
    (murmur2(key) & POSITIVE_MASK)
        .checked_rem(partitions_count)
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of Kafka's own `UtilsTest.testMurmur2`.
    const VECTORS: [(&[u8], i32); 6] = [
        (b"21", -973_932_308),
        (b"foobar", -790_332_482),
        (b"a-little-bit-long-string", -985_981_536),
        (b"a-little-bit-longer-string", -1_486_304_829),
        (
            b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
            -58_897_971,
        ),
        (b"abc", 479_470_107),
    ];

    #[test]
    fn the_hash_is_kafkas() {
        for (key, expected) in VECTORS {
            assert_eq!(murmur2(key).cast_signed(), expected, "{key:?}");
        }
    }

    #[test]
    fn a_negative_hash_gives_a_valid_partition() {
        // toPositive(-973932308) = 1173551340
        assert_eq!(partition_for_key(b"21", 7), 1_173_551_340 % 7);
        assert_eq!(partition_for_key(b"abc", 12), 479_470_107 % 12);
    }

    #[test]
    fn no_partitions_give_partition_zero() {
        assert_eq!(partition_for_key(b"21", 0), 0);
    }
}
