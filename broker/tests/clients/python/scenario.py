"""What every Python client must find, and the small harness that runs it.

A client's program gives `run` its steps; each is a function of no arguments that raises when a promise is
broken. Usage of each program: PROGRAM BOOTSTRAP PREFIX. Knows no client.
"""

import sys
import time
import traceback

RECORDS = 30
BASE_TIME_MS = 1_700_000_000_000
COMPRESSIONS = ["none", "gzip", "snappy", "lz4", "zstd"]
PATIENCE_SECONDS = 30
# The records are old: retention by time would delete them.
KEPT = {"retention.ms": "-1"}


def arguments():
    """BOOTSTRAP and PREFIX."""
    return sys.argv[1], sys.argv[2]


def record(number):
    """Key, value, timestamp and headers of a record: some have no key, others no value."""
    key = None if number % 3 == 0 else b"key %d" % number
    value = None if number % 7 == 5 and key else b"value %d " % number * 20
    headers = [("number", b"%d" % number), ("empty", b""), ("number", b"again")]
    return key, value, BASE_TIME_MS + number, headers


def same(expected, actual, what):
    """Compares."""
    if expected != actual:
        raise AssertionError(f"{what}: expected {expected!r}, got {actual!r}")


def wait_until(what, condition):
    """Looks again and again until it holds."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: it did not happen")
        time.sleep(0.05)


def run(steps):
    """Runs the steps in order; ends the process with 1 at the first that fails."""
    for name, step in steps.items():
        start = time.monotonic()
        try:
            step()
        except BaseException:
            print(f"FAILED: {name}", flush=True)
            traceback.print_exc()
            sys.exit(1)
        print(f"ok {name} {int((time.monotonic() - start) * 1000)} ms", flush=True)
