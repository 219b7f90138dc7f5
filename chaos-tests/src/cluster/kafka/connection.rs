//! One connection to a broker: requests go out as they are asked for, and answers come back in the
//! same order, which Kafka promises.
//!
//! Does not know what requests mean, nor which broker it talks to.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use raftmq_kafka_protocol::messages::RequestHeader;
use raftmq_kafka_protocol::{
    ApiKey, Request, Response, decode_response, encode_request, split_frame,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{Mutex, oneshot};
use tokio::task::JoinSet;

use crate::net::SimStream;

/// Largest answer, bytes.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// What every client calls itself.
const CLIENT_ID: &str = "chaos";

/// A request that was sent.
struct Sent {
    api: ApiKey,
    version: i16,
    correlation_id: i32,
    answer: oneshot::Sender<Response>,
}

/// Requests without an answer yet, in the order in which they were sent; `None` once it is closed.
type Waiting = Rc<RefCell<Option<VecDeque<Sent>>>>;

/// See the module. Dropping it closes it.
pub(super) struct Connection {
    writing: Mutex<WriteHalf<SimStream>>,
    waiting: Waiting,
    correlation_id: Cell<i32>,
    _reader: JoinSet<()>,
}

impl Connection {
    pub(super) fn new(stream: SimStream) -> Self {
        let (reading, writing) = tokio::io::split(stream);
        let waiting: Waiting = Rc::new(RefCell::new(Some(VecDeque::new())));
        let mut reader = JoinSet::new();
        reader.spawn_local(read(reading, Rc::clone(&waiting)));
        Self {
            writing: Mutex::new(writing),
            waiting,
            correlation_id: Cell::new(0),
            _reader: reader,
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.waiting.borrow().is_none()
    }

    /// Nobody gets an answer any more. For whom gave up in the middle of a request, too.
    pub(super) fn close(&self) {
        self.waiting.borrow_mut().take();
    }

    /// Sends a request and waits for its answer.
    pub(super) async fn call(&self, version: i16, request: &Request) -> Result<Response, String> {
        let (answer, answered) = oneshot::channel();
        self.send(version, request, Some(answer)).await?;
        let response = answered.await;
        response.map_err(|_closed| "the connection ended before the answer".to_owned())
    }

    /// Sends a request that is not answered.
    pub(super) async fn tell(&self, version: i16, request: &Request) -> Result<(), String> {
        self.send(version, request, None).await
    }

    async fn send(
        &self,
        version: i16,
        request: &Request,
        answer: Option<oneshot::Sender<Response>>,
    ) -> Result<(), String> {
        let mut writing = self.writing.lock().await;
        let correlation_id = self.correlation_id.get();
        self.correlation_id.set(correlation_id + 1);
        let header = RequestHeader {
            request_api_key: request.api().into(),
            request_api_version: version,
            correlation_id,
            client_id: Some(CLIENT_ID.into()),
        };
        let mut frame = BytesMut::new();
        encode_request(&header, request, &mut frame).expect("the version can carry the request");
        match self.waiting.borrow_mut().as_mut() {
            Some(waiting) => waiting.extend(answer.map(|answer| Sent {
                api: request.api(),
                version,
                correlation_id,
                answer,
            })),
            None => return Err("the connection is closed".to_owned()),
        }
        let written = writing.write_all(&frame).await;
        written.map_err(|error| {
            self.close();
            error.to_string()
        })
    }
}

/// Hands answers out until the connection ends.
async fn read(mut reading: ReadHalf<SimStream>, waiting: Waiting) {
    let mut inbox = BytesMut::new();
    loop {
        let frame = split_frame(&mut inbox, ANSWER_BYTES_MAX);
        if let Some(frame) = frame.expect("a broker's frames have a length that makes sense") {
            let sent = match waiting.borrow_mut().as_mut() {
                Some(waiting) => waiting.pop_front(),
                None => return,
            };
            let sent = sent.expect("a broker answers nobody who did not ask");
            let response = decode(&sent, frame);
            // Whoever asked may have given up.
            let _ = sent.answer.send(response);
            continue;
        }
        if !matches!(reading.read_buf(&mut inbox).await, Ok(1..)) {
            waiting.borrow_mut().take();
            return;
        }
    }
}

/// A panic stops the run: an answer that cannot be read, or not in its turn, is a bug of the broker.
fn decode(sent: &Sent, frame: Bytes) -> Response {
    let decoded = decode_response(sent.api, sent.version, frame);
    let (correlation_id, response, trailing_bytes) =
        decoded.expect("a broker's answer can be read");
    assert_eq!(
        (correlation_id, trailing_bytes),
        (sent.correlation_id, 0),
        "answers come in the order of the requests, and hold nothing more"
    );
    response
}
