//! The HTTP listener: `/metrics`, `/livez`, `/readyz`, `/startupz`.
//!
//! Owns routes, deadlines and bounds of this listener. It does not know what makes a broker ready:
//! it asks [`Readiness`]. It reads no request body and holds no state of its own.

mod listener;
mod recorder;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::HttpBody;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::env::Listener;

pub use listener::BoundedListener;
pub use recorder::{LATENCY_BUCKETS_SECONDS, Metrics};

/// Longest time one request may take.
const REQUEST_MILLIS_MAX: u64 = 10_000;
/// Request bodies are not read: more than this many bytes is refused.
const REQUEST_BODY_BYTES_MAX: u64 = 0;
/// Content type of the Prometheus text format.
const METRICS_CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a broker says about its own state; asked anew for each probe, so it must be cheap.
pub trait Readiness: Send + Sync + 'static {
    /// Whether this broker is caught up and not recovering.
    ///
    /// # Errors
    /// The reasons why it is not, one line each, for people.
    fn readiness(&self) -> Result<(), Vec<String>>;

    /// Whether the start is complete: the store is open and checked, the listeners are bound.
    ///
    /// # Errors
    /// What is still to be done, one line each.
    fn started(&self) -> Result<(), Vec<String>> {
        Ok(())
    }
}

#[derive(Clone)]
struct Shared {
    metrics: Metrics,
    readiness: Arc<dyn Readiness>,
}

/// The routes, without a listener: tests and simulations call them as a `tower` service.
pub fn router(metrics: Metrics, readiness: Arc<dyn Readiness>) -> Router {
    Router::new()
        .route("/metrics", get(render_metrics))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/startupz", get(startupz))
        .fallback(not_found)
        .layer(middleware::from_fn(bound_request))
        .with_state(Shared { metrics, readiness })
}

/// Serves the routes until `stop` completes; requests under way are finished first.
///
/// # Errors
/// An error of the listener itself; errors of single connections end that connection only.
pub async fn serve(
    listener: Box<dyn Listener>,
    router: Router,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    axum::serve(BoundedListener::new(listener), router)
        .with_graceful_shutdown(stop)
        .await
}

/// Refuses bodies and cuts off what takes too long.
async fn bound_request(request: Request, next: Next) -> Response {
    let body_bytes = request.body().size_hint().upper().unwrap_or(u64::MAX);
    if body_bytes > REQUEST_BODY_BYTES_MAX {
        return (StatusCode::PAYLOAD_TOO_LARGE, "expected no request body\n").into_response();
    }
    let deadline = Duration::from_millis(REQUEST_MILLIS_MAX);
    match tokio::time::timeout(deadline, next.run(request)).await {
        Ok(response) => response,
        Err(_elapsed) => {
            (StatusCode::GATEWAY_TIMEOUT, "the request took too long\n").into_response()
        }
    }
}

async fn render_metrics(State(shared): State<Shared>) -> impl IntoResponse {
    let content_type = HeaderValue::from_static(METRICS_CONTENT_TYPE);
    (
        [(header::CONTENT_TYPE, content_type)],
        shared.metrics.render(),
    )
}

/// Alive = the runtime answers; never a matter of quorum, or a lost majority restarts the rest.
async fn livez() -> Result<&'static str, Infallible> {
    Ok("ok\n")
}

async fn readyz(State(shared): State<Shared>) -> Response {
    probe_response(shared.readiness.readiness())
}

async fn startupz(State(shared): State<Shared>) -> Response {
    probe_response(shared.readiness.started())
}

fn probe_response(state: Result<(), Vec<String>>) -> Response {
    match state {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()).into_response(),
        Err(reasons) => {
            let mut text = reasons.join("\n");
            text.push('\n');
            (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
        }
    }
}

async fn not_found() -> (StatusCode, &'static str) {
    (
        StatusCode::NOT_FOUND,
        "not found; try /metrics, /livez, /readyz or /startupz\n",
    )
}

#[cfg(test)]
mod tests;
