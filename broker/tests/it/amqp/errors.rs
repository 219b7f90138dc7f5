//! What a client may not do, and the code and words with which RabbitMQ says so.

use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, BasicQosOptions,
    ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions,
    QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, ExchangeKind};

use super::client::{
    Client, broker, connect, consume, declare, declare_exchange, long_text, publish, refusal, table,
};

/// Longest row of channels that are closed too quickly.
const TRIES_MAX: usize = 50;

/// What a channel of its own was closed with. When the channel is closed before lapin has asked, lapin does
/// not say why: then it is done again.
pub(super) async fn refused<T, F: Future<Output = lapin::Result<T>>>(
    client: &Client,
    act: impl Fn(Channel) -> F,
) -> (u16, String) {
    for _ in 0..TRIES_MAX {
        let channel = client.another_channel().await;
        let Err(error) = act(channel).await else {
            panic!("it was allowed");
        };
        if !matches!(error.kind(), lapin::ErrorKind::InvalidChannelState(..)) {
            return refusal(&error);
        }
    }
    panic!("nobody is told why the channel is closed");
}

/// Publishes, and asks for something, so that there is somebody to be told what was wrong.
pub(super) async fn publish_and_ask(
    channel: Channel,
    (exchange, key): (&'static str, &'static str),
    properties: BasicProperties,
) -> lapin::Result<()> {
    let options = BasicPublishOptions::default();
    let sent = channel.basic_publish(exchange.into(), key.into(), options, b"x", properties);
    sent.await?;
    channel.basic_qos(1, BasicQosOptions::default()).await
}

pub(super) async fn declare_as(
    channel: Channel,
    queue: &'static str,
    options: QueueDeclareOptions,
    arguments: FieldTable,
) -> lapin::Result<()> {
    let declared = channel.queue_declare(queue.into(), options, arguments);
    declared.await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_there_is_not_found() {
    let broker = broker();
    let client = Client::connect(&broker.amqp()).await;
    let passive = QueueDeclareOptions::default().passive();
    let missing = refused(&client, |channel| {
        declare_as(channel, "missing", passive, FieldTable::default())
    });
    let words = "NOT_FOUND - no queue 'missing' in vhost '/'".to_owned();
    assert_eq!(missing.await, (404, words.clone()));
    let missing = refused(&client, |channel| async move {
        let options = BasicGetOptions::default();
        channel.basic_get("missing".into(), options).await
    });
    assert_eq!(missing.await, (404, words.clone()));
    let missing = refused(&client, |channel| async move {
        let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
        channel
            .basic_consume("missing".into(), "c".into(), options, arguments)
            .await
    });
    assert_eq!(missing.await, (404, words.clone()));
    let missing = refused(&client, |channel| async move {
        let (options, arguments) = (QueueBindOptions::default(), FieldTable::default());
        channel
            .queue_bind(
                "missing".into(),
                "amq.direct".into(),
                "".into(),
                options,
                arguments,
            )
            .await
    });
    assert_eq!(missing.await, (404, words));
    let missing = refused(&client, |channel| {
        publish_and_ask(channel, ("gone", ""), BasicProperties::default())
    });
    let words = "NOT_FOUND - no exchange 'gone' in vhost '/'".to_owned();
    assert_eq!(missing.await, (404, words));
    client.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_declaration_of_the_same_name_is_refused() {
    let broker = broker();
    let client = Client::connect(&broker.amqp()).await;
    declare(&client.channel, "equivalent").await;
    let other = refused(&client, |channel| {
        let options = QueueDeclareOptions::default();
        declare_as(channel, "equivalent", options, FieldTable::default())
    });
    let words = "PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'equivalent' in vhost \
                 '/': received 'false' but current is 'true'";
    assert_eq!(other.await, (406, words.to_owned()));
    let other = refused(&client, |channel| {
        let arguments = table(&[("x-max-length", AMQPValue::LongInt(1))]);
        declare_as(
            channel,
            "equivalent",
            QueueDeclareOptions::durable(),
            arguments,
        )
    });
    let words = "PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue 'equivalent' in \
                 vhost '/': received the value '1' of type 'signedint' but current is none";
    assert_eq!(other.await, (406, words.to_owned()));
    let other = refused(&client, |channel| async move {
        let options = ExchangeDeclareOptions {
            durable: true,
            ..ExchangeDeclareOptions::default()
        };
        let kind = ExchangeKind::Fanout;
        channel
            .exchange_declare("amq.direct".into(), kind, options, FieldTable::default())
            .await
    });
    let words = "PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'amq.direct' in vhost \
                 '/': received 'fanout' but current is 'direct'";
    assert_eq!(other.await, (406, words.to_owned()));
    client.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_arguments_and_reserved_names_are_refused() {
    let broker = broker();
    let client = Client::connect(&broker.amqp()).await;
    for (name, value, problem) in [
        (
            "x-max-length",
            long_text("1"),
            "{unacceptable_type,longstr}",
        ),
        (
            "x-message-ttl",
            AMQPValue::LongInt(-1),
            "{value_negative,-1}",
        ),
        ("x-expires", AMQPValue::LongInt(0), "{value_zero,0}"),
        ("x-overflow", long_text("drop-tail"), "invalid_overflow"),
    ] {
        let arguments = table(&[(name, value)]);
        let answer = refused(&client, |channel| {
            let options = QueueDeclareOptions::durable();
            declare_as(channel, "bad", options, arguments.clone())
        });
        let words = format!(
            "PRECONDITION_FAILED - invalid arg '{name}' for queue 'bad' in vhost '/': {problem}"
        );
        assert_eq!(answer.await, (406, words));
    }
    let reserved = refused(&client, |channel| {
        let options = QueueDeclareOptions::durable();
        declare_as(channel, "amq.mine", options, FieldTable::default())
    });
    let words = "ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'";
    assert_eq!(reserved.await, (403, words.to_owned()));
    let system = refused(&client, |channel| async move {
        let options = ExchangeDeleteOptions::default();
        channel.exchange_delete("amq.topic".into(), options).await
    });
    assert_eq!(system.await.0, 403);
    client.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delete_with_a_condition_that_does_not_hold_is_refused() {
    let broker = broker();
    let client = Client::confirming(&broker.amqp()).await;
    declare(&client.channel, "conditional").await;
    publish(&client.channel, "", "conditional", b"1").await;
    let answer = refused(&client, |channel| async move {
        let if_empty = QueueDeleteOptions {
            if_empty: true,
            ..QueueDeleteOptions::default()
        };
        channel.queue_delete("conditional".into(), if_empty).await
    });
    let words = "PRECONDITION_FAILED - queue 'conditional' in vhost '/' not empty";
    assert_eq!(answer.await, (406, words.to_owned()));
    let _consumer = consume(&client.channel, "conditional", "c").await;
    let answer = refused(&client, |channel| async move {
        let if_unused = QueueDeleteOptions {
            if_unused: true,
            ..QueueDeleteOptions::default()
        };
        channel.queue_delete("conditional".into(), if_unused).await
    });
    let words = "PRECONDITION_FAILED - queue 'conditional' in vhost '/' in use";
    assert_eq!(answer.await, (406, words.to_owned()));
    client.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_ack_and_an_exclusive_consumer_are_refused() {
    let broker = broker();
    let client = Client::confirming(&broker.amqp()).await;
    declare(&client.channel, "once-only").await;
    let exclusive = client.another_channel().await;
    let options = BasicConsumeOptions {
        exclusive: true,
        ..BasicConsumeOptions::default()
    };
    let consumer = exclusive.basic_consume(
        "once-only".into(),
        "me".into(),
        options,
        FieldTable::default(),
    );
    let _consumer = consumer.await.expect("the only consumer");
    let answer = refused(&client, |channel| async move {
        let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
        channel
            .basic_consume("once-only".into(), "other".into(), options, arguments)
            .await
    });
    let words = "ACCESS_REFUSED - queue 'once-only' in vhost '/' in exclusive use";
    assert_eq!(answer.await, (403, words.to_owned()));
    let answer = refused(&client, |channel| async move {
        channel.basic_ack(7, BasicAckOptions::default()).await?;
        channel.basic_qos(1, BasicQosOptions::default()).await
    });
    let words = "PRECONDITION_FAILED - unknown delivery tag 7";
    assert_eq!(answer.await, (406, words.to_owned()));
    client.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_says_nonsense_closes_its_channel_and_no_other() {
    let broker = broker();
    let client = Client::confirming(&broker.amqp()).await;
    declare(&client.channel, "sense").await;
    let answer = refused(&client, |channel| {
        let properties = BasicProperties::default().with_expiration("soon".into());
        publish_and_ask(channel, ("", "sense"), properties)
    });
    let words = "PRECONDITION_FAILED - invalid expiration 'soon': no_integer";
    assert_eq!(answer.await, (406, words.to_owned()));
    let answer = refused(&client, |channel| {
        let properties = BasicProperties::default().with_user_id("somebody".into());
        publish_and_ask(channel, ("", "sense"), properties)
    });
    let words = "PRECONDITION_FAILED - user_id property set to 'somebody' but authenticated user \
                 was 'guest'";
    assert_eq!(answer.await, (406, words.to_owned()));
    publish(&client.channel, "", "sense", b"still open").await;
    client.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_internal_exchange_takes_messages_from_exchanges_only() {
    let broker = broker();
    let client = Client::confirming(&broker.amqp()).await;
    let options = ExchangeDeclareOptions {
        internal: true,
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    let declared = client.channel.exchange_declare(
        "inside".into(),
        ExchangeKind::Fanout,
        options,
        FieldTable::default(),
    );
    declared.await.expect("an exchange");
    declare_exchange(
        &client.channel,
        "outside",
        ExchangeKind::Fanout,
        FieldTable::default(),
    )
    .await;
    let answer = refused(&client, |channel| {
        publish_and_ask(channel, ("inside", ""), BasicProperties::default())
    });
    let words = "ACCESS_REFUSED - cannot publish to internal exchange 'inside' in vhost '/'";
    assert_eq!(answer.await, (403, words.to_owned()));
    client.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_and_an_unknown_virtual_host_are_refused() {
    let broker = broker();
    let endpoint = broker.amqp();
    let Err(error) = connect(&endpoint, "guest:wrong", "%2f").await else {
        panic!("let in with a wrong password");
    };
    let (code, words) = refusal(&error);
    assert_eq!(code, 403);
    assert!(
        words.starts_with("ACCESS_REFUSED - Login was refused"),
        "{words}"
    );
    let Err(error) = connect(&endpoint, "guest:guest", "nowhere").await else {
        panic!("let into a virtual host that is not there");
    };
    let words = "NOT_ALLOWED - vhost nowhere not found".to_owned();
    assert_eq!(refusal(&error), (530, words));
}
