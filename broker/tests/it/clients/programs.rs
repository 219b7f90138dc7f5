//! Finds and runs programs of others: kcat, Java with the clients' jars, Python with pika.
//!
//! Knows where `make tools` puts them, and nothing of what they are told.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// The file that names the versions.
const VERSIONS: &str = include_str!("../../clients/versions");

/// A program of the system with the system's libraries: cargo puts the folder of our own librdkafka,
/// which is built without zstd, into the path of libraries.
fn program(name: &str) -> Command {
    let mut command = Command::new(name);
    command.env_remove("LD_LIBRARY_PATH");
    command
}

/// A program to run; panics with advice where it is not installed.
pub(super) fn kcat() -> Command {
    let is_there = program("kcat").arg("-V").output().is_ok();
    assert!(is_there, "kcat is not installed: run `make tools`");
    program("kcat")
}

/// Java, ready to run a source file of `broker/tests/clients/java` with Kafka's jars.
pub(super) fn java(source: &str) -> Command {
    java_with(&format!("kafka-{}", version("kafka_version")), source)
}

/// As [`java`], with the jars of RabbitMQ's client.
pub(crate) fn rabbit(source: &str) -> Command {
    java_with(&format!("amqp-{}", version("amqp_client_version")), source)
}

fn java_with(jars: &str, source: &str) -> Command {
    let jars = tools().join(jars);
    assert!(
        jars.join("complete").is_file(),
        "there are no jars in {}: run `make tools`",
        jars.display()
    );
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/java");
    let logging = format!(
        "-Dlog4j2.configurationFile={}",
        sources.join("log4j2.properties").display()
    );
    let mut command = program("java");
    // A short life: the quick compiler and the small collector.
    command
        .args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx256m"])
        .arg(logging)
        .arg("-cp")
        .arg(jars.join("*"))
        .arg(sources.join(source));
    command
}

/// Python with pika, ready to run a source file of `broker/tests/clients/python`.
pub(crate) fn pika(source: &str) -> Command {
    let python = tools().join("pika/bin/python");
    assert!(
        python.is_file(),
        "there is no {}: run `make tools`",
        python.display()
    );
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/python");
    let mut command = Command::new(python);
    // It would leave its byte code beside the sources.
    command.arg("-B").arg(sources.join(source));
    command
}

/// Starts it with pipes for what it reads and says; its stderr is this test's.
pub(crate) fn start(mut command: Command) -> Child {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}: run `make tools`"))
}

/// Runs it to its end with `input` on its stdin. It must succeed; gives its stdout.
pub(crate) fn run(mut command: Command, input: &str) -> String {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}: run `make tools`"));
    let mut stdin = child.stdin.take().expect("it is piped");
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().expect("it ends");
    let written = writer.join().expect("the writer ends");
    let said = said(&output);
    assert!(
        output.status.success(),
        "{command:?} ended with {}:\n{said}",
        output.status
    );
    written.unwrap_or_else(|error| panic!("{command:?} does not read: {error}:\n{said}"));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn said(output: &Output) -> String {
    let texts = [&output.stdout, &output.stderr];
    texts
        .map(|text| String::from_utf8_lossy(text).into_owned())
        .concat()
}

fn tools() -> PathBuf {
    let cache = std::env::var_os("CACHE").map(PathBuf::from);
    let home =
        || PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache/raftmq");
    cache.unwrap_or_else(home).join("tools")
}

fn version(name: &str) -> &'static str {
    let value_of = |line: &'static str| {
        line.strip_prefix(name)?
            .strip_prefix('=')?
            .split_whitespace()
            .next()
    };
    VERSIONS
        .lines()
        .find_map(value_of)
        .expect("the version is named")
}
