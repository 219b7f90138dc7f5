//! `chaos`: runs simulated clusters under faults, from seeds.
//!
//! Owns the command line and what is printed. Exit codes: 0 = nothing found, 1 = an anomaly (with
//! one command that repeats it), 2 = the command line is wrong.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use raftmq_chaos::checkers::coverage::QueueCoverage;
use raftmq_chaos::faults::FaultClass;
use raftmq_chaos::nemesis::Scenario;
use raftmq_chaos::planted::Planted;
use raftmq_chaos::run::{RunOptions, run};
use raftmq_chaos::seed::Options;
use raftmq_chaos::sweep::{Plan, SeedRange, Totals, append_to_ledger};
use raftmq_chaos::verdict::{Report, Verdict};

/// Runs whole RaftMQ clusters in a deterministic simulation and checks what their clients saw.
#[derive(Debug, Parser)]
struct Arguments {
    /// Run this seed in this process.
    #[arg(long, required_unless_present = "seeds", conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Run these seeds, A..B or A..=B, each in a process of its own.
    #[arg(long)]
    seeds: Option<SeedRange>,
    /// Processes at a time.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Simulated seconds: two thirds with faults, one third to heal, converge and drain.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Switch on a planted bug; the run should then find it.
    #[arg(long)]
    plant: Option<Planted>,
    /// Leave a class of faults out; may be given several times.
    #[arg(long)]
    without: Vec<FaultClass>,
    /// Turn a class of faults on, whether the seed draws it or not; may be given several times.
    #[arg(long)]
    with: Vec<FaultClass>,
    /// Follow a schedule that is written by hand instead of a drawn one.
    #[arg(long)]
    scenario: Option<Scenario>,
    /// Print every hashed event, and the hash at the end.
    #[arg(long)]
    trace: bool,
    /// Write the history to this file, one JSON object a line.
    #[arg(long)]
    history: Option<PathBuf>,
    /// Append one line of JSON per seed to this file.
    #[arg(long)]
    ledger: Option<PathBuf>,
    /// Leave fault classes out one by one as long as the run stays anomalous.
    #[arg(long)]
    shrink: bool,
    /// Start no further seed after the first anomaly.
    #[arg(long)]
    stop_at_first: bool,
    /// Print the report as one line of JSON and nothing else.
    #[arg(long, hide = true)]
    report_json: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut out = io::stdout().lock();
    let result = match (&arguments.seed, &arguments.seeds) {
        (Some(seed), _) => one(&arguments, *seed, &mut out),
        (None, Some(seeds)) => many(&arguments, seeds, &mut out),
        (None, None) => Ok(ExitCode::from(2)),
    };
    result.unwrap_or_else(|error| {
        let _ = writeln!(io::stderr(), "chaos: {error}");
        ExitCode::from(2)
    })
}

fn plan(arguments: &Arguments) -> io::Result<Plan> {
    Ok(Plan {
        binary: std::env::current_exe()?,
        seconds: arguments.seconds,
        plant: arguments.plant.map(|bug| bug.to_string()),
        without: arguments.without.clone(),
        with: arguments.with.clone(),
        scenario: arguments.scenario,
        jobs: arguments.jobs,
        stop_at_first: arguments.stop_at_first,
    })
}

fn one(arguments: &Arguments, seed: u64, out: &mut dyn Write) -> io::Result<ExitCode> {
    let report = run(&RunOptions {
        seed,
        seconds: arguments.seconds,
        plant: arguments.plant,
        without: arguments.without.clone(),
        with: arguments.with.clone(),
        scenario: arguments.scenario,
        print_trace: arguments.trace,
        history: arguments.history.clone(),
    });
    if arguments.report_json {
        writeln!(out, "{}", serde_json::to_string(&report)?)?;
        return Ok(exit_code(report.verdict != Verdict::Anomalous));
    }
    writeln!(out, "{}", Options::expand(seed, arguments.seconds))?;
    describe(&report, out)?;
    if let Some(ledger) = &arguments.ledger {
        append_to_ledger(ledger, &report)?;
    }
    if arguments.trace {
        writeln!(
            out,
            "trace hash {} over {} events",
            report.trace_hash, report.trace_events
        )?;
    }
    if report.verdict == Verdict::Anomalous {
        replay(arguments, seed, out)?;
    }
    Ok(exit_code(report.verdict != Verdict::Anomalous))
}

fn many(arguments: &Arguments, seeds: &SeedRange, out: &mut dyn Write) -> io::Result<ExitCode> {
    let plan = plan(arguments)?;
    let mut failure = Ok(());
    let reports = plan.sweep(seeds.0.clone(), |report| {
        let mut note = || {
            describe(report, out)?;
            arguments
                .ledger
                .as_ref()
                .map_or(Ok(()), |ledger| append_to_ledger(ledger, report))
        };
        if let Err(error) = note() {
            failure = Err(error);
        }
    });
    failure?;
    let totals = Totals::of(&reports);
    let seeds_count = reports.len().max(1) as u64;
    writeln!(
        out,
        "{} clean, {} rejected, {} anomalous; {} ms of processor time per seed",
        totals.clean,
        totals.rejected,
        totals.anomalous,
        totals.cpu_ms / seeds_count
    )?;
    if let Some(report) = reports
        .iter()
        .find(|report| report.verdict == Verdict::Anomalous)
    {
        replay(arguments, report.seed, out)?;
    } else if !totals.is_good() {
        writeln!(out, "no seed counted: nothing was proved")?;
    }
    Ok(exit_code(totals.is_good()))
}

/// The one command that repeats an anomaly.
fn replay(arguments: &Arguments, seed: u64, out: &mut dyn Write) -> io::Result<()> {
    let plan = plan(arguments)?;
    let smallest = if arguments.shrink {
        plan.shrink(seed)
    } else {
        plan
    };
    writeln!(out, "replay: {}", smallest.replay(seed))
}

fn describe(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let coverage = &report.coverage;
    let effects: Vec<String> = coverage
        .effects
        .iter()
        .map(|(class, times)| format!("{class} {times}"))
        .collect();
    writeln!(
        out,
        "seed {}: {:?}, {} acknowledged ({} after healing), {} unknown, {} failed, {} read, {}; \
         {} ms, trace {}",
        report.seed,
        report.verdict,
        coverage.acknowledged,
        coverage.acknowledged_after_healing,
        coverage.unknown,
        coverage.failed,
        coverage.records_read,
        effects.join(", "),
        report.cpu_ms,
        report.trace_hash,
    )?;
    if let Some(queues) = &coverage.queues {
        describe_queues(queues, out)?;
    }
    for complaint in report.complaints().iter().take(COMPLAINTS_SHOWN) {
        writeln!(out, "  {complaint}")?;
    }
    if report.complaints().len() > COMPLAINTS_SHOWN {
        writeln!(
            out,
            "  and {} more",
            report.complaints().len() - COMPLAINTS_SHOWN
        )?;
    }
    for rejection in &report.rejections {
        writeln!(out, "  does not count: {rejection}")?;
    }
    Ok(())
}

fn describe_queues(queues: &QueueCoverage, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "  queues: {} confirmed, {} unknown, {} returned, {} received ({} again, {} dead), {} \
         settled for certain",
        queues.confirmed,
        queues.unknown,
        queues.returned,
        queues.received,
        queues.redelivered,
        queues.dead,
        queues.settled,
    )
}

const COMPLAINTS_SHOWN: usize = 10;

fn exit_code(is_good: bool) -> ExitCode {
    if is_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
