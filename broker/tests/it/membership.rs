//! Brokers that join by one address, the metadata group that grows and replaces its voters by itself,
//! and brokers that leave for good.

use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    FREE_PORTS, Process, get, ok, refused, serve, text, wait_until, with_bootstrap,
};

/// Brokers of one cluster, each in a folder of its own.
struct Brokers {
    folder: TempDir,
    running: Vec<(u32, Process)>,
}

impl Brokers {
    /// One broker that was told nothing but free ports.
    fn found(more: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let process = serve(&folder.path().join("broker-1"), more);
        Self {
            folder,
            running: vec![(1, process)],
        }
    }

    fn data(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn of(&self, id: u32) -> &Process {
        let found = self.running.iter().find(|(known, _)| *known == id);
        &found.unwrap().1
    }

    fn take(&mut self, id: u32) -> Process {
        let at = self.running.iter().position(|(known, _)| *known == id);
        self.running.remove(at.unwrap()).1
    }

    /// The peer listener of the first broker that runs.
    fn seed(&self) -> String {
        text(&self.running[0].1.ready, "peer")
    }

    /// Starts a broker on an empty folder with one address; gives the id that it was given.
    fn join(&mut self, more: &[&str]) -> u32 {
        let files_count = std::fs::read_dir(self.folder.path()).unwrap().count();
        let name = format!("joined-{files_count}");
        let seed = self.seed();
        let args = [&["--join", &seed][..], more].concat();
        let process = serve(&self.data(&name), &args);
        let id = u32::try_from(process.ready["id"].as_u64().unwrap()).unwrap();
        self.running.push((id, process));
        id
    }

    fn bootstrap(&self) -> String {
        text(&self.running[0].1.ready, "grpc")
    }

    fn ok(&self, args: &[&str]) -> String {
        ok(&with_bootstrap(args, &self.bootstrap()))
    }

    fn json(&self, args: &[&str]) -> Value {
        let text = self.ok(&[args, &["-o", "json"]].concat());
        serde_json::from_str(&text).unwrap()
    }

    fn refused(&self, args: &[&str], texts: &[&str]) {
        let args = [args, &["--timeout", "5"]].concat();
        refused(&with_bootstrap(&args, &self.bootstrap()), 1, texts);
    }

    fn info(&self) -> Value {
        self.json(&["cluster", "info"])
    }

    /// Waits for these voters and learners of the metadata group.
    fn wait_for_members(&self, voters: &[u32], learners: &[u32]) {
        wait_until(|| {
            let args = ["cluster", "info", "-o", "json", "--timeout", "5"];
            let output = crate::support::run(&with_bootstrap(&args, &self.bootstrap()));
            let info: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
            info["metadata_voters"] == json!(voters)
                && info["metadata_learners"] == json!(learners)
                && !info["controller"].is_null()
        });
    }
}

/// What `raftmq serve` says when it must not start.
fn does_not_start(data: &std::path::Path, more: &[&str], texts: &[&str]) {
    let data = data.to_str().unwrap();
    let args = [&["serve", "--data-dir", data][..], &FREE_PORTS, more].concat();
    refused(&args, 1, texts);
}

#[test]
fn one_broker_grows_to_three_and_survives_the_kill_of_the_first() {
    let mut brokers = Brokers::found(&[]);
    brokers.ok(&["topic", "create", "before"]);
    assert_eq!(
        brokers.json(&["partition", "list", "before"])[0]["replicas"],
        json!([1])
    );
    assert_eq!(brokers.join(&[]), 2);
    brokers.wait_for_members(&[1], &[2]);
    assert_eq!(brokers.join(&["--set", "broker.id=7"]), 7);
    brokers.wait_for_members(&[1, 2, 7], &[]);
    let table = brokers.ok(&["cluster", "info"]);
    assert!(table.contains("3 voters (1, 2, 7)"), "{table}");
    brokers.ok(&["topic", "create", "after"]);
    let placed = brokers.json(&["partition", "list", "after"]);
    let replicas = placed[0]["replicas"].as_array().unwrap();
    assert_eq!(
        replicas.len(),
        3,
        "the default replication factor follows the brokers"
    );

    brokers.take(1).kill();

    wait_until(|| {
        let args = [
            "topic",
            "create",
            "later",
            "--replication-factor",
            "2",
            "--timeout",
            "2",
        ];
        crate::support::run(&with_bootstrap(&args, &brokers.bootstrap()))
            .status
            .success()
    });
    let info = brokers.info();
    assert_ne!(info["controller"], json!(1), "{info}");
}

#[test]
fn a_voter_that_stays_dead_is_replaced() {
    let soon = "controller.quorum.voter.replace.after.ms=1000";
    let mut brokers = Brokers::found(&["--set", soon]);
    for id in 2..=4 {
        assert_eq!(brokers.join(&[]), id);
    }
    brokers.wait_for_members(&[1, 2, 3], &[4]);

    brokers.take(3).kill();

    brokers.wait_for_members(&[1, 2, 4], &[3]);
    // Another one may fail now.
    brokers.take(2).kill();
    wait_until(|| {
        let args = [
            "topic",
            "create",
            "later",
            "--replication-factor",
            "1",
            "--timeout",
            "2",
        ];
        crate::support::run(&with_bootstrap(&args, &brokers.bootstrap()))
            .status
            .success()
    });
}

#[test]
fn a_decommission_ends_and_the_broker_may_be_stopped() {
    let mut brokers = Brokers::found(&[]);
    for _ in 2..=4 {
        brokers.join(&[]);
    }
    brokers.wait_for_members(&[1, 2, 3], &[4]);
    brokers.ok(&["topic", "create", "logs", "--partitions", "4"]);
    brokers.refused(&["broker", "decommission", "9"], &["broker 9"]);

    // The controller itself leaves; the second broker is asked, because it stays.
    let first = brokers.take(1);
    brokers.ok(&["broker", "decommission", "1"]);

    brokers.wait_for_members(&[2, 3, 4], &[]);
    wait_until(|| {
        let listed = brokers.json(&["broker", "list"]);
        listed.as_array().unwrap().iter().all(|one| one["id"] != 1)
    });
    for partition in brokers.json(&["partition", "list"]).as_array().unwrap() {
        assert!(
            !partition["replicas"]
                .as_array()
                .unwrap()
                .contains(&json!(1)),
            "{partition}"
        );
    }
    let http = text(&first.ready, "http");
    wait_until(|| get(&http, "/readyz").contains("was decommissioned"));
    let log = std::fs::read_to_string(brokers.data("broker-1.log")).unwrap();
    assert!(
        log.contains("no longer part of the cluster, may be stopped"),
        "{log}"
    );
    assert_eq!(first.stop(), Some(0));
    let again = brokers.json(&["broker", "decommission", "1"]);
    assert_eq!(again["changes"], json!([]), "repetition");
    // Its id is not used again.
    let seed = brokers.seed();
    let args = ["--join", &seed, "--set", "broker.id=1"];
    does_not_start(
        &brokers.data("again"),
        &args,
        &["broker 1 was decommissioned"],
    );
    assert_eq!(brokers.join(&[]), 5);
}

#[test]
fn whoever_must_not_join_is_told_why_and_changes_nothing() {
    let mut brokers = Brokers::found(&[]);
    brokers.join(&[]);
    let before = brokers.info()["brokers"].clone();
    let seed = brokers.seed();

    let taken = ["--join", &seed, "--set", "broker.id=2"];
    let why = [
        "broker id 2 belongs to another data folder",
        "alive",
        "new id",
    ];
    does_not_start(&brokers.data("taken"), &taken, &why);
    let other = Brokers::found(&[]);
    let foreign = other.seed();
    let mut others = other.running;
    let (_, process) = others.remove(0);
    let data = other.folder.path().join("broker-1");
    process.stop();
    does_not_start(
        &data,
        &["--join", &seed],
        &["the data folder belongs to cluster"],
    );
    let both = ["--join", &foreign, "--set", "cluster.peers=1@a:1"];
    let data = brokers.data("both");
    let args = ["serve", "--data-dir", data.to_str().unwrap()];
    let args = [&args[..], &both].concat();
    refused(&args, 2, &["cluster.peers", "cluster.join"]);
    brokers.refused(&["broker", "decommission", "9"], &["broker 9"]);
    assert_eq!(brokers.info()["brokers"], before);

    // A broker that lost its disk comes back under a new id, and the old one is dead.
    brokers.take(2).kill();
    wait_until(|| brokers.info()["brokers"][1]["fenced"] == json!(true));
    does_not_start(
        &brokers.data("wiped"),
        &taken,
        &["belongs to another data folder"],
    );
    assert_eq!(brokers.join(&[]), 3);
}

#[test]
fn the_last_broker_is_not_decommissioned() {
    let brokers = Brokers::found(&[]);

    brokers.refused(&["broker", "decommission", "1"], &["broker 1"]);

    let listed = brokers.json(&["broker", "list"]);
    assert_eq!(listed[0]["decommissioned"], json!(false));
    assert!(get(&text(&brokers.of(1).ready, "http"), "/readyz").starts_with("HTTP/1.1 200"));
}
