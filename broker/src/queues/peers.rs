//! What other brokers ask of this one's queues: commands for those it leads, and what leaders have for
//! the channels of its clients.

use raftmq_core::codec::CodecError;
use raftmq_core::ids::{BrokerId, GroupNumber};
use raftmq_core::queue::{Attempt, Command};
use raftmq_store::GroupId;
use tokio::time::timeout;

use super::Queues;
use super::push::{Push, decode_pushes, encode_refused};
use super::submission::{ANSWER_WITHIN, NotDone, decode_asks, encode_answers};
use crate::raft::transport::{Inbound, Refusal, Served};

impl Queues {
    /// Carries out what a broker's clients ask of a queue that this broker leads. Taken in the order of
    /// calls: everything before the first wait happens at once.
    ///
    /// # Errors
    ///
    /// Malformed; not taken; or the outcome is unknown.
    pub async fn serve_submit(&self, call: Inbound) -> Served {
        let decoded = decode_asks(call.body, call.sender_epoch);
        let (place, asks) = decoded.map_err(|error| malformed(&error))?;
        let replica = self.replica(GroupId(call.group_id));
        let replica = replica.ok_or((Refusal::UnknownGroup, String::new()))?;
        let from = Some((BrokerId(call.sender), place));
        let answers = replica.submit(from, asks).map_err(refusal)?;
        let answers = timeout(ANSWER_WITHIN, answers).await;
        let unknown = || refusal(NotDone::Unknown);
        let answers = answers.map_err(|_elapsed| unknown())?;
        let answers = answers.map_err(|_gone| unknown())?;
        answers
            .map(|answers| encode_answers(&answers))
            .map_err(refusal)
    }

    /// Takes in what a queue's leader has for channels of this broker's clients; answers which of the events
    /// found no room.
    ///
    /// # Errors
    ///
    /// Malformed.
    pub fn serve_push(&self, call: &Inbound) -> Served {
        let pushes = decode_pushes(call.body.clone()).map_err(|error| malformed(&error))?;
        let refused = self.take_pushes(GroupNumber(call.group_id), pushes);
        Ok(encode_refused(&refused))
    }

    /// Hands pushes to their channels; says which of them found no room. A queue that delivers to a channel
    /// that is closed is told so again: a consumer that nobody can end would take its messages for ever.
    pub(super) fn take_pushes(&self, queue: GroupNumber, pushes: Vec<Push>) -> Vec<usize> {
        if let Some(broker_epoch) = self.epoch_in_service() {
            let registration = (self.broker_id(), broker_epoch);
            for channel in self.shared.channels.closed_among(&pushes, registration) {
                let attempt = Attempt::CountsNot;
                self.send_surely(queue, Command::CloseChannel { channel, attempt });
            }
        }
        let count = pushes.len();
        let refused = self.shared.channels.take(queue, pushes);
        let taken = count - refused.len();
        metrics::counter!("raftmq_queue_deliveries_total").increment(taken as u64);
        refused
    }
}

fn malformed(error: &CodecError) -> (Refusal, String) {
    (Refusal::Malformed, error.to_string())
}

fn refusal(why: NotDone) -> (Refusal, String) {
    match why {
        NotDone::NotTaken => (Refusal::NotTaken, String::new()),
        NotDone::Unknown => (Refusal::OutcomeUnknown, String::new()),
    }
}
