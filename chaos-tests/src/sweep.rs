//! Many seeds: one child process each, some at a time; and the ledger they are added to.
//!
//! A process per seed because turmoil repeats a seed exactly only in a fresh process once hosts
//! crash. Owns the children and their time limit; what a run is, the children know.

use std::io::{self, Read, Write};
use std::ops::Range;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use crate::faults::FaultClass;
use crate::nemesis::Scenario;
use crate::verdict::{Report, Verdict};

/// A child that runs longer than this many real seconds hangs, and is killed.
pub const CHILD_SECONDS_MAX: u64 = 300;
/// Most children at a time.
pub const JOBS_MAX: usize = 64;
/// A sweep of at least this many seeds of which none counts has proved nothing, and fails.
pub const SEEDS_TO_COUNT: usize = 4;

/// Seeds `A..B` (without `B`) or `A..=B`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeedRange(pub Range<u64>);

/// A text that is no range of seeds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no range of seeds, expected A..B or A..=B with A below B")]
pub struct BadRange(String);

impl FromStr for SeedRange {
    type Err = BadRange;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || BadRange(text.to_owned());
        let (first, last) = text.split_once("..").ok_or_else(bad)?;
        let first: u64 = first.parse().map_err(|_| bad())?;
        let end = match last.strip_prefix('=') {
            Some(last) => last
                .parse::<u64>()
                .ok()
                .and_then(|last| last.checked_add(1)),
            None => last.parse().ok(),
        };
        end.filter(|end| first < *end)
            .map(|end| Self(first..end))
            .ok_or_else(bad)
    }
}

/// How children are run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The `chaos` binary.
    pub binary: PathBuf,
    /// Simulated seconds of each run.
    pub seconds: u32,
    /// A planted bug.
    pub plant: Option<String>,
    /// Fault classes that are off.
    pub without: Vec<FaultClass>,
    /// Fault classes that are on, drawn or not.
    pub with: Vec<FaultClass>,
    /// A scenario in the place of the drawn schedule.
    pub scenario: Option<Scenario>,
    /// Children at a time, 1 to [`JOBS_MAX`].
    pub jobs: usize,
    /// Whether to start no further seed once one is anomalous.
    pub stop_at_first: bool,
}

impl Plan {
    fn arguments(&self, seed: u64) -> Vec<String> {
        let mut arguments = vec!["--seed".to_owned(), seed.to_string()];
        arguments.extend(["--seconds".to_owned(), self.seconds.to_string()]);
        if let Some(bug) = &self.plant {
            arguments.extend(["--plant".to_owned(), bug.clone()]);
        }
        for class in &self.without {
            arguments.extend(["--without".to_owned(), class.to_string()]);
        }
        for class in &self.with {
            arguments.extend(["--with".to_owned(), class.to_string()]);
        }
        if let Some(scenario) = self.scenario {
            arguments.extend(["--scenario".to_owned(), scenario.to_string()]);
        }
        arguments
    }

    /// The command that repeats a run.
    #[must_use]
    pub fn replay(&self, seed: u64) -> String {
        format!(
            "{} {}",
            self.binary.display(),
            self.arguments(seed).join(" ")
        )
    }

    /// Runs one seed in a child process and waits for it.
    #[must_use]
    pub fn run(&self, seed: u64) -> Report {
        let mut command = Command::new(&self.binary);
        command.args(self.arguments(seed)).arg("--report-json");
        match run_child(command) {
            Ok(output) => output.report(seed),
            Err(error) => Report::without_run(seed, format!("child did not run: {error}")),
        }
    }

    /// Runs all `seeds`; `done` is called with each report as it comes, in no particular order.
    pub fn sweep(&self, seeds: Range<u64>, mut done: impl FnMut(&Report)) -> Vec<Report> {
        let jobs = self.jobs.clamp(1, JOBS_MAX);
        let (send_report, reports) = sync_channel(jobs);
        let mut waiting = seeds;
        let mut running = 0;
        let mut finished: Vec<Report> = Vec::new();
        std::thread::scope(|scope| {
            loop {
                let is_stopping = self.stop_at_first
                    && finished
                        .iter()
                        .any(|report| report.verdict == Verdict::Anomalous);
                while running < jobs && !is_stopping {
                    let Some(seed) = waiting.next() else { break };
                    let send_report: SyncSender<Report> = send_report.clone();
                    scope.spawn(move || {
                        // The receiver outlives every child.
                        let _ = send_report.send(self.run(seed));
                    });
                    running += 1;
                }
                if running == 0 {
                    break;
                }
                let Ok(report) = reports.recv() else { break };
                running -= 1;
                done(&report);
                finished.push(report);
            }
        });
        finished.sort_by_key(|report| report.seed);
        finished
    }

    /// Removes fault classes one by one as long as the run stays anomalous; returns what is
    /// left to remove nothing more from, as the plan that repeats it.
    #[must_use]
    pub fn shrink(&self, seed: u64) -> Self {
        let mut smallest = self.clone();
        for class in FaultClass::ALL {
            if smallest.without.contains(&class) {
                continue;
            }
            let mut fewer = smallest.clone();
            fewer.without.push(class);
            if fewer.run(seed).verdict == Verdict::Anomalous {
                smallest = fewer;
            }
        }
        smallest
    }
}

struct ChildOutput {
    stdout: String,
    stderr: String,
    end: String,
}

impl ChildOutput {
    /// A child that was judged prints its report last; any other end is a failure by itself.
    fn report(&self, seed: u64) -> Report {
        let last = self.stdout.lines().last().unwrap_or_default();
        serde_json::from_str(last).unwrap_or_else(|_| {
            let tail: Vec<&str> = self.stderr.lines().rev().take(8).collect();
            let tail: Vec<&str> = tail.into_iter().rev().collect();
            Report::without_run(seed, format!("child {}: {}", self.end, tail.join(" | ")))
        })
    }
}

fn run_child(mut command: Command) -> io::Result<ChildOutput> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let stdout = read_in_background(child.stdout.take());
    let stderr = read_in_background(child.stderr.take());
    let end = wait_for(&mut child, &stdout)?;
    let text = |reader: &Receiver<String>| reader.recv().unwrap_or_default();
    Ok(ChildOutput {
        stdout: end.1.unwrap_or_else(|| text(&stdout)),
        stderr: text(&stderr),
        end: end.0,
    })
}

/// Waits until stdout closes, then for the end; kills the child after [`CHILD_SECONDS_MAX`].
fn wait_for(child: &mut Child, stdout: &Receiver<String>) -> io::Result<(String, Option<String>)> {
    match stdout.recv_timeout(Duration::from_secs(CHILD_SECONDS_MAX)) {
        Ok(text) => Ok((child.wait()?.to_string(), Some(text))),
        Err(RecvTimeoutError::Disconnected) => Ok((child.wait()?.to_string(), None)),
        Err(RecvTimeoutError::Timeout) => {
            child.kill()?;
            child.wait()?;
            Ok((
                format!("hung for {CHILD_SECONDS_MAX} s and was killed"),
                None,
            ))
        }
    }
}

fn read_in_background(pipe: Option<impl Read + Send + 'static>) -> Receiver<String> {
    let (send_text, text) = sync_channel(1);
    if let Some(mut pipe) = pipe {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            // What came before an error is still worth showing.
            let _ = pipe.read_to_end(&mut bytes);
            let _ = send_text.send(String::from_utf8_lossy(&bytes).into_owned());
        });
    }
    text
}

/// Counts over the reports of a sweep.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Seeds that count and were good.
    pub clean: usize,
    /// Seeds that do not count.
    pub rejected: usize,
    /// Seeds with anomalies.
    pub anomalous: usize,
    /// Processor time of all children in milliseconds.
    pub cpu_ms: u64,
}

impl Totals {
    /// Adds the reports up.
    #[must_use]
    pub fn of(reports: &[Report]) -> Self {
        let mut totals = Self::default();
        for report in reports {
            match report.verdict {
                Verdict::Clean => totals.clean += 1,
                Verdict::Rejected => totals.rejected += 1,
                Verdict::Anomalous => totals.anomalous += 1,
            }
            totals.cpu_ms += report.cpu_ms;
        }
        totals
    }

    /// Whether the sweep proved something and found nothing.
    #[must_use]
    pub const fn is_good(&self) -> bool {
        let seeds = self.clean + self.rejected + self.anomalous;
        self.anomalous == 0 && (self.clean > 0 || seeds < SEEDS_TO_COUNT)
    }
}

/// Appends a report to a ledger: one JSON object a line.
///
/// # Errors
/// What opening or writing the file says.
pub fn append_to_ledger(path: &std::path::Path, report: &Report) -> io::Result<()> {
    let mut file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)?;
    writeln!(file, "{}", serde_json::to_string(report)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        Plan {
            binary: "chaos".into(),
            seconds: 30,
            plant: Some("ack-before-flush".to_owned()),
            without: vec![FaultClass::Crash],
            with: vec![FaultClass::HungDisk],
            scenario: None,
            jobs: 2,
            stop_at_first: false,
        }
    }

    #[test]
    fn ranges_are_read_with_and_without_their_end() {
        assert_eq!("3..5".parse(), Ok(SeedRange(3..5)));
        assert_eq!("3..=5".parse(), Ok(SeedRange(3..6)));
        for bad in ["", "3", "5..3", "3..3", "a..b", "1..=18446744073709551615"] {
            assert!(bad.parse::<SeedRange>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_replay_command_names_everything_that_matters() {
        let expected = "chaos --seed 9 --seconds 30 --plant ack-before-flush --without crash \
                        --with hung-disk";
        assert_eq!(plan().replay(9), expected);
    }

    #[test]
    fn a_child_that_prints_no_report_is_anomalous_with_the_end_of_its_stderr() {
        let output = ChildOutput {
            stdout: "noise".to_owned(),
            stderr: "one\npanicked at x".to_owned(),
            end: "exit status: 101".to_owned(),
        };
        let report = output.report(4);

        assert_eq!(report.verdict, Verdict::Anomalous);
        assert_eq!(
            report.complaints(),
            ["child exit status: 101: one | panicked at x"]
        );
    }

    #[test]
    fn a_binary_that_does_not_exist_is_anomalous() {
        let plan = Plan {
            binary: "/nonexistent/chaos".into(),
            ..plan()
        };

        let mut seen = 0;
        let reports = plan.sweep(1..4, |_| seen += 1);

        assert_eq!(seen, 3);
        assert_eq!(
            reports.iter().map(|report| report.seed).collect::<Vec<_>>(),
            [1, 2, 3]
        );
        assert_eq!(Totals::of(&reports).anomalous, 3);
    }

    #[test]
    fn a_sweep_stops_at_the_first_anomaly_if_asked() {
        let plan = Plan {
            binary: "/nonexistent/chaos".into(),
            jobs: 1,
            stop_at_first: true,
            ..plan()
        };

        assert_eq!(plan.sweep(1..100, |_| ()).len(), 1);
    }

    #[test]
    fn a_sweep_in_which_nothing_counts_is_not_good() {
        assert!(
            Totals {
                clean: 1,
                rejected: 9,
                ..Totals::default()
            }
            .is_good()
        );
        assert!(
            !Totals {
                rejected: 9,
                ..Totals::default()
            }
            .is_good()
        );
        assert!(
            !Totals {
                clean: 9,
                anomalous: 1,
                ..Totals::default()
            }
            .is_good()
        );
    }
}
