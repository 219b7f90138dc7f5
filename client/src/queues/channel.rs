//! One stream to one broker: what AMQP calls a channel.
//!
//! Owns its opening. Does not know what is asked on it.

use std::time::Duration;

use raftmq_proto::v1::channel_request::Request;
use raftmq_proto::v1::channel_response::Response;
use raftmq_proto::v1::{ChannelRequest, ChannelResponse, OpenChannel};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::client::Shared;
use crate::connection::queues_client;
use crate::error::{Error, Result};
use crate::limits::CHANNEL_REQUESTS_MAX;

/// See the module. Dropped, it ends, and what it holds returns to its queues.
#[derive(Debug)]
pub(super) struct Channel {
    pub(super) endpoint: String,
    pub(super) requests: mpsc::Sender<ChannelRequest>,
    responses: Streaming<ChannelResponse>,
}

impl Channel {
    /// Opens a stream, within the time for a connection.
    pub(super) async fn open(shared: &Shared, endpoint: String, vhost: String) -> Result<Self> {
        let within = shared.timeouts.connect;
        let metadata_version = shared.metadata_seen();
        let opening = async {
            let channel = shared.connections.open(&endpoint).await?;
            let (requests, queue) = mpsc::channel(CHANNEL_REQUESTS_MAX);
            let open = ChannelRequest {
                request: Some(Request::Open(OpenChannel { vhost })),
                metadata_version,
            };
            // The queue is new and has room.
            let _ = requests.try_send(open);
            let mut client = queues_client(channel);
            let opened = client.channel(ReceiverStream::new(queue)).await;
            let responses = opened.map_err(|status| Error::from_status(&endpoint, &status))?;
            let mut channel = Self {
                endpoint: endpoint.clone(),
                requests,
                responses: responses.into_inner(),
            };
            match channel.next().await? {
                Response::Opened(_) => Ok(channel),
                other @ (Response::Published(_)
                | Response::Started(_)
                | Response::Ended(_)
                | Response::Got(_)
                | Response::Delivery(_)) => Err(channel.against_protocol(&other)),
            }
        };
        timeout(within, opening)
            .await
            .unwrap_or_else(|_| Err(silent(endpoint.clone(), within)))
    }

    /// Waits for the next response. Cancel safe.
    pub(super) async fn next(&mut self) -> Result<Response> {
        let endpoint = &self.endpoint;
        let response = self.responses.message().await;
        let response = response.map_err(|status| Error::from_status(endpoint, &status))?;
        let response = response.ok_or_else(|| Error::ConnectionLost {
            endpoint: endpoint.clone(),
            reason: "the broker ended the stream".to_owned(),
        })?;
        response.response.ok_or_else(|| Error::Protocol {
            endpoint: endpoint.clone(),
            reason: "a response without content".to_owned(),
        })
    }

    /// Ends the stream once the broker has carried out what was asked on it.
    pub(super) async fn finish(self, within: Duration) {
        let Self {
            requests,
            mut responses,
            ..
        } = self;
        drop(requests);
        let finished = async { while let Ok(Some(_)) = responses.message().await {} };
        // A broker that does not answer notices the end of the connection.
        let _ = timeout(within, finished).await;
    }

    pub(super) fn against_protocol(&self, response: &Response) -> Error {
        Error::Protocol {
            endpoint: self.endpoint.clone(),
            reason: format!("unexpected response {response:?}"),
        }
    }
}

fn silent(endpoint: String, within: Duration) -> Error {
    Error::Connect {
        endpoint,
        reason: format!("no answer within {within:?}"),
    }
}
