"""kcat (librdkafka of the distribution) against a broker: see checks.py for what is printed."""

import json
import os
import subprocess
import time

import checks
from checks import expect, expect_equal, unique, wait_for

OPTIONS = checks.arguments("--kcat")
BASE = [OPTIONS.kcat, "-b", OPTIONS.bootstrap]
SECONDS = 20


def kcat(*arguments, stdin="", fails=False):
    """Runs kcat to its end and returns what it printed."""
    done = subprocess.run([*BASE, *arguments], input=stdin.encode(), capture_output=True,
                          timeout=SECONDS)
    said = done.stderr.decode()
    expect((done.returncode != 0) == fails, f"exit code {done.returncode}: {said}")
    return said if fails else done.stdout.decode()


def produce(topic, lines, *arguments):
    kcat("-P", "-t", topic, *arguments, stdin="".join(line + "\n" for line in lines))


def consume(topic, *arguments):
    return kcat("-C", "-t", topic, "-q", "-e", *arguments).splitlines()


def round_trip():
    topic = unique("kcat")
    produce(topic, ["hello", "world"])
    expect_equal(consume(topic), ["hello", "world"], "records of an auto-created topic")


def codec(name):
    def check():
        topic = unique(f"codec-{name}")
        lines = [f"key-{n}:{name} {n} " + "x" * (n * 7 % 400) for n in range(300)]
        produce(topic, lines, "-K:", "-z", name, "-X", "linger.ms=50")
        expect_equal(consume(topic, "-K:"), lines, "records")

    return check


def headers_and_nulls():
    topic = unique("headers")
    kcat("-P", "-t", topic, "-K:", "-Z", "-H", "name=value", "-H", "empty=", stdin="k:\n")
    (record,) = [json.loads(line) for line in consume(topic, "-J")]
    expect_equal((record["key"], record["payload"]), ("k", None), "key and null value")
    expect_equal(record["headers"], ["name", "value", "empty", ""], "headers")


def metadata():
    topic = unique("metadata")
    produce(topic, ["x"])
    found = json.loads(kcat("-L", "-J"))
    expect_equal([broker["name"] for broker in found["brokers"]], [OPTIONS.bootstrap], "brokers")
    expect(topic in [t["topic"] for t in found["topics"]], "the topic is listed")


def idempotent():
    topic = unique("idempotent")
    lines = [str(n) for n in range(2000)]
    produce(topic, lines, "-X", "enable.idempotence=true", "-p", "0")
    expect_equal(consume(topic), lines, "records")


def offsets_and_times():
    topic = unique("offsets")
    before = int(time.time() * 1000)
    produce(topic, ["0", "1", "2"], "-p", "0")
    time.sleep(0.02)
    middle = int(time.time() * 1000)
    time.sleep(0.02)
    produce(topic, ["3", "4"], "-p", "0")
    expect_equal(consume(topic, "-o", "2"), ["2", "3", "4"], "from an offset")
    expect_equal(consume(topic, "-o", "-1"), ["4"], "the last one")
    expect_equal(consume(topic, "-o", f"s@{middle}"), ["3", "4"], "from a time")
    expect_equal(consume(topic, "-o", f"s@{before}", "-o", f"e@{middle}"), ["0", "1", "2"], "to one")
    expect_equal(kcat("-Q", "-t", f"{topic}:0:{middle}").strip(), f"{topic} [0] offset 3", "query")
    expect_equal(consume(topic, "-c", "2"), ["0", "1"], "two records")


def group():
    topic, name = unique("group"), unique("group")
    produce(topic, [str(n) for n in range(10)])
    options = ["-X", "auto.offset.reset=earliest", "-X", "session.timeout.ms=6000", "-q", "-e"]
    first = kcat("-G", name, *options, topic).splitlines()
    expect_equal(first, [str(n) for n in range(10)], "records of the first member")
    produce(topic, ["more"])
    expect_equal(kcat("-G", name, *options, topic).splitlines(), ["more"], "after a restart")


def group_of_two():
    """Two members of a topic with one partition: when its owner leaves, the other gets it."""
    topic, name = unique("pair"), unique("pair")
    produce(topic, ["start"])
    options = ["-G", name, "-X", "auto.offset.reset=earliest", "-X", "session.timeout.ms=6000",
               "-X", "heartbeat.interval.ms=200", topic]
    members = [subprocess.Popen([*BASE, *options], stdout=subprocess.DEVNULL,
                                stderr=subprocess.PIPE) for _ in range(2)]
    said = {member: "" for member in members}
    for member in members:
        os.set_blocking(member.stderr.fileno(), False)

    def owns(member):
        """Whether its last rebalance gave it the partition; `None` before the first."""
        said[member] += (member.stderr.read() or b"").decode()
        rebalances = [line for line in said[member].splitlines() if "rebalanced" in line]
        return "[0]" in rebalances[-1] and "assigned" in rebalances[-1] if rebalances else None

    try:
        wait_for(lambda: sorted(map(str, map(owns, members))) == ["False", "True"], SECONDS,
                 "one owner of two members")
        owner, other = sorted(members, key=owns, reverse=True)
        owner.terminate()
        owner.wait(timeout=SECONDS)
        wait_for(lambda: owns(other), SECONDS, "the other owns the partition")
    finally:
        for member in members:
            member.kill()
            member.wait()


def follows():
    """A consumer at the end is woken by a record, not by its own timer."""
    topic = unique("follow")
    produce(topic, ["old"])
    reader = subprocess.Popen([*BASE, "-C", "-t", topic, "-q", "-u", "-o", "end", "-c", "1", "-X",
                               "fetch.wait.max.ms=10000"], stdout=subprocess.PIPE)
    try:
        time.sleep(1.0)
        started = time.monotonic()
        produce(topic, ["new"])
        out, _ = reader.communicate(timeout=SECONDS)
        expect_equal(out, b"new\n", "record")
        expect(time.monotonic() - started < 3, "the fetch waited for its time")
    finally:
        reader.kill()
        reader.wait()


def errors():
    said = kcat("-C", "-t", unique("nowhere"), "-e", "-X", "allow.auto.create.topics=false",
                fails=True)
    expect("Unknown topic" in said, said)
    topic = unique("large")
    produce(topic, ["x"])
    done = subprocess.run([*BASE, "-P", "-t", topic, "-X", "message.max.bytes=5000000"],
                          input=b"x" * 2_000_000, capture_output=True, timeout=SECONDS)
    expect(b"too large" in done.stderr, f"a record of 2 MB: {done.stderr.decode()}")


checks.run([
    ("round_trip", round_trip),
    *[(f"produce_and_consume_{name}", codec(name)) for name in checks.CODECS],
    ("headers_and_nulls", headers_and_nulls),
    ("metadata", metadata),
    ("idempotent", idempotent),
    ("offsets_and_times", offsets_and_times),
    ("group", group),
    ("group_of_two", group_of_two),
    ("follows", follows),
    ("errors", errors),
])
