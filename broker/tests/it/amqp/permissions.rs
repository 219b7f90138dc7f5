//! Users who may do one thing only: what they hear when they try another.

use lapin::BasicProperties;
use lapin::options::BasicConsumeOptions;
use lapin::types::FieldTable;

use super::administration::{Operator, alone_in, let_in};
use super::client::{Client, consume, declare, publish, take};
use super::errors::{publish_and_ask, refused};
use crate::support::Broker;

const VHOST: &str = "rights";

/// A user who has one kind of permission on everything.
async fn user_who_may(broker: &Broker, operator: &Operator, permission: &str) -> Client {
    operator.set_password(permission, "sesame");
    let flag = format!("--{permission}");
    operator.ok(&["permissions", "set", permission, "-p", VHOST, &flag, ".*"]);
    let login = format!("{permission}:sesame");
    let_in((&broker.amqp(), &login, VHOST)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_only_read_cannot_publish_and_who_may_only_write_cannot_consume() {
    let (broker, operator, owner) = alone_in(VHOST).await;
    declare(&owner.channel, "q").await;
    let reader = user_who_may(&broker, &operator, "read").await;
    let writer = user_who_may(&broker, &operator, "write").await;

    let denied = refused(&reader, |channel| {
        publish_and_ask(channel, ("", "q"), BasicProperties::default())
    });
    let words = "ACCESS_REFUSED - write access to exchange 'amq.default' in vhost 'rights' refused \
                 for user 'read'";
    assert_eq!(denied.await, (403, words.to_owned()));
    let denied = refused(&writer, |channel| async move {
        let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
        let consumer = channel.basic_consume("q".into(), "c".into(), options, arguments);
        consumer.await
    });
    let words = "ACCESS_REFUSED - read access to queue 'q' in vhost 'rights' refused for user \
                 'write'";
    assert_eq!(denied.await, (403, words.to_owned()));

    publish(&writer.channel, "", "q", b"1").await;
    let mut consumer = consume(&reader.channel, "q", "c").await;
    assert_eq!(take(&mut consumer).await, "1");
    for client in [reader, writer, owner] {
        client.close().await;
    }
}
