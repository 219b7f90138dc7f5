//! The simulated network and clock behind the traits of broker and client.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use futures_util::future::BoxFuture;
use raftmq::env::{BoxedIo, Listener, Net, WallClock};
use raftmq_client::{Connector, Io};

use crate::net::{SimListener, SimNet};

/// A broker's network.
#[derive(Debug)]
pub(super) struct BrokerNet(pub(super) SimNet);

impl Net for BrokerNet {
    fn connect(&self, endpoint: String) -> BoxFuture<'static, io::Result<BoxedIo>> {
        let net = self.0.clone();
        Box::pin(async move { Ok(Box::new(net.connect(&endpoint).await?) as BoxedIo) })
    }

    fn listen(&self, endpoint: String) -> BoxFuture<'static, io::Result<Box<dyn Listener>>> {
        let net = self.0.clone();
        Box::pin(async move {
            let listener = net.listen(&endpoint).await?;
            Ok(Box::new(BrokerListener(listener)) as Box<dyn Listener>)
        })
    }
}

struct BrokerListener(SimListener);

impl Listener for BrokerListener {
    fn local_endpoint(&self) -> String {
        self.0.local_endpoint().to_owned()
    }

    fn accept(&mut self) -> BoxFuture<'_, io::Result<(BoxedIo, String)>> {
        Box::pin(async move {
            let (stream, peer) = self.0.accept().await?;
            Ok((Box::new(stream) as BoxedIo, peer))
        })
    }
}

/// A broker's clock: that of the simulation, and how far it is off, in milliseconds.
#[derive(Debug, Clone, Default)]
pub(super) struct SimulatedClock {
    pub(super) offset_ms: Arc<AtomicI64>,
}

impl WallClock for SimulatedClock {
    fn now_ms(&self) -> i64 {
        wall_clock_ms().saturating_add(self.offset_ms.load(Ordering::Relaxed))
    }
}

/// Simulated milliseconds since 1970; 0 outside of a host.
pub(super) fn wall_clock_ms() -> i64 {
    let since_epoch = turmoil::since_epoch().unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}

/// The clients' network.
#[derive(Debug)]
pub(super) struct ClientNet(pub(super) SimNet);

impl Connector for ClientNet {
    fn connect(&self, endpoint: String) -> BoxFuture<'static, io::Result<Box<dyn Io>>> {
        let net = self.0.clone();
        Box::pin(async move { Ok(Box::new(net.connect(&endpoint).await?) as Box<dyn Io>) })
    }
}
