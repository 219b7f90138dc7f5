//! What the benchmarks share: measuring, and printing one row per case.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

pub const MIB: u64 = 1024 * 1024;

/// Wall clock, processor time and bytes written of this process between two points.
pub struct Meter {
    started: Instant,
    cpu: f64,
    written: u64,
    pub latency: Histogram<u64>,
}

impl Meter {
    pub fn start() -> Self {
        let latency = Histogram::new(3).expect("three digits are allowed");
        Self {
            started: Instant::now(),
            cpu: cpu_seconds(),
            written: written_bytes(),
            latency,
        }
    }

    pub fn record(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.latency
            .record(micros.max(1))
            .expect("the histogram grows");
    }

    /// One line of figures, and MB/s again as a number.
    pub fn row(&self, payload_bytes: u64) -> (String, f64) {
        let seconds = self.started.elapsed().as_secs_f64();
        let payload = payload_bytes as f64;
        let rate = payload / seconds / 1e6;
        let text = format!(
            "{:8.1} MB/s  p50 {:6.2} ms  p99 {:7.2} ms  {:5.2} bytes/byte  {:5.2} cpu-s/GiB",
            rate,
            self.latency.value_at_quantile(0.5) as f64 / 1e3,
            self.latency.value_at_quantile(0.99) as f64 / 1e3,
            (written_bytes() - self.written) as f64 / payload,
            (cpu_seconds() - self.cpu) / payload * (1024.0 * 1024.0 * 1024.0),
        );
        (text, rate)
    }
}

/// User and system time of this process.
pub fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let fields: Vec<u64> = after_name
        .split(' ')
        .filter_map(|field| field.parse().ok())
        .collect();
    // Fields after the name: state is dropped by the parse, so utime and stime are at 10 and 11.
    let ticks = fields.get(10).unwrap_or(&0) + fields.get(11).unwrap_or(&0);
    ticks as f64 / 100.0
}

/// Bytes that this process caused to be written to the disk.
pub fn written_bytes() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = io
        .lines()
        .find_map(|line| line.strip_prefix("write_bytes: "));
    line.and_then(|bytes| bytes.parse().ok()).unwrap_or(0)
}

/// A payload that does not compress.
pub fn payload(len: usize) -> bytes::Bytes {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes.into()
}
