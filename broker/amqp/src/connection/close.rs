//! The end of a connection: by the client, by an error, by the broker, by loss.

use raftmq_amqp_protocol::{HeaderRefusal, Text, connection};

use crate::connection::Connection;
use crate::connection::stage::Stage;
use crate::exception::Exception;
use crate::request::Ask;

/// Why a connection ended, for the host's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloseReason {
    /// The client opened with something else than AMQP 0-9-1.
    Header(HeaderRefusal),
    /// The client closed it.
    Client {
        /// Its reply code.
        code: u16,
        /// Its text.
        text: Text,
    },
    /// We closed it; during the handshake without a word.
    Exception(Exception),
    /// The socket, or the client's life, was lost.
    Lost,
}

impl Connection {
    /// Closes the connection for an error.
    pub(super) fn fail(&mut self, exception: Exception) {
        match self.stage {
            // The client is not trusted yet, and RabbitMQ says nothing either.
            Stage::Header | Stage::StartOk | Stage::Authenticating(..) => {
                self.stage = Stage::Closed;
                self.close_reason = Some(CloseReason::Exception(exception));
            }
            Stage::TuneOk | Stage::Open | Stage::Opening(_) => self.send_close(exception),
            Stage::Running => {
                self.end_channels();
                self.session.ask(None, Ask::CloseConnection);
                self.send_close(exception);
            }
            Stage::Closing | Stage::Ending(_) | Stage::Closed => {}
        }
    }

    /// Sends `connection.close` and waits for its answer.
    pub(super) fn send_close(&mut self, exception: Exception) {
        let close = connection::Close {
            reply_code: exception.code.code(),
            reply_text: exception.text.clone(),
            class_id: exception.method.class_id,
            method_id: exception.method.method_id,
        };
        self.session.send(0, close);
        self.stage = Stage::Closing;
        self.close_reason = Some(CloseReason::Exception(exception));
    }

    /// Notes that nothing can be read or written any more.
    pub(super) fn lose(&mut self) {
        match self.stage {
            Stage::Running => {
                self.end_channels();
                self.session.ask(None, Ask::CloseConnection);
            }
            Stage::Header
            | Stage::StartOk
            | Stage::Authenticating(..)
            | Stage::TuneOk
            | Stage::Open
            | Stage::Opening(_)
            | Stage::Closing
            | Stage::Ending(_)
            | Stage::Closed => {}
        }
        self.close_reason.get_or_insert(CloseReason::Lost);
        self.stage = Stage::Closed;
    }

    /// Lets go of every channel; what is confirmed already is said.
    pub(super) fn end_channels(&mut self) {
        for channel in self.channels.values_mut() {
            channel.send_last_confirms(&mut self.session);
        }
        self.channels.clear();
        self.runnable.clear();
        self.unflushed.clear();
        self.stopped = None;
        self.renewing = None;
        self.backlog_bytes = 0;
        self.assembling_bytes = 0;
        self.session.in_flight_bytes = 0;
    }
}
