//! State machine safety: replicas that applied up to the same command have the same state
//! (Raft section 5.4.3). Hashes are remembered, so replicas need not be there at the same time.

use std::collections::BTreeMap;

use super::{Found, Invariant, RaftStatus, StateStatus};

/// Positions that are remembered per group; the oldest are forgotten.
const POSITIONS_MAX: usize = 4_096;

#[derive(Debug, Default)]
pub(super) struct Witness {
    states: BTreeMap<u64, (StateStatus, u32)>,
}

impl Witness {
    pub(super) fn check(&mut self, replicas: &[&RaftStatus], found: &mut Found) {
        for status in replicas {
            let Some(state) = status.state else { continue };
            let (first, by) = self
                .states
                .entry(state.applied_index)
                .or_insert((state, status.broker));
            if *first != state {
                found.push((
                    Invariant::StateMachineSafety,
                    format!(
                        "broker {} has {state:?}, broker {by} had {first:?}",
                        status.broker
                    ),
                ));
            }
        }
        while self.states.len() > POSITIONS_MAX {
            self.states.pop_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{follower, kinds};
    use super::*;

    fn with_state(broker: u32, applied_index: u64, hash: u64) -> RaftStatus {
        let state = StateStatus {
            applied_index,
            log_start: 0,
            log_end: 7,
            hash,
        };
        RaftStatus {
            state: Some(state),
            ..follower(broker, 2, applied_index)
        }
    }

    #[test]
    fn two_states_at_one_position_are_found() {
        let mut witness = Witness::default();
        let mut found = Found::new();
        witness.check(&[&with_state(1, 9, 5)], &mut found);
        witness.check(&[&with_state(1, 10, 6), &with_state(2, 9, 7)], &mut found);

        assert_eq!(kinds(&found), [Invariant::StateMachineSafety]);
    }

    #[test]
    fn equal_states_and_other_positions_are_good() {
        let mut found = Found::new();
        let replicas = [
            with_state(1, 9, 5),
            with_state(2, 9, 5),
            with_state(3, 8, 4),
        ];
        Witness::default().check(&replicas.iter().collect::<Vec<_>>(), &mut found);

        assert_eq!(found, []);
    }
}
