"""pika: RabbitMQ's client in Python, blocking, on its own connection for each step.

Usage: PROGRAM HOST:PORT,... PREFIX. The brokers are any that speak AMQP 0-9-1; steps go round them.
"""

import itertools
import threading

import pika
import pika.exceptions

import scenario
from scenario import PATIENCE_SECONDS, same

brokers, prefix = scenario.arguments()
endpoints = itertools.cycle(brokers.split(","))


def connect():
    host, port = next(endpoints).rsplit(":", 1)
    credentials = pika.PlainCredentials("guest", "guest")
    parameters = pika.ConnectionParameters(
        host, int(port), credentials=credentials, heartbeat=10, blocked_connection_timeout=PATIENCE_SECONDS)
    return pika.BlockingConnection(parameters)


def queue(channel, name, **arguments):
    return channel.queue_declare(f"{prefix}-{name}", durable=True, **arguments).method.queue


def take(channel, name, count):
    """Bodies of the next messages, acknowledged."""
    bodies = []
    for method, _, body in channel.consume(name, inactivity_timeout=PATIENCE_SECONDS):
        if method is None:
            raise AssertionError(f"{name}: {count} messages were due, {len(bodies)} came")
        channel.basic_ack(method.delivery_tag)
        bodies.append(body.decode())
        if len(bodies) == count:
            break
    channel.cancel()
    return bodies


def simple():
    connection = connect()
    channel = connection.channel()
    channel.confirm_delivery()
    name = queue(channel, "simple")
    persistent = pika.BasicProperties(delivery_mode=2)
    for number in range(50):
        channel.basic_publish("", name, f"{number}", persistent, mandatory=True)
    same([f"{number}" for number in range(50)], take(channel, name, 50), "messages")
    connection.close()


def work():
    connection = connect()
    channel, busy = connection.channel(), connection.channel()
    channel.confirm_delivery()
    name = queue(channel, "work")
    held = []
    busy.basic_qos(prefetch_count=1)
    busy.basic_consume(name, lambda *delivery: held.append(delivery))
    for number in range(10):
        channel.basic_publish("", name, f"{number}")
    same(9, len(take(channel, name, 9)), "messages of the quick worker")
    connection.process_data_events()
    same(1, len(held), "messages that the busy worker holds")
    connection.close()


def fanout():
    connection = connect()
    channel = connection.channel()
    channel.confirm_delivery()
    exchange = f"{prefix}-fanout"
    channel.exchange_declare(exchange, "fanout", durable=True)
    own = []
    for _ in range(3):
        own.append(channel.queue_declare("", exclusive=True).method.queue)
        channel.queue_bind(own[-1], exchange)
    channel.basic_publish(exchange, "", "to all")
    for name in own:
        same(["to all"], take(channel, name, 1), "subscriber")
    connection.close()


def direct():
    """Messages by their type: some subscribers want one, others want all."""
    connection = connect()
    channel = connection.channel()
    channel.confirm_delivery()
    exchange = f"{prefix}-direct"
    channel.exchange_declare(exchange, "direct", durable=True)
    errors, everything = queue(channel, "errors"), queue(channel, "everything")
    channel.queue_bind(errors, exchange, "error")
    for kind in ["info", "warning", "error"]:
        channel.queue_bind(everything, exchange, kind)
    for kind in ["info", "error", "debug", "warning", "error"]:
        channel.basic_publish(exchange, kind, kind)
    same(["error", "error"], take(channel, errors, 2), "errors")
    same(["info", "error", "warning", "error"], take(channel, everything, 4), "everything")
    same(0, channel.queue_delete(everything).method.message_count, "messages that are left")
    connection.close()


def topic():
    connection = connect()
    channel = connection.channel()
    channel.confirm_delivery()
    exchange = f"{prefix}-topic"
    channel.exchange_declare(exchange, "topic", durable=True)
    many, one = queue(channel, "many"), queue(channel, "one")
    channel.queue_bind(many, exchange, "audit.#")
    channel.queue_bind(one, exchange, "audit.*")
    for key in ["audit", "audit.a", "audit.a.b", "x.a"]:
        channel.basic_publish(exchange, key, key)
    same(["audit", "audit.a", "audit.a.b"], take(channel, many, 3), "many words")
    same(["audit.a"], take(channel, one, 1), "one word")
    connection.close()


def rpc():
    """The server and the caller are on different brokers."""
    setup = connect()
    name = queue(setup.channel(), "rpc")
    setup.close()
    is_serving = threading.Event()

    def serve():
        connection = connect()
        channel = connection.channel()
        is_serving.set()
        for method, properties, body in channel.consume(name, inactivity_timeout=PATIENCE_SECONDS):
            if method is None:
                break
            answer = pika.BasicProperties(correlation_id=properties.correlation_id)
            channel.basic_publish("", properties.reply_to, f"{2 * int(body)}", answer)
            channel.basic_ack(method.delivery_tag)
            if body == b"5":
                break
        connection.close()

    server = threading.Thread(target=serve)
    server.start()
    is_serving.wait(PATIENCE_SECONDS)
    connection = connect()
    channel = connection.channel()
    answers = {}

    def on_answer(_channel, _method, properties, body):
        answers[properties.correlation_id] = body.decode()

    channel.basic_consume("amq.rabbitmq.reply-to", on_answer, auto_ack=True)
    for number in range(1, 6):
        properties = pika.BasicProperties(reply_to="amq.rabbitmq.reply-to", correlation_id=f"id-{number}")
        channel.basic_publish("", name, f"{number}", properties)

    def has_all():
        connection.process_data_events(time_limit=0.1)
        return len(answers) == 5

    scenario.wait_until("five answers", has_all)
    same({f"id-{number}": f"{2 * number}" for number in range(1, 6)}, answers, "answers")
    server.join(PATIENCE_SECONDS)
    connection.close()


def unroutable():
    connection = connect()
    channel = connection.channel()
    channel.confirm_delivery()
    try:
        channel.basic_publish("", f"{prefix}-nowhere", "x", mandatory=True)
    except pika.exceptions.UnroutableError as error:
        same(312, error.messages[0].method.reply_code, "reply code")
    else:
        raise AssertionError("a message without a route was taken")
    full = queue(channel, "full", arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    channel.basic_publish("", full, "1")
    try:
        channel.basic_publish("", full, "2")
    except pika.exceptions.NackError:
        pass
    else:
        raise AssertionError("a full queue took a message")
    connection.close()


def redelivery():
    connection = connect()
    channel = connection.channel()
    channel.confirm_delivery()
    name = queue(channel, "redelivery", arguments={"x-queue-type": "quorum"})
    channel.basic_publish("", name, "again")
    method, _, _ = channel.basic_get(name)
    same(False, method.redelivered, "redelivered")
    channel.basic_reject(method.delivery_tag, requeue=True)
    method, properties, _ = channel.basic_get(name)
    same(True, method.redelivered, "redelivered")
    same(1, properties.headers["x-delivery-count"], "delivery count")
    channel.basic_ack(method.delivery_tag)
    connection.close()


def dead_letters():
    connection = connect()
    channel = connection.channel()
    channel.confirm_delivery()
    dead = queue(channel, "dead")
    dying = queue(channel, "dying", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead})
    channel.basic_publish("", dying, "bad", pika.BasicProperties(message_id="m"))
    for method, _, _ in channel.consume(dying, inactivity_timeout=PATIENCE_SECONDS):
        channel.basic_reject(method.delivery_tag, requeue=False)
        break
    channel.cancel()
    for method, properties, body in channel.consume(dead, auto_ack=True, inactivity_timeout=PATIENCE_SECONDS):
        same(b"bad", body, "dead letter")
        same("m", properties.message_id, "message id")
        death = properties.headers["x-death"][0]
        same((dying, "rejected", 1, "", [dying]), (
            death["queue"], death["reason"], death["count"], death["exchange"], death["routing-keys"]), "death")
        same("rejected", properties.headers["x-first-death-reason"], "first death")
        break
    channel.cancel()
    connection.close()


def expiry():
    """By the queue, and by the message itself; the dead letter comes back to where the work is."""
    connection = connect()
    channel = connection.channel()
    channel.confirm_delivery()
    work = queue(channel, "expired")
    to_work = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": work}
    wait = queue(channel, "wait", arguments={"x-message-ttl": 100, **to_work})
    channel.basic_publish("", wait, "by queue")
    same(["by queue"], take(channel, work, 1), "expired")
    long_wait = queue(channel, "long-wait", arguments={"x-message-ttl": 600_000, **to_work})
    channel.basic_publish("", long_wait, "by message", pika.BasicProperties(expiration="100"))
    same(["by message"], take(channel, work, 1), "expired")
    connection.close()


def priorities():
    connection = connect()
    channel = connection.channel()
    channel.confirm_delivery()
    name = queue(channel, "priorities", arguments={"x-max-priority": 5})
    for body, priority in [("low", 1), ("high", 5), ("middle", 3), ("none", None)]:
        channel.basic_publish("", name, body, pika.BasicProperties(priority=priority))
    same(["high", "middle", "low", "none"], take(channel, name, 4), "order")
    connection.close()


def single_active_consumer():
    """The second consumer, on another broker, gets its turn when the first one leaves."""
    first, second = connect(), connect()
    channel, waiting = first.channel(), second.channel()
    channel.confirm_delivery()
    arguments = {"x-single-active-consumer": True}
    name = queue(channel, "single-active", arguments=arguments)
    one, two = [], []
    channel.basic_consume(name, lambda _c, _m, _p, body: one.append(body), auto_ack=True)
    # What one broker was told, another one knows a moment later: declaring waits for that.
    queue(waiting, "single-active", arguments=arguments)
    waiting.basic_consume(name, lambda _c, _m, _p, body: two.append(body), auto_ack=True)

    def has(bodies, count):
        for connection in (first, second):
            if connection.is_open:
                connection.process_data_events()
        return len(bodies) >= count

    for number in range(4):
        channel.basic_publish("", name, f"{number}")
    scenario.wait_until("four messages", lambda: has(one, 4))
    same(([b"0", b"1", b"2", b"3"], []), (one, two), "messages of the active one and of the other")
    first.close()
    publisher = second.channel()
    publisher.basic_publish("", name, "4")
    scenario.wait_until("the fifth message", lambda: has(two, 1))
    same([b"4"], two, "messages of the second")
    second.close()


def deduplication():
    connection = connect()
    channel = connection.channel()
    channel.confirm_delivery()
    name = queue(channel, "once", arguments={"x-message-deduplication": True})
    for message_id, body in [("a", "1"), ("b", "2"), ("a", "3"), ("c", "4")]:
        channel.basic_publish("", name, body, pika.BasicProperties(message_id=message_id))
    same(["1", "2", "4"], take(channel, name, 3), "messages")
    same(0, channel.queue_delete(name).method.message_count, "messages that are left")
    connection.close()


def refusals():
    for code, act in [
        (404, lambda channel: channel.queue_declare(f"{prefix}-missing", passive=True)),
        (403, lambda channel: channel.queue_declare("amq.mine")),
        (406, lambda channel: channel.queue_declare(f"{prefix}-simple", durable=False)),
    ]:
        connection = connect()
        try:
            act(connection.channel())
        except pika.exceptions.ChannelClosedByBroker as error:
            same(code, error.reply_code, "reply code")
        else:
            raise AssertionError(f"allowed, {code} was due")
        connection.close()


scenario.run({
    "simple": simple,
    "work": work,
    "fanout": fanout,
    "direct": direct,
    "topic": topic,
    "rpc": rpc,
    "unroutable": unroutable,
    "redelivery": redelivery,
    "dead-letters": dead_letters,
    "expiry": expiry,
    "priorities": priorities,
    "single-active-consumer": single_active_consumer,
    "deduplication": deduplication,
    "refusals": refusals,
})
