//! Puts the listeners to work: peers, gRPC clients, HTTP.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::stream::{self, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::Server;
use tonic::transport::server::Connected;

use super::peer_handler::NodePeerHandler;
use super::{Listeners, Node, NodeError};
use crate::amqp;
use crate::config::NodeConfig;
use crate::env::{BoxedIo, Env, Listener};
use crate::grpc;
use crate::http::{self, Metrics};
use crate::kafka;
use crate::messages::replies::Replies;
use crate::raft::RaftHost;
use crate::raft::transport::{
    CONNECTION_WINDOW_BYTES, HTTP2_FRAME_BYTES, PeerServer, STREAM_WINDOW_BYTES,
};

/// HTTP/2 ping of a silent client, and how long its answer may take: one whose machine is gone must
/// not hold its connection for ever.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(60);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);

impl Node {
    pub(super) fn serve(
        &mut self,
        config: &NodeConfig,
        listeners: Listeners,
    ) -> Result<(), NodeError> {
        self.serve_amqp(config, listeners.amqp);
        let handler = Arc::new(NodePeerHandler {
            parts: self.parts.clone(),
        });
        let peers = Server::builder()
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_frame_size(HTTP2_FRAME_BYTES)
            .add_service(PeerServer::service(handler))
            .serve_with_incoming(incoming(listeners.peer));
        self.spawn(async move { log_end("peer", peers.await) });
        let message_bytes_max = usize::try_from(config.limits.grpc_message_bytes_max);
        let message_bytes_max = message_bytes_max.unwrap_or(usize::MAX);
        let clients = Server::builder()
            .http2_keepalive_interval(Some(KEEP_ALIVE_INTERVAL))
            .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .add_service(grpc::broker_service(self.parts.clone(), message_bytes_max))
            .add_service(grpc::admin_service(self.parts.clone(), message_bytes_max))
            .add_service(grpc::amqp_admin_service(
                self.parts.clone(),
                message_bytes_max,
            ))
            .add_service(grpc::queues_service(self.parts.clone(), message_bytes_max))
            .serve_with_incoming(incoming(listeners.grpc));
        self.spawn(async move { log_end("grpc", clients.await) });
        if !listeners.kafka.is_empty() {
            let front = kafka::FrontEnd::new(self.parts.clone(), config);
            for (name, listener) in listeners.kafka {
                self.spawn(front.clone().serve(name, listener));
            }
        }
        let Some(listener) = listeners.http else {
            return Ok(());
        };
        let metrics = Metrics::install().map_err(|error| NodeError::Internal(error.to_string()))?;
        raftmq_store::describe_metrics();
        let router = http::router(metrics, Arc::new(self.parts.clone()));
        let stopping = self.stopping.clone();
        self.tasks.spawn(async move {
            let served = http::serve(listener, router, stopping.cancelled_owned()).await;
            log_end("http", served);
        });
        Ok(())
    }

    fn serve_amqp(&mut self, config: &NodeConfig, listener: Option<Box<dyn Listener>>) {
        let Some(listener) = listener else {
            return;
        };
        let front = amqp::FrontEnd::new(self.parts.clone(), &config.amqp);
        self.spawn(front.clone().run());
        self.spawn(front.clone().serve(listener));
        self.amqp = Some(front);
    }
}

/// The way of replies of a process that nothing else is named like.
pub(super) fn replies(
    env: &Env,
    host: &RaftHost,
    listeners: &Listeners,
    incarnation: [u8; 16],
) -> Replies {
    let [.., a, b, c, d, e, f, g, h] = incarnation;
    let incarnation = match &listeners.amqp {
        Some(_) => env.random_u64(),
        // As good, and no other draw of a simulation without AMQP changes.
        None => u64::from_be_bytes([a, b, c, d, e, f, g, h]),
    };
    Replies::new(host.transport().clone(), host.broker_id(), incarnation)
}

fn log_end<E: std::fmt::Display>(listener: &'static str, ended: Result<(), E>) {
    if let Err(error) = ended {
        tracing::error!(listener, %error, "listener ended");
    }
}

fn incoming(listener: Box<dyn Listener>) -> impl Stream<Item = std::io::Result<Connection>> {
    stream::unfold(listener, |mut listener| async move {
        let accepted = listener.accept().await.map(|(io, _peer)| Connection { io });
        if accepted.is_err() {
            // Out of descriptors, say: do not spin.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Some((accepted, listener))
    })
}

/// A stream of the environment as tonic wants it.
struct Connection {
    io: BoxedIo,
}

impl Connected for Connection {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
