//! What a queue's leader takes of each broker: its batches in their order, none twice, none late.

use std::collections::BTreeMap;

use crate::ids::{BrokerEpoch, BrokerId};

/// Where a batch stands among those of its sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The sender's registration.
    pub broker_epoch: BrokerEpoch,
    /// Grows each time that the sender begins anew, after a failure.
    pub stream: u64,
    /// Number of the batch in its stream, from 0.
    pub number: u64,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    broker_epoch: BrokerEpoch,
    stream: u64,
    next: u64,
}

/// See the module. A leader begins with an empty one.
#[derive(Debug, Clone, Default)]
pub struct Intake {
    senders: BTreeMap<BrokerId, Known>,
    /// Registrations up to these are over.
    closed: BTreeMap<BrokerId, BrokerEpoch>,
}

impl Intake {
    /// Decides whether a batch is taken: it is the first one of a stream that is newer than all before, or
    /// follows the one taken last. Everything else came late, or after one that was refused.
    pub fn admit(&mut self, sender: BrokerId, place: Place) -> bool {
        let over = self.closed.get(&sender);
        if over.is_some_and(|over| place.broker_epoch <= *over) {
            return false;
        }
        let known = self.senders.get(&sender).copied();
        let is_newer = known.is_none_or(|known| {
            (place.broker_epoch, place.stream) > (known.broker_epoch, known.stream)
        });
        let due = match known {
            Some(known) if !is_newer => {
                let is_current =
                    (place.broker_epoch, place.stream) == (known.broker_epoch, known.stream);
                if !is_current {
                    return false;
                }
                known.next
            }
            Some(_) | None => 0,
        };
        if place.number != due {
            return false;
        }
        let now_known = Known {
            broker_epoch: place.broker_epoch,
            stream: place.stream,
            next: due + 1,
        };
        self.senders.insert(sender, now_known);
        true
    }

    /// Takes nothing more of a broker's registrations up to this one: its channels are being closed.
    pub fn close(&mut self, sender: BrokerId, up_to: BrokerEpoch) {
        let closed = self.closed.entry(sender).or_insert(up_to);
        *closed = up_to.max(*closed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENDER: BrokerId = BrokerId(2);

    fn place(epoch: u64, stream: u64, number: u64) -> Place {
        Place {
            broker_epoch: BrokerEpoch(epoch),
            stream,
            number,
        }
    }

    #[test]
    fn batches_of_a_stream_are_taken_in_order_and_once() {
        let mut intake = Intake::default();

        assert!(intake.admit(SENDER, place(1, 5, 0)));
        assert!(intake.admit(SENDER, place(1, 5, 1)));
        assert!(!intake.admit(SENDER, place(1, 5, 1)), "a second time");
        assert!(!intake.admit(SENDER, place(1, 5, 3)), "one is missing");
        assert!(intake.admit(SENDER, place(1, 5, 2)));
        assert!(intake.admit(BrokerId(3), place(1, 1, 0)), "another sender");
    }

    #[test]
    fn a_new_stream_begins_with_its_first_batch_and_ends_the_old_one() {
        let mut intake = Intake::default();
        assert!(intake.admit(SENDER, place(1, 5, 0)));

        assert!(
            !intake.admit(SENDER, place(1, 6, 1)),
            "its first is missing"
        );
        assert!(intake.admit(SENDER, place(1, 6, 0)));
        assert!(!intake.admit(SENDER, place(1, 5, 1)), "the old stream");
        assert!(intake.admit(SENDER, place(2, 1, 0)), "a new registration");
        assert!(
            !intake.admit(SENDER, place(1, 7, 0)),
            "the old registration"
        );
    }

    #[test]
    fn nothing_is_taken_of_a_closed_registration() {
        let mut intake = Intake::default();
        assert!(intake.admit(SENDER, place(1, 5, 0)));

        intake.close(SENDER, BrokerEpoch(1));
        intake.close(SENDER, BrokerEpoch(0));

        assert!(!intake.admit(SENDER, place(1, 5, 1)));
        assert!(intake.admit(SENDER, place(2, 0, 0)));
    }
}
