//! The one seam to the outside: network, wall clock and randomness. Everything else in the broker
//! takes them from here, so that a whole cluster runs inside a simulation.
//!
//! Monotonic time is `tokio::time`, which a simulation pauses; storage comes in as a
//! [`raftmq_store::Store`]. This file does not know who uses it or for what.

use std::fmt;
use std::io;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{Rng, RngCore, SeedableRng};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

/// A byte stream to a client or to another broker.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Io for T {}

/// A boxed [`Io`].
pub type BoxedIo = Box<dyn Io>;

/// Connects and listens. Endpoints are `host:port`.
pub trait Net: Send + Sync + 'static {
    /// Opens a connection. The caller sets the deadline.
    ///
    /// # Errors
    ///
    /// What the network says: refused, reset, unreachable, unknown host.
    fn connect(&self, endpoint: String) -> BoxFuture<'static, io::Result<BoxedIo>>;

    /// Binds a listener; port 0 takes a free one.
    ///
    /// # Errors
    ///
    /// What the network says: in use, not allowed, not an address.
    fn listen(&self, endpoint: String) -> BoxFuture<'static, io::Result<Box<dyn Listener>>>;
}

/// A bound listener.
pub trait Listener: Send + 'static {
    /// The bound `host:port`.
    fn local_endpoint(&self) -> String;

    /// Waits for the next connection; cancel safe.
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(BoxedIo, String)>>;
}

/// Milliseconds since the Unix epoch, as this broker believes.
pub trait WallClock: Send + Sync + 'static {
    /// The time now. May jump either way; only stamps records, never measures durations.
    fn now_ms(&self) -> i64;
}

/// Network, wall clock and randomness of one broker.
#[derive(Clone)]
pub struct Env {
    /// Connections and listeners.
    pub net: Arc<dyn Net>,
    /// Stamps of records.
    pub clock: Arc<dyn WallClock>,
    rng: Arc<Mutex<SmallRng>>,
}

impl fmt::Debug for Env {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Env").finish_non_exhaustive()
    }
}

impl Env {
    /// The real network and clock, seeded by the operating system.
    #[must_use]
    pub fn real() -> Self {
        Self::new(
            Arc::new(TcpNet),
            Arc::new(SystemClock),
            rand::rng().next_u64(),
        )
    }

    /// Any network and clock; the same `rng_seed` gives the same random numbers.
    #[must_use]
    pub fn new(net: Arc<dyn Net>, clock: Arc<dyn WallClock>, rng_seed: u64) -> Self {
        Self {
            net,
            clock,
            rng: Arc::new(Mutex::new(SmallRng::seed_from_u64(rng_seed))),
        }
    }

    /// A random number.
    #[must_use]
    pub fn random_u64(&self) -> u64 {
        self.rng.lock().next_u64()
    }

    /// Sixteen random bytes, for ids.
    #[must_use]
    pub fn random_id(&self) -> [u8; 16] {
        self.rng.lock().random()
    }
}

/// TCP without delay.
#[derive(Debug)]
pub struct TcpNet;

impl Net for TcpNet {
    fn connect(&self, endpoint: String) -> BoxFuture<'static, io::Result<BoxedIo>> {
        Box::pin(async move {
            let stream = TcpStream::connect(endpoint).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as BoxedIo)
        })
    }

    fn listen(&self, endpoint: String) -> BoxFuture<'static, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let listener = TcpListener::bind(endpoint).await?;
            let local = listener.local_addr()?.to_string();
            Ok(Box::new(TcpAccept { listener, local }) as Box<dyn Listener>)
        })
    }
}

struct TcpAccept {
    listener: TcpListener,
    local: String,
}

impl Listener for TcpAccept {
    fn local_endpoint(&self) -> String {
        self.local.clone()
    }

    fn accept(&mut self) -> BoxFuture<'_, io::Result<(BoxedIo, String)>> {
        Box::pin(async move {
            let (stream, peer) = self.listener.accept().await?;
            stream.set_nodelay(true)?;
            Ok((Box::new(stream) as BoxedIo, peer.to_string()))
        })
    }
}

/// The operating system's clock.
#[derive(Debug)]
pub struct SystemClock;

impl WallClock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the real clock"
    )]
    fn now_ms(&self) -> i64 {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since_epoch.map_or(0, |elapsed| {
            i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)
        })
    }
}
