//! The harness itself, on a small system that keeps its promises, or breaks one on purpose.

use super::*;
use crate::checkers::Property;
use crate::toy::{Toy, ToyBug};
use crate::verdict::{Report, Verdict};

fn report(seed: u64, bug: Option<ToyBug>) -> Report {
    let mut options = Options::expand(seed, 60);
    // The toy has no topics from which records go, and no queues.
    options.faults.remove(&FaultClass::Cleanup);
    options.faults.remove(&FaultClass::Amqp);
    options.faults.remove(&FaultClass::AmqpLimits);
    let system: Rc<dyn System> = Rc::new(Toy::new(options.brokers_count, bug));
    Report::judge(seed, simulate(&options, &system), 100)
}

fn properties(report: &Report) -> Vec<Property> {
    let mut properties: Vec<Property> = report
        .anomalies
        .iter()
        .map(|anomaly| anomaly.property)
        .collect();
    properties.dedup();
    properties
}

#[test]
fn a_system_that_keeps_its_promises_is_never_anomalous() {
    let reports: Vec<Report> = (0..6).map(|seed| report(seed, None)).collect();

    for report in &reports {
        assert_ne!(
            report.verdict,
            Verdict::Anomalous,
            "{:?}",
            report.complaints()
        );
    }
    let clean = reports
        .iter()
        .filter(|report| report.verdict == Verdict::Clean)
        .count();
    let rejections: Vec<_> = reports
        .iter()
        .flat_map(|report| &report.rejections)
        .collect();
    assert!(clean >= 3, "{rejections:?}");
}

#[test]
fn a_system_that_forgets_what_it_acknowledged_is_found() {
    let found = (0..6).any(|seed| {
        let properties = properties(&report(seed, Some(ToyBug::ForgetsOnCrash)));
        properties.contains(&Property::LostWrite) || properties.contains(&Property::Unseen)
    });
    assert!(found);
}

#[test]
fn a_system_that_stores_records_twice_is_found() {
    let properties = properties(&report(1, Some(ToyBug::StoresTwice)));
    assert!(properties.contains(&Property::Duplicate), "{properties:?}");
}

#[test]
fn a_broker_that_stops_by_itself_is_a_failure() {
    let report = report(1, Some(ToyBug::Stops));

    assert_eq!(report.verdict, Verdict::Anomalous);
    assert!(
        report.complaints()[0].contains("stopped by itself"),
        "{:?}",
        report.complaints()
    );
}

#[test]
fn a_broker_that_panics_is_a_failure() {
    let report = report(1, Some(ToyBug::Panics));

    assert_eq!(report.verdict, Verdict::Anomalous);
    assert!(
        report.complaints()[0].contains("panicked"),
        "{:?}",
        report.complaints()
    );
}
