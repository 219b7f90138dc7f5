//! The promise under kill -9: each broker in turn, thirty times, under load.

use tokio::time::Instant;

use crate::load::{Load, wait_until_in_sync};
use crate::support::Dev;

const PARTITIONS: u32 = 6;
const KILLS: u64 = 30;
/// Records that must be acknowledged while a broker is dead, before it comes back.
const ACKS_WITHOUT_BROKER: u64 = 300;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_kills_under_load_lose_double_and_reorder_nothing() {
    let started_at = Instant::now();
    let dev = Dev::start(&[]);
    let client = dev.client().await;
    let load = Load::start(&client, "kills", PARTITIONS).await;
    load.wait_for_acks(ACKS_WITHOUT_BROKER).await;

    let mut gaps = Vec::new();
    for kill in 0..KILLS {
        let id = kill % 3 + 1;
        eprintln!(
            "{:.1} s: kill {kill}: broker {id}",
            started_at.elapsed().as_secs_f64()
        );
        let killed_at = Instant::now();
        dev.kill(id);
        load.wait_for_acks(ACKS_WITHOUT_BROKER).await;
        gaps.push(killed_at.elapsed());
        dev.restart(id);
        wait_until_in_sync(&client).await;
    }

    let proven = load.prove(&client).await;
    gaps.sort();
    println!(
        "{KILLS} kills, {} records: lost 0, duplicated 0, order kept; time to \
         {ACKS_WITHOUT_BROKER} acknowledgements after a kill: shortest {:?}, median {:?}, longest {:?}; {:.1} s",
        proven.records_count,
        gaps[0],
        gaps[gaps.len() / 2],
        gaps[gaps.len() - 1],
        started_at.elapsed().as_secs_f64(),
    );
}
