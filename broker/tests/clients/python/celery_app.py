"""Tasks of a Celery application, for celery_client.py and the workers that it starts.

Owns the application and its settings; the brokers, the prefix of all names and the type of the queues stand in
CELERY_TEST_BROKERS (HOST:PORT,...), CELERY_TEST_PREFIX and CELERY_TEST_QUEUE_TYPE (classic or quorum).
"""

import os
import time

from celery import Celery
from kombu import Exchange, Queue

prefix = os.environ["CELERY_TEST_PREFIX"]
queue_type = os.environ["CELERY_TEST_QUEUE_TYPE"]
name = f"{prefix}-{queue_type}"

app = Celery(name, backend="rpc://", broker=";".join(
    f"amqp://guest:guest@{broker}//" for broker in os.environ["CELERY_TEST_BROKERS"].split(",")))
app.conf.update(
    broker_transport_options={"confirm_publish": True},
    broker_connection_retry_on_startup=True,
    broker_heartbeat=4,
    task_default_queue=name,
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    worker_send_task_events=True,
    task_send_sent_event=True,
    result_expires=60,
    worker_enable_remote_control=True,
)
if queue_type == "quorum":
    # What Celery's manual says for quorum queues; a topic exchange lets tasks with an ETA wait in the broker.
    app.conf.update(
        task_default_queue_type="quorum",
        task_default_exchange_type="topic",
        task_default_exchange=name,
    )
else:
    app.conf.task_queues = [
        Queue(name, Exchange(name), routing_key=name, max_priority=5),
        Queue(f"{name}-other", Exchange(name), routing_key=f"{name}-other"),
    ]
    app.conf.task_default_exchange = name
    app.conf.task_default_routing_key = name


@app.task(name="add")
def add(first, second):
    return first + second


@app.task(name="fail")
def fail(text):
    raise ValueError(text)


@app.task(name="third_try", bind=True, max_retries=3)
def third_try(self):
    """Succeeds when it is tried the third time."""
    if self.request.retries < 2:
        raise self.retry(countdown=1)
    return self.request.retries


@app.task(name="when")
def when():
    return time.time()


@app.task(name="slow")
def slow(seconds):
    time.sleep(seconds)
    return os.getppid()


@app.task(name="large")
def large(text):
    return text
