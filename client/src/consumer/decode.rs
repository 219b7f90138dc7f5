//! From fetched bytes to records, one at a time.
//!
//! Checks CRCs, decompresses within limits, skips what lies below the position and what is not
//! for consumers (transaction markers). It knows no leader and no fetch.

use raftmq_records::{
    BatchError, Batches, DecodeLimits, Record, Records, batches, check_crc, records,
};

use super::buffer::Chunk;

/// A chunk that is being read.
#[derive(Debug)]
pub(crate) struct Decoder {
    pub(crate) slot: usize,
    pub(crate) size_bytes: usize,
    pub(crate) next_offset: i64,
    from_offset: i64,
    batches: Batches,
    records: Option<Records>,
}

impl Decoder {
    pub(crate) fn new(chunk: &Chunk) -> Self {
        Self {
            slot: chunk.slot,
            size_bytes: chunk.bytes.len(),
            next_offset: chunk.next_offset,
            from_offset: chunk.from_offset,
            batches: batches(&chunk.bytes),
            records: None,
        }
    }

    /// Opens the next batch that holds records for consumers; false at the end.
    fn open_batch(&mut self) -> Result<bool, BatchError> {
        for batch in self.batches.by_ref() {
            let (header, bytes) = batch?;
            if header.is_control() || header.last_offset() < self.from_offset {
                continue;
            }
            check_crc(&bytes)?;
            self.records = Some(records(&bytes, DecodeLimits::default())?);
            return Ok(true);
        }
        Ok(false)
    }
}

impl Iterator for Decoder {
    type Item = Result<Record, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            for record in self.records.as_mut().into_iter().flatten() {
                match record {
                    Ok(record) if record.offset < self.from_offset => {}
                    Ok(_) | Err(_) => return Some(record),
                }
            }
            self.records = None;
            match self.open_batch() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};
    use raftmq_records::{BatchBuilder, Compression, stamp};

    use super::*;

    fn batch(base_offset: i64, count: i64) -> BytesMut {
        let mut builder = BatchBuilder::new(Compression::Zstd, 0);
        for index in 0..count {
            builder.append(index, None, Some(b"v"), &[]).expect("fits");
        }
        let mut bytes = BytesMut::from(&builder.finish().expect("has records")[..]);
        stamp(&mut bytes, base_offset, 1);
        bytes
    }

    fn decoder(bytes: Bytes, from_offset: i64) -> Decoder {
        Decoder::new(&Chunk {
            slot: 0,
            from_offset,
            next_offset: 0,
            bytes,
        })
    }

    #[test]
    fn records_below_the_position_are_skipped() {
        let bytes = [batch(10, 5), batch(15, 5), batch(20, 2)].concat();

        let offsets: Vec<_> = decoder(Bytes::from(bytes), 17)
            .map(|record| record.expect("valid").offset)
            .collect();

        assert_eq!(offsets, [17, 18, 19, 20, 21]);
    }

    #[test]
    fn a_marker_is_not_for_consumers() {
        let mut marker = batch(10, 1);
        marker[22] |= 1 << 5;
        let bytes = [marker, batch(11, 1)].concat();

        let offsets: Vec<_> = decoder(Bytes::from(bytes), 10)
            .map(|record| record.expect("valid").offset)
            .collect();

        assert_eq!(offsets, [11]);
    }

    #[test]
    fn a_damaged_batch_is_an_error_not_a_record() {
        let mut damaged = batch(10, 3);
        let last = damaged.len() - 1;
        damaged[last] ^= 1;

        let first = decoder(damaged.freeze(), 10).next();

        assert!(matches!(first, Some(Err(BatchError::CrcMismatch { .. }))));
    }
}
