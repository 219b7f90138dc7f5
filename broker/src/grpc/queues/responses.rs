//! The way of a stream's responses to its client's connection: bounded by their number and by the bytes of
//! their bodies.

use std::sync::Arc;

use futures_util::{Stream, StreamExt};
use raftmq_proto::v1::ChannelResponse;
use tokio::sync::mpsc::{self, OwnedPermit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::limits::{RESPONSES_BYTES_MAX, RESPONSES_COUNT_MAX};

/// A response, and the bytes that it takes of the bound until the connection takes it.
type Sent = (
    Result<ChannelResponse, Status>,
    Option<OwnedSemaphorePermit>,
);

/// The task's end.
#[derive(Debug)]
pub(super) struct Responses {
    sender: mpsc::Sender<Sent>,
    bytes: Arc<Semaphore>,
}

/// Room for one response.
#[derive(Debug)]
pub(super) struct Room {
    place: OwnedPermit<Sent>,
    bytes: OwnedSemaphorePermit,
}

impl Room {
    pub(super) fn send(self, response: ChannelResponse) {
        self.place.send((Ok(response), Some(self.bytes)));
    }
}

impl Responses {
    /// Completes when the client is gone.
    pub(super) async fn closed(&self) {
        self.sender.closed().await;
    }

    /// Takes room for a response of so many bytes if there is some.
    pub(super) fn try_room(&self, bytes: usize) -> Option<Room> {
        let bytes = Arc::clone(&self.bytes).try_acquire_many_owned(counted(bytes));
        let place = self.sender.clone().try_reserve_owned();
        Some(Room {
            bytes: bytes.ok()?,
            place: place.ok()?,
        })
    }

    /// Waits for room. Cancel safe; never completes once the client is gone.
    pub(super) async fn room(&self, bytes: usize) -> Room {
        let bytes = Arc::clone(&self.bytes).acquire_many_owned(counted(bytes));
        if let Ok(bytes) = bytes.await
            && let Ok(place) = self.sender.clone().reserve_owned().await
        {
            return Room { place, bytes };
        }
        std::future::pending().await
    }

    /// Ends the stream with an error.
    pub(super) async fn end(self, status: Status) {
        // A client that is gone needs no reason.
        let _ = self.sender.send((Err(status), None)).await;
    }
}

/// A response larger than the bound goes alone.
fn counted(bytes: usize) -> u32 {
    u32::try_from(bytes.min(RESPONSES_BYTES_MAX)).unwrap_or(u32::MAX)
}

/// Both ends for a new stream.
pub(super) fn responses() -> (
    Responses,
    impl Stream<Item = Result<ChannelResponse, Status>> + Send,
) {
    let (sender, receiver) = mpsc::channel::<Sent>(RESPONSES_COUNT_MAX);
    let bytes = Arc::new(Semaphore::new(RESPONSES_BYTES_MAX));
    let stream = ReceiverStream::new(receiver).map(|(response, _bytes)| response);
    (Responses { sender, bytes }, stream)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn bodies_that_wait_are_bounded_and_a_larger_one_goes_alone() {
        let (responses, mut stream) = responses();
        let large = responses.try_room(RESPONSES_BYTES_MAX * 2);
        large.expect("alone").send(ChannelResponse::default());
        assert!(responses.try_room(1).is_none());
        assert!(responses.room(1).now_or_never().is_none());

        assert!(stream.next().await.is_some_and(|taken| taken.is_ok()));
        let room = responses.room(1).await;
        room.send(ChannelResponse::default());
        responses.end(Status::unavailable("stopping")).await;
        assert!(stream.next().await.is_some_and(|taken| taken.is_ok()));
        assert!(stream.next().await.is_some_and(|taken| taken.is_err()));
        assert!(stream.next().await.is_none());
    }

    #[tokio::test]
    async fn a_client_that_is_gone_is_noticed_and_waited_for_no_more() {
        let (responses, stream) = responses();
        assert!(responses.closed().now_or_never().is_none());
        drop(stream);
        responses.closed().await;
        assert!(responses.try_room(1).is_none());
    }
}
