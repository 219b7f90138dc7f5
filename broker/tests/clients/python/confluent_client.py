"""confluent-kafka: the newest librdkafka that the package registry has."""

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic, OffsetSpec, ResourceType,
)

import scenario
from scenario import COMPRESSIONS, KEPT, PATIENCE_SECONDS, RECORDS, record, same, wait_until

bootstrap, prefix = scenario.arguments()
admin = AdminClient({"bootstrap.servers": bootstrap})


def done(futures):
    return {name: future.result(PATIENCE_SECONDS) for name, future in futures.items()}


def topic(name, **configs):
    name = f"{prefix}-{name}"
    configs = {**KEPT, **configs}
    done(admin.create_topics([NewTopic(name, 1, -1, config=configs)], request_timeout=PATIENCE_SECONDS))
    led = lambda: (found := admin.list_topics(name, 5).topics[name].partitions) and found[0].leader > 0
    wait_until(f"leader of {name}", led)
    return name


def produce(name, count, **settings):
    failures = []
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5, **{k.replace("_", "."): v for k, v in settings.items()}})
    for number in range(count):
        key, value, timestamp, headers = record(number)
        producer.produce(name, value, key, 0, timestamp=timestamp, headers=headers,
                         on_delivery=lambda error, _: failures.append(error) if error else None)
    same(0, producer.flush(PATIENCE_SECONDS), "undelivered")
    same([], failures, "failures")


def consume(name, start, count):
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "unused", "enable.auto.commit": False, "fetch.wait.max.ms": 100})
    consumer.assign([TopicPartition(name, 0, start)])
    messages = []
    while len(messages) < count:
        message = consumer.poll(PATIENCE_SECONDS)
        if message is None or message.error():
            raise AssertionError(f"after {len(messages)} records: {message and message.error()}")
        messages.append(message)
    consumer.close()
    return messages


def verify(message, number):
    key, value, timestamp, headers = record(number)
    same(number, message.offset(), "offset")
    same((key, value, timestamp, headers),
         (message.key(), message.value(), message.timestamp()[1], message.headers()), f"record {number}")


def compressions():
    for compression in COMPRESSIONS:
        name = topic(compression)
        produce(name, RECORDS, compression_type=compression)
        for number, message in enumerate(consume(name, 0, RECORDS)):
            verify(message, number)
        verify(consume(name, 17, 1)[0], 17)


def idempotent():
    name = topic("idempotent")
    produce(name, RECORDS, enable_idempotence=True)
    verify(consume(name, 0, RECORDS)[-1], RECORDS - 1)


def administration():
    name = topic("admin", **{"segment.ms": "86400000"})
    resource = lambda: ConfigResource(ResourceType.TOPIC, name)
    describe = lambda: list(done(admin.describe_configs([resource()])).values())[0]
    same("86400000", describe()["segment.ms"].value, "segment.ms")
    change = ConfigResource(ResourceType.TOPIC, name, incremental_configs=[
        ConfigEntry("max.message.bytes", "70000", incremental_operation=AlterConfigOpType.SET)])
    done(admin.incremental_alter_configs([change]))
    wait_until("max.message.bytes", lambda: describe()["max.message.bytes"].value == "70000")
    done(admin.create_partitions([NewPartitions(name, 3)]))
    wait_until("partitions", lambda: len(admin.list_topics(name, 5).topics[name].partitions) == 3)
    same(len(bootstrap.split(",")), len(admin.describe_cluster().result(PATIENCE_SECONDS).nodes), "brokers")
    produce(name, RECORDS)
    done(admin.delete_records([TopicPartition(name, 0, 10)]))
    at = TopicPartition(name, 0)
    same(10, done(admin.list_offsets({at: OffsetSpec.earliest()}))[at].offset, "earliest")
    same(RECORDS, done(admin.list_offsets({at: OffsetSpec.latest()}))[at].offset, "latest")
    same(RECORDS - 1, done(admin.list_offsets({at: OffsetSpec.max_timestamp()}))[at].offset, "newest time")
    done(admin.delete_topics([name]))
    wait_until("deletion", lambda: name not in admin.list_topics(timeout=5).topics)


def refusals():
    name = topic("refusals")
    for wrong, code in [(NewTopic(name, 1), "TOPIC_ALREADY_EXISTS"), (NewTopic("a b", 1), "TOPIC_EXCEPTION"),
                        (NewTopic(f"{prefix}-wide", 1, 30), "INVALID_REPLICATION_FACTOR")]:
        try:
            done(admin.create_topics([wrong]))
            raise AssertionError(f"{wrong} was created")
        except KafkaException as error:
            same(code, error.args[0].name(), "code")


scenario.run({"compressions": compressions, "idempotent": idempotent, "administration": administration, "refusals": refusals})
