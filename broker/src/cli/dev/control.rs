//! The control socket of a running `raftmq dev`: one JSON line in, one JSON line out.
//!
//! A Unix socket inside the cluster's folder, so that the folder's permissions guard it. Carries
//! requests; does not act on them.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

use super::layout::{BrokerEntry, socket_path};
use crate::cli::error::{CliError, CliResult, io_failure};

/// Bytes of one request or answer at most.
const LINE_BYTES_MAX: u64 = 4_096;
/// Longest time for one request and its answer.
const EXCHANGE_MILLIS_MAX: u64 = 10_000;

/// What can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Request {
    /// Starts the process of a broker that is not running.
    Restart(u32),
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Answer {
    /// The broker's new process is started, and not ready yet.
    Started(BrokerEntry),
    /// Why not.
    Refused(String),
}

/// The supervisor's end.
#[derive(Debug)]
pub(crate) struct Control {
    listener: UnixListener,
}

/// One request that waits for its answer.
#[derive(Debug)]
pub(crate) struct Pending {
    /// What is asked.
    pub(crate) request: Request,
    stream: UnixStream,
}

impl Control {
    /// Binds the socket; the folder's lock is held, so a socket file that is there is a leftover.
    pub(crate) fn bind(data: &Path) -> CliResult<Self> {
        let path = socket_path(data);
        if let Err(error) = std::fs::remove_file(&path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(io_failure(format!("remove {}", path.display()), &error));
        }
        let listener = UnixListener::bind(&path).map_err(|error| {
            io_failure(
                format!("open the control socket {}", path.display()),
                &error,
            )
            .next("choose a folder with a shorter path (at most 90 bytes) with --data")
        })?;
        Ok(Self { listener })
    }

    /// Waits for the next well-formed request; others are dropped. Cancel safe up to a lost
    /// request, which its sender sees as a closed connection.
    pub(crate) async fn next(&self) -> Pending {
        loop {
            let Ok((stream, _)) = self.listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            if let Ok((request, stream)) = receive(stream).await {
                return Pending { request, stream };
            }
        }
    }
}

impl Pending {
    /// Sends the answer; a sender that went away is nobody's problem.
    pub(crate) async fn answer(mut self, answer: &Answer) {
        let _ = send(&mut self.stream, answer).await;
    }
}

/// Asks the supervisor that runs on `data`.
pub(crate) async fn ask(data: &Path, request: &Request) -> CliResult<Answer> {
    let path = socket_path(data);
    let exchange = async {
        let mut stream = UnixStream::connect(&path).await?;
        send(&mut stream, request).await?;
        receive(stream).await.map(|(answer, _)| answer)
    };
    let failed = |reason: String| {
        CliError::failure(format!(
            "no raftmq dev answers on {}: {reason}",
            data.display()
        ))
        .next(format!("start it: raftmq dev --data {}", data.display()))
    };
    match timeout(Duration::from_millis(EXCHANGE_MILLIS_MAX), exchange).await {
        Ok(answer) => answer.map_err(|error| failed(error.to_string())),
        Err(_elapsed) => Err(failed(format!("no answer within {EXCHANGE_MILLIS_MAX} ms"))),
    }
}

async fn send<T: Serialize + Sync>(stream: &mut UnixStream, value: &T) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    stream.write_all(&line).await
}

async fn receive<T: for<'a> Deserialize<'a>>(
    mut stream: UnixStream,
) -> std::io::Result<(T, UnixStream)> {
    let mut line = String::new();
    let mut reader = BufReader::new((&mut stream).take(LINE_BYTES_MAX));
    let deadline = Duration::from_millis(EXCHANGE_MILLIS_MAX);
    let bytes = timeout(deadline, reader.read_line(&mut line)).await??;
    if bytes == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    let value = serde_json::from_str(&line)?;
    Ok((value, stream))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_is_answered_and_nonsense_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let control = Control::bind(folder.path()).unwrap();
        let mut nonsense = UnixStream::connect(socket_path(folder.path()))
            .await
            .unwrap();
        nonsense.write_all(b"{\"explode\":1}\n").await.unwrap();

        let request = Request::Restart(2);
        let asked = ask(folder.path(), &request);
        let served = async {
            let pending = control.next().await;
            assert_eq!(pending.request, Request::Restart(2));
            pending
                .answer(&Answer::Refused("broker 2 is running".to_owned()))
                .await;
        };
        let (answer, ()) = tokio::join!(asked, served);

        assert_eq!(
            answer.unwrap(),
            Answer::Refused("broker 2 is running".to_owned())
        );
    }

    #[tokio::test]
    async fn without_a_supervisor_the_next_step_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = ask(folder.path(), &Request::Restart(1)).await.unwrap_err();
        assert!(
            error.next_step.starts_with("start it: raftmq dev --data"),
            "{error}"
        );
    }
}
