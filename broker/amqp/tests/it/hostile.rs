//! Whatever comes, in whatever pieces: no panic, bounded, and the promises hold.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::{any, prop_assert_eq, proptest};
use raftmq_amqp::{
    Answer, Ask, AskId, ChannelKey, ConsumerKey, Delivery, Event, Got, Kind, Publish,
    PublishOutcome, Refusal, Request, Settings, Taken,
};
use raftmq_amqp_protocol::{
    BasicProperties, Method, PROTOCOL_HEADER, basic, channel, confirm, connection, exchange, queue,
    tx,
};
use raftmq_core::queue::{Outcome, Span};

use crate::support::{
    Client, QUEUE, ack, declare, delivery, friendly, nack, publish, short, start_ok, taken, text,
};

/// One of the methods that a client sends, by a number and with a number in it.
fn method(choice: u8, number: u64) -> Method {
    let is_even = number.is_multiple_of(2);
    match choice {
        0 => channel::Open::default().into(),
        1 => channel::Close {
            reply_code: 200,
            ..Default::default()
        }
        .into(),
        2 => channel::CloseOk {}.into(),
        3 => confirm::Select { no_wait: is_even }.into(),
        4 => declare(if is_even { "q" } else { "" }).into(),
        5 => basic::Consume {
            queue: text("q"),
            no_ack: is_even,
            ..Default::default()
        }
        .into(),
        6 => basic::Consume {
            queue: text("q"),
            consumer_tag: text(&format!("c{number}")),
            ..Default::default()
        }
        .into(),
        7 => basic::Cancel {
            consumer_tag: text(&format!("c{number}")),
            no_wait: is_even,
        }
        .into(),
        8 => basic::Get {
            queue: text("q"),
            no_ack: is_even,
            ..Default::default()
        }
        .into(),
        9 => ack(number, is_even),
        10 => nack(number, is_even, number.is_multiple_of(3)),
        11 => basic::Reject {
            delivery_tag: number,
            requeue: is_even,
        }
        .into(),
        _ => rarer_method(choice, number),
    }
}

fn rarer_method(choice: u8, number: u64) -> Method {
    let is_even = number.is_multiple_of(2);
    match choice {
        12 => basic::Qos {
            prefetch_count: 3,
            global: is_even,
            ..Default::default()
        }
        .into(),
        13 => basic::Recover { requeue: true }.into(),
        14 => exchange::Declare {
            exchange: text("x"),
            kind: text("topic"),
            ..Default::default()
        }
        .into(),
        15 => queue::Bind {
            queue: text("q"),
            exchange: text("x"),
            ..Default::default()
        }
        .into(),
        16 => channel::Flow { active: true }.into(),
        17 => queue::Purge {
            queue: text("q"),
            no_wait: is_even,
            ..Default::default()
        }
        .into(),
        // Rarely: it ends the connection.
        18 if number == 7 => tx::Select {}.into(),
        19 if number == 7 => connection::Close {
            reply_code: 200,
            ..Default::default()
        }
        .into(),
        _ => channel::Flow { active: true }.into(),
    }
}

/// What a client has seen of a channel since it was opened.
#[derive(Debug, Default)]
struct Seen {
    is_closed: bool,
    last_delivery: u64,
    confirmed: BTreeSet<u64>,
    /// The delivery tags of messages, by the queue's delivery ids.
    tags: BTreeMap<u64, u64>,
}

/// A host that answers when and as the numbers say, and a check of what the client sees.
struct World {
    client: Client,
    asks: Vec<(Option<ChannelKey>, AskId, Ask)>,
    publishes: Vec<(Publish, u64)>,
    consumers: Vec<(ChannelKey, ConsumerKey)>,
    /// Confirmed publishes that the host was asked for.
    counts: BTreeMap<ChannelKey, u64>,
    /// What the host said of them.
    verdicts: BTreeMap<(ChannelKey, u64), bool>,
    seen: BTreeMap<u16, Seen>,
    /// The newest opening of each number that the host heard of.
    keys: BTreeMap<u16, ChannelKey>,
    /// What the client settled, by channel: tags, and whether everything up to them, too.
    settled: BTreeMap<u16, Vec<(u64, bool)>>,
    next_delivery: u64,
    is_over: bool,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            client: Client::running(),
            asks: Vec::new(),
            publishes: Vec::new(),
            consumers: Vec::new(),
            counts: BTreeMap::new(),
            verdicts: BTreeMap::new(),
            seen: BTreeMap::new(),
            keys: BTreeMap::new(),
            settled: BTreeMap::new(),
            next_delivery: 0,
            is_over: false,
        };
        for number in 1..=3 {
            world.client.send(number, channel::Open::default());
        }
        for number in 1..=2 {
            world.client.send(number, confirm::Select { no_wait: true });
            world.client.send(number, method(6, 0));
        }
        world.settle();
        while !world.asks.is_empty() {
            world.answer(1);
        }
        world.settle();
        world
    }

    fn act(&mut self, choice: u8, number: u16, value: u64) {
        let mut value = value;
        if matches!(choice, 9..=11) {
            // Mostly one of the newest tags: others close the channel.
            let last = self.seen.get(&number).map_or(0, |seen| seen.last_delivery);
            value = if value < 11 && last > 0 {
                last.saturating_sub(value % 4).max(1)
            } else {
                value
            };
            let is_multiple = choice < 11 && value.is_multiple_of(2);
            let settled = self.settled.entry(number).or_default();
            settled.push((value, is_multiple));
        }
        match choice {
            // What ends the connection ends the test, so it comes rarely.
            0 if value < 11 && self.is_open(number) => {}
            0..=19 => self.client.send(number, method(choice, value)),
            20..=25 => self.client.publish(number, b"body"),
            26..=29 => self.answer(value),
            30..=33 => self.publish_outcome(value),
            34..=37 => self.deliver(value),
            38 => self.event(value),
            _ => self.client.connection.send_heartbeat(),
        }
        self.settle();
    }

    fn is_open(&self, number: u16) -> bool {
        self.seen.get(&number).is_some_and(|seen| !seen.is_closed)
    }

    fn answer(&mut self, value: u64) {
        if self.asks.is_empty() {
            return;
        }
        let (channel, id, ask) = self.asks.remove(0);
        let answer = match (&ask, value) {
            (Ask::CloseChannel | Ask::CloseConnection, _) => Answer::Done,
            (_, 0) => Answer::Refused(Refusal::Unknown(Kind::Queue, text("q"))),
            (Ask::Get { .. }, 1..=6) => {
                let got = Got {
                    taken: self.next_taken(),
                    ready_count: value,
                };
                Answer::Got(Some(Box::new(got)))
            }
            (ask, _) => friendly(ask),
        };
        if let (Ask::Consume(consume), Some(channel)) = (&ask, channel) {
            self.consumers.push((channel, consume.consumer));
        }
        self.client.connection.answer(channel, id, answer);
    }

    fn publish_outcome(&mut self, value: u64) {
        if self.publishes.is_empty() {
            return;
        }
        let at = usize::try_from(value).unwrap() % self.publishes.len();
        let (publish, tag) = self.publishes.remove(at);
        let outcome = match value {
            0 => PublishOutcome::Failed,
            1 => PublishOutcome::Unroutable(Box::new(publish.message)),
            2 => PublishOutcome::Refused(Refusal::InternalExchange(text("x"))),
            _ => PublishOutcome::Committed,
        };
        let is_good = !matches!(value, 0 | 2);
        self.verdicts.insert((publish.channel, tag), is_good);
        let (channel, number) = (publish.channel, publish.number);
        let connection = &mut self.client.connection;
        connection.published(channel, number, outcome);
        connection.published(channel, number, PublishOutcome::Failed);
    }

    fn deliver(&mut self, value: u64) {
        if self.consumers.is_empty() {
            return;
        }
        let at = usize::try_from(value).unwrap() % self.consumers.len();
        let (channel, consumer) = self.consumers[at];
        for _ in 0..=value % 3 {
            let taken = self.next_taken();
            self.client.connection.deliver(Delivery {
                channel,
                consumer,
                taken,
            });
        }
    }

    /// A message whose routing key is its delivery id.
    fn next_taken(&mut self) -> Taken {
        self.next_delivery += 1;
        let mut taken = taken(self.next_delivery);
        taken.message.routing_key = short(&self.next_delivery.to_string());
        taken
    }

    fn event(&mut self, value: u64) {
        let event = match (value, self.consumers.first().copied()) {
            (0..=3, Some((channel, consumer))) => Event::ConsumerCancelled { channel, consumer },
            (4..=6, Some((channel, _))) => Event::TakenBack {
                channel,
                queue: QUEUE,
                deliveries: (0..=self.next_delivery)
                    .map(raftmq_core::DeliveryId)
                    .collect(),
            },
            (7, _) => Event::Blocked {
                reason: text("full"),
            },
            _ => Event::Unblocked,
        };
        self.client.connection.tell(event);
    }

    /// Takes requests and frames, and checks the frames.
    fn settle(&mut self) {
        while let Some(request) = self.client.connection.next_request() {
            match request {
                Request::Ask { id, channel, ask } => self.asks.push((channel, id, ask)),
                Request::Publish(publish) => {
                    self.keys.insert(publish.channel.number, publish.channel);
                    let count = self.counts.entry(publish.channel).or_default();
                    *count += u64::from(publish.is_confirmed);
                    let tag = if publish.is_confirmed { *count } else { 0 };
                    self.publishes.push((*publish, tag));
                }
                Request::Settle {
                    channel,
                    spans,
                    outcome,
                    ..
                } => {
                    self.check_frames();
                    if !matches!(outcome, Outcome::Returned(_)) {
                        self.check_settled(channel.number, &spans);
                    }
                    assert!(spans.iter().all(|span| span.first <= span.last));
                    assert!(spans.windows(2).all(|two| two[0].last < two[1].first));
                }
                Request::Credit { .. } => {}
            }
        }
        self.check_frames();
    }

    fn check_frames(&mut self) {
        for (number, method) in self.client.methods() {
            self.check(number, &method);
        }
    }

    /// Nothing is settled that the client did not name.
    fn check_settled(&self, number: u16, spans: &[Span]) {
        let tags = &self.seen[&number].tags;
        let named = &self.settled[&number];
        for id in spans.iter().flat_map(|span| span.first.0..=span.last.0) {
            let tag = tags[&id];
            let covers = |(to, is_multiple): &(u64, bool)| {
                *to == tag || *is_multiple && (*to == 0 || tag < *to)
            };
            assert!(named.iter().any(covers), "{tag} of {named:?}");
        }
    }

    fn check(&mut self, number: u16, method: &Method) {
        assert!(!self.is_over || number == 0, "{number}: {method:?}");
        if number == 0 {
            self.is_over |= method.id() == connection::Close::ID;
            return;
        }
        let seen = self.seen.entry(number).or_default();
        match method {
            Method::Channel(channel::Method::OpenOk(_)) => *seen = Seen::default(),
            Method::Channel(channel::Method::CloseOk(_)) => {}
            _ => assert!(!seen.is_closed, "{number}: {method:?}"),
        }
        match method {
            Method::Channel(channel::Method::Close(_)) => seen.is_closed = true,
            Method::Basic(
                basic::Method::Deliver(basic::Deliver {
                    delivery_tag,
                    routing_key,
                    ..
                })
                | basic::Method::GetOk(basic::GetOk {
                    delivery_tag,
                    routing_key,
                    ..
                }),
            ) => {
                assert_eq!(*delivery_tag, seen.last_delivery + 1);
                seen.last_delivery = *delivery_tag;
                let id = routing_key.to_str().unwrap().parse().unwrap();
                seen.tags.insert(id, *delivery_tag);
            }
            Method::Basic(basic::Method::Ack(ack)) => {
                self.check_confirm(number, ack.delivery_tag, ack.multiple, true);
            }
            Method::Basic(basic::Method::Nack(nack)) => {
                self.check_confirm(number, nack.delivery_tag, nack.multiple, false);
            }
            _ => {}
        }
    }

    /// Each publish is confirmed once, and as the host said.
    fn check_confirm(&mut self, number: u16, tag: u64, is_multiple: bool, is_good: bool) {
        let key = self.keys[&number];
        let seen = self.seen.get_mut(&number).unwrap();
        assert!(!seen.confirmed.contains(&tag), "{tag} is confirmed again");
        let first = if is_multiple { 1 } else { tag };
        for tag in first..=tag {
            if seen.confirmed.insert(tag) {
                assert_eq!(self.verdicts.get(&(key, tag)), Some(&is_good), "{tag}");
            }
        }
    }
}

/// What a client asks for and is sent, when its bytes come in pieces.
fn run_in_pieces(bytes: &[u8], pieces: &[usize]) -> (Vec<Request>, Vec<u8>) {
    let mut client = Client::new(Settings::default());
    let mut asked = Vec::new();
    let mut rest = bytes;
    let mut pieces = pieces.iter().cycle();
    while !rest.is_empty() {
        let size = (*pieces.next().unwrap()).clamp(1, rest.len());
        let (piece, behind) = rest.split_at(size);
        rest = behind;
        client.receive(piece);
        while let Some(request) = client.connection.next_request() {
            client.answer_friendly(&request);
            if let Request::Ask {
                channel: Some(channel),
                ask: Ask::Consume(consume),
                ..
            } = &request
            {
                for id in 1..=3 {
                    let delivery = delivery(*channel, consume.consumer, id);
                    client.connection.deliver(delivery);
                }
            }
            asked.push(request);
        }
    }
    let output = client.connection.flush().take_segments().flatten();
    (asked, output.collect())
}

/// The bytes of a whole connection with these methods on it.
fn script(methods: &[(u8, u16, u64)]) -> Vec<u8> {
    let mut client = Client::new(Settings::default());
    client.receive(PROTOCOL_HEADER);
    client.send(0, start_ok(true));
    client.send(
        0,
        connection::TuneOk {
            channel_max: 10,
            frame_max: 4_096,
            heartbeat: 0,
        },
    );
    client.send(0, crate::support::open("/"));
    for number in 1..=3 {
        client.send(number, channel::Open::default());
    }
    for (choice, number, value) in methods {
        if *choice >= 20 {
            let properties = BasicProperties::default();
            client.send_content(*number, publish("q"), &properties, &[9; 5_000]);
        } else {
            client.send(*number, method(*choice, *value));
        }
    }
    client.connection.input().to_vec()
}

proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(200))]

    #[test]
    fn no_bytes_panic_before_or_after_the_handshake(
        bytes in vec(any::<u8>(), 0..400),
        is_running in any::<bool>(),
    ) {
        let mut client =
            if is_running { Client::with_channel() } else { Client::new(Settings::default()) };
        client.receive(&bytes);
        client.serve();
        client.connection.flush();
    }

    #[test]
    fn no_change_of_a_script_panics(
        methods in vec((0..26_u8, 1..4_u16, 0..12_u64), 0..20),
        changes in vec((any::<proptest::sample::Index>(), any::<u8>()), 0..8),
    ) {
        let mut bytes = script(&methods);
        for (at, octet) in changes {
            let at = at.index(bytes.len());
            bytes[at] = octet;
        }
        run_in_pieces(&bytes, &[bytes.len()]);
    }

    #[test]
    fn however_the_input_is_cut_the_output_is_the_same(
        methods in vec((0..26_u8, 1..4_u16, 0..12_u64), 0..25),
        pieces in vec(1..40_usize, 1..30),
    ) {
        let bytes = script(&methods);
        let whole = run_in_pieces(&bytes, &[bytes.len()]);
        let cut = run_in_pieces(&bytes, &pieces);
        prop_assert_eq!(whole, cut);
    }

    #[test]
    fn whatever_client_and_host_do_tags_and_confirms_are_right(
        steps in vec((0..40_u8, 1..4_u16, 0..12_u64), 0..300),
    ) {
        let mut world = World::new();
        for (choice, number, value) in steps {
            world.act(choice, number, value);
        }
    }
}
