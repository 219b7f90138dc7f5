//! The simulated network: turmoil's sockets behind a table of cut links.
//!
//! A cut is made here and not by turmoil, whose TCP never retransmits: bytes that meet a cut wait
//! in the sender and go on when it is mended, as TCP's retransmission would have it; a closed
//! connection stays open at the other end until then; a connection attempt waits. So a partition is
//! silence, and only deadlines end it. Latency of links is turmoil's own.
//! Knows neither broker nor client: they reach it through small adapters in `cluster`.

mod links;
mod stream;

use std::io;
use std::sync::Arc;

use turmoil::net::{TcpListener, TcpStream};

pub use links::Links;
pub use stream::SimStream;

use crate::nemesis::Host;

/// Port on which every simulated broker listens for clients.
pub const GRPC_PORT: u16 = 9090;
/// Port on which simulated brokers listen for Kafka clients, where there are some.
pub const KAFKA_PORT: u16 = 9092;
/// Port on which simulated brokers listen for AMQP clients, where there are some.
pub const AMQP_PORT: u16 = 5672;
/// Port on which every simulated broker listens for other brokers.
pub const PEER_PORT: u16 = 9190;

/// One host's access to the network.
#[derive(Debug, Clone)]
pub struct SimNet {
    links: Arc<Links>,
    host: Host,
}

impl SimNet {
    /// The network as `host` sees it.
    #[must_use]
    pub const fn new(links: Arc<Links>, host: Host) -> Self {
        Self { links, host }
    }

    /// Connects to `host-name:port`; waits as long as the link is cut in either direction.
    ///
    /// # Errors
    /// `InvalidInput` for an endpoint that is no simulated host; otherwise what the network says.
    pub async fn connect(&self, endpoint: &str) -> io::Result<SimStream> {
        let (name, port) = split(endpoint)?;
        let peer = parse_host(name)?;
        self.links.until_awake(self.host).await;
        self.links.until_open(self.host, peer).await;
        self.links.until_open(peer, self.host).await;
        let stream = TcpStream::connect((name, port)).await?;
        Ok(SimStream::new(
            stream,
            Arc::clone(&self.links),
            self.host,
            peer,
        ))
    }

    /// Listens on the port of `endpoint`, on every address of this host.
    ///
    /// # Errors
    /// `InvalidInput` for an endpoint without a port; `AddrInUse`.
    pub async fn listen(&self, endpoint: &str) -> io::Result<SimListener> {
        let (_, port) = split(endpoint)?;
        let listener = TcpListener::bind(("0.0.0.0", port)).await?;
        let local = format!("{}:{}", self.host, listener.local_addr()?.port());
        Ok(SimListener {
            listener,
            local,
            links: Arc::clone(&self.links),
            host: self.host,
        })
    }

    /// Closes, as soon as their link is mended, connections that were dropped while it was cut.
    /// Runs for ever; every host runs one.
    pub async fn close_buried(self) {
        loop {
            let mended = self.links.mended();
            drop(self.links.exhume(self.host));
            mended.await;
        }
    }
}

/// A bound listener.
pub struct SimListener {
    listener: TcpListener,
    local: String,
    links: Arc<Links>,
    host: Host,
}

impl std::fmt::Debug for SimListener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimListener")
            .field("local", &self.local)
            .finish_non_exhaustive()
    }
}

impl SimListener {
    /// The bound `host-name:port`.
    #[must_use]
    pub fn local_endpoint(&self) -> &str {
        &self.local
    }

    /// Waits for the next connection; cancel safe.
    ///
    /// # Errors
    /// What the network says.
    pub async fn accept(&mut self) -> io::Result<(SimStream, String)> {
        self.links.until_awake(self.host).await;
        let (stream, address) = self.listener.accept().await?;
        let is_local =
            address.ip().is_loopback() || address.ip() == turmoil::lookup(self.host.to_string());
        let peer = if is_local {
            self.host
        } else {
            parse_host(&turmoil::reverse_lookup(address.ip()).unwrap_or_default())?
        };
        let stream = SimStream::new(stream, Arc::clone(&self.links), self.host, peer);
        Ok((stream, format!("{peer}:{}", address.port())))
    }
}

fn split(endpoint: &str) -> io::Result<(&str, u16)> {
    endpoint
        .rsplit_once(':')
        .and_then(|(name, port)| Some((name, port.parse().ok()?)))
        .ok_or_else(|| invalid(endpoint))
}

fn parse_host(name: &str) -> io::Result<Host> {
    if name == Host::Clients.to_string() {
        return Ok(Host::Clients);
    }
    name.strip_prefix("broker-")
        .and_then(|id| id.parse().ok())
        .map(Host::Broker)
        .ok_or_else(|| invalid(name))
}

fn invalid(name: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("{name:?} is no simulated host"),
    )
}

#[cfg(test)]
mod tests;
