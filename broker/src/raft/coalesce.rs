//! Spares followers appends that carry nothing but a newer commit, where entries follow soon.
//!
//! openraft sends one such append to every follower for each commit that no entry was left to carry: with
//! one write under way at a time, as many as appends with entries. Each costs both sides as much as a small
//! write. One that waits here is dropped when the next entries come, because they carry a newer commit; a
//! follower of an idle group hears of its last commit that much later. Does not know what an append is for.

use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use openraft::raft::AppendEntriesRequest;
use tokio::time::{Instant, sleep_until};

use super::types::TypeConfig;

type Request = AppendEntriesRequest<TypeConfig>;

struct Coalescing<S> {
    input: S,
    pause: Duration,
    /// Has no entries, and waits until then.
    held: Option<(Request, Instant)>,
    has_ended: bool,
}

/// What comes from `input`, in its order, without the appends that became superfluous within `pause`. What
/// stands at the end of the input is let go at once: it may be a probe, whose answer is waited for.
pub(super) fn coalesce<S>(input: S, pause: Duration) -> impl Stream<Item = Request> + Send
where
    S: Stream<Item = Request> + Send + Unpin,
{
    let coalescing = Coalescing {
        input,
        pause,
        held: None,
        has_ended: false,
    };
    stream::unfold(coalescing, |mut coalescing| async move {
        let next = coalescing.next().await?;
        Some((next, coalescing))
    })
}

impl<S> Coalescing<S>
where
    S: Stream<Item = Request> + Send + Unpin,
{
    async fn next(&mut self) -> Option<Request> {
        while !self.has_ended {
            let Some((_, until)) = self.held else {
                let request = self.input.next().await?;
                if self.pause.is_zero() || !request.entries.is_empty() {
                    return Some(request);
                }
                self.held = Some((request, Instant::now() + self.pause));
                continue;
            };
            tokio::select! {
                biased;
                next = self.input.next() => match next {
                    None => self.has_ended = true,
                    Some(next) if next.entries.is_empty() => self.held = Some((next, until)),
                    Some(next) => {
                        self.held = None;
                        return Some(next);
                    }
                },
                () = sleep_until(until) => break,
            }
        }
        self.held.take().map(|(request, _)| request)
    }
}

#[cfg(test)]
mod tests {
    use openraft::EntryPayload;
    use raftmq_store::{Entry, Vote, log_id};
    use tokio::sync::mpsc;
    use tokio_stream::wrappers::ReceiverStream;

    use super::*;

    const PAUSE: Duration = Duration::from_millis(20);

    /// An append behind this index, with so many entries.
    fn append(previous: u64, entries_count: u64, commit: u64) -> Request {
        let entry = |index| Entry {
            log_id: log_id(1, index),
            payload: EntryPayload::Blank,
        };
        Request {
            vote: Vote::new_committed(1, 1),
            prev_log_id: Some(log_id(1, previous)),
            entries: (1..=entries_count).map(|n| entry(previous + n)).collect(),
            leader_commit: Some(log_id(1, commit)),
        }
    }

    fn commits(requests: &[Request]) -> Vec<u64> {
        let commit = |request: &Request| request.leader_commit.map(|id| id.index);
        requests.iter().filter_map(commit).collect()
    }

    async fn all_of(requests: Vec<Request>) -> Vec<Request> {
        coalesce(stream::iter(requests), PAUSE).collect().await
    }

    #[tokio::test(start_paused = true)]
    async fn entries_carry_the_commit_that_waited() {
        let sent = all_of(vec![append(0, 1, 0), append(1, 0, 1), append(1, 1, 1)]).await;
        assert_eq!(commits(&sent), [0, 1]);
        assert!(sent.iter().all(|request| !request.entries.is_empty()));
    }

    #[tokio::test(start_paused = true)]
    async fn what_stands_at_the_end_goes_at_once() {
        let before = Instant::now();
        let sent = all_of(vec![append(5, 0, 3), append(5, 0, 4)]).await;
        assert_eq!(commits(&sent), [4]);
        assert_eq!(before.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_commit_goes_after_the_pause_however_many_come() {
        let (sender, requests) = mpsc::channel(8);
        let mut sent = Box::pin(coalesce(ReceiverStream::new(requests), PAUSE));
        let before = Instant::now();
        tokio::spawn(async move {
            for commit in 1..=3 {
                let _ = sender.send(append(9, 0, commit)).await;
                tokio::time::sleep(PAUSE * 2 / 5).await;
            }
            tokio::time::sleep(PAUSE * 9).await;
        });

        let first = sent.next().await.map(|request| vec![request]);

        assert_eq!(first.as_deref().map(commits), Some(vec![3]));
        assert_eq!(before.elapsed(), PAUSE);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_pause_nothing_is_left_out() {
        let all = vec![append(0, 1, 0), append(1, 0, 1), append(1, 1, 1)];
        let sent: Vec<_> = coalesce(stream::iter(all), Duration::ZERO).collect().await;
        assert_eq!(commits(&sent), [0, 1, 1]);
    }
}
