//! `basic.qos`, as RabbitMQ means it: `global=false` sets the limit of each consumer that comes
//! after it, `global=true` that of all consumers of the channel together. 0 = no limit.
//!
//! The queues of a channel do not know each other, so the second limit is kept here: what comes
//! beyond it is held back until the client settles something.

use raftmq_amqp_protocol::basic;

use crate::channel::Channel;
use crate::exception::{Exception, not_implemented};
use crate::request::ConsumerKey;
use crate::session::Session;

impl Channel {
    pub(super) fn qos(
        &mut self,
        method: &basic::Qos,
        session: &mut Session,
    ) -> Result<(), Exception> {
        let basic::Qos {
            prefetch_size,
            prefetch_count,
            global,
        } = *method;
        if prefetch_size != 0 {
            return Err(not_implemented(format!(
                "prefetch_size!=0 ({prefetch_size})"
            )));
        }
        if global {
            self.limit_all(prefetch_count, session);
        } else {
            self.prefetch = prefetch_count;
            // As in RabbitMQ, the one replaces the other.
            self.limit_all(0, session);
        }
        session.send(self.key.number, basic::QosOk {});
        Ok(())
    }

    fn limit_all(&mut self, limit: u16, session: &mut Session) {
        let before = std::mem::replace(&mut self.global_prefetch, limit);
        let changed: Vec<ConsumerKey> = self
            .consumers
            .iter()
            .filter(|(_, consumer)| consumer.prefetch(before) != consumer.prefetch(limit))
            .map(|(key, _)| key)
            .collect();
        for key in changed {
            self.request_credit(key, session);
        }
        self.release_held_back(session);
    }
}
