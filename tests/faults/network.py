"""A network that loses, repeats and reorders packets, that falls silent, and clients that vanish.

Broker and clients live in a network namespace each; between them is only the link of link.py. What
was acknowledged is in the log, once and in order, whatever the link did; connections of vanished
clients are closed. What else is held is in bench.py.
"""

import struct
import threading
import time

import bench

OPTIONS = bench.options("--broker-namespace", "--client-namespace", "--device")

import link
import wire
import checks
from checks import expect, expect_equal, wait_for


def connect():
    """The link between both namespaces; this program is in the clients' from now on."""
    link.enter(OPTIONS.broker_namespace)
    broker = link.device(OPTIONS.device)
    link.enter(OPTIONS.client_namespace)
    return link.Link(link.device(OPTIONS.device), broker, OPTIONS.seed)


LINK = connect()
BENCH = bench.Bench(OPTIONS.pid)
SPOILED_SECONDS = 4 if OPTIONS.quick else 60
SILENT_SECONDS = 3
# What a connection needs to go on: retransmissions wait twice as long each time.
HEALED_SECONDS = 30
# The broker closes what is idle for this long: connections.max.idle.ms of network.rs, and its
# timer.
IDLE_SECONDS = 10 + 10


def values(topic, partition):
    """Every record of a partition, by its value."""
    found, offset = [], 0
    with wire.Connection() as connection:
        while True:
            error, high, records = wire.fetch(connection, [(topic, partition, offset)])[2][
                (topic, partition)]
            expect_equal(error, 0, "code of a fetch")
            while len(records) >= 61:
                base, length = struct.unpack_from(">qi", records)
                if len(records) < 12 + length:
                    break
                (last,) = struct.unpack_from(">i", records, 23)
                expect_equal(base, offset, "base offset")
                # One record of fewer than 64 bytes: each length is a byte, and so is each field
                # before the value.
                found.append(records[61 + 6:12 + length - 1])
                offset, records = base + last + 1, records[12 + length:]
            if offset == high:
                return found


def spoiled_packets():
    """Four producers, while packets are lost, come twice and overtake each other."""
    topic = wire.create("spoiled", 4)
    stop, acknowledged, errors = threading.Event(), [[] for _ in range(4)], []

    def work(partition):
        try:
            with wire.Connection() as connection:
                connection.socket.settimeout(HEALED_SECONDS)
                number = 0
                while not stop.is_set():
                    value = b"%d-%d" % (partition, number)
                    code, _ = wire.produce(topic, wire.batch([value]), connection,
                                           partition=partition)
                    expect_equal(code, 0, "code of a produce")
                    acknowledged[partition].append(value)
                    number += 1
        except Exception as error:
            errors.append(f"{type(error).__name__}: {error}")

    threads = [threading.Thread(target=work, args=(partition,)) for partition in range(4)]
    lost = LINK.lost
    LINK.spoil(loss=0.03, repeat=0.03, delay_seconds=0.01)
    try:
        for thread in threads:
            thread.start()
        time.sleep(SPOILED_SECONDS)
    finally:
        stop.set()
        LINK.heal()
        for thread in threads:
            thread.join(2 * HEALED_SECONDS)
    lost = LINK.lost - lost
    expect(not errors, errors[:3])
    expect(lost > 0, "no packet was lost")
    expect(all(acknowledged), "a producer was never answered")
    for partition in range(4):
        expect_equal(values(topic, partition), acknowledged[partition], "records")
    return f"{sum(map(len, acknowledged))} produces, {lost} packets lost"


def silence(*directions):
    """Requests every 50 ms while nothing arrives in these directions, for three seconds."""
    def run():
        topic = wire.create("silent")
        with wire.Connection() as connection:
            connection.socket.settimeout(HEALED_SECONDS)
            expect_equal(wire.produce(topic, wire.batch([b"0"]), connection), (0, 0), "answer")
            LINK.swallow(*directions)
            try:
                ids, end = [], time.monotonic() + SILENT_SECONDS
                while time.monotonic() < end:
                    body = wire.produce_body(topic, wire.batch([b"%d" % (len(ids) + 1)]))
                    ids.append(connection.send(wire.PRODUCE, 7, body))
                    time.sleep(0.05)
            finally:
                LINK.heal()
            healed = time.monotonic()
            answers = [wire.produce_answer(connection.receive(one)) for one in ids]
            healed = time.monotonic() - healed
        expect_equal(answers, [(0, 1 + n) for n in range(len(ids))], "(code, offset)")
        expect_equal(values(topic, 0), [b"%d" % n for n in range(len(ids) + 1)], "records")
        return f"{len(ids)} produces, all answered {healed:.2f} s after the silence"
    return run


def vanished_clients():
    """Sixty clients vanish, half of them with megabytes of answers under way to them."""
    topic = wire.create("vanished")
    with wire.Connection() as connection:
        for _ in range(20):
            wire.produce(topic, wire.batch([b"v" * 100_000]), connection)
    before = BENCH.process.descriptors()[0]
    clients = [wire.Connection() for _ in range(60)]
    for index, client in enumerate(clients):
        client.call(wire.METADATA, 1, wire.array([wire.string(topic)]))
        if index % 2:
            for _ in range(20):
                client.send(wire.FETCH, 11, wire.fetch_body([(topic, 0, 0)]))
    LINK.vanish(client.socket.getsockname()[1] for client in clients)
    gone = time.monotonic()
    try:
        for client in clients:
            client.socket.close()
        open_then = BENCH.process.descriptors()[0]
        expect(open_then >= 60, f"{open_then} sockets")
        wait_for(lambda: BENCH.process.descriptors()[0] <= before, 3 * IDLE_SECONDS,
                 "the connections of vanished clients closed")
    finally:
        LINK.heal()
    return f"60 connections closed within {time.monotonic() - gone:.1f} s"


checks.CHECK_SECONDS = 240
# The client beside crosses the same link: while nothing arrives, it is not answered either.
checks.run([BENCH.check(name, fault, **bounds) for name, fault, bounds in [
    ("spoiled_packets", spoiled_packets, {"prompt": HEALED_SECONDS}),
    ("silence_both_ways", silence(link.TO_BROKER, link.TO_CLIENTS), {"prompt": HEALED_SECONDS}),
    ("silence_toward_the_broker", silence(link.TO_BROKER), {"prompt": HEALED_SECONDS}),
    ("silence_toward_the_clients", silence(link.TO_CLIENTS), {"prompt": HEALED_SECONDS}),
    ("vanished_clients", vanished_clients, {}),
]])
