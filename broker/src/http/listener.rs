//! A listener with a bound on connections and on their idle time.
//!
//! Without it, clients that open connections and send nothing (or one byte an hour) hold file
//! descriptors for ever. Knows nothing of HTTP.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

use crate::env::{BoxedIo, Listener};

/// Open connections of one listener; further ones wait in the system's backlog.
const CONNECTIONS_COUNT_MAX: usize = 256;
/// A connection that sends nothing for this long is closed.
const IDLE_MILLIS_MAX: u64 = 75_000;
/// Pause after a failed `accept` (out of file descriptors), so that it is not tried in a hot loop.
const ACCEPT_RETRY_MILLIS: u64 = 100;

/// A listener that keeps at most a fixed number of connections open.
pub struct BoundedListener {
    listener: Box<dyn Listener>,
    permits: Arc<Semaphore>,
}

impl BoundedListener {
    /// Wraps a bound listener.
    #[must_use]
    pub fn new(listener: Box<dyn Listener>) -> Self {
        Self {
            listener,
            permits: Arc::new(Semaphore::new(CONNECTIONS_COUNT_MAX)),
        }
    }
}

impl fmt::Debug for BoundedListener {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("BoundedListener")
            .finish_non_exhaustive()
    }
}

impl axum::serve::Listener for BoundedListener {
    type Io = BoundedStream;
    type Addr = String;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let permits = Arc::clone(&self.permits);
        let permit = permits
            .acquire_owned()
            .await
            .expect("this semaphore is never closed");
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => return (BoundedStream::new(stream, permit), peer),
                Err(error) => {
                    tracing::warn!(%error, "http accept failed");
                    tokio::time::sleep(Duration::from_millis(ACCEPT_RETRY_MILLIS)).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Ok(self.listener.local_endpoint())
    }
}

/// A connection that ends when its peer is silent for too long.
pub struct BoundedStream {
    stream: BoxedIo,
    idle: Pin<Box<Sleep>>,
    _permit: OwnedSemaphorePermit,
}

impl fmt::Debug for BoundedStream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("BoundedStream")
            .finish_non_exhaustive()
    }
}

impl BoundedStream {
    fn new(stream: BoxedIo, permit: OwnedSemaphorePermit) -> Self {
        let idle = Box::pin(tokio::time::sleep(Duration::from_millis(IDLE_MILLIS_MAX)));
        Self {
            stream,
            idle,
            _permit: permit,
        }
    }
}

impl AsyncRead for BoundedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if Pin::new(&mut self.stream)
            .poll_read(context, buffer)?
            .is_ready()
        {
            let deadline = Instant::now() + Duration::from_millis(IDLE_MILLIS_MAX);
            self.idle.as_mut().reset(deadline);
            return Poll::Ready(Ok(()));
        }
        ready!(self.idle.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncWrite for BoundedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
