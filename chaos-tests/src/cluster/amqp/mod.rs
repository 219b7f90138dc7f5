//! Clients that speak AMQP 0-9-1 through the simulated network: small ones of our own, made of the
//! protocol's codec and nothing of the brokers.
//!
//! Owns the handshake and what the operations of [`QueueClient`] are in AMQP's methods. Each client
//! connects to some broker, whoever leads the queues.

mod connection;
mod topology;

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use raftmq_amqp_protocol::{
    BasicProperties, FrameBuffer, LongString, Method, ShortString, Table, TableBuilder, Text,
    Value, basic, channel, confirm, connection as wire, queue,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::timeout;

use self::connection::{Connection, FRAME_BYTES_MAX, HEARTBEAT_S, delivered};
use crate::history::{Queue, Route, Settlement, Wishes};
use crate::nemesis::Host;
use crate::net::{AMQP_PORT, SimNet};
use crate::system::{Confirm, Confirming, Delivered, QueueClient, Settle};

const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
const OPEN_TIMEOUT: Duration = Duration::from_secs(4);
/// How long [`QueueClient::next`] waits.
const NEXT_WAIT: Duration = Duration::from_millis(150);
/// Longest wait for a confirm.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(8);
/// The consumer of a channel.
const CONSUMER_TAG: &str = "chaos";
/// Most channels of a connection, of which one is used.
const CHANNEL_MAX: u16 = 8;

/// See [`QueueClient`].
pub(super) struct AmqpClient {
    connection: Connection,
}

impl AmqpClient {
    /// Connects to some broker and opens a channel in confirm mode.
    pub(super) async fn start(
        net: SimNet,
        brokers_count: u32,
        rng_seed: u64,
    ) -> Result<Self, String> {
        let mut rng = StdRng::seed_from_u64(rng_seed);
        let broker = rng.random_range(1..=brokers_count);
        let endpoint = format!("{}:{AMQP_PORT}", Host::Broker(broker));
        let connected = timeout(CONNECT_TIMEOUT, net.connect(&endpoint)).await;
        let stream = connected.map_err(|_elapsed| "no connection in time")?;
        let stream = stream.map_err(|error| error.to_string())?;
        let connection = Connection::new(stream);
        let opened = timeout(OPEN_TIMEOUT, open(&connection)).await;
        opened.map_err(|_elapsed| "not opened in time")??;
        Ok(Self { connection })
    }
}

/// Goes through the handshake, as `guest`.
async fn open(connection: &Connection) -> Result<(), String> {
    let mut frames = FrameBuffer::new();
    frames.put_protocol_header();
    connection.ask(frames).await?;
    let mut frames = FrameBuffer::new();
    frames.put_method(0, &start_ok().into());
    connection.ask(frames).await?;
    let mut frames = FrameBuffer::new();
    let tune_ok = wire::TuneOk {
        channel_max: CHANNEL_MAX,
        frame_max: FRAME_BYTES_MAX,
        heartbeat: HEARTBEAT_S,
    };
    frames.put_method(0, &tune_ok.into());
    let enter = wire::Open {
        virtual_host: Text::from_static("/"),
        ..wire::Open::default()
    };
    frames.put_method(0, &enter.into());
    connection.ask(frames).await?;
    connection.call(channel::Open::default()).await?;
    connection.call(confirm::Select { no_wait: false }).await?;
    Ok(())
}

fn start_ok() -> wire::StartOk {
    let mut capabilities = TableBuilder::new();
    for name in [
        "publisher_confirms",
        "basic.nack",
        "consumer_cancel_notify",
        "connection.blocked",
    ] {
        capabilities = capabilities.with(name, Value::Bool(true));
    }
    let capabilities = capabilities.finish().unwrap_or_default();
    let client_properties = TableBuilder::new()
        .with("product", Value::LongString(b"chaos"))
        .with("capabilities", Value::Table(capabilities.as_ref()))
        .finish();
    wire::StartOk {
        client_properties: client_properties.unwrap_or_default(),
        mechanism: Text::from_static("PLAIN"),
        response: LongString::from("\0guest\0guest"),
        locale: Text::from_static("en_US"),
    }
}

/// What a message says to the queue in its headers; `None` if nothing.
fn headers(wishes: Wishes) -> Option<Table> {
    let id = wishes.dedup_id.map(|id| id.to_string());
    let mut table = TableBuilder::new();
    if let Some(id) = &id {
        table = table.with("x-deduplication-header", Value::LongString(id.as_bytes()));
    }
    if let Some(delay_ms) = wishes.delay_ms {
        table = table.with("x-delay", Value::Long(i64::from(delay_ms)));
    }
    let has_some = id.is_some() || wishes.delay_ms.is_some();
    has_some.then(|| table.finish().unwrap_or_default())
}

impl QueueClient for AmqpClient {
    fn declare<'a>(&'a self, queues: &'a [Queue]) -> LocalBoxFuture<'a, Result<(), String>> {
        Box::pin(topology::declare(&self.connection, queues))
    }

    fn publish(
        &self,
        route: Route,
        body: Bytes,
        wishes: Wishes,
    ) -> LocalBoxFuture<'_, Result<Confirming, String>> {
        Box::pin(async move {
            let (exchange, routing_key) = topology::address(route);
            let publish = basic::Publish {
                exchange: ShortString::from_static(exchange),
                routing_key: ShortString::from_static(routing_key),
                mandatory: true,
                ..basic::Publish::default()
            };
            let headers = headers(wishes);
            let expiration = wishes.ttl_ms.map(|ttl_ms| ttl_ms.to_string());
            let properties = BasicProperties {
                headers: headers.as_ref().map(Table::as_ref),
                delivery_mode: Some(2),
                priority: (wishes.priority > 0).then_some(wishes.priority),
                expiration: expiration.as_ref().map(|text| text.as_bytes()),
                ..BasicProperties::default()
            };
            let confirmed = self.connection.publish(publish, &properties, body).await?;
            Ok(Box::pin(async move {
                match timeout(CONFIRM_TIMEOUT, confirmed).await {
                    Ok(Ok(confirm)) => confirm,
                    Ok(Err(_)) | Err(_) => Confirm::Unknown,
                }
            }) as Confirming)
        })
    }

    fn consume(&self, queue: Queue, prefetch: u16) -> LocalBoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            let qos = basic::Qos {
                prefetch_count: prefetch,
                ..basic::Qos::default()
            };
            self.connection.call(qos).await?;
            let consume = basic::Consume {
                queue: Text::from_static(queue.name()),
                consumer_tag: Text::from_static(CONSUMER_TAG),
                ..basic::Consume::default()
            };
            let answer = self.connection.call(consume).await?;
            let is_done = matches!(answer.method, Method::Basic(basic::Method::ConsumeOk(_)));
            assert!(is_done, "consume is answered: {:?}", answer.method);
            Ok(())
        })
    }

    fn cancel(&self) -> LocalBoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            let cancel = basic::Cancel {
                consumer_tag: Text::from_static(CONSUMER_TAG),
                no_wait: false,
            };
            self.connection.call(cancel).await.map(drop)
        })
    }

    fn next(&self) -> LocalBoxFuture<'_, Result<Option<Delivered>, String>> {
        Box::pin(self.connection.next(NEXT_WAIT))
    }

    fn get(&self, queue: Queue) -> LocalBoxFuture<'_, Result<Option<Delivered>, String>> {
        Box::pin(async move {
            let get = basic::Get {
                queue: Text::from_static(queue.name()),
                ..basic::Get::default()
            };
            let answer = self.connection.call(get).await?;
            if let (Method::Basic(basic::Method::GetOk(got)), Some(content)) =
                (&answer.method, &answer.content)
            {
                let (tag, is_redelivered) = (got.delivery_tag, got.redelivered);
                return Ok(Some(delivered(tag, is_redelivered, content)));
            }
            let is_empty = matches!(answer.method, Method::Basic(basic::Method::GetEmpty(_)));
            assert!(is_empty, "get is answered: {:?}", answer.method);
            Ok(None)
        })
    }

    fn settle(&self, settle: Settle) -> LocalBoxFuture<'_, Result<(), String>> {
        let Settle {
            tag: delivery_tag,
            is_multiple: multiple,
            settlement,
        } = settle;
        let method: Method = match (settlement, multiple) {
            (Settlement::Acked, multiple) => basic::Ack {
                delivery_tag,
                multiple,
            }
            .into(),
            (Settlement::Rejected, false) => basic::Reject {
                delivery_tag,
                requeue: false,
            }
            .into(),
            (settlement @ (Settlement::Returned | Settlement::Rejected), multiple) => basic::Nack {
                delivery_tag,
                multiple,
                requeue: settlement == Settlement::Returned,
            }
            .into(),
        };
        Box::pin(self.connection.tell(method))
    }

    fn purge(&self, queue: Queue) -> LocalBoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            let purge = queue::Purge {
                queue: Text::from_static(queue.name()),
                no_wait: false,
                ..queue::Purge::default()
            };
            let answer = self.connection.call(purge).await?;
            let is_done = matches!(answer.method, Method::Queue(queue::Method::PurgeOk(_)));
            assert!(is_done, "a purge is answered: {:?}", answer.method);
            Ok(())
        })
    }

    fn counts(&self, queue: Queue) -> LocalBoxFuture<'_, Result<(u32, u32), String>> {
        Box::pin(async move {
            let declare = queue::Declare {
                queue: Text::from_static(queue.name()),
                passive: true,
                ..queue::Declare::default()
            };
            let answer = self.connection.call(declare).await?;
            let Method::Queue(queue::Method::DeclareOk(ok)) = &answer.method else {
                return Err(format!("no answer to declare: {:?}", answer.method));
            };
            Ok((ok.message_count, ok.consumer_count))
        })
    }

    fn close(&self) -> LocalBoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            let mut frames = FrameBuffer::new();
            let close = wire::Close {
                reply_code: 200,
                reply_text: Text::from_static("bye"),
                ..wire::Close::default()
            };
            frames.put_method(0, &close.into());
            self.connection.ask(frames).await.map(drop)
        })
    }
}
