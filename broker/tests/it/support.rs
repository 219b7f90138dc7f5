//! Starts the binary, and stops it whatever happens to the test.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use raftmq_client::Client;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::Instant;

/// Longest time for anything that a test waits for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// The binary under test.
pub(crate) const RAFTMQ: &str = env!("CARGO_BIN_EXE_raftmq");

/// Prepares the binary without this process's own settings.
pub(crate) fn raftmq(args: &[&str]) -> Command {
    let mut command = Command::new(RAFTMQ);
    command.args(args).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("RAFTMQ_") {
            command.env_remove(name);
        }
    }
    command
}

/// Runs the binary to its end.
pub(crate) fn run(args: &[&str]) -> Output {
    raftmq(args).output().unwrap()
}

/// Runs the binary with text on its stdin.
pub(crate) fn run_with_input(args: &[&str], input: &[u8]) -> Output {
    let mut command = raftmq(args);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // A command that refuses its arguments reads nothing: the broken pipe is no matter.
    let writer = std::thread::spawn(move || stdin.write_all(&input).is_ok());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

/// stdout as text.
pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// stderr as text.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs the binary, which must succeed, and gives its stdout.
pub(crate) fn ok(args: &[&str]) -> String {
    let output = run(args);
    assert!(output.status.success(), "{args:?}: {}", stderr(&output));
    stdout(&output)
}

/// Runs the binary, which must fail with `code` and name every one of `texts` on stderr.
pub(crate) fn refused(args: &[&str], code: i32, texts: &[&str]) {
    check_refusal(args, &run(args), code, texts);
}

/// As [`refused`], with text on stdin.
pub(crate) fn refused_with_input(args: &[&str], input: &[u8], code: i32, texts: &[&str]) {
    check_refusal(args, &run_with_input(args, input), code, texts);
}

fn check_refusal(args: &[&str], output: &Output, code: i32, texts: &[&str]) {
    let said = stderr(output);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
    for text in texts {
        assert!(said.contains(text), "{args:?} should name {text:?}: {said}");
    }
    assert!(!said.contains("panicked"), "{args:?}: {said}");
}

/// A long-running process of ours: `serve` or `dev`.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// The first line of its stdout.
    pub(crate) ready: Value,
    _stdout: BufReader<ChildStdout>,
}

impl Process {
    /// Starts it and waits for its line of JSON.
    pub(crate) fn start(args: &[&str], log: &Path) -> Self {
        let stderr = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .unwrap();
        let mut child = raftmq(args)
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let Ok(ready) = serde_json::from_str(&line) else {
            let status = child.wait().unwrap();
            let log = std::fs::read_to_string(log).unwrap();
            panic!("{args:?} ended with {status} and {line:?}: {log}");
        };
        Self {
            child,
            ready,
            _stdout: stdout,
        }
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to stop and gives its exit code.
    pub(crate) fn stop(self) -> Option<i32> {
        signal(self.pid(), Signal::TERM);
        self.wait()
    }

    /// Waits for its end and gives its exit code.
    pub(crate) fn wait(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    /// Kills it.
    pub(crate) fn kill(mut self) {
        signal(self.pid(), Signal::KILL);
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            signal(self.pid(), Signal::TERM);
            let _ = self.child.wait();
        }
    }
}

/// Sends a signal to a process.
pub(crate) fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).unwrap();
    let _ = kill_process(pid, signal);
}

/// Whether a process is there (a zombie is not).
pub(crate) fn is_alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or("").starts_with(" Z"))
}

/// One broker in a folder of its own, on free ports.
#[derive(Debug)]
pub(crate) struct Broker {
    pub(crate) process: Process,
    pub(crate) folder: TempDir,
}

impl Broker {
    /// Starts `raftmq serve` with more arguments.
    pub(crate) fn start(more: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let process = serve(&folder.path().join("data"), more);
        Self { process, folder }
    }

    pub(crate) fn grpc(&self) -> String {
        text(&self.process.ready, "grpc")
    }

    pub(crate) fn kafka(&self) -> String {
        text(&self.process.ready, "kafka")
    }

    pub(crate) fn amqp(&self) -> String {
        text(&self.process.ready, "amqp")
    }

    pub(crate) fn http(&self) -> String {
        text(&self.process.ready, "http")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Runs a command against this broker; it must succeed.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        ok(&with_bootstrap(args, &self.grpc()))
    }
}

/// `args` and `--bootstrap`.
pub(crate) fn with_bootstrap<'a>(args: &[&'a str], bootstrap: &'a str) -> Vec<&'a str> {
    [args, &["--bootstrap", bootstrap]].concat()
}

/// Starts `raftmq serve` on free ports; its log stands beside the data folder.
pub(crate) fn serve(data: &Path, more: &[&str]) -> Process {
    let data_text = data.to_str().unwrap();
    let args = [
        &["serve", "-o", "json", "--data-dir", data_text][..],
        &FREE_PORTS,
        more,
    ]
    .concat();
    let process = Process::start(&args, &data.with_extension("log"));
    wait_until(|| get(&text(&process.ready, "http"), "/readyz").starts_with("HTTP/1.1 200"));
    process
}

/// Arguments that put every listener on a free port.
pub(crate) const FREE_PORTS: [&str; 10] = [
    "--set",
    "listeners.amqp=127.0.0.1:0",
    "--set",
    "listeners.kafka=127.0.0.1:0",
    "--set",
    "listeners.grpc=127.0.0.1:0",
    "--set",
    "listeners.http=127.0.0.1:0",
    "--set",
    "listeners.peer=127.0.0.1:0",
];

/// An address that was free a moment ago.
pub(crate) fn free_endpoint() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

/// A local cluster of three brokers.
#[derive(Debug)]
pub(crate) struct Dev {
    pub(crate) process: Process,
    pub(crate) folder: Folder,
}

/// A temporary folder that stays when the test fails, so that its logs can be read.
#[derive(Debug)]
pub(crate) struct Folder(TempDir, AtomicBool);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap(), AtomicBool::new(false))
    }

    /// Has it stay.
    pub(crate) fn keep(&self) {
        self.1.store(true, Ordering::Relaxed);
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if std::thread::panicking() || self.1.load(Ordering::Relaxed) {
            self.0.disable_cleanup(true);
            eprintln!("logs and data are kept in {}", self.0.path().display());
        }
    }
}

impl Dev {
    /// Starts `raftmq dev` with more arguments.
    pub(crate) fn start(more: &[&str]) -> Self {
        let folder = Folder::new();
        let data = folder.0.path().join("dev");
        let process = start_dev(&data, more);
        Self { process, folder }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.0.path().join("dev")
    }

    /// The gRPC addresses of all brokers.
    pub(crate) fn bootstrap(&self) -> String {
        let brokers = self.process.ready["brokers"].as_array().unwrap();
        brokers
            .iter()
            .map(|broker| text(broker, "grpc"))
            .collect::<Vec<_>>()
            .join(",")
    }

    /// What `dev.json` says now of a broker.
    pub(crate) fn broker(&self, id: u64) -> Value {
        let text = std::fs::read_to_string(self.data().join("dev.json")).unwrap();
        let cluster: Value = serde_json::from_str(&text).unwrap();
        let brokers = cluster["brokers"].as_array().unwrap();
        brokers
            .iter()
            .find(|broker| broker["id"] == id)
            .unwrap()
            .clone()
    }

    pub(crate) fn pid(&self, id: u64) -> u32 {
        u32::try_from(self.broker(id)["pid"].as_u64().unwrap()).unwrap()
    }

    /// kill -9, and waits until the supervisor has seen it.
    pub(crate) fn kill(&self, id: u64) {
        signal(self.pid(id), Signal::KILL);
        wait_until(|| self.pid(id) == 0);
    }

    /// Who leads a queue of the virtual host `/`; waits until somebody does.
    pub(crate) fn queue_leader(&self, queue: &str) -> u64 {
        let bootstrap = self.bootstrap();
        let list = ["queue", "list", "--no-counts", "-o", "json"];
        let list = with_bootstrap(&list, &bootstrap);
        let mut leader = None;
        wait_until(|| {
            let listed: Value = serde_json::from_str(&ok(&list)).unwrap();
            let mut queues = listed.as_array().unwrap().iter();
            let found = queues.find(|listed| listed["name"] == queue);
            leader = found.and_then(|queue| queue["leader"].as_u64());
            leader.is_some()
        });
        leader.unwrap()
    }

    /// SIGTERM, and waits until the supervisor has seen the end. Gives how long that took.
    pub(crate) fn terminate(&self, id: u64) -> Duration {
        let asked_at = Instant::now();
        signal(self.pid(id), Signal::TERM);
        wait_until(|| self.pid(id) == 0);
        asked_at.elapsed()
    }

    /// `raftmq dev restart`: returns when the broker is ready.
    pub(crate) fn restart(&self, id: u64) {
        let id = id.to_string();
        ok(&[
            "dev",
            "restart",
            &id,
            "--data",
            self.data().to_str().unwrap(),
        ]);
    }

    pub(crate) async fn client(&self) -> Client {
        Client::builder()
            .bootstrap(&self.bootstrap())
            .build()
            .await
            .unwrap()
    }
}

/// The other two of three brokers.
pub(crate) const fn others_than(id: u64) -> [u64; 2] {
    [id % 3 + 1, (id + 1) % 3 + 1]
}

/// Starts `raftmq dev` on a folder.
pub(crate) fn start_dev(data: &Path, more: &[&str]) -> Process {
    let args = [
        &["dev", "-o", "json", "--data", data.to_str().unwrap()],
        more,
    ]
    .concat();
    Process::start(&args, &data.with_extension("log"))
}

/// A text field.
pub(crate) fn text(value: &Value, field: &str) -> String {
    value[field]
        .as_str()
        .unwrap_or_else(|| panic!("no {field} in {value}"))
        .to_owned()
}

/// An HTTP answer with its head.
pub(crate) fn get(endpoint: &str, path: &str) -> String {
    let exchange = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(endpoint)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    exchange().unwrap_or_else(|error| error.to_string())
}

/// Looks again and again until `condition` holds.
pub(crate) fn wait_until(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    let pause = parking_lot::Condvar::new();
    let lock = parking_lot::Mutex::new(());
    while !condition() {
        assert!(
            Instant::now() < deadline,
            "it did not happen within {PATIENCE:?}"
        );
        pause.wait_for(&mut lock.lock(), Duration::from_millis(20));
    }
}

/// Copies a folder with everything in it.
pub(crate) fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
