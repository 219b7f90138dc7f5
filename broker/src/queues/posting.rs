//! Which targets have which dead letters: what is to be published next, and what the queue can forget.
//!
//! Pure: the time is an argument. A target gets a letter once, as far as its leader answers; one that does
//! not take letters rests, longer and longer, and holds up neither other targets nor letters for them.
//! Lives as long as a term: a letter that the next leader finds is published again. Does not know bodies,
//! routes, or how letters travel.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use raftmq_core::ids::{DeadLetterId, GroupNumber};
use raftmq_core::limits::DEAD_LETTERS_AHEAD_COUNT_MAX;
use raftmq_core::queue::DeadLetter;
use tokio::time::Instant;

/// Letters that are looked at in one go.
const LETTERS_AT_ONCE: usize = 256;
/// Letters on their way to one target.
const TARGET_LETTERS_MAX: usize = 64;
/// Bytes of letters on their way to one target, unless it is one letter.
const TARGET_BYTES_MAX: u64 = 1 << 20;
/// Letters on their way to all targets, each counted for each.
const UNDER_WAY_MAX: usize = 1_024;
/// Bytes of them, unless it is one letter.
const UNDER_WAY_BYTES_MAX: u64 = 32 << 20;
/// Pause before a target that did not take a letter gets another one; doubled each time.
const REST_MIN: Duration = Duration::from_millis(200);
/// The longest one.
const REST_MAX: Duration = Duration::from_secs(5);

/// A letter that the queue still has.
#[derive(Debug)]
struct Open {
    letter: DeadLetter,
    /// It is not known yet where it goes.
    is_unrouted: bool,
    has: BTreeSet<GroupNumber>,
    lacks: BTreeSet<GroupNumber>,
    under_way: BTreeSet<GroupNumber>,
}

impl Open {
    fn is_done(&self) -> bool {
        !self.is_unrouted && self.lacks.is_empty() && self.under_way.is_empty()
    }
}

#[derive(Debug, Default)]
struct Target {
    waiting: BTreeSet<DeadLetterId>,
    under_way_count: usize,
    under_way_bytes: u64,
    rest: Duration,
    rests_until: Option<Instant>,
}

impl Target {
    fn takes(&self, now: Instant) -> bool {
        self.rests_until.is_none_or(|until| until <= now)
            && self.under_way_count < TARGET_LETTERS_MAX
            && self.under_way_bytes < TARGET_BYTES_MAX
    }

    fn note(&mut self, is_there: bool, now: Instant) {
        if is_there {
            self.rest = Duration::ZERO;
            self.rests_until = None;
        } else if self.rests_until.is_none_or(|until| until <= now) {
            // Of several that fail together the first one counts.
            self.rest = (self.rest * 2).clamp(REST_MIN, REST_MAX);
            self.rests_until = Some(now + self.rest);
        }
    }

    fn is_idle(&self, now: Instant) -> bool {
        self.waiting.is_empty() && self.under_way_count == 0 && self.takes(now)
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Posting {
    letters: BTreeMap<DeadLetterId, Open>,
    /// Those that are not routed yet.
    unrouted: BTreeSet<DeadLetterId>,
    targets: BTreeMap<GroupNumber, Target>,
    done: BTreeSet<DeadLetterId>,
    /// Behind the last letter that is known.
    next: DeadLetterId,
    under_way_count: usize,
    under_way_bytes: u64,
    /// A body was not read: until then none is.
    put_off_until: Option<Instant>,
}

impl Posting {
    /// From which letter on, and how many, may be begun. The queue remembers only so many letters behind
    /// `first`, its first one, to be published.
    pub(super) fn room(&self, first: DeadLetterId) -> (DeadLetterId, usize) {
        let from = self.next.max(first);
        let ahead = usize::try_from(end_of(first).saturating_sub(from.0)).unwrap_or(usize::MAX);
        let count = LETTERS_AT_ONCE.saturating_sub(self.unrouted.len());
        (from, count.min(ahead))
    }

    /// Takes in letters that were not known, as far as the queue, whose first one is `first`, remembers them.
    pub(super) fn begin(&mut self, first: DeadLetterId, letters: Vec<DeadLetter>) {
        let end = end_of(first);
        for letter in letters.into_iter().filter(|letter| letter.id.0 < end) {
            self.next = DeadLetterId(letter.id.0 + 1);
            self.unrouted.insert(letter.id);
            let open = Open {
                letter,
                is_unrouted: true,
                has: BTreeSet::new(),
                lacks: BTreeSet::new(),
                under_way: BTreeSet::new(),
            };
            self.letters.insert(letter.id, open);
        }
    }

    /// The letters that are to be routed, and published where there is room, in order.
    pub(super) fn due(&self, now: Instant) -> Vec<DeadLetter> {
        let mut ids = BTreeSet::new();
        if self.put_off_until.is_none_or(|until| until <= now) {
            ids.extend(self.unrouted.iter().take(LETTERS_AT_ONCE));
        }
        for target in self.targets.values().filter(|target| target.takes(now)) {
            let count = TARGET_LETTERS_MAX - target.under_way_count;
            ids.extend(target.waiting.iter().take(count));
        }
        let mut bytes = self.under_way_bytes;
        let count = UNDER_WAY_MAX.saturating_sub(self.under_way_count);
        let letters = ids.iter().filter_map(|id| self.letters.get(id));
        letters
            .map(|open| open.letter)
            .take(count.min(LETTERS_AT_ONCE))
            .take_while(|letter| {
                let has_room = bytes < UNDER_WAY_BYTES_MAX;
                bytes += u64::from(letter.size);
                has_room
            })
            .collect()
    }

    /// A letter goes to `targets`. Gives those that it is to be sent to now.
    pub(super) fn route(
        &mut self,
        id: DeadLetterId,
        targets: &BTreeSet<GroupNumber>,
        now: Instant,
    ) -> Vec<GroupNumber> {
        let Some(open) = self.letters.get_mut(&id) else {
            return Vec::new();
        };
        self.unrouted.remove(&id);
        open.is_unrouted = false;
        for before in std::mem::take(&mut open.lacks) {
            if let Some(target) = self.targets.get_mut(&before) {
                target.waiting.remove(&id);
            }
        }
        let bytes = u64::from(open.letter.size);
        let mut sent = Vec::new();
        for number in targets {
            if open.has.contains(number) || open.under_way.contains(number) {
                continue;
            }
            let target = self.targets.entry(*number).or_default();
            if !target.takes(now) {
                target.waiting.insert(id);
                open.lacks.insert(*number);
                continue;
            }
            target.under_way_count += 1;
            target.under_way_bytes += bytes;
            self.under_way_count += 1;
            self.under_way_bytes += bytes;
            open.under_way.insert(*number);
            sent.push(*number);
        }
        if open.is_done() {
            self.done.insert(id);
        }
        self.targets.retain(|_, target| !target.is_idle(now));
        sent
    }

    /// The body of a letter was not read.
    pub(super) fn put_off(&mut self, now: Instant) {
        self.put_off_until = Some(now + REST_MIN);
    }

    /// What became of a letter on its way to a target.
    pub(super) fn outcome(
        &mut self,
        (id, number): (DeadLetterId, GroupNumber),
        is_there: bool,
        now: Instant,
    ) {
        let Some(open) = self.letters.get_mut(&id) else {
            return;
        };
        if !open.under_way.remove(&number) {
            return;
        }
        let bytes = u64::from(open.letter.size);
        let target = self.targets.entry(number).or_default();
        target.under_way_count -= 1;
        target.under_way_bytes -= bytes;
        self.under_way_count -= 1;
        self.under_way_bytes -= bytes;
        target.note(is_there, now);
        if is_there {
            open.has.insert(number);
        } else {
            tracing::trace!(target: "raftmq::mark", name = "dead_letter_waits_for_its_target");
            open.lacks.insert(number);
            target.waiting.insert(id);
        }
        if target.is_idle(now) {
            self.targets.remove(&number);
        }
        if open.is_done() {
            self.done.insert(id);
        }
    }

    /// Takes the letters out that all targets have: the queue is to be told.
    pub(super) fn take_done(&mut self) -> Vec<DeadLetterId> {
        std::mem::take(&mut self.done).into_iter().collect()
    }

    /// The queue has forgotten letters; or it was not told.
    pub(super) fn told(&mut self, ids: Vec<DeadLetterId>, is_told: bool) {
        for id in ids {
            if is_told {
                self.letters.remove(&id);
            } else {
                self.done.insert(id);
            }
        }
    }

    /// When a letter is due that is not now, unless something else happens before.
    pub(super) fn wakes_at(&self) -> Option<Instant> {
        let targets = self.targets.values();
        let waited_for = targets.filter(|target| !target.waiting.is_empty());
        let put_off = self.put_off_until.filter(|_| !self.unrouted.is_empty());
        waited_for
            .filter_map(|target| target.rests_until)
            .chain(put_off)
            .min()
    }
}

/// Behind the last letter of which a queue remembers that it is published although its first one is not.
const fn end_of(first: DeadLetterId) -> u64 {
    first.0.saturating_add(DEAD_LETTERS_AHEAD_COUNT_MAX)
}

#[cfg(test)]
mod tests;
