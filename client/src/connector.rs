//! The network seam: how the client gets a byte stream to a broker.
//!
//! Knows nothing of gRPC; `connection.rs` puts HTTP/2 on top. A simulation replaces it.

use std::fmt::Debug;
use std::io;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// A byte stream to a broker.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Io for T {}

/// Opens byte streams to brokers; implement it to run the client in a simulated network.
pub trait Connector: Debug + Send + Sync + 'static {
    /// Connects to `endpoint`, which is `host:port`. The caller bounds the time.
    fn connect(&self, endpoint: String) -> BoxFuture<'static, io::Result<Box<dyn Io>>>;
}

/// Connects over TCP with `TCP_NODELAY`; the default.
#[derive(Debug, Clone, Copy, Default)]
pub struct TcpConnector;

impl Connector for TcpConnector {
    fn connect(&self, endpoint: String) -> BoxFuture<'static, io::Result<Box<dyn Io>>> {
        Box::pin(async move {
            let stream = TcpStream::connect(endpoint).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn Io>)
        })
    }
}
