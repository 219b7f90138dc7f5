//! A connection that speaks Kafka's protocol and does as little as a client can: one buffer, one request at a
//! time, record sets as slices of the frame.
//!
//! Does not know what is asked for.

use std::io;

use bytes::{Bytes, BytesMut};
use raftmq_kafka_protocol::messages::RequestHeader;
use raftmq_kafka_protocol::{
    ErrorCode, FRAME_LENGTH_BYTES, Request, Response, decode_response, encode_request, frame_len,
    split_frame,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::cli::error::{CliError, CliResult, io_failure};

/// Longest answer that is read, bytes; above what a broker puts into one.
const ANSWER_BYTES_MAX: usize = 96 << 20;
/// Bytes read at a time when nothing is known of the answer.
const READ_BYTES: usize = 16 << 10;

/// One connection.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    inbox: BytesMut,
    outbox: BytesMut,
    correlation_id: i32,
}

impl Wire {
    pub(super) async fn connect(endpoint: &str) -> CliResult<Self> {
        let connect = async {
            let stream = TcpStream::connect(endpoint).await?;
            stream.set_nodelay(true)?;
            Ok(stream)
        };
        let stream: io::Result<TcpStream> = connect.await;
        let stream =
            stream.map_err(|error| io_failure(format!("connect to {endpoint}"), &error))?;
        Ok(Self {
            stream,
            inbox: BytesMut::new(),
            outbox: BytesMut::new(),
            correlation_id: 0,
        })
    }

    /// Sends a request and waits for its answer.
    pub(super) async fn call(&mut self, version: i16, request: Request) -> CliResult<Response> {
        let api = request.api();
        let lost = |error: &io::Error| io_failure(format!("call {api:?}"), error);
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let header = RequestHeader {
            request_api_key: api.into(),
            request_api_version: version,
            correlation_id: self.correlation_id,
            client_id: Some("raftmq-bench".into()),
        };
        self.outbox.clear();
        let encoded = encode_request(&header, &request, &mut self.outbox);
        encoded.map_err(CliError::failure)?;
        let written = self.stream.write_all(&self.outbox).await;
        written.map_err(|error| lost(&error))?;
        let frame = self.frame().await.map_err(|error| lost(&error))?;
        let (answered, response, trailing) =
            decode_response(api, version, frame).map_err(CliError::failure)?;
        if answered != self.correlation_id || trailing > 0 {
            let text = format!(
                "the answer to {api:?} {} is one to {answered}, with {trailing} bytes behind it",
                self.correlation_id
            );
            return Err(CliError::failure(text));
        }
        Ok(response)
    }

    async fn frame(&mut self) -> io::Result<Bytes> {
        loop {
            let frame = split_frame(&mut self.inbox, ANSWER_BYTES_MAX).map_err(io::Error::other)?;
            if let Some(frame) = frame {
                return Ok(frame);
            }
            let length = frame_len(&self.inbox, ANSWER_BYTES_MAX).map_err(io::Error::other)?;
            let missing = length.map_or(READ_BYTES, |length| {
                (length + FRAME_LENGTH_BYTES).saturating_sub(self.inbox.len())
            });
            // Takes the memory of the last answer again, which nobody holds any more.
            self.inbox.reserve(missing);
            if self.stream.read_buf(&mut self.inbox).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// The failure of a request that was answered with an error.
pub(super) fn refused(what: &str, code: i16) -> CliError {
    let name = ErrorCode::from_i16(code).map_or("unknown", ErrorCode::name);
    CliError::failure(format!("{what} is answered with error {code} ({name})"))
}
