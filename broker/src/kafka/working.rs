//! A request that is being worked on: how long that takes, and what its client pays for it.
//!
//! Knows neither the connection nor what the request means.

use std::future::poll_fn;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use raftmq_kafka_protocol::ApiKey;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::apis::Answer;
use super::context::Context;
use super::quotas::{Used, charge};

/// An answer that is being worked on, with what it needs to be written.
pub(super) type Working = BoxFuture<'static, Finished>;

/// An answer that is to be written.
pub(super) struct Finished {
    pub(super) correlation_id: i32,
    pub(super) version: i16,
    pub(super) answer: Answer,
    /// How long the client is to wait once it has the answer.
    pub(super) throttle: Duration,
}

/// A request that was begun: what is needed once its answer is there.
pub(super) struct Account {
    pub(super) context: Context,
    pub(super) key: ApiKey,
    pub(super) version: i16,
    pub(super) correlation_id: i32,
    pub(super) request_bytes: usize,
    pub(super) began: Instant,
    /// How long a thread worked on it; waits do not count.
    pub(super) worked: Duration,
    /// Its share of the memory for requests, held until there is an answer.
    pub(super) permit: Option<OwnedSemaphorePermit>,
}

impl Account {
    /// Works on a request to its answer.
    pub(super) fn work(mut self, answer: BoxFuture<'static, Answer>) -> Working {
        let working = async move {
            let answer = metered(answer, &mut self.worked).await;
            self.close(answer)
        };
        working.boxed()
    }

    /// Works on a request until the next one may begin; what comes out works on.
    #[expect(
        clippy::async_yields_async,
        reason = "what it gives is polled beside the next request"
    )]
    pub(super) fn begin(
        mut self,
        beginning: BoxFuture<'static, BoxFuture<'static, Answer>>,
    ) -> BoxFuture<'static, Working> {
        let begun = async move {
            let answer = metered(beginning, &mut self.worked).await;
            self.work(answer)
        };
        begun.boxed()
    }

    fn close(self, mut answer: Answer) -> Finished {
        drop(self.permit);
        observe(&self.context, self.key, self.began, &answer);
        let used = Used {
            key: self.key,
            request_bytes: self.request_bytes,
            worked: self.worked,
        };
        let throttle = charge(&self.context, used, &mut answer);
        Finished {
            correlation_id: self.correlation_id,
            version: self.version,
            answer,
            throttle,
        }
    }
}

/// Adds to `worked` how long a future is worked on.
async fn metered<T>(mut work: BoxFuture<'static, T>, worked: &mut Duration) -> T {
    poll_fn(|context| {
        let began = Instant::now();
        let polled = work.as_mut().poll(context);
        *worked += began.elapsed();
        polled
    })
    .await
}

fn observe(context: &Context, key: ApiKey, began: Instant, answer: &Answer) {
    let Some(metrics) = context.shared().metrics.of(key) else {
        return;
    };
    metrics.requests.increment(1);
    metrics.seconds.record(began.elapsed().as_secs_f64());
    let has_error = match answer {
        Answer::Response { has_error, .. } => *has_error,
        Answer::None => false,
        Answer::Close => true,
    };
    if has_error {
        metrics.errors.increment(1);
    }
}
