"""Starved and stopped: no descriptors left, a stopped broker, a stopped consumer, a client that
never reads what it fetched.

The broker goes on with what it has, and is whole again when the fault ends. What else is held is in
bench.py.
"""

import multiprocessing
import os
import resource
import signal
import socket
import struct
import time

import bench

OPTIONS = bench.options()

import checks
import wire
from checks import expect, expect_equal, wait_for

STOPPED_SECONDS = 3
# More connections than the broker was allowed descriptors.
CROWD = 900
# Connections at once that no listen queue is too short for.
WAVE = 20

BENCH = bench.Bench(OPTIONS.pid)
TOPIC = wire.create("starved")


def join(crowd, count):
    """Adds connections that are being made; nobody waits for them here."""
    for _ in range(count):
        client = socket.socket()
        crowd.append(client)
        client.setblocking(False)
        client.connect_ex((wire.HOST, int(wire.PORT)))


def wait_while(condition, seconds):
    """Until it no longer holds, or so many seconds have passed: whoever calls looks again."""
    end = time.monotonic() + seconds
    while condition() and time.monotonic() < end:
        time.sleep(0.01)


def no_descriptors_left():
    """900 connections where 512 descriptors are allowed: who was connected before is served
    meanwhile, and newcomers are as soon as the crowd has gone.

    The limit is the one the broker was started with: the kernel notes it when an accept is
    submitted, so lowering it under a running broker changes nothing.
    """
    allowed, _ = resource.prlimit(OPTIONS.pid, resource.RLIMIT_NOFILE)
    expect(allowed < CROWD, f"the broker is allowed {allowed} descriptors")
    expect(bench.allow_descriptors(CROWD + 100), "this program needs more descriptors")
    crowd = []
    try:
        with wire.Connection() as early:
            # In waves that fit the listen queue: from a burst, the kernel forgets connections that
            # the client takes for established (SYN cookies), and those never try again.
            deadline = time.monotonic() + 60
            while (found := sum(BENCH.process.descriptors())) <= allowed * 0.9:
                expect(time.monotonic() < deadline,
                       f"{found} of {allowed} descriptors open with {len(crowd)} connections")
                join(crowd, min(WAVE, CROWD - len(crowd)))
                wait_while(lambda: sum(BENCH.process.descriptors()) < found + WAVE, 2)
            join(crowd, CROWD - len(crowd))
            open_now = sum(BENCH.process.descriptors())
            for _ in range(50):
                expect_equal(wire.produce(TOPIC, wire.batch([b"x"]), early)[0], 0, "code")
    finally:
        for client in crowd:
            client.close()
    started = time.monotonic()

    def newcomer_is_served():
        try:
            return wire.api_versions(0)[0] == 0
        except (OSError, struct.error):
            return False

    wait_for(newcomer_is_served, 10, "an answer for a newcomer")
    healed = time.monotonic() - started
    return f"{open_now} open of {allowed}; newcomers served {healed:.2f} s after the crowd left"


def stopped_broker():
    """Requests sent while it stands are answered, in order, when it goes on."""
    with wire.Connection() as connection:
        os.kill(OPTIONS.pid, signal.SIGSTOP)
        try:
            body = wire.produce_body(TOPIC, wire.batch([b"while stopped"]))
            ids = [connection.send(wire.PRODUCE, 7, body) for _ in range(20)]
            time.sleep(STOPPED_SECONDS)
        finally:
            os.kill(OPTIONS.pid, signal.SIGCONT)
        answers = [wire.produce_answer(connection.receive(one)) for one in ids]
    expect_equal({error for error, _ in answers}, {0}, "codes")
    offsets = [offset for _, offset in answers]
    expect_equal(offsets, list(range(offsets[0], offsets[0] + 20)), "offsets")


def _consume(topic, pipe):
    """Long polls from offset 0 on; says the high watermark it has read up to, again and again."""
    offset = 0
    with wire.Connection() as connection:
        while not pipe.poll():
            _, _, found = wire.fetch(connection, [(topic, 0, offset)], max_wait=200)
            error, _, records = found[(topic, 0)]
            expect_equal(error, 0, "code of a fetch")
            while len(records) >= 61:
                base, length = struct.unpack_from(">qi", records)
                if len(records) < 12 + length:
                    break
                (last,) = struct.unpack_from(">i", records, 23)
                expect(base == offset, f"offset {base} after {offset}")
                offset, records = base + last + 1, records[12 + length:]
            pipe.send(offset)


def stopped_consumer():
    """It finds every record once, in order, when it goes on; producers did not notice."""
    topic = wire.create("paused")
    ours, theirs = multiprocessing.Pipe()
    consumer = multiprocessing.Process(target=_consume, args=(topic, theirs), daemon=True)
    consumer.start()
    try:
        with wire.Connection() as connection:
            expect(ours.poll(10), "the consumer's first answer")
            os.kill(consumer.pid, signal.SIGSTOP)
            slowest, count, end = 0.0, 0, time.monotonic() + STOPPED_SECONDS
            while time.monotonic() < end:
                started = time.monotonic()
                error, _ = wire.produce(topic, wire.batch([b"v" * 5000] * 4), connection)
                slowest, count = max(slowest, time.monotonic() - started), count + 4
                expect_equal(error, 0, "code")
                time.sleep(0.01)
            os.kill(consumer.pid, signal.SIGCONT)

        def has_read_all():
            offset = 0
            while ours.poll():
                offset = ours.recv()
            return offset == count

        wait_for(has_read_all, 15, f"{count} records read")
        expect(slowest < bench.PROMPT_SECONDS, f"a produce took {slowest:.2f} s")
    finally:
        consumer.kill()
        consumer.join(5)
    return f"{count} records produced while it stood, slowest {slowest * 1000:.0f} ms"


def fetches_without_reading():
    """Eight connections ask for a megabyte 2,000 times each and read nothing."""
    with wire.Connection() as connection:
        for _ in range(40):
            wire.produce(TOPIC, wire.batch([b"f" * 50_000]), connection)
        frame = connection.frame(wire.FETCH, 11, wire.fetch_body([(TOPIC, 0, 0)]))
    greedy = [wire.Connection() for _ in range(8)]
    try:
        sent = 0
        for connection in greedy:
            connection.socket.settimeout(1)
            try:
                for _ in range(2000):
                    connection.socket.sendall(frame)
                    sent += 1
            except TimeoutError:
                pass
        time.sleep(2)
    finally:
        for connection in greedy:
            connection.socket.close()
    return f"{sent} fetches sent"


checks.CHECK_SECONDS = 150
checks.run([BENCH.check(name, fault, **bounds) for name, fault, bounds in [
    ("no_descriptors_left", no_descriptors_left, {}),
    ("stopped_broker", stopped_broker, {"prompt": STOPPED_SECONDS + bench.PROMPT_SECONDS}),
    ("stopped_consumer", stopped_consumer, {}),
    ("fetches_without_reading", fetches_without_reading, {}),
]])
