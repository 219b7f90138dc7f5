//! One connection: turmoil's stream, held back by cuts.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turmoil::net::TcpStream;

use super::Links;
use crate::nemesis::Host;

/// A connection between two simulated hosts.
pub struct SimStream {
    // `None` only while it is being dropped.
    stream: Option<TcpStream>,
    links: Arc<Links>,
    local: Host,
    peer: Host,
}

impl fmt::Debug for SimStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimStream({} to {})", self.local, self.peer)
    }
}

impl SimStream {
    pub(super) const fn new(stream: TcpStream, links: Arc<Links>, local: Host, peer: Host) -> Self {
        Self {
            stream: Some(stream),
            links,
            local,
            peer,
        }
    }

    fn inner(&mut self) -> Pin<&mut TcpStream> {
        Pin::new(
            self.stream
                .as_mut()
                .expect("a stream lives until it is dropped"),
        )
    }

    fn poll_awake(&self, context: &Context<'_>) -> Poll<()> {
        if self.links.poll_awake(self.local, context.waker()) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    fn poll_open(&self, context: &Context<'_>) -> Poll<()> {
        ready!(self.poll_awake(context));
        if self.links.poll_open(self.local, self.peer, context.waker()) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

impl AsyncRead for SimStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_awake(context));
        self.inner().poll_read(context, buffer)
    }
}

impl AsyncWrite for SimStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_open(context));
        self.inner().poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_open(context));
        self.inner().poll_shutdown(context)
    }
}

impl Drop for SimStream {
    fn drop(&mut self) {
        // The peer must not learn through a cut that this end is gone.
        if self.links.is_cut(self.local, self.peer)
            && let Some(stream) = self.stream.take()
        {
            self.links.bury(self.local, self.peer, stream);
        }
    }
}
