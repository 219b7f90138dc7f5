//! A move of replicas that is slowed, so that it is under way for sure, while the brokers that carry it out
//! are killed one after the other. It goes on, can be sent back, and nothing acknowledged is lost.

use serde_json::{Value, json};

use crate::load::Load;
use crate::support::{Dev, ok, wait_until, with_bootstrap};

const TOPIC: &str = "killed";
const BROKERS: [u64; 4] = [1, 2, 3, 4];
/// Far less than what is written: the move does not end before the limit is lifted.
const RATE: &str = "leader.replication.throttled.rate=1024";
/// Acknowledgements that show that the partition goes on.
const ACKS: u64 = 100;

struct Cluster {
    dev: Dev,
    bootstrap: String,
}

impl Cluster {
    fn ok(&self, args: &[&str]) -> String {
        ok(&with_bootstrap(args, &self.bootstrap))
    }

    fn json(&self, args: &[&str]) -> Value {
        let text = self.ok(&[args, &["-o", "json"]].concat());
        serde_json::from_str(&text).unwrap()
    }

    fn partition(&self) -> Value {
        self.json(&["partition", "list", TOPIC])[0].clone()
    }

    fn replicas(&self) -> Vec<u64> {
        serde_json::from_value(self.partition()["replicas"].clone()).unwrap()
    }

    fn controller(&self) -> u64 {
        self.json(&["cluster", "info"])["controller"]
            .as_u64()
            .unwrap()
    }

    fn reassign(&self, replicas: &[u64]) {
        let texts: Vec<String> = replicas.iter().map(u64::to_string).collect();
        let replicas = texts.join(",");
        let args = ["partition", "reassign", TOPIC, "0", "--replicas", &replicas];
        self.ok(&args);
    }

    /// Waits until the new replica is being sent the log.
    fn wait_until_copying(&self) {
        wait_until(|| {
            let progress = &self.partition()["progress"];
            progress["step"] == "copying" && progress["entries_left"].as_u64() > Some(0)
        });
    }

    fn wait_until_at(&self, replicas: &[u64]) {
        wait_until(|| {
            let shown = self.partition();
            shown["moving"] == false && shown["replicas"] == json!(replicas)
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_goes_on_after_kills_of_who_sends_who_receives_and_who_drives_it() {
    let dev = Dev::start(&["--brokers", "4"]);
    let bootstrap = dev.bootstrap();
    let cluster = Cluster { dev, bootstrap };
    let client = cluster.dev.client().await;
    let load = Load::start(&client, TOPIC, 1).await;
    load.wait_for_acks(10 * ACKS).await;
    let before = cluster.replicas();
    let new = BROKERS.into_iter().find(|id| !before.contains(id)).unwrap();
    let target = [before[1], before[2], new];

    cluster.ok(&["cluster", "settings", "set", RATE]);
    cluster.reassign(&target);
    cluster.wait_until_copying();
    let leader = cluster.partition()["leader"].as_u64().unwrap();
    let kills = [("the leader", leader), ("the new one", new)];
    for (who, id) in kills {
        cluster.dev.kill(id);
        load.wait_for_acks(ACKS).await;
        cluster.dev.restart(id);
        cluster.wait_until_copying();
        assert_eq!(cluster.partition()["target"], json!(target), "{who}");
    }
    let controller = cluster.controller();
    cluster.dev.kill(controller);
    load.wait_for_acks(ACKS).await;
    cluster.dev.restart(controller);
    cluster.wait_until_copying();
    assert_eq!(cluster.partition()["target"], json!(target));

    cluster.ok(&["partition", "cancel", TOPIC, "0"]);
    wait_until(|| cluster.partition()["moving"] == false);
    let mut back = cluster.replicas();
    let mut expected = before.clone();
    back.sort_unstable();
    expected.sort_unstable();
    assert_eq!(back, expected);
    load.wait_for_acks(ACKS).await;

    cluster.reassign(&target);
    cluster.wait_until_copying();
    cluster.ok(&[
        "cluster",
        "settings",
        "unset",
        "leader.replication.throttled.rate",
    ]);
    cluster.wait_until_at(&target);
    load.wait_for_acks(ACKS).await;
    let proven = load.prove(&client).await;
    assert!(proven.records_count > 0);
}
