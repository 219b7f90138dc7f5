//! The Rust client of RaftMQ: topics, queues and admin over gRPC.
//!
//! Start with [`Client::builder`]; from the client come a [`Producer`] and a [`Consumer`] of topics, a
//! [`Queue`] and an [`Exchange`], calls ([`RpcClient`], [`RpcServer`]), and an [`Admin`]. Leaders are found and followed, retriable errors are retried until a deadline, and
//! what remains is a typed [`Error`].
//!
//! Owns batching, retries, positions and metadata on the client's side. It deliberately knows
//! nothing of the broker's crate, only its protocol; and takes network ([`Connector`]), wall clock
//! and randomness from outside, so that it runs unchanged in a simulation. Time is tokio's.
//!
//! ```no_run
//! use raftmq_client::{Client, Record};
//!
//! # async fn example() -> raftmq_client::Result<()> {
//! let client = Client::builder().bootstrap("127.0.0.1:9090").build().await?;
//! let producer = client.producer().build().await?;
//! let delivery = producer.send(Record::to("greetings").value("hello")).await?;
//! println!("stored at offset {:?}", delivery.await?.offset);
//! # Ok(())
//! # }
//! ```
//!
//! With a queue, which AMQP clients may use as well:
//!
//! ```no_run
//! use futures_util::StreamExt as _;
//! use raftmq_client::{Client, ConsumeOptions};
//!
//! # async fn example() -> raftmq_client::Result<()> {
//! let client = Client::builder().bootstrap("127.0.0.1:9090").build().await?;
//! client.admin().declare_queue("/", "orders").send().await?;
//! client.queue("orders").publish("one coffee").await?.await?;
//! let mut orders = client.queue("orders").consume(ConsumeOptions::new()).await?;
//! while let Some(order) = orders.next().await {
//!     let order = order?;
//!     println!("{}", order.text());
//!     order.ack().await?;
//! }
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod admin;
mod backoff;
mod client;
mod connection;
mod connector;
mod consumer;
mod error;
mod limits;
mod metadata;
mod placement;
mod producer;
mod queues;

pub use raftmq_proto::v1::amqp_argument::Value as ArgumentValue;
pub use raftmq_proto::v1::{
    AmqpArgument, BindingInfo, BrokerInfo, ConfigEntry, CreateTopicResponse,
    DescribeClusterResponse, DescribeTopicResponse, ErrorCode, ExchangeInfo, MoveProgress,
    PartitionInfo, PartitionPlacement, PermissionInfo, QueueCounts, QueueInfo, ReplicaChange,
    TopicInfo, UserInfo, VhostInfo,
};
pub use raftmq_records::{BatchError, Compression, Header};

pub use self::admin::{
    Admin, AlterClusterSettings, AlterTopic, Argument, Counting, CreateTopic, CreateVhost,
    DeclareExchange, DeclareQueue, DeleteQueue, ListedOffset, OffsetAt, Permissions, PutUser,
    Recovery,
};
pub use self::client::{Client, ClientBuilder, WallClock};
pub use self::connector::{Connector, Io, TcpConnector};
pub use self::consumer::{ConsumedRecord, Consumer, ConsumerBuilder, OutOfRange, Start};
pub use self::error::{Error, ErrorKind, Result};
pub use self::placement::PlanMode;
pub use self::producer::{
    Acks, Delivery, DeliveryFuture, PartitionFn, Partitioner, Producer, ProducerBuilder,
    ProducerSink, Record, TrySend,
};
pub use self::queues::{
    Confirmation, ConsumeOptions, Deduplicator, Exchange, HeaderValue, Message, Queue,
    QueueConsumer, QueueDelivery, QueueRequest, RpcClient, RpcServer, Vhost,
};
