//! One AMQP connection with one channel: frames out, frames in, and who waits for which.
//!
//! Does not know which queues there are. A broker's close, a server's cancel and silence end it; a broker
//! that does not keep to the protocol fails the run.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use raftmq_amqp_protocol::{
    Assembler, BasicProperties, Body, Command, Content, Destination, Frame, FrameBuffer, FrameKind,
    MESSAGE_BYTES_MAX_DEFAULT, Method, basic, channel, connection, connection_method, decode_frame,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{Mutex, Notify, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::net::SimStream;
use crate::system::{Confirm, Delivered};

/// The one channel.
const CHANNEL: u16 = 1;
/// What is negotiated, bytes.
pub(super) const FRAME_BYTES_MAX: u32 = 8_192;
/// What is negotiated, seconds.
pub(super) const HEARTBEAT_S: u16 = 2;
/// A broker that says nothing for so long is gone.
const SILENCE_MAX: Duration = Duration::from_secs(4);
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// A message that waits for its confirm.
struct Unconfirmed {
    body: Bytes,
    is_returned: bool,
    confirm: oneshot::Sender<Confirm>,
}

/// What has come in, and who waits; empty once the connection is closed.
#[derive(Default)]
struct Inbox {
    closed: Option<String>,
    answer: Option<oneshot::Sender<Command>>,
    /// At most as many as the consumer's prefetch.
    deliveries: VecDeque<Delivered>,
    unconfirmed: BTreeMap<u64, Unconfirmed>,
}

struct Shared {
    writing: Mutex<WriteHalf<SimStream>>,
    inbox: RefCell<Inbox>,
    /// A delivery came, or the end.
    news: Notify,
    published_count: Cell<u64>,
}

/// See the module. Dropping it closes it.
pub(super) struct Connection {
    shared: Rc<Shared>,
    _tasks: JoinSet<()>,
}

impl Connection {
    pub(super) fn new(stream: SimStream) -> Self {
        let (reading, writing) = tokio::io::split(stream);
        let shared = Rc::new(Shared {
            writing: Mutex::new(writing),
            inbox: RefCell::default(),
            news: Notify::new(),
            published_count: Cell::new(0),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn_local(read(reading, Rc::clone(&shared)));
        tasks.spawn_local(beat(Rc::clone(&shared)));
        Self {
            shared,
            _tasks: tasks,
        }
    }

    /// Sends a method of the channel and waits for its answer.
    pub(super) async fn call(&self, method: impl Into<Method>) -> Result<Command, String> {
        let mut frames = FrameBuffer::new();
        frames.put_method(CHANNEL, &method.into());
        self.ask(frames).await
    }

    /// Sends frames and waits for the next method that answers something. One at a time.
    pub(super) async fn ask(&self, frames: FrameBuffer) -> Result<Command, String> {
        let (answer, answered) = oneshot::channel();
        {
            let mut inbox = self.shared.inbox.borrow_mut();
            inbox.check_open()?;
            inbox.answer = Some(answer);
        }
        self.shared.write(frames).await?;
        match timeout(CALL_TIMEOUT, answered).await {
            Ok(Ok(command)) => Ok(command),
            Ok(Err(_dropped)) => Err(self.shared.reason()),
            // The answer may come yet, and would be taken for that to another question.
            Err(_elapsed) => Err(self.shared.close("no answer in time")),
        }
    }

    /// Sends a method that is not answered.
    pub(super) async fn tell(&self, method: impl Into<Method>) -> Result<(), String> {
        let mut frames = FrameBuffer::new();
        frames.put_method(CHANNEL, &method.into());
        self.shared.write(frames).await
    }

    /// Publishes a message; its confirm comes, or the connection ends.
    pub(super) async fn publish(
        &self,
        publish: basic::Publish,
        properties: &BasicProperties<'_>,
        body: Bytes,
    ) -> Result<oneshot::Receiver<Confirm>, String> {
        let properties = properties.encode().map_err(|error| error.to_string())?;
        let mut frames = FrameBuffer::new();
        let to = Destination {
            channel: CHANNEL,
            frame_max: FRAME_BYTES_MAX,
        };
        let content = Body::from(body.clone());
        frames.put_content(to, &publish.into(), &properties, &content);
        let (confirm, confirmed) = oneshot::channel();
        let mut writing = self.shared.writing.lock().await;
        let number = self.shared.published_count.get() + 1;
        self.shared.published_count.set(number);
        {
            let mut inbox = self.shared.inbox.borrow_mut();
            inbox.check_open()?;
            let unconfirmed = Unconfirmed {
                body,
                is_returned: false,
                confirm,
            };
            inbox.unconfirmed.insert(number, unconfirmed);
        }
        self.shared.write_to(&mut writing, frames).await?;
        Ok(confirmed)
    }

    /// The next delivery; `None` if none comes in time.
    pub(super) async fn next(&self, wait: Duration) -> Result<Option<Delivered>, String> {
        let next = async {
            loop {
                let news = self.shared.news.notified();
                {
                    let mut inbox = self.shared.inbox.borrow_mut();
                    inbox.check_open()?;
                    if let Some(delivery) = inbox.deliveries.pop_front() {
                        return Ok(delivery);
                    }
                }
                news.await;
            }
        };
        match timeout(wait, next).await {
            Ok(delivery) => delivery.map(Some),
            Err(_elapsed) => Ok(None),
        }
    }
}

impl Shared {
    async fn write(&self, frames: FrameBuffer) -> Result<(), String> {
        let mut writing = self.writing.lock().await;
        self.write_to(&mut writing, frames).await
    }

    /// Half a frame is of no use: what is not written in time ends the connection.
    async fn write_to(
        &self,
        writing: &mut WriteHalf<SimStream>,
        mut frames: FrameBuffer,
    ) -> Result<(), String> {
        self.inbox.borrow().check_open()?;
        match timeout(WRITE_TIMEOUT, writing.write_all_buf(&mut frames)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.close(&error.to_string())),
            Err(_elapsed) => Err(self.close("not written in time")),
        }
    }

    /// Nobody gets anything any more. Gives the reason back: that of the first call.
    fn close(&self, reason: &str) -> String {
        let mut inbox = self.inbox.borrow_mut();
        let reason = inbox.closed.take().unwrap_or_else(|| reason.to_owned());
        *inbox = Inbox {
            closed: Some(reason.clone()),
            ..Inbox::default()
        };
        self.news.notify_waiters();
        reason
    }

    fn reason(&self) -> String {
        let inbox = self.inbox.borrow();
        let reason = inbox.closed.clone();
        reason.unwrap_or_else(|| "the connection is closed".to_owned())
    }
}

impl Inbox {
    fn check_open(&self) -> Result<(), String> {
        self.closed.clone().map_or(Ok(()), Err)
    }

    /// Takes a complete method of the channel.
    ///
    /// # Errors
    /// Why the connection is of no more use.
    fn take(&mut self, command: Command) -> Result<(), String> {
        let Command { method, content } = command;
        if let (Method::Basic(basic::Method::Deliver(deliver)), Some(content)) = (&method, &content)
        {
            let (tag, is_redelivered) = (deliver.delivery_tag, deliver.redelivered);
            let delivered = delivered(tag, is_redelivered, content);
            self.deliveries.push_back(delivered);
            return Ok(());
        }
        if let (Method::Basic(basic::Method::Return(_)), Some(content)) = (&method, &content) {
            let body = content.body.clone().into_bytes();
            let mut unconfirmed = self.unconfirmed.values_mut();
            let returned = unconfirmed.find(|one| one.body == body && !one.is_returned);
            let returned = returned.expect("a broker returns what was published, once");
            returned.is_returned = true;
            return Ok(());
        }
        if let Method::Basic(basic::Method::Ack(ack)) = &method {
            self.confirm(ack.delivery_tag, ack.multiple, Confirm::Acked);
            return Ok(());
        }
        if let Method::Basic(basic::Method::Nack(nack)) = &method {
            self.confirm(nack.delivery_tag, nack.multiple, Confirm::Nacked);
            return Ok(());
        }
        if let Method::Basic(basic::Method::Cancel(cancel)) = &method {
            return Err(format!("consumer {:?} was cancelled", cancel.consumer_tag));
        }
        if let Method::Channel(channel::Method::Close(close)) = &method {
            return Err(closed(close.reply_code, &close.reply_text));
        }
        self.answer(Command { method, content });
        Ok(())
    }

    /// Takes a method of the connection itself.
    fn take_from_connection(&mut self, method: Method) -> Result<(), String> {
        if let Method::Connection(connection::Method::Close(close)) = &method {
            return Err(closed(close.reply_code, &close.reply_text));
        }
        let is_about_room = matches!(
            &method,
            Method::Connection(connection::Method::Blocked(_) | connection::Method::Unblocked(_))
        );
        if is_about_room {
            return Ok(());
        }
        let content = None;
        self.answer(Command { method, content });
        Ok(())
    }

    fn answer(&mut self, command: Command) {
        let answer = self.answer.take();
        let answer = answer.expect("a broker answers nobody who did not ask");
        // Whoever asked may have given up.
        let _ = answer.send(command);
    }

    fn confirm(&mut self, tag: u64, is_multiple: bool, confirm: Confirm) {
        let first = if is_multiple { 0 } else { tag };
        let numbers = self.unconfirmed.range(first..=tag);
        let numbers: Vec<u64> = numbers.map(|(number, _)| *number).collect();
        assert_eq!(numbers.last(), Some(&tag), "a publish is confirmed once");
        for number in numbers {
            let Some(confirmed) = self.unconfirmed.remove(&number) else {
                continue;
            };
            let confirm = match confirmed.is_returned {
                true => Confirm::Returned,
                false => confirm,
            };
            let _ = confirmed.confirm.send(confirm);
        }
    }
}

/// Why a broker closed; none of the reasons may be that one of the two broke the protocol.
fn closed(code: u16, text: &str) -> String {
    let is_misuse = matches!(code, 501..=505 | 540 | 541)
        || text.contains("unknown delivery tag")
        || text.contains("inequivalent");
    assert!(!is_misuse, "closed with {code}: {text}");
    format!("closed by the broker: {text}")
}

/// A message with what its headers say.
pub(super) fn delivered(tag: u64, is_redelivered: bool, content: &Content) -> Delivered {
    let headers = content.properties.headers();
    let text = |name: &str| {
        let value = headers.get(name);
        value.and_then(|value| value.as_str().map(ToOwned::to_owned))
    };
    Delivered {
        tag,
        body: content.body.clone().into_bytes(),
        id: text("x-raftmq-id").unwrap_or_default(),
        is_redelivered,
        died_in: text("x-first-death-queue"),
    }
}

/// Reads until the connection ends.
async fn read(mut reading: ReadHalf<SimStream>, shared: Rc<Shared>) {
    let mut bytes = BytesMut::new();
    let mut assembler = Assembler::new(MESSAGE_BYTES_MAX_DEFAULT);
    loop {
        let taken = take_all(&mut bytes, &mut assembler, &shared);
        if let Err(reason) = taken {
            tracing::debug!(target: "raftmq_chaos::amqp", reason, "connection ends");
            shared.close(&reason);
            return;
        }
        let read = timeout(SILENCE_MAX, reading.read_buf(&mut bytes)).await;
        if !matches!(read, Ok(Ok(1..))) {
            shared.close("the broker is gone");
            return;
        }
    }
}

/// Takes every complete frame.
fn take_all(
    bytes: &mut BytesMut,
    assembler: &mut Assembler,
    shared: &Shared,
) -> Result<(), String> {
    while let Some(frame) = decode_frame(bytes, 0).expect("a broker sends frames") {
        shared.inbox.borrow().check_open()?;
        take_frame(frame, assembler, shared)?;
    }
    Ok(())
}

fn take_frame(frame: Frame, assembler: &mut Assembler, shared: &Shared) -> Result<(), String> {
    let mut inbox = shared.inbox.borrow_mut();
    if frame.channel == 0 || frame.kind == FrameKind::Heartbeat {
        let method = connection_method(frame).expect("a broker sends methods");
        return method.map_or(Ok(()), |method| inbox.take_from_connection(method));
    }
    if let Some(command) = assembler
        .push(frame)
        .expect("a broker sends whole messages")
    {
        inbox.take(command)?;
        shared.news.notify_waiters();
    }
    Ok(())
}

/// Says that the client lives.
async fn beat(shared: Rc<Shared>) {
    loop {
        tokio::time::sleep(HEARTBEAT_INTERVAL).await;
        let mut frames = FrameBuffer::new();
        frames.put_heartbeat();
        if shared.write(frames).await.is_err() {
            return;
        }
    }
}
