//! Kafka's Java client and command line tools. What the client must find stands in
//! `broker/tests/clients/java`.

use std::io::{BufRead, BufReader, Write};

use super::Cluster;
use super::programs::{java, run, start};

/// Records that are acknowledged before the leader is killed, and after it.
const BEFORE_KILL: &str = "1000";
const AFTER_KILL: &str = "500";
/// What the Java client checks.
const STEPS: [&str; 13] = [
    "cluster",
    "topics",
    "configs",
    "refusals",
    "codecs",
    "acks",
    "offsets",
    "delete-records",
    "long-poll",
    "big-records",
    "producers",
    "auto-creation",
    "quotas",
];

#[test]
fn the_java_client_finds_every_promise_kept() {
    let cluster = Cluster::shared();

    let mut scenario = java("Scenario.java");
    scenario.args([&cluster.bootstrap, "java"]).args(STEPS);
    let said = run(scenario, "");

    for step in STEPS {
        assert!(said.contains(&format!("ok {step} ")), "{step}: {said}");
    }
}

#[test]
fn the_idempotent_java_producer_survives_its_leaders_death_without_loss_or_doubles() {
    let cluster = Cluster::start();
    create(&cluster, "idempotent");
    let leader = super::librdkafka::leader_of(&cluster.bootstrap, "idempotent");

    let mut program = java("Idempotent.java");
    program.args([&cluster.bootstrap, "idempotent", BEFORE_KILL, AFTER_KILL]);
    let mut child = start(program);
    let mut said = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let sent = said.next().expect("a line").expect("text");
    assert!(sent.starts_with("sent "), "{sent}");
    cluster.dev.kill(leader);
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(b"killed\n").expect("it reads");
    let found = said.next().expect("a line").expect("text");

    assert!(
        found.starts_with("lost 0 duplicated 0 reordered 0 of "),
        "{found}"
    );
    assert!(child.wait().expect("it ends").success());
}

fn create(cluster: &Cluster, topic: &str) {
    let line = [
        "TopicCommand",
        "--bootstrap-server",
        &cluster.bootstrap,
        "--create",
        "--topic",
        topic,
    ];
    let answers = tools(&[line.join("\t")]);
    assert_eq!(answers[0].code, "0", "{answers:?}");
}

/// What one tool said, and its exit code.
#[derive(Debug)]
struct Answer {
    code: String,
    said: String,
}

/// Runs tools one after the other, in one JVM.
fn tools(lines: &[String]) -> Vec<Answer> {
    let said = run(java("Tools.java"), &lines.join("\n"));
    let mut answers = Vec::new();
    let mut text = String::new();
    for line in said.lines() {
        if let Some(code) = line.strip_prefix("== exit ") {
            let (code, said) = (code.to_owned(), std::mem::take(&mut text));
            answers.push(Answer { code, said });
        } else if !line.starts_with("== ") {
            text.push_str(line);
            text.push('\n');
        }
    }
    assert_eq!(answers.len(), lines.len(), "{said}");
    answers
}

/// What is run, what it must say, and what it reads; `@` stands for the file of [`TO_DELETE`].
const TOOLS: [(&str, &[&str], &str); 15] = [
    (
        "TopicCommand --create --topic tools --partitions 1 --config retention.ms=86400000",
        &["Created topic tools."],
        "",
    ),
    ("TopicCommand --list", &["tools\n"], ""),
    (
        "TopicCommand --describe --topic tools",
        &[
            "PartitionCount: 1",
            "ReplicationFactor: 3",
            "retention.ms=86400000",
        ],
        "",
    ),
    (
        "kafka.admin.ConfigCommand --alter --entity-type topics --entity-name tools --add-config max.message.bytes=2000000",
        &["Completed updating config for topic tools."],
        "",
    ),
    (
        "kafka.admin.ConfigCommand --describe --entity-type topics --entity-name tools",
        &[
            "max.message.bytes=2000000",
            "retention.ms=86400000",
            "DYNAMIC_TOPIC_CONFIG",
        ],
        "",
    ),
    (
        "ConsoleProducer --topic tools --reader-property parse.key=true --reader-property key.separator=:",
        &[],
        r"a:1\nb:2\nc:3\n",
    ),
    (
        "consumer.ConsoleConsumer --topic tools --partition 0 --offset 1 --max-messages 2 --timeout-ms 20000 --formatter-property print.key=true",
        &["b\t2\nc\t3\n", "Processed a total of 2 messages"],
        "",
    ),
    ("GetOffsetShell --topic tools", &["tools:0:3\n"], ""),
    (
        "ProducerPerformance --topic tools --num-records 2000 --record-size 200 --throughput -1 --command-property acks=all",
        &["2000 records sent"],
        "",
    ),
    (
        "DeleteRecordsCommand --offset-json-file @",
        &["partition: tools-0\tlow_watermark: 1"],
        "",
    ),
    (
        "GetOffsetShell --topic tools --time earliest",
        &["tools:0:1\n"],
        "",
    ),
    ("ClusterTool cluster-id", &["Cluster ID: "], ""),
    (
        "BrokerApiVersionsCommand",
        &["Produce(0): 0 to ", "ApiVersions(18): 0 to "],
        "",
    ),
    ("TopicCommand --alter --topic tools --partitions 4", &[], ""),
    ("TopicCommand --delete --topic tools", &[], ""),
];
/// What the tool that deletes records is told.
const TO_DELETE: &str =
    r#"{"partitions": [{"topic": "tools", "partition": 0, "offset": 1}], "version": 1}"#;

#[test]
fn kafkas_command_line_tools_do_their_work() {
    let cluster = Cluster::shared();
    let folder = tempfile::tempdir().expect("a folder");
    let to_delete = folder.path().join("offsets.json");
    std::fs::write(&to_delete, TO_DELETE).expect("it is written");
    let to_delete = to_delete.to_str().expect("text");

    let line = |(command, _, input): &(&str, &[&str], &str)| {
        let words = format!("{command} --bootstrap-server {}", cluster.bootstrap);
        let words = words.replace('@', to_delete).replace(' ', "\t");
        if input.is_empty() {
            words
        } else {
            format!("{words}<<{input}")
        }
    };
    let lines: Vec<String> = TOOLS.iter().map(line).collect();

    let answers = tools(&lines);

    for ((command, texts, _), answer) in TOOLS.iter().zip(&answers) {
        assert_eq!(answer.code, "0", "{command}: {}", answer.said);
        for text in *texts {
            assert!(
                answer.said.contains(text),
                "{command} should say {text:?}: {}",
                answer.said
            );
        }
    }
}

#[test]
fn what_kafkas_tools_ask_wrongly_is_refused_with_kafkas_words() {
    let cluster = Cluster::shared();
    let steps = [
        (
            "TopicCommand --create --topic a%b --partitions 1",
            "InvalidTopicException",
        ),
        (
            "TopicCommand --create --topic wide --replication-factor 30",
            "InvalidReplicationFactorException",
        ),
        (
            "TopicCommand --create --topic odd --config no.such.key=1",
            "no.such.key",
        ),
        ("TopicCommand --delete --topic nowhere", "does not exist"),
    ];
    let line = |(command, _): &(&str, &str)| {
        format!("{command} --bootstrap-server {}", cluster.bootstrap).replace(' ', "\t")
    };
    let lines: Vec<String> = steps.iter().map(line).collect();

    for ((command, text), answer) in steps.iter().zip(tools(&lines)) {
        assert_eq!(answer.code, "1", "{command}: {}", answer.said);
        assert!(
            answer.said.contains(text),
            "{command} should say {text:?}: {}",
            answer.said
        );
    }
}
