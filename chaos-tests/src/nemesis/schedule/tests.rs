//! Schedules repeat, end in time, and do what their classes say.

use std::collections::BTreeSet;

use super::*;

#[test]
fn a_schedule_repeats_exactly() {
    let options = Options::expand(11, 60);

    assert_eq!(schedule(&options), schedule(&options));
}

#[test]
fn everything_ends_before_the_last_step_which_heals() {
    for seed in 0..100 {
        let options = Options::expand(seed, 60);
        let steps = schedule(&options);

        assert_eq!(steps.last().unwrap().action, Action::HealAll);
        assert!(steps.iter().all(|step| step.at_ms <= options.safety_ms));
        assert!(steps.iter().all(|step| step.at_ms > QUIET_START_MS));
        let begun = steps
            .iter()
            .filter(|step| step.action.begins().is_some())
            .count();
        assert!(2 * begun >= steps.len() - 1, "a fault ends twice");
    }
}

#[test]
fn only_the_classes_of_the_options_appear() {
    for seed in 0..100 {
        let options = Options::expand(seed, 60);
        let seen: BTreeSet<FaultClass> = schedule(&options)
            .iter()
            .filter_map(|step| step.action.begins())
            .collect();

        assert!(seen.is_subset(&options.faults));
    }
}

#[test]
fn a_broker_that_stands_still_goes_on() {
    let mut pauses_count = 0;
    for seed in 0..50 {
        let mut options = Options::expand(seed, 60);
        options.faults = [FaultClass::Pause].into();
        let steps = schedule(&options);
        let of = |is: fn(&Action) -> bool| steps.iter().filter(|step| is(&step.action)).count();

        let begun = of(|action| matches!(action, Action::Pause { .. }));
        assert_eq!(begun, of(|action| matches!(action, Action::Resume { .. })));
        pauses_count += begun;
    }
    assert!(pauses_count > 100, "{pauses_count}");
}

#[test]
fn a_broker_whose_disk_rots_while_it_is_down_starts_again() {
    let mut options = Options::expand(11, 60);
    options.faults = [FaultClass::BitRot].into();
    let steps = schedule(&options);
    let count = |is: fn(&Action) -> bool| steps.iter().filter(|step| is(&step.action)).count();

    let stopped = count(|action| matches!(action, Action::Rot { is_stopped, .. } if *is_stopped));
    assert!(stopped > 0);
    assert!(count(|action| matches!(action, Action::Rot { .. })) > stopped);
    assert_eq!(
        count(|action| matches!(action, Action::Restart { .. })),
        stopped
    );
}

#[test]
fn turning_a_class_off_leaves_the_others_as_they_were() {
    let options = Options::expand(3, 60);
    let class = *options.faults.first().unwrap();
    let mut fewer = options.clone();
    fewer.faults.remove(&class);

    let ends = |action: &Action| action.begins().is_none();
    let kept: Vec<Step> = schedule(&options)
        .into_iter()
        .filter(|step| !ends(&step.action) && step.action.begins() != Some(class))
        .collect();
    let left: Vec<Step> = schedule(&fewer)
        .into_iter()
        .filter(|step| !ends(&step.action))
        .collect();

    assert_eq!(kept, left);
}

#[test]
fn a_bridge_hears_everybody_and_the_two_sides_hear_each_other_only_through_it() {
    for seed in 0..50 {
        let mut options = Options::expand(seed, 60);
        options.faults = [FaultClass::Bridge].into();
        for step in schedule(&options) {
            let Action::Cut { from, to, .. } = step.action else {
                continue;
            };
            assert!(!from.is_empty() && !to.is_empty());
            assert!(from.iter().all(|host| !to.contains(host)));
            assert!(!from.contains(&Host::Clients) && !to.contains(&Host::Clients));
            assert_eq!(from.len() + to.len(), options.brokers_count as usize - 1);
        }
    }
}

#[test]
fn a_clock_that_jumped_is_set_right_again() {
    for seed in 0..50 {
        let mut options = Options::expand(seed, 60);
        options.faults = [FaultClass::ClockJump].into();
        let mut wrong: BTreeSet<u32> = BTreeSet::new();
        for step in schedule(&options) {
            if let Action::JumpClock { broker, offset_ms } = step.action {
                let changed = if offset_ms == 0 {
                    wrong.remove(&broker)
                } else {
                    wrong.insert(broker)
                };
                assert!(changed);
            }
        }
        assert!(wrong.is_empty());
    }
}

#[test]
fn crashes_leave_all_but_one_of_a_majority_running() {
    let mut had_aftershock = false;
    for seed in 0..200 {
        let mut options = Options::expand(seed, 60);
        options.faults = [FaultClass::Crash].into();
        let mut down: BTreeSet<u32> = BTreeSet::new();
        for step in schedule(&options) {
            if let Action::Crash { broker, .. } = step.action {
                assert!(down.insert(broker));
            } else if let Action::Restart { broker } = step.action {
                assert!(down.remove(&broker));
            }
            assert!(down.len() <= options.brokers_count as usize / 2 + 1);
            had_aftershock |= down.len() * 2 > options.brokers_count as usize;
        }
    }
    assert!(had_aftershock);
}

#[test]
fn a_full_disk_is_widened_again_and_some_are_full_everywhere() {
    let mut was_everywhere = false;
    for seed in 0..50 {
        let mut options = Options::expand(seed, 60);
        options.faults = [FaultClass::DiskFull].into();
        let mut full: BTreeSet<u32> = BTreeSet::new();
        for step in schedule(&options) {
            if let Action::FillDisk { broker, .. } = step.action {
                assert!(full.insert(broker));
            } else if let Action::WidenDisk { broker } = step.action {
                assert!(full.remove(&broker));
            }
            was_everywhere |= full.len() == options.brokers_count as usize;
        }
        assert!(full.is_empty());
    }
    assert!(was_everywhere);
}
