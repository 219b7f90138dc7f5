//! Asks a broker's health paths and metrics over HTTP/1.0: enough of a client for `dev`, `demo`,
//! `health` and `bench`.
//!
//! Knows no health rule; the status code says it all.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longest time one probe may take.
const PROBE_MILLIS_MAX: u64 = 2_000;
/// Bytes read of one answer at most.
const ANSWER_BYTES_MAX: u64 = 64 << 10;
/// Bytes read of one broker's metrics at most.
const METRICS_BYTES_MAX: u64 = 16 << 20;

/// What a health path said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Probe {
    /// 200.
    Ok,
    /// Another status: the reasons as the broker gave them, one line each.
    NotOk(Vec<String>),
    /// No answer: the error as a text.
    Silent(String),
}

/// Sends `GET path` to `endpoint` (`host:port`).
pub(crate) async fn probe(endpoint: &str, path: &str) -> Probe {
    let deadline = Duration::from_millis(PROBE_MILLIS_MAX);
    match tokio::time::timeout(deadline, get(endpoint, path, ANSWER_BYTES_MAX)).await {
        Ok(Ok(answer)) => parse(&answer),
        Ok(Err(error)) => Probe::Silent(error.to_string()),
        Err(_elapsed) => Probe::Silent(format!("no answer within {PROBE_MILLIS_MAX} ms")),
    }
}

/// Reads what `GET path` shows. `None`: no answer in time, or not 200.
pub(crate) async fn read_text(endpoint: &str, path: &str) -> Option<String> {
    let deadline = Duration::from_millis(PROBE_MILLIS_MAX);
    let answer = tokio::time::timeout(deadline, get(endpoint, path, METRICS_BYTES_MAX));
    let answer = answer.await.ok()?.ok()?;
    let (_head, body) = answer.split_once("\r\n\r\n")?;
    (parse(&answer) == Probe::Ok).then(|| body.to_owned())
}

async fn get(endpoint: &str, path: &str, bytes_max: u64) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(endpoint).await?;
    let request = format!("GET {path} HTTP/1.0\r\nhost: {endpoint}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(bytes_max).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn parse(answer: &str) -> Probe {
    let status = answer.split_whitespace().nth(1).unwrap_or_default();
    if status == "200" {
        return Probe::Ok;
    }
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let mut reasons: Vec<String> = body.lines().map(str::to_owned).collect();
    if reasons.is_empty() {
        reasons.push(format!("status {status:?}"));
    }
    Probe::NotOk(reasons)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_decides_and_the_body_gives_the_reasons() {
        assert_eq!(parse("HTTP/1.0 200 OK\r\n\r\nok\n"), Probe::Ok);
        assert_eq!(
            parse("HTTP/1.0 503 Service Unavailable\r\na: b\r\n\r\none\ntwo\n"),
            Probe::NotOk(vec!["one".to_owned(), "two".to_owned()])
        );
        assert_eq!(parse(""), Probe::NotOk(vec!["status \"\"".to_owned()]));
    }

    #[tokio::test]
    async fn a_closed_port_is_silent() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = listener.local_addr().unwrap().to_string();
        drop(listener);

        assert!(matches!(
            probe(&endpoint, "/readyz").await,
            Probe::Silent(_)
        ));
    }
}
