//! A tail that a broker had acknowledged and that is not on its disk any more, without a trace: its
//! peers remember.

use raftmq::raft::METADATA_GROUP;
use raftmq_store::{GroupHealth, GroupId};

use crate::forgotten_tail::ForgottenTail;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acknowledged_tail_that_vanished_makes_the_replica_recovering_because_the_leader_remembers()
 {
    let forgotten = ForgottenTail::open().await;
    let (host, leader) = (&forgotten.host, &forgotten.leader);

    let metadata = |id: GroupId| id == METADATA_GROUP;
    assert_eq!(host.ask_for_marks(metadata).await, vec![METADATA_GROUP]);
    let others = |id: GroupId| id != METADATA_GROUP;
    assert_eq!(host.ask_for_marks(others).await, vec![leader.id()]);

    let GroupHealth::Recovering { acknowledged, .. } = forgotten.health() else {
        panic!("{:?}", forgotten.health());
    };
    assert_eq!(
        acknowledged.map(|mark| mark.index),
        leader.group().store().last_log_index(),
        "it votes for nobody who has less"
    );
    assert_eq!(host.ask_for_marks(|_| true).await, vec![], "no news");
    forgotten.close().await;
}
