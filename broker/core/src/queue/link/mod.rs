//! The way between a broker's clients and a queue's leader: in which order commands go there over moves
//! of the leader, what is repeated, and which deliveries on the way back are news.
//!
//! Pure: whoever sends and waits is the host. Knows neither what a command does nor how it travels.

mod intake;
mod outbox;
mod received;

pub use self::intake::{Intake, Place};
pub use self::outbox::{Fate, Item, Outbox, Settled};
pub use self::received::Received;
