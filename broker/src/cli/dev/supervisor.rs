//! Starts, watches, kills and stops the broker processes of a local cluster.
//!
//! A broker lives no longer than its supervisor: it reads its stdin to the end
//! (`serve --parent-watch`) and the other end of that pipe is here. Knows nothing of brokers but
//! their health paths.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use futures_util::future::{pending, select_all};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::{Instant, sleep, timeout};

use super::layout::{BrokerEntry, Cluster, DevOptions, Layout, config_path, log_path};
use crate::cli::error::{CliError, CliResult, io_failure};
use crate::cli::probe::{Probe, probe};

/// Longest time from the start of a broker to its readiness.
const READY_MILLIS_MAX: u64 = 60_000;
/// Pause between two probes of one broker.
const PROBE_PAUSE_MILLIS: u64 = 20;
/// Time a broker has to stop by itself before it is killed.
const STOP_MILLIS_MAX: u64 = 15_000;
/// Bytes of a failed broker's log that are shown.
const LOG_TAIL_BYTES: u64 = 2_000;

/// The processes of a local cluster. Dropping it kills them.
#[derive(Debug)]
pub(crate) struct Supervisor {
    layout: Layout,
    children: Vec<Option<Broker>>,
    /// Resolved once: when the file is replaced while we run (a rebuild, an upgrade), the system
    /// names ours "(deleted)", and a restart has to take the new one.
    executable: PathBuf,
}

/// A running broker.
#[derive(Debug)]
struct Broker {
    child: Child,
    /// Held apart, because `Child::wait` closes the stdin that it has, and that stops the broker.
    _stdin: Option<ChildStdin>,
}

impl Supervisor {
    /// Starts every broker of the folder and waits until all are ready.
    pub(crate) async fn start(options: &DevOptions) -> CliResult<Self> {
        let executable = std::env::current_exe()
            .map_err(|error| io_failure("find the program that is running", &error))?;
        let layout = Layout::open(options)?;
        let children = layout.cluster.brokers.iter().map(|_| None).collect();
        let mut supervisor = Self {
            layout,
            children,
            executable,
        };
        let ids: Vec<u32> = supervisor
            .cluster()
            .brokers
            .iter()
            .map(|broker| broker.id)
            .collect();
        for id in &ids {
            supervisor.spawn(*id)?;
        }
        for id in &ids {
            if let Err(error) = supervisor.wait_until_ready(*id).await {
                supervisor.stop().await;
                return Err(error);
            }
        }
        Ok(supervisor)
    }

    /// The cluster with the newest process ids.
    pub(crate) fn cluster(&self) -> &Cluster {
        &self.layout.cluster
    }

    /// Starts the process of a broker that is not running; returns as soon as it is started.
    pub(crate) fn spawn(&mut self, id: u32) -> CliResult<BrokerEntry> {
        let index = self.index_of(id)?;
        if let Some(pid) = self.running_pid(index) {
            return Err(CliError::failure(format!(
                "broker {id} is running (pid {pid})"
            )));
        }
        let mut child = start_process(&self.executable, self.cluster(), id)?;
        self.layout.cluster.brokers[index].pid = child.id().unwrap_or_default();
        let stdin = child.stdin.take();
        self.children[index] = Some(Broker {
            child,
            _stdin: stdin,
        });
        self.layout.save()?;
        Ok(self.layout.cluster.brokers[index].clone())
    }

    /// Kills a broker with SIGKILL and waits until it is gone.
    pub(crate) async fn kill(&mut self, id: u32) -> CliResult {
        let index = self.index_of(id)?;
        if let Some(broker) = &mut self.children[index] {
            let killed = broker.child.kill().await;
            killed.map_err(|error| io_failure(format!("kill broker {id}"), &error))?;
        }
        self.forget(index)
    }

    /// Sends a signal to a running broker.
    pub(crate) fn signal(&self, id: u32, signal: Signal) -> CliResult {
        let broker = self.children[self.index_of(id)?].as_ref();
        let pid = broker.and_then(|broker| child_pid(&broker.child));
        let pid = pid.ok_or_else(|| CliError::failure(format!("broker {id} is not running")))?;
        kill_process(pid, signal)
            .map_err(|error| io_failure(format!("signal broker {id}"), &error.into()))
    }

    /// Waits until a broker says that it is ready; fails when its process ends before.
    pub(crate) async fn wait_until_ready(&mut self, id: u32) -> CliResult {
        let index = self.index_of(id)?;
        let http = self.cluster().brokers[index].http.clone();
        let deadline = Instant::now() + Duration::from_millis(READY_MILLIS_MAX);
        loop {
            let seen = probe(&http, "/readyz").await;
            if seen == Probe::Ok {
                return Ok(());
            }
            if let Some(status) = self.exit_status(index) {
                return Err(self.start_failure(id, &format!("ended early, {status}")));
            }
            if Instant::now() >= deadline {
                return Err(self.start_failure(id, &not_ready_text(seen)));
            }
            sleep(Duration::from_millis(PROBE_PAUSE_MILLIS)).await;
        }
    }

    /// Waits until any running broker ends; never completes when none runs. Cancel safe.
    pub(crate) async fn next_exit(&mut self) -> (u32, String) {
        let ids = self.layout.cluster.brokers.iter().map(|broker| broker.id);
        let waits: Vec<_> = ids
            .zip(&mut self.children)
            .filter_map(|(id, broker)| broker.as_mut().map(|broker| (id, broker)))
            .map(|(id, broker)| Box::pin(async move { (id, broker.child.wait().await) }))
            .collect();
        if waits.is_empty() {
            return pending().await;
        }
        let ((id, status), _, _) = select_all(waits).await;
        let index = self.index_of(id).expect("the id came from the list");
        if let Err(error) = self.forget(index) {
            tracing::warn!(%error, "the end of a broker was not noted");
        }
        (id, status.map_or_else(|error| error.to_string(), exit_text))
    }

    /// Stops every broker: SIGTERM to all, then SIGKILL to those that take too long.
    pub(crate) async fn stop(&mut self) {
        for broker in self.children.iter().flatten() {
            if let Some(pid) = child_pid(&broker.child) {
                let _ = kill_process(pid, Signal::TERM);
            }
        }
        let deadline = Instant::now() + Duration::from_millis(STOP_MILLIS_MAX);
        for broker in self.children.iter_mut().flatten() {
            let left = deadline.saturating_duration_since(Instant::now());
            if timeout(left, broker.child.wait()).await.is_err() {
                let _ = broker.child.kill().await;
            }
        }
        for index in 0..self.children.len() {
            let _ = self.forget(index);
        }
    }

    /// A process id of 0 tells readers of `dev.json` that the broker is not running.
    fn forget(&mut self, index: usize) -> CliResult {
        self.children[index] = None;
        self.layout.cluster.brokers[index].pid = 0;
        self.layout.save()
    }

    fn index_of(&self, id: u32) -> CliResult<usize> {
        let brokers = &self.cluster().brokers;
        brokers
            .iter()
            .position(|broker| broker.id == id)
            .ok_or_else(|| {
                CliError::usage(format!(
                    "no broker {id}; the cluster has 1 to {}",
                    brokers.len()
                ))
            })
    }

    fn running_pid(&mut self, index: usize) -> Option<u32> {
        match self.exit_status(index) {
            Some(_) => None,
            None => self.children[index]
                .as_ref()
                .and_then(|broker| broker.child.id()),
        }
    }

    fn exit_status(&mut self, index: usize) -> Option<String> {
        let broker = self.children[index].as_mut()?;
        broker.child.try_wait().ok().flatten().map(exit_text)
    }

    fn start_failure(&self, id: u32, reason: &str) -> CliError {
        let log = log_path(&self.cluster().data, id);
        let tail = log_tail(&log);
        CliError::failure(format!(
            "broker {id} did not become ready: {reason}\n{}",
            tail.trim_end()
        ))
        .next(format!("see {}", log.display()))
    }
}

fn not_ready_text(seen: Probe) -> String {
    match seen {
        Probe::Ok => "ready".to_owned(),
        Probe::NotOk(reasons) => reasons.join("; "),
        Probe::Silent(reason) => reason,
    }
}

fn exit_text(status: ExitStatus) -> String {
    status.to_string()
}

fn child_pid(child: &Child) -> Option<Pid> {
    child
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .and_then(Pid::from_raw)
}

fn start_process(executable: &Path, cluster: &Cluster, id: u32) -> CliResult<Child> {
    let log = log_path(&cluster.data, id);
    let (stdout, stderr) = open_log(&log)
        .and_then(|file| Ok((file.try_clone()?, file)))
        .map_err(|error| io_failure(format!("open {}", log.display()), &error))?;
    let mut command = Command::new(executable);
    command
        .arg("serve")
        .arg("--config")
        .arg(config_path(&cluster.data, id))
        .arg("--parent-watch")
        .stdin(Stdio::piped())
        .stdout(stdout)
        .stderr(stderr)
        // Its own group: a Ctrl-C at the terminal reaches the supervisor, which stops it.
        .process_group(0)
        .kill_on_drop(true);
    let ours = std::env::vars_os().map(|(name, _)| name);
    for name in ours.filter(|name| name.to_string_lossy().starts_with("RAFTMQ__")) {
        command.env_remove(name);
    }
    command
        .spawn()
        .map_err(|error| io_failure(format!("start {}", executable.display()), &error))
}

fn open_log(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

fn log_tail(path: &Path) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(LOG_TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map_or_else(
        |_| String::new(),
        |bytes| String::from_utf8_lossy(&bytes).into_owned(),
    )
}
