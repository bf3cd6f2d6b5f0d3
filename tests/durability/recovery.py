"""How soon a broker with much to remember serves again after kill -9.

    python recovery.py --broker target/release/corelane

Fills a compacted topic with keys, makes producers that each wrote one record, and transactional
ids that each committed one transaction; then kills the broker while more is written and starts it
again, several times. A start counts until the last of three answers, each retried until it is a
good one: a new record under a key, a new sequence of an old producer, and a transactional id's
next epoch; the first must lie behind what was acknowledged before, the second be known by its
producer. The last line is JSON, in seconds. `cargo xtask figures --only recovery` runs it.
"""

import argparse
import itertools
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

import crc32c

INIT_PRODUCER_ID, ADD_PARTITIONS, END_TXN, PRODUCE, CREATE_TOPICS = 22, 24, 26, 0, 19
FIND_COORDINATOR = 10
TRANSACTIONAL = 0x10
# Codes that say "ask again": no leader yet, a coordinator that loads or is not there, a
# transaction that ends.
AGAIN = {3, 5, 6, 14, 15, 16, 51}
WINDOW = 200
PATIENCE_SECONDS = 60


def text(value):
    if value is None:
        return struct.pack(">h", -1)
    return struct.pack(">h", len(value)) + value.encode()


def varint(number):
    number = number << 1 ^ number >> 63
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*out, number))


def batch(records, producer=(-1, -1, -1), attributes=0):
    """A record batch of (key, value) pairs; `producer` is its id, epoch and first sequence."""
    body = b""
    for at, (key, value) in enumerate(records):
        record = b"\0\0" + varint(at) + varint(len(key)) + key + varint(len(value)) + value + b"\0"
        body += varint(len(record)) + record
    now = int(time.time() * 1000)
    tail = struct.pack(">hiqqqhii", attributes, len(records) - 1, now, now, *producer,
                       len(records)) + body
    return struct.pack(">qiibI", 0, len(tail) + 9, -1, 2, crc32c.crc32c(tail)) + tail


def produce(topic, records, transactional_id=None):
    return PRODUCE, 3, (text(transactional_id) + struct.pack(">hii", -1, 30000, 1) + text(topic)
                        + struct.pack(">iii", 1, 0, len(records)) + records)


def init_producer_id(transactional_id):
    return INIT_PRODUCER_ID, 1, text(transactional_id) + struct.pack(">i", 60000)


def produced(answer):
    """(code, base offset) of an answer about one partition."""
    (length,) = struct.unpack_from(">h", answer, 4)
    return struct.unpack_from(">hq", answer, 6 + length + 4 + 4)


class Client:
    """One connection; requests are kept on their way, answers come in their order."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")
        self.numbers = itertools.count()

    def send(self, request):
        key, version, body = request
        message = struct.pack(">hhi", key, version, next(self.numbers)) + text("recovery") + body
        self.socket.sendall(struct.pack(">i", len(message)) + message)

    def receive(self):
        head = self.file.read(4)
        if len(head) < 4:
            raise ConnectionError("closed")
        return self.file.read(struct.unpack(">i", head)[0])[4:]

    def ask(self, request):
        self.send(request)
        return self.receive()

    def all(self, requests, code):
        """The answers to all requests; those that said "ask again" are asked again."""
        answers, left = [None] * len(requests), list(range(len(requests)))
        deadline = time.monotonic() + PATIENCE_SECONDS
        while left:
            refused = []
            for start in range(0, len(left), WINDOW):
                part = left[start:start + WINDOW]
                for at in part:
                    self.send(requests[at])
                for at in part:
                    answers[at] = self.receive()
                    said = code(answers[at])
                    if said in AGAIN and time.monotonic() < deadline:
                        refused.append(at)
                    elif said:
                        raise SystemExit(f"request {at} of {len(requests)}: error {said}")
            left = refused
            if left:
                time.sleep(0.02)
        return answers


def second_field(answer):
    """The error code after the throttle time."""
    return struct.unpack_from(">h", answer, 4)[0]


def added(answer):
    """The error code of the one partition in an answer to AddPartitionsToTxn."""
    return struct.unpack_from(">h", answer, len(answer) - 2)[0]


class Broker:
    """The process on its folder and port."""

    def __init__(self, binary):
        self.binary, self.folder, self.port = binary, tempfile.mkdtemp(prefix="recovery-"), 0
        self.process = None

    def start(self):
        """Seconds until the process says that it is ready."""
        started = time.monotonic()
        command = [self.binary, "start", "--data-dir", os.path.join(self.folder, "data"),
                   "--listen", f"127.0.0.1:{self.port}", "--admin-listen", "127.0.0.1:0"]
        with open(os.path.join(self.folder, "log"), "a", encoding="utf-8") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        for line in self.process.stdout:
            if line.startswith("ready "):
                took = time.monotonic() - started
                self.port = int(line.split("kafka=")[1].split()[0].rsplit(":", 1)[1])
                threading.Thread(target=self.process.stdout.read, daemon=True).start()
                return took
        raise SystemExit(f"the broker did not start: see {self.folder}/log")

    def end(self, number):
        self.process.send_signal(number)
        self.process.wait(timeout=60)


def create(client, name, configs):
    body = struct.pack(">i", 1) + text(name) + struct.pack(">ihi", 1, 1, 0)
    body += struct.pack(">i", len(configs)) + b"".join(text(k) + text(v) for k, v in configs)
    answer = client.ask((CREATE_TOPICS, 2, body + struct.pack(">i?", 30000, False)))
    (code,) = struct.unpack_from(">h", answer, 8 + 2 + len(name))
    if code:
        raise SystemExit(f"topic {name}: error {code}")


def fill(client, options):
    create(client, "keys", [("cleanup.policy", "compact"), ("segment.bytes", "67108864")])
    create(client, "producers", [])
    each = 500
    batches = [produce("keys", batch([(b"key-%d" % key, b"value of the key %d" % key)
                                      for key in range(first, first + each)]))
               for first in range(0, options.keys, each)]
    client.all(batches, lambda answer: produced(answer)[0])
    made = client.all([init_producer_id(None)] * options.producers, second_field)
    producers = [struct.unpack_from(">qh", answer, 6) for answer in made]
    client.all([produce("producers", batch([(b"", b"first")], (*producer, 0)))
                for producer in producers], lambda answer: produced(answer)[0])
    names = [f"transactional-{n}" for n in range(options.transactional_ids)]
    # Who asks first makes the coordinators' topic.
    client.all([(FIND_COORDINATOR, 1, text(names[0]) + b"\1")], second_field)
    made = client.all([init_producer_id(name) for name in names], second_field)
    ids = [struct.unpack_from(">qh", answer, 6) for answer in made]
    client.all([(ADD_PARTITIONS, 0, text(name) + struct.pack(">qhi", *one, 1) + text("producers")
                 + struct.pack(">ii", 1, 0)) for name, one in zip(names, ids)], added)
    client.all([produce("producers", batch([(b"", b"in a transaction")], (*one, 0), TRANSACTIONAL),
                        name) for name, one in zip(names, ids)],
               lambda answer: produced(answer)[0])
    client.all([(END_TXN, 0, text(name) + struct.pack(">qh?", *one, True))
                for name, one in zip(names, ids)], second_field)
    return producers, names, ids


def until_good(port, request, code):
    """The first good answer; a connection that breaks is opened anew."""
    deadline, client = time.monotonic() + PATIENCE_SECONDS, None
    while True:
        try:
            client = client or Client(port)
            answer = client.ask(request)
            said = code(answer)
            if not said:
                return answer
            if said not in AGAIN or time.monotonic() > deadline:
                raise SystemExit(f"API {request[0]}: error {said}")
        except OSError:
            client = None
            if time.monotonic() > deadline:
                raise
        time.sleep(0.002)


def write_until_killed(port, acknowledged):
    """New values under old keys, one batch at a time; the last offset known is kept."""
    try:
        client = Client(port)
        for n in itertools.count():
            records = [(b"key-%d" % (n * 50 + k), b"a newer value") for k in range(50)]
            code, offset = produced(client.ask(produce("keys", batch(records))))
            if code == 0:
                acknowledged[0] = offset + 49
    except (OSError, struct.error):
        return


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--broker", required=True, help="path of the corelane binary")
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--producers", type=int, default=10_000)
    parser.add_argument("--transactional-ids", type=int, default=1_000)
    parser.add_argument("--kills", type=int, default=5)
    options = parser.parse_args()
    broker = Broker(options.broker)
    try:
        measure(broker, options)
    finally:
        broker.process.kill()
    shutil.rmtree(broker.folder)


def measure(broker, options):
    broker.start()
    began = time.monotonic()
    producers, names, ids = fill(Client(broker.port), options)
    print(f"filled in {time.monotonic() - began:.1f} s", flush=True)
    ready, served = [], []
    for kill in range(1, options.kills + 1):
        acknowledged = [0]
        writer = threading.Thread(target=write_until_killed, args=(broker.port, acknowledged))
        writer.start()
        while not acknowledged[0]:
            time.sleep(0.01)
        time.sleep(0.5)
        broker.end(signal.SIGKILL)
        writer.join()
        began = time.monotonic()
        ready.append(broker.start())
        answer = until_good(broker.port, produce("keys", batch([(b"key-0", b"after")])),
                            lambda answer: produced(answer)[0])
        if produced(answer)[1] <= acknowledged[0]:
            raise SystemExit(f"offset {produced(answer)[1]} again, {acknowledged[0]} was "
                             "acknowledged")
        # Out of order unless the broker knows the sequences of before.
        until_good(broker.port, produce("producers", batch([(b"", b"next")],
                                                           (*producers[-1], kill))),
                   lambda answer: produced(answer)[0])
        answer = until_good(broker.port, init_producer_id(names[-1]), second_field)
        producer, epoch = struct.unpack_from(">qh", answer, 6)
        served.append(time.monotonic() - began)
        if producer != ids[-1][0] or epoch <= ids[-1][1]:
            raise SystemExit(f"{names[-1]} is {producer} of epoch {epoch}, was {ids[-1]}")
        ids[-1] = (producer, epoch)
        print(f"kill {kill}: ready in {ready[-1]:.3f} s, all served in {served[-1]:.3f} s",
              flush=True)
    broker.end(signal.SIGTERM)
    print(json.dumps({"ready": ready, "served": served}))
    sys.stdout.flush()


main()
