//! Tests of the routes and of a scrape over a real socket.

use std::time::Duration;

use axum::body::Body;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tower::ServiceExt;

use super::*;
use crate::env::Env;

#[derive(Default)]
struct Switch {
    reasons: Mutex<Vec<String>>,
}

impl Readiness for Switch {
    fn readiness(&self) -> Result<(), Vec<String>> {
        let reasons = self.reasons.lock().clone();
        if reasons.is_empty() {
            Ok(())
        } else {
            Err(reasons)
        }
    }
}

async fn get_path(router: &Router, path: &str) -> (StatusCode, String) {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let body = axum::body::to_bytes(response.into_body(), 1 << 20)
        .await
        .unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn readiness_follows_the_broker_and_liveness_does_not() {
    let switch = Arc::new(Switch::default());
    let router = router(
        Metrics::install().unwrap(),
        Arc::clone(&switch) as Arc<dyn Readiness>,
    );
    assert_eq!(
        get_path(&router, "/readyz").await,
        (StatusCode::OK, "ok\n".to_owned())
    );

    switch
        .reasons
        .lock()
        .push("group 7 is recovering".to_owned());

    let refused = (
        StatusCode::SERVICE_UNAVAILABLE,
        "group 7 is recovering\n".to_owned(),
    );
    assert_eq!(get_path(&router, "/readyz").await, refused);
    assert_eq!(get_path(&router, "/livez").await.0, StatusCode::OK);
    assert_eq!(get_path(&router, "/startupz").await.0, StatusCode::OK);
    assert_eq!(get_path(&router, "/nowhere").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_request_with_a_body_is_refused() {
    let router = router(Metrics::install().unwrap(), Arc::new(Switch::default()));
    let request = Request::get("/livez").body(Body::from("x")).unwrap();

    let response = router.oneshot(request).await.unwrap();

    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn a_scrape_shows_a_histogram_with_our_buckets() {
    let metrics = Metrics::install().unwrap();
    metrics::describe_histogram!("raftmq_test_wait_seconds", "A wait.");
    metrics::histogram!("raftmq_test_wait_seconds").record(0.0003);
    let listener = Env::real()
        .net
        .listen("127.0.0.1:0".to_owned())
        .await
        .unwrap();
    let address = listener.local_endpoint();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(serve(
        listener,
        router(metrics, Arc::new(Switch::default())),
        async {
            let _ = stopped.await;
        },
    ));

    let mut stream = TcpStream::connect(address).await.unwrap();
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();

    assert!(text.starts_with("HTTP/1.1 200 OK"), "{text}");
    assert!(
        text.contains("# HELP raftmq_test_wait_seconds A wait."),
        "{text}"
    );
    assert!(
        text.contains("raftmq_test_wait_seconds_bucket{le=\"0.00025\"} 0"),
        "{text}"
    );
    assert!(
        text.contains("raftmq_test_wait_seconds_bucket{le=\"0.0005\"} 1"),
        "{text}"
    );
    stop.send(()).unwrap();
    server.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_silent_connection_is_closed() {
    let listener = Env::real()
        .net
        .listen("127.0.0.1:0".to_owned())
        .await
        .unwrap();
    let address = listener.local_endpoint();
    let router = router(Metrics::install().unwrap(), Arc::new(Switch::default()));
    let server = tokio::spawn(serve(listener, router, std::future::pending()));

    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut byte = [0_u8; 1];
    let read = tokio::time::timeout(Duration::from_secs(600), stream.read(&mut byte)).await;

    assert!(matches!(read, Ok(Ok(0) | Err(_))), "{read:?}");
    server.abort();
}
