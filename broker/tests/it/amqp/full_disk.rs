//! A disk that runs full: clients hear `connection.blocked`, later `connection.unblocked`, and go on.

use futures_util::{Stream, StreamExt};
use lapin::{BasicProperties, Event};
use tokio::time::timeout;

use super::client::{Client, confirmation, declare, publish, send};
use crate::disk_full::{CAPACITY, RECORDS_MAX, RESERVE, VALUE_BYTES};
use crate::support::{Broker, PATIENCE};

/// Waits until the client hears something.
async fn told(
    events: &mut (impl Stream<Item = Event> + Unpin),
    is_wanted: impl Fn(&Event) -> bool,
) -> Event {
    loop {
        let event = timeout(PATIENCE, events.next()).await;
        let event = event.expect("it is told in time").expect("a connection");
        if is_wanted(&event) {
            return event;
        }
    }
}

/// Publishes more than the disk holds: the last publish waits until somebody reads it.
async fn flood(client: &Client, queue: &str) {
    let body = vec![b'x'; VALUE_BYTES];
    for _ in 0..RECORDS_MAX {
        let sent = send(
            &client.channel,
            "",
            queue,
            &body,
            BasicProperties::default(),
        );
        // Nacked while the disk is full and the connection does not know yet.
        confirmation(sent.await).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_hear_that_the_disk_is_full_and_that_it_is_no_more() {
    let broker = Broker::start(&["--set", CAPACITY, "--set", RESERVE]);
    let client = Client::confirming(&broker.amqp()).await;
    let mut events = Box::pin(client.connection.events_listener());
    declare(&client.channel, "flooded").await;
    declare(&client.channel, "later").await;

    let heard = tokio::select! {
        biased;
        heard = told(&mut events, |event| matches!(event, Event::ConnectionBlocked(_))) => heard,
        () = flood(&client, "flooded") => panic!("the disk never ran full"),
    };
    let Event::ConnectionBlocked(reason) = heard else {
        panic!("{heard:?}");
    };
    assert_eq!(reason, "low on disk");
    assert!(client.connection.status().blocked());

    broker.ok(&["queue", "delete", "flooded"]);

    told(&mut events, |event| {
        matches!(event, Event::ConnectionUnblocked)
    })
    .await;
    drop(events);
    publish(&client.channel, "", "later", b"service resumed").await;
    client.close().await;
}
