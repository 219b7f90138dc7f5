//! Topic exchanges: words between dots, `*` for exactly one word, `#` for any number, also none.
//!
//! Owns a trie over the words of the binding keys. As in RabbitMQ, an empty key has no word at
//! all, while two dots in a row have an empty word between them, which `*` matches too. Matching
//! carries the set of positions that a node can be reached at, so it visits each node at most
//! once, whatever patterns somebody binds; no limit on the number of `#` is needed.

use std::sync::Arc;

use crate::exchange::limits::BINDING_KEY_BYTES_MAX;
use crate::exchange::position::Positions;
use crate::exchange::small_map::SmallMap;
use crate::exchange::targets::Targets;
use crate::exchange::{Binding, Destination};

/// Words of a routing key for which no memory is taken, inclusive.
const WORDS_COUNT_USUAL: usize = 16;

/// A node: what the words up to here lead to, and which words may follow.
#[derive(Debug, Clone, Default, PartialEq)]
struct Node {
    words: SmallMap<Arc<[u8]>, Arc<Node>>,
    star: Option<Arc<Node>>,
    hash: Option<Arc<Node>>,
    targets: Targets,
}

impl Node {
    fn is_empty(&self) -> bool {
        self.targets.is_empty() && !self.has_children()
    }

    fn has_children(&self) -> bool {
        self.star.is_some() || self.hash.is_some() || !self.words.is_empty()
    }

    fn add<'a>(&mut self, mut words: impl Iterator<Item = &'a [u8]>, to: Destination) {
        let Some(word) = words.next() else {
            self.targets.add(to);
            return;
        };
        let child = match word {
            b"*" => self.star.get_or_insert_default(),
            b"#" => self.hash.get_or_insert_default(),
            _ => {
                if self.words.get(word).is_none() {
                    self.words.insert(word.into(), Arc::default());
                }
                self.words.get_mut(word).expect("it was just put in")
            }
        };
        Arc::make_mut(child).add(words, to);
    }

    /// Removes a destination and every node that is empty then.
    fn remove<'a>(&mut self, mut words: impl Iterator<Item = &'a [u8]>, to: Destination) {
        let Some(word) = words.next() else {
            self.targets.remove(to);
            return;
        };
        let child = match word {
            b"*" => self.star.as_mut(),
            b"#" => self.hash.as_mut(),
            _ => self.words.get_mut(word),
        };
        let Some(child) = child.map(Arc::make_mut) else {
            return;
        };
        child.remove(words, to);
        if child.is_empty() {
            match word {
                b"*" => self.star = None,
                b"#" => self.hash = None,
                _ => self.words.remove(word),
            }
        }
    }
}

/// Cuts a key at its dots.
fn words_of(key: &[u8]) -> impl Iterator<Item = &[u8]> {
    let has_words = !key.is_empty();
    key.split(|&octet| octet == b'.').filter(move |_| has_words)
}

/// The bindings of a topic exchange.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Topic(Arc<Node>);

impl Topic {
    pub(super) fn add(&mut self, binding: &Binding) {
        Arc::make_mut(&mut self.0).add(words_of(&binding.key), binding.destination);
    }

    pub(super) fn remove(&mut self, binding: &Binding) {
        Arc::make_mut(&mut self.0).remove(words_of(&binding.key), binding.destination);
    }

    pub(super) fn collect(&self, routing_key: &[u8], matched: &mut Vec<Destination>) {
        // No wire carries a longer one; without this a position might not fit its set.
        if routing_key.len() > BINDING_KEY_BYTES_MAX {
            return;
        }
        let mut few: [&[u8]; WORDS_COUNT_USUAL] = [&[]; WORDS_COUNT_USUAL];
        let many: Vec<&[u8]>;
        let count = words_of(routing_key).count();
        let words: &[&[u8]] = if let Some(places) = few.get_mut(..count) {
            for (place, word) in places.iter_mut().zip(words_of(routing_key)) {
                *place = word;
            }
            &*places
        } else {
            many = words_of(routing_key).collect();
            &many
        };
        Matcher { words, matched }.visit_at(&self.0, 0);
    }
}

/// A walk through the trie for one routing key.
struct Matcher<'a, 'm> {
    words: &'a [&'a [u8]],
    matched: &'m mut Vec<Destination>,
}

impl Matcher<'_, '_> {
    /// Visits a node that is reached at one position only: no `#` came before it.
    fn visit_at(&mut self, node: &Node, position: usize) {
        if let Some(hash) = &node.hash {
            self.visit_hash(hash, position);
        }
        let Some(word) = self.words.get(position) else {
            node.targets.collect(self.matched);
            return;
        };
        if let Some(child) = node.words.get(*word) {
            self.visit_at(child, position + 1);
        }
        if let Some(child) = &node.star {
            self.visit_at(child, position + 1);
        }
    }

    /// Visits the node of a `#` that may begin at a position: it ends there or anywhere behind.
    fn visit_hash(&mut self, node: &Node, first: usize) {
        if node.has_children() {
            self.visit(node, &Positions::range(first, self.words.len()));
        } else {
            node.targets.collect(self.matched);
        }
    }

    /// Visits a node that is reached at any of some positions.
    fn visit(&mut self, node: &Node, positions: &Positions) {
        let end = self.words.len();
        if positions.contains(end) {
            node.targets.collect(self.matched);
        }
        if let (Some(hash), Some(first)) = (&node.hash, positions.iter().next()) {
            self.visit_hash(hash, first);
        }
        if let Some(star) = &node.star {
            let mut behind = Positions::default();
            for position in positions.iter().filter(|&position| position < end) {
                behind.add(position + 1);
            }
            if !behind.is_empty() {
                self.visit(star, &behind);
            }
        }
        if !node.words.is_empty() {
            self.visit_words(node, *positions);
        }
    }

    /// Visits each child by a word once, with all positions behind that word.
    fn visit_words(&mut self, node: &Node, positions: Positions) {
        let mut done = Positions::default();
        for position in positions.iter() {
            let Some(word) = self.words.get(position) else {
                break;
            };
            if done.contains(position) {
                continue;
            }
            let Some(child) = node.words.get(*word) else {
                continue;
            };
            let mut behind = Positions::default();
            for (other, same) in self.words.iter().enumerate().skip(position) {
                if same == word && positions.contains(other) {
                    done.add(other);
                    behind.add(other + 1);
                }
            }
            self.visit(child, &behind);
        }
    }
}
