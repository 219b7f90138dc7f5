//! The signals that ask a process to stop.

use tokio::signal::unix::{SignalKind, signal};

use super::error::{CliResult, io_failure};

/// A future that completes at the first SIGINT or SIGTERM after this call. Must be called inside
/// a runtime.
pub(crate) fn stop_signal() -> CliResult<impl Future<Output = ()> + Unpin> {
    let failed = |error: std::io::Error| io_failure("listen for signals", &error);
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    Ok(Box::pin(async move {
        tokio::select! {
            biased;
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }))
}
