"""kombu on py-amqp: what Celery stands on, used directly, by its own documentation.

Usage: PROGRAM HOST:PORT,... PREFIX. The brokers are any that speak AMQP 0-9-1; a connection knows all of them.
"""

import itertools
import socket
import time

import amqp
from amqp.exceptions import AccessRefused, NotFound, PreconditionFailed
from kombu import Connection, Consumer, Exchange, Producer, Queue, binding
from kombu.mixins import ConsumerProducerMixin
from kombu.pools import producers

import scenario
from scenario import PATIENCE_SECONDS, same

brokers, prefix = scenario.arguments()
endpoints = itertools.cycle(brokers.split(","))


def connect(**parameters):
    urls = [f"amqp://guest:guest@{next(endpoints)}//" for _ in brokers.split(",")]
    return Connection(urls, transport_options={"confirm_publish": True}, **parameters)


def named(name):
    return f"{prefix}-{name}"


def take(connection, queue, count):
    """Payloads of the next messages, acknowledged."""
    found = []

    def on_message(payload, message):
        found.append(payload)
        message.ack()

    with Consumer(connection, queues=[queue], callbacks=[on_message], prefetch_count=10):
        while len(found) < count:
            connection.drain_events(timeout=PATIENCE_SECONDS)
    return found


def simple():
    """Its interface for the impatient, with JSON and compression."""
    with connect() as connection:
        queue = connection.SimpleQueue(named("simple"))
        for number in range(20):
            queue.put({"number": number}, serializer="json", compression="zlib" if number % 2 else None)
        same(20, queue.qsize(), "messages")
        for number in range(20):
            message = queue.get(timeout=PATIENCE_SECONDS)
            same({"number": number}, message.payload, "message")
            message.ack()
        try:
            queue.get_nowait()
        except queue.Empty:
            pass
        queue.close()


def routing():
    """Exchanges of all types, several bindings of one queue, exchange to exchange."""
    with connect() as connection:
        direct = Exchange(named("direct"), "direct")
        fanout = Exchange(named("fanout"), "fanout", durable=False, auto_delete=True)
        topic = Exchange(named("topic"), "topic")
        headers = Exchange(named("headers"), "headers")
        queue = Queue(named("routing"), bindings=[
            binding(direct, routing_key="error"),
            binding(fanout),
            binding(topic, routing_key="audit.#"),
            binding(headers, arguments={"x-match": "any", "format": "pdf", "pages": 3}),
        ])
        producer = Producer(connection)
        queue(connection).declare()
        for exchange, keys in [(direct, ["info", "error"]), (fanout, ["any"]), (topic, ["x", "audit", "audit.a.b"])]:
            for key in keys:
                producer.publish(key, exchange=exchange, routing_key=key, declare=[queue], retry=True)
        producer.publish("no", exchange=headers, headers={"format": "txt", "pages": 4})
        producer.publish("yes", exchange=headers, headers={"format": "txt", "pages": 3})
        same(["error", "any", "audit", "audit.a.b", "yes"], take(connection, queue, 5), "messages")
        upstream = Exchange(named("upstream"), "fanout")(connection)
        upstream.declare()
        topic(connection).bind_to(upstream, routing_key="")
        producer.publish("through", exchange=upstream, routing_key="audit")
        same(["through"], take(connection, queue, 1), "from exchange to exchange")
        same(0, queue(connection).delete(), "messages left")


def pools():
    """Producers of a pool, which publish again on another connection when one breaks."""
    with connect() as connection:
        queue = Queue(named("pools"))
        with producers[connection].acquire(block=True) as producer:
            producer.publish("before", routing_key=queue.name, declare=[queue], retry=True)
            producer.connection.transport.close_connection(producer.connection.connection)
            producer.publish("after", routing_key=queue.name, retry=True, retry_policy={"max_retries": 5})
            same(["before", "after"], take(connection, queue, 2), "messages")


def returns():
    with connect() as connection:
        returned = []
        producer = Producer(connection, on_return=lambda error, *_: returned.append(error.reply_code))
        producer.publish("x", routing_key=named("nowhere"), mandatory=True)
        same([312], returned, "returns")
        full = Queue(named("full"), max_length=1, queue_arguments={"x-overflow": "reject-publish"})
        producer.publish("1", routing_key=full.name, declare=[full])
        try:
            producer.publish("2", routing_key=full.name)
        except amqp.exceptions.MessageNacked:
            pass
        else:
            raise AssertionError("a full queue took a message")


def redelivery():
    with connect() as connection:
        queue = Queue(named("redelivery"), queue_arguments={"x-queue-type": "quorum"})(connection.channel())
        queue.declare()
        Producer(connection).publish("again", routing_key=queue.name)
        message = queue.get()
        same(False, message.delivery_info["redelivered"], "redelivered")
        message.requeue()
        message = queue.get()
        same(True, message.delivery_info["redelivered"], "redelivered")
        same(1, message.headers["x-delivery-count"], "delivery count")
        # What is unsettled when its channel closes comes back, too.
        queue.channel.close()
        queue = queue(connection.channel())
        message = scenario.wait_until("the message", queue.get)
        message.reject()
        same(None, queue.get(), "message")


def prefetch():
    with connect() as connection:
        queue = Queue(named("prefetch"))
        held = []
        channel = connection.channel()
        consumer = Consumer(channel, [queue], on_message=held.append, prefetch_count=3)
        consumer.consume()
        for number in range(10):
            Producer(connection).publish(number, routing_key=queue.name)
        drain(connection, 1)
        same(3, len(held), "messages in the consumer's hands")
        held[2].channel.basic_ack(held[2].delivery_tag, multiple=True)
        drain(connection, 1)
        same(6, len(held), "messages after three acks in one")
        # RabbitMQ's meaning of global: all consumers of the channel together, from now on.
        consumer.qos(prefetch_count=5, apply_global=True)
        drain(connection, 1)
        same(6, len(held), "messages within the consumer's own limit")
        consumer.cancel()
        consumer.recover(requeue=True)
        drain(connection, 0.2)
        channel.close()
        same(7, queue(connection).queue_declare(passive=True).message_count, "messages ready")


def drain(connection, seconds):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            connection.drain_events(timeout=0.1)
        except socket.timeout:
            pass


def dead_letters():
    with connect() as connection:
        exchange = Exchange(named("dlx"), "direct")
        dead = Queue(named("dead"), exchange, routing_key="dead")
        dying = Queue(named("dying"), message_ttl=0.2, expires=60, queue_arguments={
            "x-dead-letter-exchange": exchange.name, "x-dead-letter-routing-key": "dead"})
        producer = Producer(connection)
        producer.publish("late", routing_key=dying.name, declare=[exchange, dead, dying])
        letter = scenario.wait_until("the dead letter", dead(connection).get)
        death = letter.headers["x-death"][0]
        same(("late", "expired", 1, dying.name, [dying.name]), (
            letter.payload, death["reason"], death["count"], death["queue"], death["routing-keys"]), "dead letter")
        letter.ack()


def priorities():
    with connect() as connection:
        queue = Queue(named("priorities"), max_priority=10)
        producer = Producer(connection)
        for priority in [1, 9, 5]:
            producer.publish(priority, routing_key=queue.name, declare=[queue], priority=priority)
        same([9, 5, 1], take(connection, queue, 3), "messages")


def own_queues():
    with connect() as connection, connect() as other:
        own = Queue("", exclusive=True)(connection)
        own.declare()
        assert own.name.startswith("amq.gen-"), own.name
        try:
            other.default_channel.queue_declare(own.name, passive=True)
        except amqp.exceptions.ResourceLocked:
            pass
        else:
            raise AssertionError("a queue of another connection was declared")
        temporary = Queue(named("temporary"), auto_delete=True)
        with Consumer(connection.channel(), [temporary]):
            pass
        try:
            temporary(connection).queue_declare(passive=True)
        except NotFound:
            pass
        else:
            raise AssertionError("a queue outlived its last consumer")


def refusals():
    with connect() as connection:
        Queue(named("refusals"))(connection).declare()
        for refusal, act in [
            (NotFound, lambda channel: channel.queue_declare(named("missing"), passive=True)),
            (AccessRefused, lambda channel: channel.queue_declare("amq.mine")),
            (PreconditionFailed, lambda channel: channel.queue_declare(named("refusals"), durable=False)),
            (NotFound, lambda channel: channel.basic_consume(named("missing"))),
        ]:
            try:
                act(connection.channel())
            except refusal:
                pass
            else:
                raise AssertionError(f"allowed, {refusal.__name__} was due")
        Queue(named("refusals"))(connection).queue_declare(passive=True)


def heartbeats():
    """More than two intervals pass with nothing but heartbeats; kombu has to be asked for its own."""
    with connect(heartbeat=1) as connection:
        connection.ensure_connection()
        for _ in range(16):
            time.sleep(0.25)
            connection.heartbeat_check(rate=2)
            drain(connection, 0.01)
        Queue("", exclusive=True)(connection).declare()


class Server(ConsumerProducerMixin):
    """Doubles numbers until it is asked to stop."""

    def __init__(self, connection, queue):
        self.connection = connection
        self.queue = queue

    def get_consumers(self, Consumer, channel):
        return [Consumer([self.queue], on_message=self.on_request, accept=["json"], prefetch_count=1)]

    def on_request(self, message):
        self.producer.publish(2 * message.payload, exchange="", routing_key=message.properties["reply_to"],
                              correlation_id=message.properties["correlation_id"], serializer="json", retry=True)
        message.ack()
        if message.payload == 5:
            self.should_stop = True


def rpc():
    with connect() as serving, connect() as calling:
        queue = Queue(named("rpc"))
        answers = {}

        def on_answer(payload, message):
            answers[message.properties["correlation_id"]] = payload

        # Both kinds of reply: a queue of the caller's own, and none.
        own = Queue("", exclusive=True, auto_delete=True)(calling.channel())
        own.declare()
        direct = Queue("amq.rabbitmq.reply-to", no_declare=True)
        replies = {"callbacks": [on_answer], "no_ack": True, "auto_declare": False}
        with Consumer(own.channel, [own], **replies), Consumer(calling.default_channel, [direct], **replies):
            producer = Producer(calling.default_channel)
            for number in range(1, 6):
                producer.publish(number, routing_key=queue.name, declare=[queue], correlation_id=f"id-{number}",
                                 reply_to=own.name if number % 2 else direct.name)
            Server(serving, queue).run()
            while len(answers) < 5:
                calling.drain_events(timeout=PATIENCE_SECONDS)
        same({f"id-{number}": 2 * number for number in range(1, 6)}, answers, "answers")


scenario.run({
    "simple": simple,
    "routing": routing,
    "pools": pools,
    "returns": returns,
    "redelivery": redelivery,
    "prefetch": prefetch,
    "dead-letters": dead_letters,
    "priorities": priorities,
    "own-queues": own_queues,
    "refusals": refusals,
    "heartbeats": heartbeats,
    "rpc": rpc,
})
