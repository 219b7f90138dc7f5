//! Queues and exchanges as clients make, ask for and remove them.

use lapin::ExchangeKind;
use lapin::options::{
    ExchangeBindOptions, ExchangeDeclareOptions, ExchangeDeleteOptions, ExchangeUnbindOptions,
    QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use tokio::time::{Instant, sleep};

use super::client::{
    Client, bind, broker, consume, declare, declare_exchange, declare_with, own_queue, publish,
    refusal, table, take,
};
use crate::support::PATIENCE;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn declaring_again_shows_what_is_there() {
    let broker = broker();
    let client = Client::confirming(&broker.amqp()).await;
    let channel = &client.channel;
    declare(channel, "again").await;
    publish(channel, "", "again", b"1").await;
    let _consumer = consume(&client.another_channel().await, "again", "c").await;
    let declared = channel.queue_declare(
        "again".into(),
        QueueDeclareOptions::durable(),
        FieldTable::default(),
    );
    assert_eq!(declared.await.expect("it is there").consumer_count(), 1);
    let deleted = channel.queue_delete("again".into(), QueueDeleteOptions::default());
    deleted.await.expect("it is deleted");
    let twice = channel.queue_delete("again".into(), QueueDeleteOptions::default());
    assert_eq!(twice.await.expect("no error"), 0);
    client.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_declared_queue_needs_no_name() {
    let broker = broker();
    let client = Client::confirming(&broker.amqp()).await;
    let channel = &client.channel;
    let name = own_queue(channel).await;
    bind(channel, "", "amq.direct", "last-declared").await;
    publish(channel, "amq.direct", "last-declared", b"hello").await;
    let mut consumer = consume(channel, "", "c").await;
    assert_eq!(take(&mut consumer).await, "hello");
    assert!(!name.as_str().is_empty());
    client.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exclusive_queue_is_its_connections_own_and_goes_with_it() {
    let broker = broker();
    let owner = Client::connect(&broker.amqp()).await;
    let name = own_queue(&owner.channel).await;
    let other = Client::connect(&broker.amqp()).await;
    let passive = |channel: lapin::Channel| {
        let name = name.clone();
        async move {
            let options = QueueDeclareOptions::default().passive();
            let found = channel.queue_declare(name, options, FieldTable::default());
            found.await.map(drop).map_err(|error| refusal(&error))
        }
    };
    let (code, words) = passive(other.another_channel().await).await.unwrap_err();
    assert_eq!(code, 405);
    assert!(
        words.starts_with("RESOURCE_LOCKED - cannot obtain exclusive access to locked queue"),
        "{words}"
    );
    let second = owner.another_channel().await;
    passive(second.clone()).await.expect("its own");
    owner.close().await;
    let (code, words) = passive(other.another_channel().await).await.unwrap_err();
    assert_eq!(code, 404, "{words}");
    other.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_auto_delete_queue_goes_with_its_last_consumer() {
    let broker = broker();
    let client = Client::connect(&broker.amqp()).await;
    let options = QueueDeclareOptions::default().auto_delete();
    let declared = client
        .channel
        .queue_declare("fleeting".into(), options, FieldTable::default());
    declared.await.expect("a queue");
    let reader = client.another_channel().await;
    let consumer = consume(&reader, "fleeting", "c").await;
    drop(consumer);
    reader.close(200, "bye".into()).await.expect("it closes");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let channel = client.another_channel().await;
        let options = QueueDeclareOptions::default().passive();
        let found = channel.queue_declare("fleeting".into(), options, FieldTable::default());
        if let Err(error) = found.await {
            assert_eq!(refusal(&error).0, 404);
            break;
        }
        assert!(Instant::now() < deadline, "the queue stays");
        sleep(std::time::Duration::from_millis(20)).await;
    }
    client.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exchanges_are_bound_to_exchanges_and_unbound_again() {
    let broker = broker();
    let client = Client::confirming(&broker.amqp()).await;
    let channel = &client.channel;
    for (name, kind) in [
        ("outer", ExchangeKind::Topic),
        ("inner", ExchangeKind::Fanout),
    ] {
        declare_exchange(channel, name, kind, FieldTable::default()).await;
    }
    let bound = channel.exchange_bind(
        "inner".into(),
        "outer".into(),
        "a.*".into(),
        ExchangeBindOptions::default(),
        FieldTable::default(),
    );
    bound.await.expect("a binding");
    declare(channel, "innermost").await;
    bind(channel, "innermost", "inner", "").await;
    publish(channel, "outer", "a.b", b"1").await;
    publish(channel, "outer", "b.b", b"2").await;
    let unbound = channel.exchange_unbind(
        "inner".into(),
        "outer".into(),
        "a.*".into(),
        ExchangeUnbindOptions::default(),
        FieldTable::default(),
    );
    unbound.await.expect("no binding");
    publish(channel, "outer", "a.b", b"3").await;
    publish(channel, "inner", "", b"4").await;
    let mut consumer = consume(channel, "innermost", "c").await;
    for body in ["1", "4"] {
        assert_eq!(take(&mut consumer).await, body);
    }
    let unbound = channel.queue_unbind(
        "innermost".into(),
        "inner".into(),
        "".into(),
        FieldTable::default(),
    );
    unbound.await.expect("no binding");
    let unused = ExchangeDeleteOptions {
        if_unused: true,
        ..ExchangeDeleteOptions::default()
    };
    let deleted = channel.exchange_delete("inner".into(), unused);
    deleted.await.expect("it is deleted");
    client.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_virtual_host_has_its_exchanges_and_passive_finds_them() {
    let broker = broker();
    let client = Client::connect(&broker.amqp()).await;
    for name in [
        "amq.direct",
        "amq.fanout",
        "amq.topic",
        "amq.headers",
        "amq.match",
    ] {
        let options = ExchangeDeclareOptions {
            passive: true,
            ..ExchangeDeclareOptions::default()
        };
        let kind = ExchangeKind::Direct;
        let found =
            client
                .channel
                .exchange_declare(name.into(), kind, options, FieldTable::default());
        found.await.expect("it is there");
    }
    client.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unused_queue_expires() {
    let broker = broker();
    let client = Client::connect(&broker.amqp()).await;
    let arguments = table(&[("x-expires", AMQPValue::LongInt(300))]);
    declare_with(&client.channel, "expiring", arguments).await;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let channel = client.another_channel().await;
        let options = QueueDeclareOptions::default().passive();
        let found = channel.queue_declare("expiring".into(), options, FieldTable::default());
        if found.await.is_err() {
            break;
        }
        assert!(Instant::now() < deadline, "the queue stays");
        sleep(std::time::Duration::from_millis(50)).await;
    }
    client.close().await;
}
