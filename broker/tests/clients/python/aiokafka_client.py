"""aiokafka: asyncio, with a codec of its own."""

import asyncio

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

import scenario
from scenario import COMPRESSIONS, KEPT, PATIENCE_SECONDS, RECORDS, record, same

bootstrap, prefix = scenario.arguments()


async def topic(admin, name):
    name = f"{prefix}-{name}"
    await admin.create_topics([NewTopic(name, 1, min(3, len(bootstrap.split(","))), topic_configs=KEPT)])
    for _ in range(200):
        found = [one for one in await admin.describe_topics([name]) if one["partitions"]]
        if found and found[0]["partitions"][0]["leader"] > 0:
            return name
        await asyncio.sleep(0.05)
    raise AssertionError(f"no leader of {name}")


async def produce(name, **settings):
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, linger_ms=5, **settings)
    await producer.start()
    sent = []
    for number in range(RECORDS):
        key, value, timestamp, headers = record(number)
        sent.append(await producer.send(name, value, key, 0, timestamp, headers))
    for number, future in enumerate(sent):
        same(number, (await asyncio.wait_for(future, PATIENCE_SECONDS)).offset, "offset told")
    await producer.stop()


async def consume(name):
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=None, fetch_max_wait_ms=100)
    await consumer.start()
    partition = TopicPartition(name, 0)
    consumer.assign([partition])
    await consumer.seek_to_beginning(partition)
    for number in range(RECORDS):
        message = await asyncio.wait_for(consumer.getone(), PATIENCE_SECONDS)
        key, value, timestamp, headers = record(number)
        same((key, value, timestamp, headers),
             (message.key, message.value, message.timestamp, [tuple(one) for one in message.headers]), f"record {number}")
    same({partition: RECORDS}, await consumer.end_offsets([partition]), "end")
    found = (await consumer.offsets_for_times({partition: record(17)[2]}))[partition]
    same(17, found.offset, "offset for a time")
    consumer.seek(partition, 17)
    same(17, (await asyncio.wait_for(consumer.getone(), PATIENCE_SECONDS)).offset, "offset after seek")
    await consumer.stop()


async def compressions():
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    for compression in COMPRESSIONS:
        name = await topic(admin, compression)
        await produce(name, compression_type=None if compression == "none" else compression)
        await consume(name)
    await admin.close()


async def idempotent():
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    name = await topic(admin, "idempotent")
    await produce(name, enable_idempotence=True)
    await consume(name)
    await admin.delete_topics([name])
    await admin.close()


scenario.run({"compressions": lambda: asyncio.run(compressions()), "idempotent": lambda: asyncio.run(idempotent())})
