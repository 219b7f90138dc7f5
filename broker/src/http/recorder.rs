//! The recorder behind `/metrics`: Prometheus text, histograms with fixed buckets.
//!
//! Does not know a single metric: every area describes and registers its own.

use std::fmt;
use std::sync::OnceLock;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

/// Upper bounds of latency histograms, 100 µs to 10 s.
pub const LATENCY_BUCKETS_SECONDS: [f64; 16] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
];
/// Upper bounds of size histograms, 256 bytes to 64 MiB.
const SIZE_BUCKETS_BYTES: [f64; 10] = [
    256.0,
    1024.0,
    4096.0,
    16384.0,
    65536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];

/// The process has one recorder, whatever the number of brokers in it (a simulation runs several).
static INSTALLED: OnceLock<PrometheusHandle> = OnceLock::new();

/// A cheap handle that renders what was recorded.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// Makes the process-wide recorder; a second call gives a handle of the first one.
    ///
    /// When another recorder was installed by somebody else, the handle renders nothing.
    ///
    /// # Errors
    /// Never with the fixed buckets of this file; the builder's own checks are passed on.
    pub fn install() -> Result<Self, BuildError> {
        if let Some(handle) = INSTALLED.get() {
            return Ok(Self {
                handle: handle.clone(),
            });
        }
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_bytes".to_owned()), &SIZE_BUCKETS_BYTES)?
            .set_buckets(&LATENCY_BUCKETS_SECONDS)?
            .build_recorder();
        let handle = INSTALLED.get_or_init(|| recorder.handle()).clone();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::debug!("a metrics recorder was already installed");
        }
        Ok(Self { handle })
    }

    /// A handle of the process-wide recorder, if there is one.
    #[must_use]
    pub fn installed() -> Option<Self> {
        let handle = INSTALLED.get()?.clone();
        Some(Self { handle })
    }

    /// The Prometheus text of everything recorded so far.
    #[must_use]
    pub fn render(&self) -> String {
        // Upkeep drains the histograms' buffers; without it they grow until the next scrape.
        self.handle.run_upkeep();
        self.handle.render()
    }

    /// Drains the histograms' buffers: to be called every few seconds, scraped or not.
    pub fn run_upkeep(&self) {
        self.handle.run_upkeep();
    }
}
