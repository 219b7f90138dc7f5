"""pika through the death of a queue's leader: nothing that was confirmed is lost, nothing comes twice.

Usage: PROGRAM HOST:PORT,HOST:PORT QUEUE. Publishes at the first broker and consumes at the second one; neither leads
the queue, which must be there and deduplicate. Prints "sent N" and goes on; whoever reads that line kills the leader and
then writes a line to stdin. What is nacked is published again under its id. Prints "lost L duplicated D of N".
"""

import collections
import sys
import threading
import time

import pika
import pika.exceptions

import scenario

BEFORE, AFTER = 200, 200
brokers, queue = scenario.arguments()
at_publisher, at_consumer = brokers.split(",")


def connect(endpoint):
    host, port = endpoint.rsplit(":", 1)
    credentials = pika.PlainCredentials("guest", "guest")
    return pika.BlockingConnection(pika.ConnectionParameters(host, int(port), credentials=credentials, heartbeat=10))


def wait_for_kill():
    sys.stdin.readline()
    is_killed.set()


def consume():
    connection = connect(at_consumer)
    channel = connection.channel()
    for method, _, body in channel.consume(queue, inactivity_timeout=scenario.PATIENCE_SECONDS):
        if method is None or body == b"end":
            break
        taken[int(body)] += 1
        channel.basic_ack(method.delivery_tag)
    connection.close()


def publish(body):
    properties = pika.BasicProperties(message_id=body, delivery_mode=2)
    deadline = time.monotonic() + scenario.PATIENCE_SECONDS
    while True:
        try:
            channel.basic_publish("", queue, body, properties)
            return
        except pika.exceptions.NackError:
            if time.monotonic() > deadline:
                raise


taken = collections.Counter()
is_killed = threading.Event()
threading.Thread(target=wait_for_kill, daemon=True).start()
consumer = threading.Thread(target=consume)
consumer.start()
connection = connect(at_publisher)
channel = connection.channel()
channel.confirm_delivery()
sent, last = 0, None
longest_gap, confirmed_at = 0, time.monotonic()
while last is None or sent < last:
    publish(f"{sent}")
    sent += 1
    longest_gap, confirmed_at = max(longest_gap, time.monotonic() - confirmed_at), time.monotonic()
    if sent == BEFORE:
        print(f"sent {sent}", flush=True)
    if last is None and is_killed.is_set():
        last = sent + AFTER
publish("end")
connection.close()
consumer.join()
lost = sum(1 for number in range(sent) if taken[number] == 0)
duplicated = sum(1 for count in taken.values() if count > 1)
print(f"lost {lost} duplicated {duplicated} of {sent}, longest time without a confirm {longest_gap * 1000:.0f} ms", flush=True)
sys.exit(0 if lost + duplicated == 0 else 1)
