//! What the queues of the workload are declared as, and where messages for them are published to.

use raftmq_amqp_protocol::{Method, Table, TableBuilder, Text, Value, exchange, queue};

use super::connection::Connection;
use crate::history::{PRIORITY_MAX, Queue, Route};

/// What is published here goes to two queues.
const FANOUT: &str = "copying";
/// Dead letters are published here.
const DEAD_LETTERS: &str = "dying";
/// What is published here may wait.
const DELAYING: &str = "delaying";
/// A queue that is never declared.
const NOWHERE: &str = "nowhere";
/// As many replicas as the topics of the run have.
const REPLICAS_COUNT: i32 = 3;
/// Failed deliveries of a message before it dies.
const DELIVERY_LIMIT: i32 = 2;
/// How long a message may wait, milliseconds.
const TTL_MS: i32 = 1_500;
/// How long ids are remembered, milliseconds: longer than any jump of a clock.
const DEDUP_WINDOW_MS: i64 = 4_000_000_000;
/// How many ids are remembered: more than there ever are.
const DEDUP_IDS_COUNT: i32 = 100_000;

/// Exchange and routing key.
pub(super) const fn address(route: Route) -> (&'static str, &'static str) {
    match route {
        Route::To(Queue::Delayed) => (DELAYING, ""),
        Route::To(queue) => ("", queue.name()),
        Route::Fanout => (FANOUT, ""),
        Route::Nowhere => ("", NOWHERE),
    }
}

/// Makes everything that these queues need and is not there yet.
pub(super) async fn declare(connection: &Connection, queues: &[Queue]) -> Result<(), String> {
    for name in [FANOUT, DEAD_LETTERS] {
        declare_exchange(connection, name, "fanout").await?;
    }
    if queues.contains(&Queue::Delayed) {
        declare_exchange(connection, DELAYING, "x-delayed-message").await?;
    }
    for queue in queues {
        let declare = queue::Declare {
            queue: Text::from_static(queue.name()),
            durable: true,
            arguments: arguments(*queue),
            ..queue::Declare::default()
        };
        let answer = connection.call(declare).await?;
        let is_done = matches!(answer.method, Method::Queue(queue::Method::DeclareOk(_)));
        assert!(is_done, "a queue is declared: {:?}", answer.method);
    }
    let bindings = [
        (Queue::Work, FANOUT),
        (Queue::Copies, FANOUT),
        (Queue::Dead, DEAD_LETTERS),
        (Queue::Delayed, DELAYING),
    ];
    for (queue, exchange) in bindings.iter().filter(|(queue, _)| queues.contains(queue)) {
        let bind = queue::Bind {
            queue: Text::from_static(queue.name()),
            exchange: Text::from_static(exchange),
            ..queue::Bind::default()
        };
        let answer = connection.call(bind).await?;
        let is_done = matches!(answer.method, Method::Queue(queue::Method::BindOk(_)));
        assert!(is_done, "a queue is bound: {:?}", answer.method);
    }
    Ok(())
}

async fn declare_exchange(
    connection: &Connection,
    name: &'static str,
    kind: &'static str,
) -> Result<(), String> {
    let arguments = match name {
        DELAYING => TableBuilder::new().with("x-delayed-type", Value::LongString(b"fanout")),
        _ => TableBuilder::new(),
    };
    let declare = exchange::Declare {
        exchange: Text::from_static(name),
        kind: Text::from_static(kind),
        durable: true,
        arguments: arguments.finish().unwrap_or_default(),
        ..exchange::Declare::default()
    };
    let answer = connection.call(declare).await?;
    let is_done = matches!(
        answer.method,
        Method::Exchange(exchange::Method::DeclareOk(_))
    );
    assert!(is_done, "an exchange is declared: {:?}", answer.method);
    Ok(())
}

fn arguments(queue: Queue) -> Table {
    let mut table = TableBuilder::new()
        .with("x-queue-type", Value::LongString(b"quorum"))
        .with("x-quorum-initial-group-size", Value::Int(REPLICAS_COUNT));
    if queue.has_dead_letters() {
        let exchange = Value::LongString(DEAD_LETTERS.as_bytes());
        table = table.with("x-dead-letter-exchange", exchange);
    }
    table = match queue {
        Queue::Single => table.with("x-single-active-consumer", Value::Bool(true)),
        Queue::Limited => table.with("x-delivery-limit", Value::Int(DELIVERY_LIMIT)),
        Queue::Expiring => table.with("x-message-ttl", Value::Int(TTL_MS)),
        Queue::Deduplicated => table
            .with("x-message-deduplication", Value::Bool(true))
            .with("x-cache-ttl", Value::Long(DEDUP_WINDOW_MS))
            .with("x-cache-size", Value::Int(DEDUP_IDS_COUNT)),
        Queue::Prioritized => table.with("x-max-priority", Value::Int(PRIORITY_MAX.into())),
        Queue::Refusing => table.with("x-overflow", Value::LongString(b"reject-publish")),
        Queue::Capped => table.with("x-overflow", Value::LongString(b"drop-head")),
        Queue::Work | Queue::Copies | Queue::Dead | Queue::Delayed | Queue::Purged => table,
    };
    if let Some(max) = queue.ready_max() {
        table = table.with("x-max-length", Value::Long(i64::from(max)));
    }
    table.finish().unwrap_or_default()
}
