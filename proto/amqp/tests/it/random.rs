//! A seeded generator of numbers (splitmix64), and of valid payloads by the list of methods.
//!
//! The payloads are written here by hand, bit packing included, not by the codec under test.

use bytes::{BufMut, Bytes, BytesMut};
use raftmq_amqp_protocol::MethodInfo;

/// A generator; the same seed gives the same numbers.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below a bound.
    pub(crate) const fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn octets(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }

    fn ascii(&mut self, length_max: usize) -> Vec<u8> {
        let length = self.below(length_max + 1);
        (0..length).map(|_| 32 + self.below(95) as u8).collect()
    }
}

/// The payload of a method with random values.
pub(crate) fn method_payload(info: &MethodInfo, random: &mut Random) -> Bytes {
    let mut payload = BytesMut::new();
    payload.put_u16(info.id.class_id);
    payload.put_u16(info.id.method_id);
    let mut bits: Vec<bool> = Vec::new();
    for (_, kind) in info.fields {
        if *kind == "bool" {
            bits.push(random.below(2) == 1);
            continue;
        }
        put_bits(&mut payload, &mut bits);
        match *kind {
            "u8" => payload.put_slice(&random.octets(1)),
            "u16" => payload.put_slice(&random.octets(2)),
            "u32" => payload.put_slice(&random.octets(4)),
            "u64" => payload.put_slice(&random.octets(8)),
            "Text" | "ShortString" => {
                let text = random.ascii(255);
                payload.put_u8(text.len() as u8);
                payload.put_slice(&text);
            }
            "LongString" => put_long(&mut payload, &random.ascii(2_000)),
            "Table" => {
                let entries = table(random, 3);
                put_long(&mut payload, &entries);
            }
            kind => panic!("a field type without a generator: {kind}"),
        }
    }
    put_bits(&mut payload, &mut bits);
    payload.freeze()
}

fn put_bits(payload: &mut BytesMut, bits: &mut Vec<bool>) {
    for octet in bits.chunks(8) {
        let mut packed = 0;
        for (at, bit) in octet.iter().enumerate() {
            packed |= u8::from(*bit) << at;
        }
        payload.put_u8(packed);
    }
    bits.clear();
}

fn put_long(out: &mut BytesMut, bytes: &[u8]) {
    out.put_u32(bytes.len() as u32);
    out.put_slice(bytes);
}

/// Entries of a random table, up to a depth.
pub(crate) fn table(random: &mut Random, depth: usize) -> BytesMut {
    let mut entries = BytesMut::new();
    for _ in 0..random.below(5) {
        let name = random.ascii(20);
        entries.put_u8(name.len() as u8);
        entries.put_slice(&name);
        value(random, depth, &mut entries);
    }
    entries
}

fn value(random: &mut Random, depth: usize, out: &mut BytesMut) {
    const TAGS: &[u8] = b"tbBsuIilLfdDSxTVFA";
    let tags_count = if depth == 0 {
        TAGS.len() - 2
    } else {
        TAGS.len()
    };
    let tag = TAGS[random.below(tags_count)];
    out.put_u8(tag);
    match tag {
        b't' | b'b' | b'B' => out.put_slice(&random.octets(1)),
        b's' | b'u' => out.put_slice(&random.octets(2)),
        b'I' | b'i' | b'f' => out.put_slice(&random.octets(4)),
        b'D' => out.put_slice(&random.octets(5)),
        b'l' | b'L' | b'd' | b'T' => out.put_slice(&random.octets(8)),
        b'S' | b'x' => put_long(out, &random.ascii(300)),
        b'F' => {
            let entries = table(random, depth - 1);
            put_long(out, &entries);
        }
        b'A' => {
            let mut values = BytesMut::new();
            for _ in 0..random.below(4) {
                value(random, depth - 1, &mut values);
            }
            put_long(out, &values);
        }
        _ => {}
    }
}
