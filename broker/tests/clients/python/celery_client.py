"""Celery: its workers, results, retries, remote control and events, over kombu and py-amqp.

Usage: PROGRAM HOST:PORT,... PREFIX. The brokers are any that speak AMQP 0-9-1. Each worker is a process of
its own; the steps run once with classic queues and once with quorum queues.
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import scenario
from scenario import PATIENCE_SECONDS, same

HERE = Path(__file__).parent
brokers, prefix = scenario.arguments()
queue_type = sys.argv[3] if len(sys.argv) > 3 else None


@contextlib.contextmanager
def worker(name, *arguments):
    """A worker that answers; what it said is shown if a step fails."""
    command = [sys.executable, "-m", "celery", "-A", "celery_app", "worker", "--hostname", f"{name}@%h",
               "--loglevel", "INFO", "--concurrency", "2", *arguments]
    log = tempfile.TemporaryFile("w+")
    process = subprocess.Popen(command, cwd=HERE, stdout=log, stderr=log, start_new_session=True)
    try:
        scenario.wait_until(f"worker {name}", lambda: process.poll() is None and [
            node for node in app.control.ping(timeout=0.5) if next(iter(node)).startswith(f"{name}@")])
        yield process
    except BaseException:
        log.seek(0)
        print("".join(log.readlines()[-60:]), file=sys.stderr)
        raise
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                raise


def get(result):
    return result.get(timeout=PATIENCE_SECONDS)


def results():
    same([2 * number for number in range(30)], [
        get(one) for one in [celery_app.add.delay(number, number) for number in range(30)]], "results")
    try:
        get(celery_app.fail.delay("on purpose"))
    except ValueError as error:
        same("on purpose", str(error), "error")
    else:
        raise AssertionError("a task that fails succeeded")
    text = "0123456789" * 50_000
    same(text, get(celery_app.large.delay(text)), "a result of several frames")


def chains():
    chained = celery_app.add.s(1, 2) | celery_app.add.s(3) | celery_app.add.s(4)
    same(10, get(chained.apply_async()), "a chain's result")
    grouped = celery.group(celery_app.add.s(number, 1) for number in range(5))
    same([1, 2, 3, 4, 5], get(grouped.apply_async()), "a group's results")


def retries():
    same(2, get(celery_app.third_try.delay()), "retries")


def times():
    """More tasks wait for their time than the worker may hold; one is too late."""
    start = time.time()
    waiting = [celery_app.when.apply_async(countdown=3) for _ in range(3)]
    for one in waiting:
        assert get(one) >= start + 3, "a task ran before its time"
    expired = celery_app.when.apply_async(countdown=3, expires=1)
    try:
        get(expired)
    except celery.exceptions.TaskRevokedError:
        pass
    else:
        raise AssertionError("an expired task ran")


def queues():
    """Several queues of one worker, and priorities."""
    other = f"{celery_app.name}-other"
    same(3, get(celery_app.add.apply_async((1, 2), queue=other, routing_key=other)), "result by another queue")
    same(3, get(celery_app.add.apply_async((1, 2), priority=5)), "result of an urgent task")


def control():
    """Remote control: a fanout exchange, and answers in a queue that expires."""
    inspect = app.control.inspect(timeout=2)
    found = [queue["name"] for queues in inspect.active_queues().values() for queue in queues]
    assert celery_app.name in found, found
    assert "add" in next(iter(inspect.registered().values()))
    same([{"ok": "new rate limit set successfully"}], [
        next(iter(node.values())) for node in app.control.rate_limit("add", "1000/s", reply=True, timeout=2)], "answers")
    revoked = celery_app.slow.apply_async((20,), countdown=2)
    app.control.revoke(revoked.id, reply=True, timeout=2)
    try:
        get(revoked)
    except celery.exceptions.TaskRevokedError:
        pass
    else:
        raise AssertionError("a revoked task ran")


def events():
    """Events: a topic exchange and a queue of the receiver's own."""
    seen, is_there, is_over = [], threading.Event(), threading.Event()

    def capture():
        with app.connection() as connection:
            receiver = app.events.Receiver(connection, handlers={
                "task-received": seen.append, "task-succeeded": seen.append, "worker-heartbeat": lambda _: is_there.set()})
            for _ in receiver.itercapture(limit=None, timeout=PATIENCE_SECONDS, wakeup=True):
                if is_over.is_set():
                    return

    capturing = threading.Thread(target=capture)
    capturing.start()
    assert is_there.wait(PATIENCE_SECONDS), "no worker was heard"
    result = celery_app.add.delay(1, 1)
    same(2, get(result), "result")
    scenario.wait_until("events of the task", lambda: {"task-received", "task-succeeded"} <= {
        event["type"] for event in seen if event["uuid"] == result.id})
    is_over.set()
    capturing.join(PATIENCE_SECONDS)


def loss_of_a_worker():
    """Both processes of a worker die with a task in their hands: another worker is given it."""
    with worker("lost") as lost:
        app.control.cancel_consumer(celery_app.name, destination=[node for node in nodes() if node.startswith("first@")],
                                    reply=True, timeout=5)
        held = celery_app.slow.delay(3)
        scenario.wait_until("the task to start", lambda: any(
            one["id"] == held.id for tasks in (app.control.inspect(timeout=1).active() or {}).values() for one in tasks))
        os.killpg(lost.pid, signal.SIGKILL)
        lost.wait()
    app.control.add_consumer(celery_app.name, reply=True, timeout=5)
    assert get(held) != lost.pid, "the dead worker answered"


def nodes():
    return [node for answer in app.control.ping(timeout=2) for node in answer]


def shutdown(first):
    app.control.broadcast("shutdown")
    same(0, first.wait(PATIENCE_SECONDS), "exit code")


def run_all():
    steps = {"results": results, "chains": chains, "retries": retries, "times": times}
    if queue_type == "classic":
        steps["queues"] = queues
    steps.update({"control": control, "events": events, "loss-of-a-worker": loss_of_a_worker})
    with worker("first") as first:
        scenario.run({f"{name}-{queue_type}": step for name, step in
                      {**steps, "shutdown": lambda: shutdown(first)}.items()})


if queue_type is None:
    # An application has one configuration for a process.
    for one in ["classic", "quorum"]:
        subprocess.run([sys.executable, __file__, brokers, prefix, one], check=True)
else:
    os.environ.update(CELERY_TEST_BROKERS=brokers, CELERY_TEST_PREFIX=prefix, CELERY_TEST_QUEUE_TYPE=queue_type)
    import celery
    import celery_app
    from celery_app import app

    run_all()
