//! Consumers: those that follow every partition, and the one that commits before it processes.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use rand::Rng;

use super::value::decode;
use super::{Phase, Workload, now_us};
use crate::history::{Action, OperationId, Outcome, Poll, PollMode, Read};
use crate::seed::{Protocol, Stream, stream};
use crate::system::{Clients, Consumer, Polled};

const RESTART_PAUSE: Duration = Duration::from_millis(200);
/// Polls between two crashes of the consumer that commits first, on average.
const POLLS_PER_CRASH: u32 = 40;
/// Polls between two crashes of a consumer that follows, on average.
const POLLS_PER_RESTART: u32 = 400;
/// What a record that is not one of ours counts as: a value that nobody sent.
pub(super) const FOREIGN_VALUE: u64 = u64::MAX;

/// Follows all partitions until everything is drained.
pub(super) async fn follow(workload: Workload, clients: Rc<dyn Clients>, process: u32) {
    let mut rng = stream(
        workload.options.seed,
        Stream::Workload,
        100 + u64::from(process),
    );
    let protocol = workload.options.protocol_of_consumer(process);
    let mut positions = start(&workload);
    while !workload.has_reached(Phase::Done) {
        let Ok(mut consumer) = clients.consumer(protocol, positions.clone()).await else {
            tokio::time::sleep(RESTART_PAUSE).await;
            continue;
        };
        let session = workload.next_session();
        while !workload.has_reached(Phase::Done) {
            let id = invoke(&workload, process, session, PollMode::Follow);
            let Some(polled) = poll(&workload, id, consumer.as_mut()).await else {
                break;
            };
            advance(&mut positions, &polled);
            complete(&workload, id, Outcome::Ok, &polled);
            if rng.random_range(0..POLLS_PER_RESTART) == 0 {
                break;
            }
        }
    }
}

/// Saves its position, then processes; dies now and then between the two.
pub(super) async fn commit_first(workload: Workload, clients: Rc<dyn Clients>, process: u32) {
    let mut rng = stream(
        workload.options.seed,
        Stream::Workload,
        100 + u64::from(process),
    );
    let mode = PollMode::CommitFirst { consumer: process };
    // Survives the consumer: the position that it saved.
    let mut saved = start(&workload);
    while !workload.has_reached(Phase::Done) {
        let Ok(mut consumer) = clients.consumer(Protocol::Grpc, saved.clone()).await else {
            tokio::time::sleep(RESTART_PAUSE).await;
            continue;
        };
        let session = workload.next_session();
        while !workload.has_reached(Phase::Done) {
            let id = invoke(&workload, process, session, mode.clone());
            let Some(polled) = poll(&workload, id, consumer.as_mut()).await else {
                break;
            };
            advance(&mut saved, &polled);
            let dies = !polled.records.is_empty() && rng.random_range(0..POLLS_PER_CRASH) == 0;
            let outcome = if dies { Outcome::Info } else { Outcome::Ok };
            complete(&workload, id, outcome, &polled);
            if dies {
                break;
            }
        }
    }
}

/// The start of every partition.
pub(super) fn start(workload: &Workload) -> BTreeMap<u32, i64> {
    (0..workload.options.partitions_count)
        .map(|partition| (partition, 0))
        .collect()
}

pub(super) fn invoke(
    workload: &Workload,
    process: u32,
    session: u64,
    mode: PollMode,
) -> OperationId {
    let poll = Poll {
        session,
        mode,
        reads: BTreeMap::new(),
        high_watermarks: BTreeMap::new(),
    };
    workload
        .recorder
        .invoke(process, Action::Poll(poll), now_us())
}

/// Polls once; a consumer that fails leaves the operation unknown and is given up.
pub(super) async fn poll(
    workload: &Workload,
    id: OperationId,
    consumer: &mut dyn Consumer,
) -> Option<Polled> {
    if let Ok(polled) = consumer.poll().await {
        return Some(polled);
    }
    workload
        .recorder
        .complete(id, Outcome::Info, now_us(), |_| ());
    tokio::time::sleep(RESTART_PAUSE).await;
    None
}

pub(super) fn complete(workload: &Workload, id: OperationId, outcome: Outcome, polled: &Polled) {
    workload.recorder.complete(id, outcome, now_us(), |action| {
        let Action::Poll(poll) = action else { return };
        poll.high_watermarks.clone_from(&polled.high_watermarks);
        for (partition, records) in &polled.records {
            let reads = records.iter().map(|(offset, bytes)| Read {
                offset: *offset,
                value: decode(bytes).unwrap_or(FOREIGN_VALUE),
            });
            poll.reads.insert(*partition, reads.collect());
        }
    });
}

/// Moves positions behind the last record of each partition.
pub(super) fn advance(positions: &mut BTreeMap<u32, i64>, polled: &Polled) {
    for (partition, records) in &polled.records {
        if let Some((offset, _)) = records.last() {
            positions.insert(*partition, *offset + 1);
        }
    }
}
