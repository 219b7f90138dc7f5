//! Two hosts and a cut between them, inside turmoil.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::*;
use crate::faults::{Effects, FaultClass};

const SERVER: Host = Host::Broker(1);

/// Runs an echo server and `client` against it.
fn simulate<F, Fut>(client: F) -> Effects
where
    F: FnOnce(SimNet, Arc<Links>) -> Fut,
    Fut: Future<Output = turmoil::Result> + 'static,
{
    let effects = Effects::default();
    let links = Arc::new(Links::new(effects.clone()));
    let mut sim = turmoil::Builder::new()
        .rng_seed(1)
        .tcp_capacity(1_024)
        .build();
    let server_links = Arc::clone(&links);
    sim.host(SERVER.to_string(), move || {
        let net = SimNet::new(Arc::clone(&server_links), SERVER);
        async move {
            tokio::spawn(net.clone().close_buried());
            let mut listener = net.listen("broker-1:9090").await?;
            loop {
                let (mut stream, _) = listener.accept().await?;
                tokio::spawn(async move {
                    let mut byte = [0];
                    while stream.read_exact(&mut byte).await.is_ok() {
                        if stream.write_all(&byte).await.is_err() {
                            return;
                        }
                    }
                });
            }
        }
    });
    let net = SimNet::new(Arc::clone(&links), Host::Clients);
    sim.client(Host::Clients.to_string(), client(net, links));
    sim.run().unwrap();
    effects
}

async fn echo(stream: &mut SimStream) -> Result<(), tokio::time::error::Elapsed> {
    let exchange = async {
        stream.write_all(b"x").await.unwrap();
        let mut byte = [0];
        stream.read_exact(&mut byte).await.unwrap();
    };
    timeout(Duration::from_secs(1), exchange).await
}

#[test]
fn bytes_that_met_a_cut_arrive_after_it() {
    let effects = simulate(|net, links| async move {
        let mut stream = net.connect("broker-1:9090").await?;
        echo(&mut stream).await?;
        links.cut(Some(FaultClass::OneWay), &[SERVER], &[Host::Clients]);
        assert!(echo(&mut stream).await.is_err());

        links.mend(&[SERVER], &[Host::Clients]);
        let mut byte = [0];
        timeout(Duration::from_secs(1), stream.read_exact(&mut byte)).await??;
        echo(&mut stream).await?;
        Ok(())
    });

    assert_eq!(effects.counts(), [(FaultClass::OneWay, 1)].into());
}

#[test]
fn a_connection_attempt_waits_for_the_end_of_the_cut() {
    simulate(|net, links| async move {
        links.cut(Some(FaultClass::OneWay), &[Host::Clients], &[SERVER]);
        let attempt = timeout(Duration::from_secs(1), net.connect("broker-1:9090")).await;
        assert!(attempt.is_err());

        links.mend_all();
        echo(&mut net.connect("broker-1:9090").await?).await?;
        Ok(())
    });
}

#[test]
fn a_close_behind_a_cut_is_heard_after_it() {
    simulate(|net, links| async move {
        tokio::spawn(net.clone().close_buried());
        let mut stream = net.connect("broker-1:9090").await?;
        echo(&mut stream).await?;
        // The client's end closes behind the cut; the server must keep its end open.
        links.cut(Some(FaultClass::Partition), &[Host::Clients], &[SERVER]);
        drop(stream);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(
            turmoil::established_tcp_stream_count_on(SERVER.to_string()),
            1
        );

        links.mend_all();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(
            turmoil::established_tcp_stream_count_on(SERVER.to_string()),
            0
        );
        Ok(())
    });
}

#[test]
fn an_endpoint_that_is_no_simulated_host_is_refused() {
    simulate(|net, _| async move {
        for endpoint in ["example.org:80", "broker-1", "broker-x:1"] {
            let error = net.connect(endpoint).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
        Ok(())
    });
}
