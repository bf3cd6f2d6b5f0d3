"""Little memory, and connections that are cut, reset or fall silent in the middle of a frame.

The broker runs in a memory cgroup; it degrades with errors and is not killed. Connections go
through a proxy of this program that forwards bytes until it is told to do harm. What else is held
is in bench.py.
"""

import select
import socket
import struct
import threading
import time

import bench

OPTIONS = bench.options("--limit")

import checks
import wire
from checks import expect, expect_equal

BENCH = bench.Bench(OPTIONS.pid)
TOPIC = wire.create("limited", 4)
LIMIT = int(OPTIONS.limit)
RECORD = b"r" * 200_000


def memory_limit():
    """Producers of megabytes, readers of everything and readers of nothing, within the limit."""
    stop, errors, counts = threading.Event(), [], [0] * 8

    def work(index):
        try:
            with wire.Connection() as connection:
                connection.socket.settimeout(30)
                while not stop.is_set():
                    if index < 4:
                        code, _ = wire.produce(TOPIC, wire.batch([RECORD] * 4), connection,
                                               partition=index)
                        expect(code == 0, f"produce answered {code}")
                    else:
                        wire.fetch(connection, [(TOPIC, index % 4, 0)])
                    counts[index] += 1
        except Exception as error:
            errors.append(f"{type(error).__name__}: {error}")

    threads = [threading.Thread(target=work, args=(index,)) for index in range(8)]
    deaf = [wire.Connection() for _ in range(20)]
    try:
        for thread in threads:
            thread.start()
        time.sleep(1)
        for connection in deaf:
            connection.socket.settimeout(0.5)
            try:
                for _ in range(50):
                    connection.send(wire.FETCH, 11, wire.fetch_body([(TOPIC, 0, 0)]))
            except TimeoutError:
                pass
        time.sleep(4 if OPTIONS.quick else 60)
    finally:
        stop.set()
        for thread in threads:
            thread.join(40)
        for connection in deaf:
            connection.socket.close()
    expect(not errors, errors[:3])
    peak = BENCH.process.peak()
    expect(peak < LIMIT, f"{peak} bytes of {LIMIT}")
    return (f"{sum(counts[:4])} megabyte produces, {sum(counts[4:])} fetches, peak "
            f"{peak / bench.MIB:.0f} of {LIMIT / bench.MIB:.0f} MiB")


class Proxy:
    """Forwards one connection, until `silent` or `reset`."""

    def __init__(self, forwarded_max):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.left = forwarded_max
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.broker = None
        self.thread.start()

    def connect(self):
        return socket.create_connection(self.listener.getsockname(), timeout=10)

    def _run(self):
        client, _ = self.listener.accept()
        self.broker = socket.create_connection((wire.HOST, int(wire.PORT)), timeout=10)
        while self.left > 0:
            ready, _, _ = select.select([client, self.broker], [], [], 5)
            if not ready:
                return
            if client in ready:
                data = client.recv(min(65536, self.left))
                if not data:
                    return
                self.broker.sendall(data)
                self.left -= len(data)
            if self.broker in ready and not client.send(self.broker.recv(65536)):
                return

    def reset(self):
        """Both sides hear nothing more; the broker gets a reset."""
        self.thread.join(10)
        self.broker.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.broker.close()
        self.listener.close()


def cut_in_the_middle(seconds_silent):
    """Forty connections end, by a reset, at as many places of a large produce."""
    def run():
        with wire.Connection() as template:
            frame = template.frame(wire.PRODUCE, 7, wire.produce_body(
                TOPIC, wire.batch([RECORD]), partition=1))
        before = high_watermark()
        proxies = []
        for place in range(40):
            proxy = Proxy(1 + place * (len(frame) - 2) // 40)
            client = proxy.connect()
            client.setblocking(True)
            client.settimeout(1)
            try:
                client.sendall(frame)
            except OSError:
                pass
            proxies.append((proxy, client))
        time.sleep(seconds_silent)
        for proxy, client in proxies:
            proxy.reset()
            client.close()
        time.sleep(0.2)
        expect_equal(high_watermark(), before, "records of half a request")
        return f"40 connections, silent for {seconds_silent} s, then reset"
    return run


def high_watermark():
    with wire.Connection() as connection:
        _, _, found = wire.fetch(connection, [(TOPIC, 1, 0)])
    return found[(TOPIC, 1)][1]


checks.CHECK_SECONDS = 200
checks.run([BENCH.check(name, fault, **bounds) for name, fault, bounds in [
    # Eight clients of megabytes share the cores with the one beside.
    ("memory_limit", memory_limit, {"growth": LIMIT, "peak": LIMIT,
                                    "prompt": 3 * bench.PROMPT_SECONDS}),
    ("half_frames_then_silence_then_reset", cut_in_the_middle(2), {"growth": LIMIT}),
]])
