"""Corelane's own command line as a client: it speaks only the wire, so it runs against Kafka, too.

`--corelane PATH` is the binary; how to run it by hand:
`python3 tests/conformance/cli.py --corelane target/debug/corelane --bootstrap 127.0.0.1:9092`.
"""

import json
import os
import signal
import subprocess
import time

import checks
from checks import expect, expect_equal, unique, wait_for

OPTIONS = checks.arguments("--corelane")
SECONDS = 30
ENVIRONMENT = {**os.environ, "CORELANE_BOOTSTRAP": OPTIONS.bootstrap}


def corelane(*arguments, stdin="", code=0):
    """Standard output of a command; its exit code must be `code`."""
    done = subprocess.run([OPTIONS.corelane, *arguments], input=stdin.encode(), timeout=SECONDS,
                          capture_output=True, env=ENVIRONMENT)
    said = done.stderr.decode()
    expect_equal(done.returncode, code, f"exit code of {arguments}: {said}")
    for line in said.splitlines():
        expect(line.startswith(("corelane: ", "error: ")), f"no single error line: {said}")
    return done.stdout.decode()


def complaint(*arguments, code=1, stdin=""):
    """The error line of a command that must fail."""
    done = subprocess.run([OPTIONS.corelane, *arguments], input=stdin.encode(), timeout=SECONDS,
                          capture_output=True, env=ENVIRONMENT)
    said = done.stderr.decode()
    expect_equal(done.returncode, code, f"exit code of {arguments}: {said}")
    expect_equal(len(said.splitlines()), 1, f"lines of {said!r}")
    return said


def listed(*arguments):
    return json.loads(corelane(*arguments, "--format", "json"))


def start(*arguments):
    return subprocess.Popen([OPTIONS.corelane, *arguments], stdout=subprocess.PIPE,
                            stderr=subprocess.DEVNULL, env=ENVIRONMENT)


def interrupt(process):
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=SECONDS)
    expect_equal(process.returncode, 0, "exit code after Ctrl-C")
    return out.decode()


def topics():
    name = unique("cli-topic")
    corelane("topic", "create", name, "-p", "2", "-c", "retention.ms=86400000")
    expect("TOPIC_ALREADY_EXISTS" in complaint("topic", "create", name), "created twice")
    corelane("topic", "create", name, "--if-not-exists")
    (row,) = [row for row in listed("topic", "list") if row["topic"] == name]
    expect_equal((row["partitions"], row["internal"]), (2, False), "list")
    (described,) = listed("topic", "describe", name)
    expect_equal([p["high_watermark"] for p in described["partitions"]], [0, 0], "offsets")
    expect_equal({c["key"]: c["value"] for c in described["configs"]}["retention.ms"], "86400000",
                 "configuration")
    corelane("topic", "add-partitions", name, "--total", "3")
    expect_equal(len(listed("topic", "describe", name)[0]["partitions"]), 3, "partitions")
    corelane("topic", "delete", name)
    wait_for(lambda: name not in [row["topic"] for row in listed("topic", "list")], SECONDS,
             "the topic is gone")
    corelane("topic", "delete", name, "--if-exists")
    complaint("topic", "delete", name)


def codec(name):
    def check():
        topic = unique(f"cli-{name}")
        corelane("topic", "create", topic, "-p", "3")
        lines = [f"key-{n}:value {n} " + "x" * (n % 100) for n in range(2000)]
        corelane("produce", topic, "-z", name, "--batch-bytes", "8192", "-q",
                 stdin="\n".join(lines) + "\n")
        out = corelane("consume", topic, "-s", "%k:%v").splitlines()
        expect_equal(sorted(out), sorted(lines), "records")
        places = {}
        for line in corelane("consume", topic, "-s", "%k %p").splitlines():
            key, partition = line.split()
            expect_equal(places.setdefault(key, partition), partition, f"partition of {key}")

    return check


def record_parts():
    topic = unique("cli-parts")
    corelane("topic", "create", topic)
    corelane("produce", topic, "-q", "-H", "a=1", "--null", "NULL", stdin="k:NULL\nplain\nü:\n")
    records = [json.loads(line)
               for line in corelane("consume", topic, "--format", "json").splitlines()]
    found = [(r["offset"], r["key"], r["value"]) for r in records]
    expect_equal(found, [(0, "k", None), (1, None, "plain"), (2, "ü", "")], "records")
    expect_equal(records[0]["headers"], [{"key": "a", "value": "1"}], "headers")
    copy = unique("cli-copy")
    corelane("topic", "create", copy)
    corelane("produce", copy, "-q", "--format", "json",
             stdin="".join(json.dumps({**r, "topic": copy}) + "\n" for r in records))
    again = [json.loads(line) for line in corelane("consume", copy, "--format", "json").splitlines()]
    for record in records:
        record["topic"] = copy
    expect_equal(again, records, "a copy through JSON")


def positions():
    topic = unique("cli-positions")
    corelane("topic", "create", topic)
    for n in range(5):
        record = {"value": str(n), "timestamp_ms": 1_700_000_000_000 + n * 1000}
        corelane("produce", topic, "-q", "--format", "json", stdin=json.dumps(record))
    take = lambda *options: corelane("consume", topic, *options).split()
    expect_equal(take("--from", "offset:3"), ["3", "4"], "from an offset")
    expect_equal(take("--from", "shift:-2"), ["3", "4"], "from the end back")
    expect_equal(take("--from", "latest"), [], "from the end")
    expect_equal(take("--from", "time:2023-11-14T22:13:22Z"), ["2", "3", "4"], "from a time")
    expect_equal(take("--to", "offset:2"), ["0", "1"], "to an offset")
    expect_equal(take("--from", "offset:1", "--to", "time:1700000003000"), ["1", "2"], "to a time")
    expect_equal(take("-n", "2"), ["0", "1"], "two records")
    expect("9" in complaint("consume", topic, "--partitions", "9"), "names the partition")
    complaint("consume", topic, "--from", "yesterday", code=2)


def follow():
    topic = unique("cli-follow")
    corelane("topic", "create", topic)
    reader = start("consume", topic, "-f", "--from", "latest", "-n", "1")
    time.sleep(1.0)
    started = time.monotonic()
    corelane("produce", topic, "-q", stdin="new\n")
    out, _ = reader.communicate(timeout=SECONDS)
    expect_equal((out, reader.returncode), (b"new\n", 0), "record")
    expect(time.monotonic() - started < 3, "the fetch waited for its time")


def groups():
    topic, group = unique("cli-group"), unique("cli-group")
    corelane("topic", "create", topic, "-p", "2")
    corelane("produce", topic, "-q", stdin="".join(f"{n}:{n}\n" for n in range(100)))
    first = corelane("consume", topic, "-g", group, "-n", "100").split()
    expect_equal(sorted(map(int, first)), list(range(100)), "records")
    (described,) = listed("group", "describe", group)
    expect_equal([o["lag"] for o in described["offsets"]], [0, 0], "lag")
    expect_equal(described["state"], "Empty", "state")
    expect(group in [g["group"] for g in listed("group", "list")], "listed")
    plan = listed("group", "seek", group, "--to", "shift:-5", "--topic", topic)
    expect_equal([row["change"] for row in plan], [-5, -5], "plan")
    expect_equal([o["lag"] for o in listed("group", "describe", group)[0]["offsets"]], [0, 0],
                 "a plan changes nothing")
    corelane("group", "seek", group, "--to", "shift:-5", "--all-topics", "--yes")
    expect_equal(len(corelane("consume", topic, "-g", group, "-n", "10").split()), 10, "again")
    corelane("group", "delete", group)
    complaint("group", "describe", group)


def group_of_two():
    """Both members read; neither loses or repeats a record when the other leaves cleanly."""
    topic, group = unique("cli-pair"), unique("cli-pair")
    corelane("topic", "create", topic, "-p", "4")
    options = ["consume", topic, "-g", group, "-s", "%v", "--session-timeout-ms", "6000"]
    members = [start(*options) for _ in range(2)]

    def shared():
        # There is no group to describe before the first of them has joined.
        if group not in [row["group"] for row in listed("group", "list")]:
            return False
        rows = listed("group", "describe", group)[0]["members"]
        return [len(row["partitions"]) for row in rows] == [2, 2]

    try:
        wait_for(shared, SECONDS, "two members with two partitions each")
        said = complaint("group", "seek", group, "--to", "earliest", "--topic", topic)
        expect("2 members" in said, said)
        corelane("produce", topic, "-q", stdin="".join(f"a{n}:a{n}\n" for n in range(200)))
        lag = lambda: sum(o["lag"] or 0 for o in listed("group", "describe", group)[0]["offsets"])
        wait_for(lambda: lag() == 0, SECONDS, "everything is read and committed")
        one = interrupt(members[0]).split()
        corelane("produce", topic, "-q", stdin="".join(f"b{n}:b{n}\n" for n in range(200)))
        wait_for(lambda: lag() == 0, SECONDS, "the other reads everything")
        two = interrupt(members[1]).split()
        wanted = sorted([f"a{n}" for n in range(200)] + [f"b{n}" for n in range(200)])
        expect_equal(sorted(one + two), wanted, "records of both")
    finally:
        for member in members:
            member.kill()
            member.wait()


def configuration():
    topic = unique("cli-config")
    corelane("topic", "create", topic)
    corelane("config", "set", "--topic", topic, "cleanup.policy=compact", "retention.ms=5000000")
    rows = {row["key"]: row for row in listed("config", "list", "--topic", topic)}
    expect_equal((rows["cleanup.policy"]["value"], rows["cleanup.policy"]["source"]),
                 ("compact", "DYNAMIC_TOPIC_CONFIG"), "value")
    got = listed("config", "get", "--topic", topic, "cleanup.policy")
    expect_equal([row["source"] for row in got], ["DYNAMIC_TOPIC_CONFIG", "DEFAULT_CONFIG"],
                 "sources")
    corelane("topic", "alter", topic, "--unset", "cleanup.policy")
    rows = [row["key"] for row in listed("config", "list", "--topic", topic)]
    expect("cleanup.policy" not in rows and "retention.ms" in rows, f"after unset: {rows}")
    expect("INVALID_CONFIG" in complaint("topic", "alter", topic, "--set", "segment.bytes=1"), "1")
    complaint("config", "list", code=2)
    expect("num.partitions" in [row["key"] for row in listed("config", "list", "--broker-keys")],
           "registry")


def trim():
    topic = unique("cli-trim")
    corelane("topic", "create", topic)
    corelane("produce", topic, "-q", "--no-key", stdin="".join(f"{n}\n" for n in range(10)))
    corelane("topic", "trim", topic, "--before", "offset:4")
    expect_equal(listed("topic", "describe", topic)[0]["partitions"][0]["log_start"], 0, "a plan")
    corelane("topic", "trim", topic, "--before", "offset:4", "--yes")
    expect_equal(listed("topic", "describe", topic)[0]["partitions"][0]["log_start"], 4, "start")
    expect_equal(corelane("consume", topic).split(), [str(n) for n in range(4, 10)], "records")


def cluster():
    info = listed("cluster", "info")
    expect(info["cluster_id"] and len(info["brokers"]) == 1, f"info: {info}")
    health = listed("cluster", "health")
    expect_equal((health["healthy"], health["problems"]), (True, []), "health")
    expect(health["brokers"][0]["round_trip_p50_ms"] < 1000, "round trip")


def refused_records():
    """One record too large: counted, named, exit code 1; the others are written."""
    topic = unique("cli-large")
    corelane("topic", "create", topic, "-c", "max.message.bytes=10000")
    lines = ["small", "x" * 20_000, "more"]
    done = subprocess.run([OPTIONS.corelane, "produce", topic, "--no-key", "--batch-bytes", "100"],
                          input="\n".join(lines).encode(), capture_output=True, timeout=SECONDS,
                          env=ENVIRONMENT)
    said = done.stderr.decode()
    expect_equal(done.returncode, 1, f"exit code; {said}")
    expect("MESSAGE_TOO_LARGE" in said and "2 records written, 1 failed" in said, said)
    expect_equal(corelane("consume", topic).split(), ["small", "more"], "records")


def ends():
    """A reader that goes away and a missing broker end a command at once."""
    topic = unique("cli-ends")
    corelane("topic", "create", topic)
    corelane("produce", topic, "-q", "--no-key", stdin="".join(f"{n}\n" for n in range(50_000)))
    reader = start("consume", topic)
    reader.stdout.readline()
    reader.stdout.close()
    expect_equal(reader.wait(timeout=SECONDS), 0, "exit code after the pipe broke")
    said = complaint("topic", "list", "--bootstrap", "127.0.0.1:1")
    expect("--bootstrap" in said, said)
    complaint("topic", "create", code=2)
    expect("topic" in complaint("consume", unique("nowhere")), "an unknown topic")


checks.run([
    ("topics", topics),
    *[(f"produce_and_consume_{name}", codec(name)) for name in checks.CODECS],
    ("record_parts", record_parts),
    ("positions", positions),
    ("follow", follow),
    ("groups", groups),
    ("group_of_two", group_of_two),
    ("configuration", configuration),
    ("trim", trim),
    ("cluster", cluster),
    ("refused_records", refused_records),
    ("ends", ends),
])
