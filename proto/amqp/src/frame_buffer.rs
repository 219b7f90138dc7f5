//! Frames on their way out: written into memory of ours, large bodies shared instead of copied.
//!
//! A [`FrameBuffer`] is a `bytes::Buf` of several slices, so one vectored write sends it. Owns the
//! cut of a body into frames of frame-max − 8 (AMQP 0-9-1, 4.2.6.2). Does not know sockets, and
//! does not bound itself: [`FrameBuffer::len`] tells its owner when to stop filling it.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::body::Body;
use crate::frame::FrameKind;
use crate::limits::{
    FRAME_END, FRAME_MAX_UNLIMITED, FRAME_OVERHEAD_BYTES, FRAME_PREFIX_BYTES, OUTPUT_CHUNK_BYTES,
    SLICE_COPY_BYTES,
};
use crate::method::Method;
use crate::properties::Properties;
use crate::protocol_header::PROTOCOL_HEADER;

/// Where frames go, and how large they may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Destination {
    /// The channel; 0 is the connection.
    pub channel: u16,
    /// What was negotiated, bytes, with the eight around a payload; 0 = no limit.
    pub frame_max: u32,
}

/// Frames that wait to be sent.
#[derive(Debug, Default)]
pub struct FrameBuffer {
    /// What is complete, in order; nothing in it is empty.
    done: VecDeque<Bytes>,
    done_bytes: usize,
    /// What is being written, behind all of `done`.
    tail: BytesMut,
}

impl FrameBuffer {
    /// Starts empty.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts the bytes that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.done_bytes.saturating_add(self.tail.len())
    }

    /// Tells whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds the octets that answer a protocol header which is refused.
    pub fn put_protocol_header(&mut self) {
        self.room(PROTOCOL_HEADER.len());
        self.tail.put_slice(PROTOCOL_HEADER);
    }

    /// Adds a sign of life.
    pub fn put_heartbeat(&mut self) {
        self.put_frame(FrameKind::Heartbeat, 0, |_| {});
    }

    /// Adds a method without content.
    pub fn put_method(&mut self, channel: u16, method: &Method) {
        self.put_frame(FrameKind::Method, channel, |payload| method.encode(payload));
    }

    /// Adds a method with its content.
    ///
    /// A method or header is one frame, whatever its size: only bodies can be cut, and RabbitMQ
    /// sends headers that grew beyond a consumer's frame-max as well.
    pub fn put_content(
        &mut self,
        to: Destination,
        method: &Method,
        properties: &Properties,
        body: &Body,
    ) {
        self.put_method(to.channel, method);
        self.put_frame(FrameKind::Header, to.channel, |payload| {
            payload.put_u16(method.id().class_id);
            payload.put_u16(0);
            payload.put_u64(u64::try_from(body.len()).unwrap_or(u64::MAX));
            payload.put_slice(properties.raw());
        });
        self.put_body(to, body);
    }

    /// Takes everything out, in order.
    pub fn take_segments(&mut self) -> impl Iterator<Item = Bytes> {
        self.end_tail();
        self.done_bytes = 0;
        std::mem::take(&mut self.done).into_iter()
    }

    fn put_body(&mut self, to: Destination, body: &Body) {
        let payload_bytes_max = payload_bytes_max(to.frame_max);
        let mut segments = body.segments();
        let mut segment = Bytes::new();
        let mut unsent_bytes = body.len();
        while unsent_bytes > 0 {
            let mut missing_bytes = unsent_bytes.min(payload_bytes_max);
            unsent_bytes = unsent_bytes.saturating_sub(missing_bytes);
            self.put_prefix(FrameKind::Body, to.channel, missing_bytes);
            while missing_bytes > 0 {
                if segment.is_empty() {
                    let Some(next) = segments.next() else { break };
                    segment = next.clone();
                }
                let part = segment.split_to(segment.len().min(missing_bytes));
                missing_bytes = missing_bytes.saturating_sub(part.len());
                self.put_slice_of_body(part);
            }
            self.tail.put_u8(FRAME_END);
        }
    }

    /// Shares a slice, or copies it when that is cheaper.
    fn put_slice_of_body(&mut self, part: Bytes) {
        if part.len() <= SLICE_COPY_BYTES {
            self.room(part.len());
            self.tail.put_slice(&part);
        } else {
            self.end_tail();
            self.push_done(part);
        }
    }

    fn put_prefix(&mut self, kind: FrameKind, channel: u16, payload_bytes: usize) {
        self.room(FRAME_PREFIX_BYTES);
        self.tail.put_u8(kind.octet());
        self.tail.put_u16(channel);
        self.tail
            .put_u32(u32::try_from(payload_bytes).unwrap_or(u32::MAX));
    }

    /// Writes a frame whose size is known once its payload is there.
    fn put_frame(&mut self, kind: FrameKind, channel: u16, write: impl FnOnce(&mut BytesMut)) {
        self.put_prefix(kind, channel, 0);
        let start = self.tail.len();
        write(&mut self.tail);
        let payload_bytes = self.tail.len().saturating_sub(start);
        let size = u32::try_from(payload_bytes).unwrap_or(u32::MAX);
        let size_range = start.saturating_sub(size_of::<u32>())..start;
        if let Some(place) = self.tail.get_mut(size_range) {
            place.copy_from_slice(&size.to_be_bytes());
        }
        self.tail.put_u8(FRAME_END);
    }

    /// Makes room for a small write without asking for memory each time.
    fn room(&mut self, bytes: usize) {
        if self.tail.capacity().saturating_sub(self.tail.len()) < bytes {
            self.tail.reserve(bytes.max(OUTPUT_CHUNK_BYTES));
        }
    }

    fn end_tail(&mut self) {
        if !self.tail.is_empty() {
            let written = self.tail.split().freeze();
            self.push_done(written);
        }
    }

    fn push_done(&mut self, bytes: Bytes) {
        self.done_bytes = self.done_bytes.saturating_add(bytes.len());
        self.done.push_back(bytes);
    }
}

fn payload_bytes_max(frame_max: u32) -> usize {
    let frame_max = match frame_max {
        0 => FRAME_MAX_UNLIMITED,
        _ => frame_max,
    };
    let frame_max = usize::try_from(frame_max).unwrap_or(usize::MAX);
    // At least one byte a frame, so that a body ends however small a limit somebody passes in.
    frame_max.saturating_sub(FRAME_OVERHEAD_BYTES).max(1)
}

impl Buf for FrameBuffer {
    fn remaining(&self) -> usize {
        self.len()
    }

    fn chunk(&self) -> &[u8] {
        self.done.front().map_or(&self.tail[..], |front| &front[..])
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let chunks = self.done.iter().map(|bytes| &bytes[..]);
        let chunks = chunks.chain(std::iter::once(&self.tail[..]).filter(|tail| !tail.is_empty()));
        let mut count: usize = 0;
        for (slice, chunk) in slices.iter_mut().zip(chunks) {
            *slice = IoSlice::new(chunk);
            count = count.saturating_add(1);
        }
        count
    }

    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.len(), "advanced beyond the end");
        while let Some(front) = self.done.front_mut() {
            let step = front.len().min(count);
            front.advance(step);
            count = count.saturating_sub(step);
            self.done_bytes = self.done_bytes.saturating_sub(step);
            if !front.is_empty() {
                return;
            }
            self.done.pop_front();
        }
        self.tail.advance(count);
    }
}
