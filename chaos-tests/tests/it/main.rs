//! Runs the binary `chaos` as users and CI do: every seed in a process of its own.
//!
//! Owns what only whole simulated clusters can show; checkers, invariants and schedules are tested
//! beside their code.

mod determinism;
mod planted;
mod regressions;
mod scenarios;
mod smoke;

use raftmq_chaos::sweep::Plan;

/// A plan for short runs: enough to form a cluster, break it a few times and drain it.
fn short_plan() -> Plan {
    Plan {
        binary: env!("CARGO_BIN_EXE_chaos").into(),
        seconds: 20,
        plant: None,
        without: Vec::new(),
        with: Vec::new(),
        scenario: None,
        jobs: 2,
        stop_at_first: false,
    }
}
