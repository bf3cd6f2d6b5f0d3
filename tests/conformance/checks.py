"""What the Python programs of this folder share: arguments, names, and one line per check.

`ok NAME`, `not ok NAME: reason` and `skip NAME: reason` are what `cargo xtask test` counts. A
program ends with exit code 0 when it went through to its end, whatever the checks said.
"""

import argparse
import signal
import sys
import time
import uuid

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
CHECK_SECONDS = 40


class Skip(Exception):
    """Raised by a check that cannot apply here; the message says why."""


def arguments(*more):
    parser = argparse.ArgumentParser()
    parser.add_argument("--bootstrap", required=True)
    for name in more:
        parser.add_argument(name)
    return parser.parse_args()


def unique(name):
    """A name that no earlier run on the same broker has used."""
    return f"{name}-{uuid.uuid4().hex[:8]}"


def expect(condition, message):
    if not condition:
        raise AssertionError(message)


def expect_equal(got, wanted, what):
    expect(got == wanted, f"{what}: got {shorten(got)}, wanted {shorten(wanted)}")


def shorten(value):
    text = repr(value)
    return text if len(text) <= 300 else text[:300] + "…"


def wait_for(condition, seconds, what):
    """Polls until `condition` returns something true, and returns that."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"{what} not within {seconds} s")


def report(name, error):
    if error is None:
        print(f"ok {name}", flush=True)
    elif isinstance(error, Skip):
        print(f"skip {name}: {error}", flush=True)
    else:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        print(f"not ok {name}: {reason[:600]}", flush=True)


def run(checks):
    """Runs (name, function) pairs in order; each ends by an alarm at the latest."""

    def too_slow(*_):
        raise TimeoutError(f"still running after {CHECK_SECONDS} s")

    signal.signal(signal.SIGALRM, too_slow)
    for name, check in checks:
        error = None
        signal.alarm(CHECK_SECONDS)
        try:
            check()
        except Exception as raised:  # whatever a client throws is the reason of the failure
            error = raised
        finally:
            signal.alarm(0)
        report(name, error)
    sys.stdout.flush()


def sample(codec, count=120, nulls=True):
    """Records as (key, value, headers): keys that repeat, null keys, null and empty values,
    header names that repeat, and sizes that make codecs work. `nulls` adds what not every client
    can say: null header values, and a null value under a null key."""
    records = []
    for n in range(count):
        key = None if n % 7 == 0 else f"key-{n % 10}".encode()
        if n % 11 == 5 and (nulls or key is not None):
            value = None
        elif n % 13 == 6:
            value = b""
        else:
            value = f"{codec} record {n} ".encode() * (1 + n % 40)
        headers = []
        if n % 3 == 0:
            headers = [("codec", codec.encode()), ("n", str(n).encode()), ("n", b"again")]
        if n % 9 == 0:
            headers.append(("empty", b""))
            if nulls:
                headers.append(("null", None))
        records.append((key, value, headers))
    return records
