//! What tests with lapin have in common: a broker, a client, and the short form of what it does often.

use std::sync::{Arc, Weak};

use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};

use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer,
    ExchangeKind, PublisherConfirm,
};
use parking_lot::Mutex;
use tokio::time::timeout;

use crate::support::{Broker, PATIENCE};

/// The broker that tests share, as long as one of them holds it. Each has queues of its own.
pub(crate) fn broker() -> Arc<Broker> {
    static SHARED: Mutex<Weak<Broker>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock();
    if let Some(broker) = shared.upgrade() {
        return broker;
    }
    let broker = Arc::new(Broker::start(&[]));
    *shared = Arc::downgrade(&broker);
    broker
}

/// A connection with one channel.
pub(crate) struct Client {
    pub(crate) connection: Connection,
    pub(crate) channel: Channel,
}

impl Client {
    /// Logs in as `guest` on `/`.
    pub(crate) async fn connect(endpoint: &str) -> Self {
        let connection = connect(endpoint, "guest:guest", "%2f").await;
        let connection = connection.expect("it is let in");
        let channel = connection.create_channel().await.expect("a channel");
        Self {
            connection,
            channel,
        }
    }

    /// As [`Self::connect`], with confirms.
    pub(crate) async fn confirming(endpoint: &str) -> Self {
        let client = Self::connect(endpoint).await;
        let select = client
            .channel
            .confirm_select(ConfirmSelectOptions::default());
        select.await.expect("confirms");
        client
    }

    /// Another channel of the connection.
    pub(crate) async fn another_channel(&self) -> Channel {
        self.connection.create_channel().await.expect("a channel")
    }

    /// Ends the connection. No channel may be closing then: lapin would leave the connection open.
    pub(crate) async fn close(self) {
        let closed = self.connection.close(200, "bye".into());
        closed.await.expect("a clean end");
    }
}

pub(crate) async fn connect(endpoint: &str, login: &str, vhost: &str) -> lapin::Result<Connection> {
    let uri = format!("amqp://{login}@{endpoint}/{vhost}");
    timeout(
        PATIENCE,
        Connection::connect(&uri, ConnectionProperties::default()),
    )
    .await
    .expect("an answer in time")
}

pub(crate) async fn declare(channel: &Channel, queue: &str) {
    declare_with(channel, queue, FieldTable::default()).await;
}

pub(crate) async fn declare_with(channel: &Channel, queue: &str, arguments: FieldTable) {
    let declared = channel.queue_declare(queue.into(), QueueDeclareOptions::durable(), arguments);
    let declared = declared.await.expect("a queue");
    assert_eq!(declared.name().as_str(), queue);
}

/// A queue of the connection's own, with a name that the broker makes up.
pub(crate) async fn own_queue(channel: &Channel) -> ShortString {
    let options = QueueDeclareOptions::exclusive();
    let declared = channel.queue_declare("".into(), options, FieldTable::default());
    let name = declared.await.expect("a queue").name().clone();
    assert!(name.as_str().starts_with("amq.gen-"), "{name}");
    name
}

pub(crate) async fn declare_exchange(
    channel: &Channel,
    name: &str,
    kind: ExchangeKind,
    arguments: FieldTable,
) {
    let options = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    let declared = channel.exchange_declare(name.into(), kind, options, arguments);
    declared.await.expect("an exchange");
}

pub(crate) async fn bind(channel: &Channel, queue: &str, exchange: &str, key: &str) {
    let bound = channel.queue_bind(
        queue.into(),
        exchange.into(),
        key.into(),
        QueueBindOptions::default(),
        FieldTable::default(),
    );
    bound.await.expect("a binding");
}

/// Publishes; with confirms, what comes of it is in the result.
pub(crate) async fn send(
    channel: &Channel,
    exchange: &str,
    key: &str,
    body: &[u8],
    properties: BasicProperties,
) -> PublisherConfirm {
    let options = BasicPublishOptions::default();
    let sent = channel.basic_publish(exchange.into(), key.into(), options, body, properties);
    sent.await.expect("it is sent")
}

/// Publishes and waits until it is confirmed.
pub(crate) async fn publish(channel: &Channel, exchange: &str, key: &str, body: &[u8]) {
    let sent = send(channel, exchange, key, body, BasicProperties::default()).await;
    acked(sent).await;
}

/// Waits for a confirm.
pub(crate) async fn acked(sent: PublisherConfirm) {
    let confirmed = confirmation(sent).await;
    assert!(
        matches!(confirmed, Confirmation::Ack(_)),
        "not confirmed: {confirmed:?}"
    );
}

pub(crate) async fn confirmation(sent: PublisherConfirm) -> Confirmation {
    let confirmed = timeout(PATIENCE, sent).await;
    confirmed.expect("a confirm in time").expect("a confirm")
}

pub(crate) async fn prefetch(channel: &Channel, count: u16) {
    let limited = channel.basic_qos(count, BasicQosOptions::default());
    limited.await.expect("a limit");
}

pub(crate) async fn consume(channel: &Channel, queue: &str, tag: &str) -> Consumer {
    consume_with(channel, queue, tag, BasicConsumeOptions::default()).await
}

pub(crate) async fn consume_with(
    channel: &Channel,
    queue: &str,
    tag: &str,
    options: BasicConsumeOptions,
) -> Consumer {
    let consumer = channel.basic_consume(queue.into(), tag.into(), options, FieldTable::default());
    consumer.await.expect("a consumer")
}

/// Waits for the next delivery.
pub(crate) async fn next(consumer: &mut Consumer) -> Delivery {
    let delivery = timeout(PATIENCE, consumer.next()).await;
    let delivery = delivery.expect("a delivery in time").expect("a delivery");
    delivery.expect("a delivery and no error")
}

/// Waits for the next delivery, acknowledges it and gives its body.
pub(crate) async fn take(consumer: &mut Consumer) -> String {
    let delivery = next(consumer).await;
    let acked = delivery.ack(lapin::options::BasicAckOptions::default());
    acked.await.expect("an ack");
    text(&delivery)
}

/// The body as text.
pub(crate) fn text(delivery: &Delivery) -> String {
    String::from_utf8(delivery.data.clone()).expect("text")
}

/// Arguments, or headers.
pub(crate) fn table(entries: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in entries {
        table.insert((*name).into(), value.clone());
    }
    table
}

pub(crate) fn long_text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

/// The code and the text with which the broker closed a channel or a connection.
pub(crate) fn refusal(error: &lapin::Error) -> (u16, String) {
    let lapin::ErrorKind::ProtocolError(error) = error.kind() else {
        panic!("not an error of AMQP's: {error:?}");
    };
    (error.get_id(), error.get_message().to_string())
}
