//! One seed in this process: options, trace, planted bug, simulation, verdict.

use std::path::PathBuf;
use std::rc::Rc;

use tracing_subscriber::layer::{Layer, SubscriberExt};

use crate::checkers::coverage::ACKNOWLEDGED_MIN;
use crate::cluster::Cluster;
use crate::faults::FaultClass;
use crate::nemesis::Scenario;
use crate::planted::Planted;
use crate::seed::Options;
use crate::simulation::simulate;
use crate::system::System;
use crate::trace::TraceHash;
use crate::verdict::Report;

/// The length for which [`ACKNOWLEDGED_MIN`] is meant.
const FULL_SECONDS: u64 = 60;

/// What to run.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// The seed.
    pub seed: u64,
    /// Simulated seconds.
    pub seconds: u32,
    /// A bug to switch on.
    pub plant: Option<Planted>,
    /// Fault classes to switch off.
    pub without: Vec<FaultClass>,
    /// Classes that are on, drawn or not.
    pub with: Vec<FaultClass>,
    /// A schedule to put in the place of the drawn one.
    pub scenario: Option<Scenario>,
    /// Whether to print every hashed event.
    pub print_trace: bool,
    /// Where to write the history.
    pub history: Option<PathBuf>,
}

/// Runs one seed of RaftMQ. Call it once in a process: turmoil repeats a seed only in a fresh one,
/// and a planted bug stays.
#[must_use]
pub fn run(run_options: &RunOptions) -> Report {
    if let Some(bug) = run_options.plant {
        bug.plant();
    }
    run_system(run_options, |options| Rc::new(Cluster::new(options)))
}

/// Runs one seed of any system.
fn run_system(run_options: &RunOptions, system: impl FnOnce(&Options) -> Rc<dyn System>) -> Report {
    let mut options = Options::expand(run_options.seed, run_options.seconds);
    options.faults.extend(&run_options.with);
    for class in &run_options.without {
        options.faults.remove(class);
    }
    if let Some(scenario) = run_options.scenario {
        scenario.prepare(&mut options);
    }
    let print: Option<Box<dyn std::io::Write + Send>> = run_options
        .print_trace
        .then(|| Box::new(std::io::stdout()) as _);
    let trace = TraceHash::new(print);
    let subscriber =
        tracing_subscriber::registry().with(trace.clone().with_filter(TraceHash::filter()));
    let mut findings =
        tracing::subscriber::with_default(subscriber, || simulate(&options, &system(&options)));
    let summary = trace.summary();
    findings.marks.clone_from(&summary.marks);
    if let Some(path) = &run_options.history
        && let Err(error) = write_history(path, &findings.history)
    {
        findings
            .failures
            .push(format!("history was not written: {error}"));
    }
    let seconds = u64::from(options.safety_ms + options.liveness_ms) / 1_000;
    let acknowledged_min = ACKNOWLEDGED_MIN * seconds.min(FULL_SECONDS) / FULL_SECONDS;
    let simulated_ms = u64::from(options.safety_ms + options.liveness_ms);
    Report {
        planted: run_options.plant.map(|bug| bug.to_string()),
        trace_hash: format!("{:016x}", summary.hash.value()),
        trace_events: summary.events,
        simulated_ms,
        cpu_ms: cpu_ms(),
        ..Report::judge(run_options.seed, findings, acknowledged_min)
    }
}

fn write_history(
    path: &std::path::Path,
    history: &crate::history::History,
) -> Result<(), crate::history::HistoryError> {
    let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
    history.write_json_lines(&mut file)
}

/// Processor time of this process's main thread, on which everything simulated runs; 0 where the
/// kernel does not tell.
fn cpu_ms() -> u64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    text.split(' ')
        .next()
        .and_then(|nanos| nanos.parse::<u64>().ok())
        .unwrap_or(0)
        / 1_000_000
}
