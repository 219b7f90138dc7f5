//! What operators do for AMQP's clients: virtual hosts, users, permissions, and a look at what clients have
//! declared. By the command line, which is a client of the gRPC service like any other.

use lapin::options::{BasicConsumeOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Connection, ExchangeKind};
use raftmq_client::{ErrorCode, ErrorKind};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::client::{
    Client, bind, connect, consume_with, declare, declare_exchange, declare_with, own_queue,
    publish, refusal, table,
};
use super::errors::{declare_as, refused as channel_refused};
use crate::support::{
    Broker, Dev, PATIENCE, ok, refused, refused_with_input, run_with_input, stderr, stdout,
    text as field, wait_until, with_bootstrap,
};

/// The command line against one cluster.
pub(super) struct Operator {
    bootstrap: String,
}

impl Operator {
    pub(super) fn ok(&self, args: &[&str]) -> String {
        ok(&with_bootstrap(args, &self.bootstrap))
    }

    fn json(&self, args: &[&str]) -> Value {
        let text = self.ok(&[args, &["-o", "json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    fn refused(&self, args: &[&str], texts: &[&str]) {
        refused(&with_bootstrap(args, &self.bootstrap), 1, texts);
    }

    /// Sets a password in the way that shows it to nobody.
    pub(super) fn set_password(&self, user: &str, password: &str) {
        let args = ["user", "set", user, "--password-stdin"];
        let args = with_bootstrap(&args, &self.bootstrap);
        let set = run_with_input(&args, format!("{password}\n").as_bytes());
        assert!(set.status.success(), "{}", stderr(&set));
        let said = format!("{}{}", stdout(&set), stderr(&set));
        assert!(!said.contains(password), "{said}");
    }
}

/// Tries to log in until the answer is as wanted: what one broker was told, another one knows a moment later.
async fn log_in_until(
    (endpoint, login, vhost): (&str, &str, &str),
    is_wanted: impl Fn(&Result<Connection, (u16, String)>) -> bool,
) -> Result<Connection, (u16, String)> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = connect(endpoint, login, vhost).await;
        let answer = answer.map_err(|error| refusal(&error));
        if is_wanted(&answer) {
            return answer;
        }
        assert!(Instant::now() < deadline, "{login} on {vhost}: {answer:?}");
        sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// Waits until a client is refused with this code, and gives the words.
async fn refused_login(at: (&str, &str, &str), code: u16) -> String {
    let is_wanted =
        |answer: &Result<Connection, (u16, String)>| matches!(answer, Err((it, _)) if *it == code);
    log_in_until(at, is_wanted).await.expect_err("refused").1
}

/// Waits until a client is let in.
pub(super) async fn let_in(at: (&str, &str, &str)) -> Client {
    let connection = log_in_until(at, Result::is_ok).await.expect("let in");
    let channel = connection.create_channel().await.expect("a channel");
    let confirms = channel.confirm_select(lapin::options::ConfirmSelectOptions::default());
    confirms.await.expect("confirms");
    Client {
        connection,
        channel,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_user_enters_a_new_virtual_host_as_far_as_it_may() {
    let dev = Dev::start(&[]);
    let operator = Operator {
        bootstrap: dev.bootstrap(),
    };
    let amqp = field(&dev.broker(2), "amqp");
    let till = (amqp.as_str(), "till:sesame", "shop");
    operator.ok(&["vhost", "create", "shop", "--description", "orders"]);
    operator.set_password("till", "sesame");

    let words = refused_login(till, 530).await;
    assert!(
        words.ends_with("access to vhost 'shop' refused for user 'till'"),
        "{words}"
    );
    let words = refused_login((&amqp, "till:wrong", "shop"), 403).await;
    assert!(
        words.starts_with("ACCESS_REFUSED - Login was refused"),
        "{words}"
    );

    operator.ok(&["permissions", "set", "till", "-p", "shop", "--read", ".*"]);
    let client = let_in(till).await;
    let durable = QueueDeclareOptions::durable();
    let denied = channel_refused(&client, |channel| {
        declare_as(channel, "orders", durable, FieldTable::default())
    });
    let words = "ACCESS_REFUSED - configure access to queue 'orders' in vhost 'shop' refused for \
                 user 'till'";
    assert_eq!(denied.await, (403, words.to_owned()));

    let all = ["--configure", "^orders$", "--write", ".*", "--read", ".*"];
    operator.ok(&[&["permissions", "set", "till", "-p", "shop"], &all[..]].concat());
    let deadline = Instant::now() + PATIENCE;
    let allowed = loop {
        // The connection that is open follows.
        let channel = client.another_channel().await;
        let declared = declare_as(channel.clone(), "orders", durable, FieldTable::default()).await;
        match declared {
            Ok(()) => break channel,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        sleep(std::time::Duration::from_millis(20)).await;
    };
    let confirms = allowed.confirm_select(lapin::options::ConfirmSelectOptions::default());
    confirms.await.expect("confirms");
    for body in ["1", "2", "3"] {
        publish(&allowed, "", "orders", body.as_bytes()).await;
    }
    wait_until(|| {
        let listed = operator.json(&["queue", "list", "-p", "shop"]);
        listed[0]["name"] == "orders" && listed[0]["ready_messages"] == 3
    });
    client.close().await;

    operator.ok(&["permissions", "clear", "till", "--vhost", "shop"]);
    refused_login(till, 530).await;
    operator.ok(&["user", "delete", "till"]);
    refused_login(till, 403).await;
    operator.ok(&["vhost", "delete", "shop"]);
    refused_login((&amqp, "guest:guest", "shop"), 530).await;
    operator.refused(&["vhost", "delete", "shop"], &["vhost 'shop' not found"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_whose_leader_is_gone_shows_no_counts_and_can_be_deleted() {
    let dev = Dev::start(&[]);
    let operator = Operator {
        bootstrap: dev.bootstrap(),
    };
    let amqp = field(&dev.broker(1), "amqp");
    let client = let_in((&amqp, "guest:guest", "%2f")).await;
    let alone = table(&[("x-quorum-initial-group-size", AMQPValue::LongInt(1))]);
    let led_elsewhere = |name: &str| {
        let listed = operator.json(&["queue", "list"]);
        let mut queues = listed.as_array().unwrap().iter();
        let queue = queues.find(|queue| queue["name"] == name)?;
        queue["leader"].as_u64().filter(|leader| *leader != 1)
    };
    let (mut number, mut found) = (0, None);
    while found.is_none() {
        number += 1;
        let name = format!("alone-{number}");
        declare_with(&client.channel, &name, alone.clone()).await;
        wait_until(|| operator.ok(&["queue", "list"]).contains(&name));
        found = led_elsewhere(&name).map(|leader| (name, leader));
        assert!(number < 30, "every queue is placed on broker 1");
    }
    let (name, leader) = found.expect("a queue of another broker");

    dev.kill(leader);
    wait_until(|| {
        let listed = operator.json(&["queue", "list"]);
        let mut queues = listed.as_array().unwrap().iter();
        let queue = queues.find(|queue| queue["name"] == name.as_str());
        let queue = queue.expect("it is still there");
        queue["leader"].is_null() && queue["ready_messages"].is_null()
    });
    let delete = ["queue", "delete", name.as_str()];
    let if_empty = [&delete[..], &["--if-empty", "--timeout", "4"]].concat();
    operator.refused(&if_empty, &[&name]);
    let deleted = operator.json(&delete);
    assert_eq!(deleted["deleted"], name.as_str());
    assert!(deleted["messages"].is_null(), "{deleted}");
    client.close().await;
}

/// One broker, a virtual host of the test's own, and `guest` in it.
pub(super) async fn alone_in(vhost: &str) -> (Broker, Operator, Client) {
    let broker = Broker::start(&[]);
    let operator = Operator {
        bootstrap: broker.grpc(),
    };
    wait_until(|| operator.ok(&["user", "list"]).contains("guest"));
    operator.ok(&["vhost", "create", vhost]);
    let everything = ["--configure", ".*", "--write", ".*", "--read", ".*"];
    let set = ["permissions", "set", "guest", "-p", vhost];
    operator.ok(&[&set[..], &everything].concat());
    let client = let_in((&broker.amqp(), "guest:guest", vhost)).await;
    (broker, operator, client)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queues_are_listed_purged_and_deleted() {
    let (_broker, operator, client) = alone_in("queues").await;
    let limit = table(&[("x-max-length", AMQPValue::LongInt(7))]);
    declare_with(&client.channel, "bounded", limit).await;
    let own = own_queue(&client.channel).await;
    publish(&client.channel, "", "bounded", b"1").await;
    publish(&client.channel, "", "bounded", b"2").await;
    let reading = client.another_channel().await;
    let no_ack = BasicConsumeOptions {
        no_ack: true,
        ..BasicConsumeOptions::default()
    };
    let consumer = consume_with(&reading, own.as_str(), "c", no_ack).await;

    // The controller hears a moment later who leads.
    let has_counts = |queue: &Value| queue["ready_messages"].is_u64();
    wait_until(|| {
        let listed = operator.json(&["queue", "list", "-p", "queues"]);
        listed.as_array().unwrap().iter().all(has_counts)
    });
    let listed = operator.json(&["queue", "list", "-p", "queues"]);
    let (amq, bounded) = (&listed[0], &listed[1]);
    assert_eq!(amq["name"], own.as_str());
    assert_eq!(
        (&amq["exclusive"], &amq["consumers"]),
        (&json!(true), &json!(1))
    );
    assert_eq!(bounded["name"], "bounded");
    assert_eq!(bounded["type"], "classic");
    assert_eq!(bounded["leader"], 1);
    assert_eq!(bounded["durable"], true);
    assert_eq!(bounded["ready_messages"], 2);
    assert_eq!(bounded["arguments"], json!({"x-max-length": 7}));
    let skipped = operator.json(&["queue", "list", "-p", "queues", "--no-counts"]);
    assert!(skipped[1]["ready_messages"].is_null(), "{skipped}");
    let text = operator.ok(&["queue", "list", "-p", "queues"]);
    assert!(text.contains("x-max-length=7"), "{text}");

    let delete = ["queue", "delete", "-p", "queues"];
    operator.refused(
        &[&delete[..], &["bounded", "--if-empty"]].concat(),
        &["queue 'bounded' in vhost 'queues'", "not empty: 2 messages"],
    );
    operator.refused(
        &[&delete[..], &[own.as_str(), "--if-unused"]].concat(),
        &["in use: it has 1 consumers"],
    );
    let purged = operator.json(&["queue", "purge", "bounded", "-p", "queues"]);
    assert_eq!(
        purged,
        json!({"purged": "bounded", "vhost": "queues", "messages": 2})
    );
    publish(&client.channel, "", "bounded", b"3").await;
    let deleted = operator.json(&[&delete[..], &["bounded"]].concat());
    assert_eq!(deleted["messages"], 1);
    operator.ok(&[&delete[..], &[own.as_str()]].concat());
    assert_eq!(operator.json(&["queue", "list", "-p", "queues"]), json!([]));
    drop(consumer);
    client.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exchanges_and_bindings_are_listed_to_the_last_one() {
    const KEYS: usize = 300;
    let (_broker, operator, client) = alone_in("bound").await;
    let channel = &client.channel;
    declare(channel, "q").await;
    let alternate = table(&[(
        "alternate-exchange",
        AMQPValue::LongString("amq.fanout".into()),
    )]);
    declare_exchange(channel, "events", ExchangeKind::Topic, alternate).await;
    for number in 0..KEYS {
        bind(channel, "q", "events", &format!("key.{number:03}")).await;
    }

    let exchanges = operator.json(&["exchange", "list", "-p", "bound"]);
    let names = exchanges.as_array().unwrap().iter();
    let names: Vec<&str> = names
        .map(|exchange| exchange["name"].as_str().unwrap())
        .collect();
    let expected = [
        "",
        "amq.direct",
        "amq.fanout",
        "amq.headers",
        "amq.match",
        "amq.rabbitmq.trace",
        "amq.topic",
        "events",
    ];
    assert_eq!(names, expected);
    let events = &exchanges[7];
    assert_eq!(
        (&events["type"], &events["durable"]),
        (&json!("topic"), &json!(true))
    );
    assert_eq!(events["arguments"]["alternate-exchange"], "amq.fanout");

    // More than one part of a list.
    let bindings = operator.json(&["binding", "list", "-p", "bound"]);
    let bindings = bindings.as_array().unwrap();
    assert_eq!(bindings.len(), KEYS + 1);
    let default = json!({
        "source": "", "destination_type": "queue", "destination": "q", "routing_key": "q",
        "arguments": {},
    });
    assert_eq!(bindings[0], default);
    for (number, binding) in bindings[1..].iter().enumerate() {
        assert_eq!(binding["source"], "events");
        assert_eq!(binding["destination"], "q");
        assert_eq!(binding["routing_key"], format!("key.{number:03}"));
    }
    let vhosts = operator.json(&["vhost", "list"]);
    let bound = &vhosts[1];
    assert_eq!(bound["name"], "bound");
    assert_eq!(
        (&bound["queues"], &bound["exchanges"]),
        (&json!(1), &json!(7))
    );
    assert_eq!(bound["bindings"], KEYS);
    client.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_a_user_leaves_the_rest_and_nobody_sees_the_password() {
    let (broker, operator, client) = alone_in("users").await;
    operator.set_password("jane", "first");
    operator.ok(&["user", "set", "jane", "--tags", "monitoring,management"]);
    let everything = ["--configure", ".*", "--write", ".*", "--read", ".*"];
    operator.ok(&[
        &["permissions", "set", "jane", "-p", "users"],
        &everything[..],
    ]
    .concat());
    let amqp = broker.amqp();
    let_in((&amqp, "jane:first", "users")).await.close().await;

    operator.ok(&["user", "set", "jane", "--password", "second"]);
    let_in((&amqp, "jane:second", "users")).await.close().await;
    refused_login((&amqp, "jane:first", "users"), 403).await;
    let listed = operator.json(&["user", "list"]);
    let expected = json!([
        {"name": "guest", "tags": ["administrator"]},
        {"name": "jane", "tags": ["management", "monitoring"]},
    ]);
    assert_eq!(listed, expected);
    let permissions = operator.json(&["permissions", "list", "--user", "jane"]);
    let expected = json!([
        {"vhost": "users", "user": "jane", "configure": ".*", "write": ".*", "read": ".*"},
    ]);
    assert_eq!(permissions, expected);
    assert_eq!(
        operator.json(&["permissions", "list", "-p", "/", "-u", "jane"]),
        json!([])
    );

    operator.ok(&["user", "set", "jane", "--tags", ""]);
    assert_eq!(operator.json(&["user", "list"])[1]["tags"], json!([]));
    let_in((&amqp, "jane:second", "users")).await.close().await;
    client.close().await;
}

/// Everything that an operator can change, in the virtual host `kept` and around it.
fn everything(operator: &Operator) -> [Value; 5] {
    let lists = [
        &["vhost", "list"][..],
        &["user", "list"],
        &["permissions", "list"],
        &["queue", "list", "-p", "kept"],
        &["binding", "list", "-p", "kept"],
    ];
    lists.map(|list| operator.json(list))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_there_is_refused_by_name_and_nothing_changes() {
    let (_broker, operator, client) = alone_in("kept").await;
    declare(&client.channel, "q").await;
    wait_until(|| operator.json(&["queue", "list", "-p", "kept"])[0]["consumers"] == 0);
    let before = everything(&operator);
    let nowhere = "vhost 'nowhere' not found";
    let nobody = "user 'nobody' not found";
    let missing = "no queue 'missing' in vhost 'kept'";

    for (line, texts) in [
        ("vhost delete nowhere", &[nowhere, "raftmq vhost list"][..]),
        ("queue list -p nowhere", &[nowhere]),
        ("queue delete q -p nowhere", &[nowhere]),
        ("exchange list -p nowhere", &[nowhere]),
        ("binding list -p nowhere", &[nowhere]),
        ("permissions list -p nowhere", &[nowhere]),
        ("permissions set guest -p nowhere", &[nowhere]),
        ("permissions clear guest -p nowhere", &[nowhere]),
        ("permissions list -u nobody", &[nobody]),
        ("permissions set nobody -p kept", &[nobody]),
        ("user delete nobody", &[nobody, "raftmq user list"]),
        ("user set nobody --tags monitoring", &[nobody]),
        (
            "queue delete missing -p kept",
            &[missing, "raftmq queue list"],
        ),
        ("queue purge missing -p kept", &[missing]),
    ] {
        let args: Vec<&str> = line.split(' ').collect();
        operator.refused(&args, texts);
    }

    assert_eq!(everything(&operator), before);
    client.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_makes_no_sense_is_refused_and_nothing_changes() {
    let (_broker, operator, client) = alone_in("kept").await;
    let before = everything(&operator);
    let long = "x".repeat(300);

    for (args, text) in [
        (&["vhost", "create", ""][..], "name of vhost is empty"),
        (&["vhost", "create", &long], "300 is over the limit of 255"),
        (
            &["permissions", "set", "guest", "-p", "kept", "--read", "("],
            "read pattern \"(\" is no regular expression",
        ),
        (
            &["user", "set", "jane", "--password", ""],
            "password is empty",
        ),
        (
            &["user", "set", "", "--password", "x"],
            "name of user is empty",
        ),
    ] {
        operator.refused(args, &[text]);
    }
    let usage = ["user", "set", "guest"];
    let usage = with_bootstrap(&usage, &operator.bootstrap);
    refused(&usage, 2, &["--password-stdin"]);
    let stdin = ["user", "set", "guest", "--password-stdin"];
    let stdin = with_bootstrap(&stdin, &operator.bootstrap);
    refused_with_input(&stdin, b"a\nb\n", 2, &["one line"]);

    assert_eq!(everything(&operator), before);
    client.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_tell_refusals_apart_without_reading_them() {
    let (broker, _operator, client) = alone_in("kept").await;
    declare(&client.channel, "q").await;
    publish(&client.channel, "", "q", b"1").await;
    let admin = raftmq_client::Client::builder().bootstrap(&broker.grpc());
    let admin = admin.build().await.expect("a client").admin();

    let create = admin.create_vhost("kept").default_queue_type("stream");
    let refused = create.send().await.expect_err("no such type");
    assert_eq!(refused.code(), Some(ErrorCode::InvalidRequest));
    let refused = admin.delete_vhost("nowhere").await.expect_err("refused");
    assert_eq!(refused.code(), Some(ErrorCode::UnknownVhost));
    assert_eq!(refused.kind(), ErrorKind::NotFound);
    assert!(!refused.is_retriable(), "the metadata group has said so");
    let refused = admin.delete_user("nobody").await.expect_err("refused");
    assert_eq!(refused.code(), Some(ErrorCode::UnknownUser));
    let purged = admin.purge_queue("kept", "missing").await;
    let refused = purged.expect_err("refused");
    assert_eq!(refused.code(), Some(ErrorCode::UnknownQueue));
    let delete = admin.delete_queue("kept", "q").if_empty();
    let refused = delete.send().await.expect_err("a message is ready");
    assert_eq!(refused.code(), Some(ErrorCode::PreconditionFailed));
    assert_eq!(refused.kind(), ErrorKind::Precondition);
    assert!(!refused.is_retriable());
    client.close().await;
}
