//! AMQP's control plane: lists in parts, and what a program is told.

use raftmq_client::{Counting, ErrorCode, ErrorKind};

use crate::client;
use crate::fake::Cluster;

#[tokio::test]
async fn a_list_that_breaks_off_begins_anew_and_nothing_is_in_it_twice() {
    let cluster = Cluster::start(1).await;
    let admin = client(&cluster).await.admin();
    for name in ["a", "b", "c"] {
        admin.create_vhost(name).send().await.expect("created");
    }
    cluster.break_lists(2);

    let listed = admin.list_vhosts().await.expect("listed");

    let names: Vec<&str> = listed.iter().map(|vhost| vhost.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    let none = admin.list_queues("a", Counting::AskLeaders).await;
    assert_eq!(none.expect("listed"), []);
}

#[tokio::test]
async fn what_a_change_of_a_user_does_not_name_is_not_sent() {
    let cluster = Cluster::start(1).await;
    let admin = client(&cluster).await.admin();
    let refused = admin.put_user("jane").tags(["monitoring"]).send().await;
    let refused = refused.expect_err("she is new and has no password");
    assert_eq!(refused.code(), Some(ErrorCode::UnknownUser));
    assert_eq!(refused.kind(), ErrorKind::NotFound);

    let new = admin
        .put_user("jane")
        .password("secret")
        .tags(["monitoring"]);
    assert!(!format!("{new:?}").contains("secret"), "{new:?}");
    new.send().await.expect("made");
    let password = admin.put_user("jane").password("other").send().await;
    password.expect("changed");
    let users = admin.list_users().await.expect("listed");
    assert_eq!(users[0].tags, ["monitoring"]);
    let none: [&str; 0] = [];
    admin
        .put_user("jane")
        .tags(none)
        .send()
        .await
        .expect("changed");
    let users = admin.list_users().await.expect("listed");
    assert!(users[0].tags.is_empty());
}

#[tokio::test]
async fn refusals_are_told_apart_and_not_repeated() {
    let cluster = Cluster::start(1).await;
    let admin = client(&cluster).await.admin();

    let refused = admin.delete_vhost("a").await.expect_err("refused");
    assert_eq!(refused.code(), Some(ErrorCode::UnknownVhost));
    let delete = admin.delete_queue("a", "q");
    let refused = delete.clone().if_empty().send().await.expect_err("refused");
    assert_eq!(refused.kind(), ErrorKind::Precondition);
    assert!(!refused.is_retriable());
    assert_eq!(delete.send().await, Ok(None), "nobody counted");
}
