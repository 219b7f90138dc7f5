//! `min.insync.replicas` with brokers that die: how many replicas in sync `acks=-1` asks for.

use raftmq_kafka_protocol::{ErrorCode, Response};

use super::cluster::{addresses, leader};
use super::wire::{PRODUCE, Wire, batch, produce_request};
use crate::support::{Dev, ok, wait_until, with_bootstrap};

/// The offset after the last record that consumers see.
const LATEST: i64 = -1;

/// Produces one record with `acks=-1`: error code and base offset.
fn produced(wire: &mut Wire) -> (i16, i64) {
    let answer = wire.produce("t", batch(&["v"]));
    (answer.error_code, answer.base_offset)
}

fn set_minimum(dev: &Dev, replicas_count: u32) {
    let setting = format!("min.insync.replicas={replicas_count}");
    let alter = ["topic", "alter", "t", "--set", &setting];
    ok(&with_bootstrap(&alter, &dev.bootstrap()));
}

#[test]
fn too_few_replicas_in_sync_refuse_acks_all_and_write_nothing_until_fewer_are_asked_for() {
    let dev = Dev::start(&[]);
    let addresses = addresses(&dev);
    let create = ["topic", "create", "t", "-p", "1", "-r", "3"];
    let create = [&create[..], &["-c", "min.insync.replicas=3"]].concat();
    ok(&with_bootstrap(&create, &dev.bootstrap()));
    let mut any = Wire::connect(&addresses[&1]);
    let mut led_by = -1;
    wait_until(|| {
        led_by = leader(&any.metadata("t"));
        led_by > 0
    });
    let mut wire = Wire::connect(&addresses[&led_by]);
    wait_until(|| produced(&mut wire).0 == 0);
    let too_few = i16::from(ErrorCode::NotEnoughReplicas);

    let (follower, _) = addresses.iter().find(|(id, _)| **id != led_by).unwrap();
    let follower = u64::try_from(*follower).unwrap();
    dev.kill(follower);

    // What was asked while the dead one still counted may have been written.
    wait_until(|| produced(&mut wire).0 == too_few);
    let end = wire.offset("t", LATEST).offset;
    assert_eq!(produced(&mut wire), (too_few, -1));
    let with_leader_only = produce_request("t", 1, batch(&["v"]));
    let Response::Produce(response) = wire.call(PRODUCE, with_leader_only) else {
        panic!("not an answer to Produce")
    };
    let written = &response.responses[0].partition_responses[0];
    assert_eq!(
        (written.error_code, written.base_offset),
        (0, end),
        "what was refused has no offset, and only acks=-1 asks for three"
    );

    set_minimum(&dev, 2);
    let mut answer = (too_few, -1);
    wait_until(|| {
        answer = produced(&mut wire);
        answer.0 != too_few
    });
    assert_eq!(answer, (0, end + 1), "in service again");

    set_minimum(&dev, 3);
    wait_until(|| produced(&mut wire).0 == too_few);
    dev.restart(follower);
    wait_until(|| produced(&mut wire).0 == 0);
}
