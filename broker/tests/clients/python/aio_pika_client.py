"""aio-pika: RabbitMQ's client for asyncio, on aiormq; also its recovery and its patterns.

Usage: PROGRAM HOST:PORT,... PREFIX. The brokers are any that speak AMQP 0-9-1; steps go round them.
"""

import asyncio
import contextlib
import itertools
import logging

import aio_pika
from aio_pika import DeliveryMode, ExchangeType, Message
from aio_pika.exceptions import ChannelNotFoundEntity, ChannelPreconditionFailed, DeliveryError, PublishError
from aio_pika.patterns import RPC, Master
from aiormq.exceptions import ChannelAccessRefused

import scenario
from scenario import PATIENCE_SECONDS, same

brokers, prefix = scenario.arguments()
endpoints = itertools.cycle(brokers.split(","))
# It logs each channel that the broker closes, which is what steps ask for.
logging.disable(logging.CRITICAL)


def connect(**parameters):
    return aio_pika.connect_robust(f"amqp://guest:guest@{next(endpoints)}/", timeout=PATIENCE_SECONDS, **parameters)


def body(text):
    return Message(text.encode(), delivery_mode=DeliveryMode.PERSISTENT)


async def publish(exchange, key, *texts, **properties):
    for text in texts:
        await exchange.publish(Message(text.encode(), **properties), key)


async def queue(channel, name, **arguments):
    return await channel.declare_queue(f"{prefix}-{name}", durable=True, **arguments)


async def take(source, count):
    """Bodies of the next messages, acknowledged."""
    bodies = []
    async with source.iterator(timeout=PATIENCE_SECONDS) as messages:
        async for message in messages:
            async with message.process():
                bodies.append(message.body.decode())
            if len(bodies) == count:
                return bodies


async def simple():
    async with await connect() as connection:
        channel = await connection.channel()
        source = await queue(channel, "simple")
        for number in range(50):
            await channel.default_exchange.publish(body(f"{number}"), source.name)
        same([f"{number}" for number in range(50)], await take(source, 50), "messages")
        await source.delete()


async def work():
    async with await connect() as connection:
        channel, busy, quick = [await connection.channel() for _ in range(3)]
        source = await queue(channel, "work")
        await busy.set_qos(prefetch_count=1)
        await quick.set_qos(prefetch_count=4)
        held = []
        await (await busy.get_queue(source.name)).consume(held.append)
        await publish(channel.default_exchange, source.name, *(f"{number}" for number in range(10)))
        same(9, len(await take(await quick.get_queue(source.name), 9)), "messages of the quick worker")
        same(1, len(held), "messages that the busy worker holds")


async def routing():
    """The types of exchanges, and a binding between two."""
    async with await connect() as connection:
        channel = await connection.channel()
        source = await queue(channel, "routing")
        for kind, key, other, arguments in [
            (ExchangeType.DIRECT, "error", "info", None),
            (ExchangeType.FANOUT, "any", None, None),
            (ExchangeType.TOPIC, "audit.a", "audit", None),
        ]:
            exchange = await channel.declare_exchange(f"{prefix}-{kind.value}", kind, durable=True)
            await source.bind(exchange, "audit.*" if kind is ExchangeType.TOPIC else key, arguments=arguments)
            for one in filter(None, [other, key]):
                await publish(exchange, one, one)
            same([key], await take(source, 1), kind.value)
        headers = await channel.declare_exchange(f"{prefix}-headers", ExchangeType.HEADERS)
        await source.bind(headers, arguments={"x-match": "all", "format": "pdf", "pages": 3})
        await publish(headers, "", "no", headers={"format": "pdf", "pages": 4})
        await publish(headers, "", "yes", headers={"format": "pdf", "pages": 3, "more": True})
        same(["yes"], await take(source, 1), "headers")
        upstream = await channel.declare_exchange(f"{prefix}-upstream", ExchangeType.FANOUT, auto_delete=True)
        await headers.bind(upstream)
        await publish(upstream, "", "through", headers={"format": "pdf", "pages": 3})
        same(["through"], await take(source, 1), "from exchange to exchange")
        await headers.unbind(upstream)
        same(0, (await source.delete()).message_count, "messages left")


async def confirms():
    async with await connect() as connection:
        channel = await connection.channel(on_return_raises=True)
        source = await queue(channel, "confirms")
        exchange = channel.default_exchange
        await asyncio.gather(*(exchange.publish(body(f"{number}"), source.name) for number in range(200)))
        same(200, (await source.declare()).message_count, "messages")
        same(200, (await source.purge()).message_count, "messages purged")
        try:
            await exchange.publish(body("x"), f"{prefix}-nowhere")
        except PublishError as error:
            same(312, error.message.delivery.reply_code, "reply code")
        else:
            raise AssertionError("a message without a route was taken")
        full = await queue(channel, "full", arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
        await exchange.publish(body("1"), full.name)
        try:
            await exchange.publish(body("2"), full.name)
        except DeliveryError as error:
            same("Basic.Nack", error.frame.name, "outcome")
        else:
            raise AssertionError("a full queue took a message")


async def redelivery():
    async with await connect() as connection:
        channel = await connection.channel()
        source = await queue(channel, "redelivery", arguments={"x-queue-type": "quorum"})
        await channel.default_exchange.publish(body("again"), source.name)
        message = await source.get()
        same(False, message.redelivered, "redelivered")
        await message.reject(requeue=True)
        message = await source.get()
        same((True, 1), (message.redelivered, message.headers["x-delivery-count"]), "redelivered")
        await message.nack(requeue=True)
        try:
            async with (await source.get()).process(requeue=True):
                raise ValueError("the consumer failed")
        except ValueError:
            pass
        await (await source.get()).ack()
        same(None, await source.get(fail=False), "message")


async def dead_letters():
    async with await connect() as connection:
        channel = await connection.channel()
        dead = await queue(channel, "dead")
        dying = await queue(channel, "dying", arguments={
            "x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead.name, "x-message-ttl": 100})
        await publish(channel.default_exchange, dying.name, "rejected")
        await (await dying.get()).reject(requeue=False)
        await publish(channel.default_exchange, dying.name, "expired")
        async with dead.iterator(timeout=PATIENCE_SECONDS) as letters:
            for reason in ["rejected", "expired"]:
                letter = await anext(letters)
                await letter.ack()
                death = letter.headers["x-death"][0]
                same((reason, reason, 1, dying.name), (
                    letter.body.decode(), death["reason"], death["count"], death["queue"]), "dead letter")


async def priorities():
    async with await connect() as connection:
        channel = await connection.channel()
        source = await queue(channel, "priorities", arguments={"x-max-priority": 10})
        for priority in [1, 9, 5]:
            await publish(channel.default_exchange, source.name, f"{priority}", priority=priority)
        same("9", (await source.get(no_ack=True)).body.decode(), "the most urgent message")
        await source.delete(if_empty=False)


async def own_queues():
    """Server-named, exclusive and auto-delete."""
    async with await connect() as connection:
        channel = await connection.channel()
        own = await channel.declare_queue(exclusive=True)
        # The client makes the name up; the broker would only do so beneath this interface.
        assert own.name.startswith("amq_"), own.name
        underlay = await channel.get_underlay_channel()
        named = (await underlay.queue_declare("", exclusive=True)).queue
        assert named.startswith("amq.gen-"), named
        temporary = await queue(channel, "temporary", auto_delete=True)
        tag = await temporary.consume(lambda _: None)
        await temporary.cancel(tag)
        try:
            # A robust channel remembers its own queues, and would not ask.
            await (await connection.channel()).get_queue(temporary.name)
        except ChannelNotFoundEntity:
            pass
        else:
            raise AssertionError("a queue outlived its last consumer")


async def refusals():
    async with await connect() as connection:
        channel = await connection.channel()
        await queue(channel, "refusals")
        is_open = asyncio.Event()
        channel.reopen_callbacks.add(lambda *_: is_open.set())
        for refusal, act in [
            (ChannelNotFoundEntity, lambda: channel.declare_queue(f"{prefix}-missing", passive=True)),
            (ChannelNotFoundEntity, lambda: channel.get_exchange(f"{prefix}-missing")),
            (ChannelAccessRefused, lambda: channel.declare_queue("amq.mine")),
            (ChannelPreconditionFailed, lambda: channel.declare_queue(f"{prefix}-refusals", durable=False)),
        ]:
            try:
                await act()
            except refusal:
                pass
            else:
                raise AssertionError(f"allowed, {refusal.__name__} was due")
            # A robust channel opens itself again, under its old number.
            await asyncio.wait_for(is_open.wait(), PATIENCE_SECONDS)
            is_open.clear()
            await (await channel.get_underlay_channel()).queue_declare(f"{prefix}-refusals", passive=True)


class Relay:
    """Passes bytes on to the next broker; `cut` breaks what is open, not what comes after."""

    def __init__(self):
        self.writers = []

    async def start(self):
        self.server = await asyncio.start_server(self.join, "127.0.0.1")
        return self.server.sockets[0].getsockname()[1]

    async def join(self, *client):
        broker = await asyncio.open_connection(*next(endpoints).rsplit(":", 1))
        self.writers += [client[1], broker[1]]
        await asyncio.gather(self.copy(client[0], broker[1]), self.copy(broker[0], client[1]))

    @staticmethod
    async def copy(reader, writer):
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.close()

    def cut(self):
        for writer in self.writers:
            writer.transport.abort()


async def recovery():
    """The connection breaks; the channel, the exclusive queue, its binding and its consumer come back elsewhere."""
    relay = Relay()
    url = f"amqp://guest:guest@127.0.0.1:{await relay.start()}/"
    async with await aio_pika.connect_robust(url, reconnect_interval=0.1) as connection:
        channel = await connection.channel()
        exchange = await channel.declare_exchange(f"{prefix}-recovery", ExchangeType.FANOUT, auto_delete=True)
        own = await channel.declare_queue(f"{prefix}-own", exclusive=True)
        await own.bind(exchange)
        bodies = asyncio.Queue()
        await own.consume(lambda message: bodies.put(message.body), no_ack=True)
        await exchange.publish(body("before"), "")
        same(b"before", await asyncio.wait_for(bodies.get(), PATIENCE_SECONDS), "message")
        back = asyncio.Event()
        connection.reconnect_callbacks.add(lambda *_: back.set())
        relay.cut()
        await asyncio.wait_for(back.wait(), PATIENCE_SECONDS)
        await asyncio.wait_for(channel.ready(), PATIENCE_SECONDS)
        await exchange.publish(body("after"), "")
        same(b"after", await asyncio.wait_for(bodies.get(), PATIENCE_SECONDS), "message")


async def heartbeats():
    """More than two intervals pass without a word from either side."""
    async with await connect(heartbeat=1) as connection:
        channel = await connection.channel()
        is_broken = asyncio.Event()
        connection.close_callbacks.add(lambda *_: is_broken.set())
        try:
            await asyncio.wait_for(is_broken.wait(), 4)
        except asyncio.TimeoutError:
            await channel.declare_queue(exclusive=True)
        else:
            raise AssertionError("an idle connection broke")


async def double(*, number):
    if number < 0:
        raise ValueError("negative")
    return 2 * number


async def rpc():
    """Its pattern: answers in an auto-delete queue, late calls as dead letters of a headers exchange."""
    async with await connect() as connection:
        calls = await RPC.create(await connection.channel())
        await calls.register(f"{prefix}-double", double, auto_delete=True)
        answers = [calls.call(f"{prefix}-double", {"number": number}) for number in range(20)]
        same([2 * number for number in range(20)], await asyncio.gather(*answers), "answers")
        try:
            await calls.call(f"{prefix}-double", {"number": -1})
        except ValueError as error:
            same("negative", str(error), "error")
        else:
            raise AssertionError("the call was answered")
        unserved = await queue(await connection.channel(), "unserved", arguments={"x-dead-letter-exchange": RPC.DLX_NAME})
        try:
            await asyncio.wait_for(calls.call(unserved.name, expiration=1), PATIENCE_SECONDS)
        except asyncio.TimeoutError as error:
            same("Message timed-out", error.args[0], "the call's end")
        await calls.close()


async def tasks():
    """Its pattern of masters and workers."""
    async with await connect() as connection:
        master = Master(await connection.channel())
        done = asyncio.Queue()

        async def work_on(*, number):
            await done.put(number)

        worker = await master.create_worker(f"{prefix}-tasks", work_on, durable=True)
        for number in range(10):
            await master.create_task(f"{prefix}-tasks", {"number": number})
        same(list(range(10)), [await asyncio.wait_for(done.get(), PATIENCE_SECONDS) for _ in range(10)], "tasks")
        await worker.close()


def run_in_loop(step):
    return lambda: asyncio.run(step())


scenario.run({name: run_in_loop(step) for name, step in {
    "simple": simple,
    "work": work,
    "routing": routing,
    "confirms": confirms,
    "redelivery": redelivery,
    "dead-letters": dead_letters,
    "priorities": priorities,
    "own-queues": own_queues,
    "refusals": refusals,
    "recovery": recovery,
    "heartbeats": heartbeats,
    "rpc": rpc,
    "tasks": tasks,
}.items()})
