"""kafka-python: a client of its own, in Python alone."""

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewPartitions, NewTopic
from kafka.errors import InvalidTopicError, TopicAlreadyExistsError

import scenario
from scenario import COMPRESSIONS, KEPT, PATIENCE_SECONDS, RECORDS, record, same, wait_until

bootstrap, prefix = scenario.arguments()
servers = bootstrap.split(",")
admin = KafkaAdminClient(bootstrap_servers=servers)


def partitions_led(name):
    found = [topic for topic in admin.describe_topics([name]) if topic.get("partitions")]
    return found and all(partition["leader_id"] > 0 for partition in found[0]["partitions"]) and len(found[0]["partitions"])


def topic(name):
    name = f"{prefix}-{name}"
    admin.create_topics([NewTopic(name, 1, -1, topic_configs=KEPT)])
    wait_until(f"leader of {name}", lambda: partitions_led(name))
    return name


def produce(name, count, **settings):
    producer = KafkaProducer(bootstrap_servers=servers, linger_ms=5, **settings)
    sent = []
    for number in range(count):
        key, value, timestamp, headers = record(number)
        sent.append(producer.send(name, value, key, headers, 0, timestamp))
    producer.flush(PATIENCE_SECONDS)
    for number, future in enumerate(sent):
        same(number, future.get(PATIENCE_SECONDS).offset, "offset told")
    producer.close()


def consume(name, start, count):
    consumer = KafkaConsumer(bootstrap_servers=servers, consumer_timeout_ms=PATIENCE_SECONDS * 1000, fetch_max_wait_ms=100)
    partition = TopicPartition(name, 0)
    consumer.assign([partition])
    consumer.seek(partition, start)
    messages = [message for _, message in zip(range(count), consumer)]
    same(count, len(messages), "records")
    consumer.close()
    return messages


def verify(message, number):
    key, value, timestamp, headers = record(number)
    same(number, message.offset, "offset")
    same((key, value, timestamp, headers),
         (message.key, message.value, message.timestamp, [tuple(header) for header in message.headers]), f"record {number}")


def compressions():
    for compression in COMPRESSIONS:
        name = topic(compression)
        produce(name, RECORDS, compression_type=None if compression == "none" else compression)
        for number, message in enumerate(consume(name, 0, RECORDS)):
            verify(message, number)
        verify(consume(name, 17, 1)[0], 17)


def acks():
    for acks in [1, "all"]:
        produce(topic(f"acks-{acks}"), RECORDS, acks=acks, enable_idempotence=False)


def offsets():
    name = topic("offsets")
    produce(name, RECORDS)
    consumer = KafkaConsumer(bootstrap_servers=servers)
    partition = TopicPartition(name, 0)
    same({partition: 0}, consumer.beginning_offsets([partition]), "beginning")
    same({partition: RECORDS}, consumer.end_offsets([partition]), "end")
    found = consumer.offsets_for_times({partition: record(17)[2]})[partition]
    same((17, record(17)[2]), (found.offset, found.timestamp), "offset for a time")
    consumer.close()


def administration():
    name = topic("admin")
    wait_until("listed", lambda: name in admin.list_topics())
    admin.create_partitions({name: NewPartitions(3)})
    wait_until("partitions", lambda: partitions_led(name) == 3)
    for wrong, kind in [(name, TopicAlreadyExistsError), ("a b", InvalidTopicError)]:
        try:
            admin.create_topics([NewTopic(wrong, 1, -1)])
            raise AssertionError(f"{wrong} was created")
        except kind:
            pass
    admin.delete_topics([name])
    wait_until("deletion", lambda: name not in admin.list_topics())


scenario.run({"compressions": compressions, "acks": acks, "offsets": offsets, "administration": administration})
