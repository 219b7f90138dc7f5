//! Creates, describes, changes and deletes a topic, and looks offsets up.
//!
//! `RAFTMQ_BOOTSTRAP=127.0.0.1:9090 cargo run -p raftmq-client --example admin`

use std::error::Error;

use raftmq_client::{Client, ErrorKind, OffsetAt};

const TOPIC: &str = "example-admin";

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example shows what it does")]
async fn main() -> Result<(), Box<dyn Error>> {
    let bootstrap =
        std::env::var("RAFTMQ_BOOTSTRAP").unwrap_or_else(|_| "127.0.0.1:9090".to_owned());
    let client = Client::builder().bootstrap(&bootstrap).build().await?;
    let admin = client.admin();

    let cluster = admin.describe_cluster().await?;
    println!(
        "cluster {} with {} brokers",
        cluster.cluster_id,
        cluster.brokers.len()
    );

    let created = admin
        .create_topic(TOPIC)
        .partitions(2)
        .config("retention.ms", "3600000")
        .send()
        .await;
    match created {
        Ok(answer) => {
            for warning in answer.warnings {
                println!("warning: {warning}");
            }
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => println!("{error}"),
        Err(error) => return Err(error.into()),
    }

    let altered = admin.alter_topic(TOPIC).partitions(4).send().await?;
    println!("{} has {} partitions", TOPIC, altered.partitions.len());
    for config in admin.describe_topic(TOPIC).await?.configs {
        println!("{} = {} ({})", config.name, config.value, config.source);
    }
    for listed in admin
        .list_offsets(&[(TOPIC, 0, OffsetAt::Beginning), (TOPIC, 0, OffsetAt::End)])
        .await?
    {
        println!("partition {} offset {:?}", listed.partition, listed.offset);
    }
    for topic in admin.list_topics().await? {
        println!("{}", topic.name);
    }
    admin.delete_topic(TOPIC).await?;
    Ok(())
}
