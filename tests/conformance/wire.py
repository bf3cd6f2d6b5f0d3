"""Bytes against a broker: what no client library sends, and what is timed to the byte.

Requests are written by hand in old, fixed layouts; each check says which rule it holds the broker
to. Kafka 4.3.1 passes. See checks.py for what is printed.
"""

import socket
import struct
import time

import crc32c

import checks
from checks import expect, expect_equal, unique, wait_for

BOOTSTRAP = checks.arguments().bootstrap
HOST, PORT = BOOTSTRAP.rsplit(":", 1)

PRODUCE, FETCH, LIST_OFFSETS, METADATA = 0, 1, 2, 3
OFFSET_COMMIT, OFFSET_FETCH, FIND_COORDINATOR, JOIN_GROUP, HEARTBEAT = 8, 9, 10, 11, 12
API_VERSIONS, CREATE_TOPICS, INIT_PRODUCER_ID, OFFSET_FOR_LEADER_EPOCH = 18, 19, 22, 23

# What Kafka 4.3.1 advertises of the APIs that a client of one node uses.
RANGES = {
    0: (0, 13), 1: (4, 18), 2: (1, 11), 3: (0, 13), 8: (2, 10), 9: (1, 10), 10: (0, 6), 11: (0, 9),
    12: (0, 4), 13: (0, 5), 14: (0, 5), 15: (0, 6), 16: (0, 5), 18: (0, 4), 19: (2, 7), 20: (1, 6),
    21: (0, 2), 22: (0, 5), 23: (2, 4), 32: (1, 4), 33: (0, 2), 35: (1, 5), 37: (0, 3), 42: (0, 2),
    44: (0, 1), 47: (0, 0), 60: (0, 2), 75: (0, 0),
}


def string(text):
    return struct.pack(">h", len(text)) + text.encode()


def array(items):
    return struct.pack(">i", len(items)) + b"".join(items)


class Reader:
    """Fields of an answer, from the front."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, form):
        (value,) = struct.unpack_from(">" + form, self.data, self.at)
        self.at += struct.calcsize(">" + form)
        return value

    def string(self):
        length = self.take("h")
        if length < 0:
            return None
        self.at += length
        return self.data[self.at - length:self.at].decode()

    def bytes(self):
        length = max(0, self.take("i"))
        self.at += length
        return self.data[self.at - length:self.at]

    def array(self, item):
        return [item() for _ in range(max(0, self.take("i")))]


class Connection:
    def __init__(self):
        self.socket = socket.create_connection((HOST, int(PORT)), timeout=10)
        self.correlation = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def frame(self, api, version, body):
        """A request in header version 1; flexible versions are not written by this program."""
        self.correlation += 1
        header = struct.pack(">hhi", api, version, self.correlation) + string("wire")
        return struct.pack(">i", len(header) + len(body)) + header + body

    def send(self, api, version, body):
        self.socket.sendall(self.frame(api, version, body))
        return self.correlation

    def raw(self, count):
        """Exactly this many bytes, or what there was before the end."""
        data = b""
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            if not more:
                break
            data += more
        return data

    def receive(self, correlation):
        (length,) = struct.unpack(">i", self.raw(4))
        reader = Reader(self.raw(length))
        expect_equal(reader.take("i"), correlation, "correlation id")
        return reader

    def call(self, api, version, body):
        return self.receive(self.send(api, version, body))

    def closed(self):
        """Whether the broker closes the connection without an answer, soon."""
        self.socket.settimeout(5)
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False


def varint(value):
    value = (value << 1) ^ (value >> 63)
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def batch(values, base=0, producer=-1, epoch=-1, sequence=-1, magic=2, count=None, crc=None,
          attributes=0):
    """A record batch in format 2, right or, where an argument says so, wrong."""
    records = b""
    for n, value in enumerate(values):
        record = b"\0" + varint(0) + varint(n) + varint(-1) + varint(len(value)) + value + b"\0"
        records += varint(len(record)) + record
    now = int(time.time() * 1000)
    count = len(values) if count is None else count
    body = struct.pack(">hiqqqhii", attributes, len(values) - 1, now, now, producer, epoch,
                       sequence, count) + records
    crc = crc32c.crc32c(body) if crc is None else crc
    return struct.pack(">qiibI", base, len(body) + 9, -1, magic, crc) + body


def produce_body(topic, records, partition=0, acks=-1, timeout_ms=5000):
    data = array([struct.pack(">i", partition) + struct.pack(">i", len(records)) + records])
    return struct.pack(">hhi", -1, acks, timeout_ms) + array([string(topic) + data])


def produce_answer(reader):
    """(error, base offset) of the only partition, version 7."""
    partition = lambda: (reader.take("i"), reader.take("h"), reader.take("q"), reader.take("q"),
                         reader.take("q"))[1:3]
    ((_, (answer,)),) = reader.array(lambda: (reader.string(), reader.array(partition)))
    return answer


def produce(topic, records, connection=None, **options):
    if connection is not None:
        return produce_answer(connection.call(PRODUCE, 7, produce_body(topic, records, **options)))
    with Connection() as own:
        return produce(topic, records, own, **options)


def fetch_body(topics, max_wait=0, min_bytes=1, max_bytes=1 << 20, partition_bytes=1 << 20,
               session=0, epoch=-1):
    wanted = [string(topic) + array([struct.pack(">iiqqi", partition, -1, offset, -1,
                                                 partition_bytes)])
              for topic, partition, offset in topics]
    return (struct.pack(">iiiibii", -1, max_wait, min_bytes, max_bytes, 0, session, epoch)
            + array(wanted) + array([]) + string(""))


def fetch_answer(reader):
    """(error, session, {(topic, partition): (error, high watermark, records)}), version 11."""
    reader.take("i")
    error, session = reader.take("h"), reader.take("i")
    found = {}

    def partition(topic):
        index, code, high = reader.take("i"), reader.take("h"), reader.take("q")
        reader.take("q"), reader.take("q")
        reader.array(lambda: (reader.take("q"), reader.take("q")))
        reader.take("i")
        found[(topic, index)] = (code, high, reader.bytes())

    def topic():
        name = reader.string()
        reader.array(lambda: partition(name))

    reader.array(topic)
    return error, session, found


def fetch(connection, topics, **options):
    return fetch_answer(connection.call(FETCH, 11, fetch_body(topics, **options)))


def metadata(connection, topics):
    """{topic: (error, partitions)}, version 1."""
    wanted = struct.pack(">i", -1) if topics is None else array([string(t) for t in topics])
    reader = connection.call(METADATA, 1, wanted)
    reader.array(lambda: (reader.take("i"), reader.string(), reader.take("i"), reader.string()))
    reader.take("i")

    def partition():
        reader.take("h"), reader.take("i")
        leader = reader.take("i")
        reader.array(lambda: reader.take("i")), reader.array(lambda: reader.take("i"))
        return leader

    def topic():
        error, name = reader.take("h"), reader.string()
        reader.take("b")
        return name, (error, reader.array(partition))

    return dict(reader.array(topic))


def create(name, partitions=1):
    topic = unique(name)
    body = array([string(topic) + struct.pack(">ih", partitions, 1) + array([]) + array([])])
    with Connection() as connection:
        reader = connection.call(CREATE_TOPICS, 2, body + struct.pack(">ib", 10_000, 0))
        reader.take("i")
        (code,) = reader.array(lambda: (reader.string(), reader.take("h"), reader.string())[1])
        expect_equal(code, 0, f"creation of {topic}")

        def has_leaders():
            error, leaders = metadata(connection, [topic])[topic]
            return error == 0 and len(leaders) == partitions and min(leaders) >= 0

        wait_for(has_leaders, 5, f"leaders of {topic}")
    return topic


def api_versions(version):
    with Connection() as connection:
        # From version 3 on the header ends in tagged fields: none.
        reader = connection.call(API_VERSIONS, version, b"\0" if version > 2 else b"")
        error = reader.take("h")
        triple = lambda: (reader.take("h"), (reader.take("h"), reader.take("h")))
        return error, dict(reader.array(triple))


def advertises_what_kafka_does():
    error, found = api_versions(0)
    expect_equal(error, 0, "code")
    wrong = {key: (found.get(key), wanted) for key, wanted in RANGES.items()
             if found.get(key) != wanted}
    expect(not wrong, f"API key: (advertised, Kafka's): {wrong}")


def unknown_version_of_api_versions():
    error, found = api_versions(99)
    expect_equal((error, found), (35, {API_VERSIONS: (0, 4)}), "answer in the layout of version 0")


def unknown_requests_close():
    for api, version in [(999, 0), (METADATA, 99), (FETCH, 0), (-1, 0)]:
        with Connection() as connection:
            connection.send(api, version, b"")
            expect(connection.closed(), f"API {api} version {version} does not close")


def garbage_closes():
    for data in [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", struct.pack(">i", -1),
                 struct.pack(">i", 0x7FFFFFFF), b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
                 struct.pack(">i", 4) + b"\0\0\0\0"]:
        with Connection() as connection:
            connection.socket.sendall(data)
            expect(connection.closed(), f"{data[:20]!r} does not close")
    expect_equal(api_versions(0)[0], 0, "the next connection")


def absurd_lengths_close():
    """An array that claims more elements than there are bytes is refused, not allocated."""
    for claimed in [0x7FFFFFFF, 0x10000000]:
        with Connection() as connection:
            connection.send(METADATA, 1, struct.pack(">i", claimed))
            expect(connection.closed(), f"{claimed} elements")


def one_byte_at_a_time():
    with Connection() as connection:
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in connection.frame(API_VERSIONS, 0, b""):
            connection.socket.sendall(bytes([byte]))
            time.sleep(0.001)
        expect_equal(connection.receive(1).take("h"), 0, "code")


def trailing_bytes_are_ignored():
    with Connection() as connection:
        reader = connection.call(API_VERSIONS, 0, b"more")
        expect_equal(reader.take("h"), 0, "code")


def answer_after_fin():
    with Connection() as connection:
        correlation = connection.send(METADATA, 1, array([]))
        connection.socket.shutdown(socket.SHUT_WR)
        connection.receive(correlation)


def pipelined_answers_come_in_order():
    topic = create("pipeline", 4)
    with Connection() as connection:
        frames, ids = b"", []
        for n in range(200):
            if n % 4 == 0:
                frames += connection.frame(API_VERSIONS, 0, b"")
            elif n % 4 == 1:
                frames += connection.frame(METADATA, 1, array([string(topic)]))
            else:
                body = produce_body(topic, batch([str(n).encode()]), partition=n % 3)
                frames += connection.frame(PRODUCE, 7, body)
            ids.append(connection.correlation)
        connection.socket.sendall(frames)
        for correlation in ids:
            connection.receive(correlation)


def pipelined_produces_keep_their_order():
    topic = create("order")
    with Connection() as connection:
        ids = [connection.send(PRODUCE, 7, produce_body(topic, batch([str(n).encode()] * 3)))
               for n in range(100)]
        offsets = [produce_answer(connection.receive(one)) for one in ids]
    expect_equal(offsets, [(0, n * 3) for n in range(100)], "(error, base offset)")


def refused_batches():
    topic = create("refused")
    for name, records, wanted in [
        ("a wrong CRC", batch([b"x"], crc=1), 2),
        ("magic 1", batch([b"x"], magic=1), 87),
        ("magic 3", batch([b"x"], magic=3), 2),
        ("a count that is wrong", batch([b"x", b"y"], count=1), 87),
        ("a base offset", batch([b"x"], base=5), 87),
        ("two batches", batch([b"x"]) + batch([b"y"]), 87),
        ("no batch", b"", 87),
        ("a transactional batch without an id", batch([b"x"], producer=1, epoch=0, sequence=0,
                                                       attributes=0x10), 53),
        ("a control batch", batch([b"x"], attributes=0x20), 87),
    ]:
        expect_equal(produce(topic, records)[0], wanted, f"code for {name}")
    expect_equal(produce(topic, batch([b"x"]), acks=2)[0], 21, "code for acks=2")
    expect_equal(produce(topic, batch([b"x"]), partition=9)[0], 3, "code for partition 9")
    expect_equal(produce(topic, batch([b"x"])), (0, 0), "a right one")


def init_producer_id(connection):
    """(producer id, epoch), or None while there is none to have."""
    reader = connection.call(INIT_PRODUCER_ID, 1, struct.pack(">hi", -1, 60_000))
    reader.take("i")
    return None if reader.take("h") else (reader.take("q"), reader.take("h"))


def idempotence():
    topic = create("sequences")
    with Connection() as connection:
        producer, epoch = wait_for(lambda: init_producer_id(connection), 5, "a producer id")

        def send(sequence, count=2, at=epoch):
            return produce(topic, batch([b"x"] * count, producer=producer, epoch=at,
                                        sequence=sequence), connection)

        expect_equal([send(n * 2) for n in range(6)], [(0, n * 2) for n in range(6)], "offsets")
        expect_equal([send(n * 2) for n in range(1, 6)], [(0, n * 2) for n in range(1, 6)],
                     "the last five again")
        # Five batches are remembered; what is older is out of order, and not a duplicate.
        expect(send(0)[0] in (45, 46), "the sixth last again")
        expect_equal(send(14)[0], 45, "code for a gap")
        expect_equal(send(12), (0, 12), "what comes next")
        expect_equal(send(5, at=epoch + 1)[0], 45, "code for a new epoch that starts at 5")
        expect_equal(send(0, at=epoch + 1), (0, 14), "a new epoch from 0")
        expect_equal(send(14, at=epoch)[0], 47, "code for the old epoch")


def fetch_waits_and_is_woken():
    topic = create("wait")
    with Connection() as connection:
        started = time.monotonic()
        fetch(connection, [(topic, 0, 0)], max_wait=600)
        took = time.monotonic() - started
        expect(0.5 < took < 2, f"an empty fetch with 600 ms took {took:.3f} s")
        correlation = connection.send(FETCH, 11, fetch_body([(topic, 0, 0)], max_wait=8000))
        time.sleep(0.1)
        started = time.monotonic()
        produce(topic, batch([b"wake"]))
        _, _, found = fetch_answer(connection.receive(correlation))
        took = time.monotonic() - started
        expect(took < 1, f"woken after {took:.3f} s")
        expect(b"wake" in found[(topic, 0)][2], "the record")
        started = time.monotonic()
        fetch(connection, [(topic, 0, 0)], max_wait=500, min_bytes=100_000)
        expect(time.monotonic() - started > 0.4, "min_bytes is waited for")


def fetch_sizes():
    topic = create("sizes")
    for n in range(5):
        produce(topic, batch([bytes([65 + n]) * 1000]))
    with Connection() as connection:
        whole = fetch(connection, [(topic, 0, 0)])[2][(topic, 0)][2]
        expect_equal(len(whole) > 5000, True, "five batches")
        one = fetch(connection, [(topic, 0, 0)], max_bytes=1, partition_bytes=1)[2][(topic, 0)][2]
        expect(1000 < len(one) < 2000 and one == whole[:len(one)], f"{len(one)} bytes of one batch")
        some = fetch(connection, [(topic, 0, 0)], partition_bytes=2500)[2][(topic, 0)][2]
        expect(1000 < len(some) <= 2500, f"{len(some)} bytes with 2,500 asked for")


def fetch_errors():
    topic = create("ends")
    produce(topic, batch([b"x"]))
    with Connection() as connection:
        _, _, found = fetch(connection, [(topic, 0, 2), ("no-such-topic", 0, 0)])
        expect_equal(found[(topic, 0)][0], 1, "code beyond the end")
        expect_equal(found[("no-such-topic", 0)][0], 3, "code of an unknown topic")
        _, _, found = fetch(connection, [(topic, 7, 0)])
        expect_equal(found[(topic, 7)][0], 3, "code of an unknown partition")
        _, _, found = fetch(connection, [(topic, 0, 1)])
        expect_equal(found[(topic, 0)], (0, 1, b""), "at the end")


def fetch_sessions():
    first, second = create("session"), create("session")
    with Connection() as connection:
        wanted = [(first, 0, 0), (second, 0, 0)]
        error, session, found = fetch(connection, wanted, epoch=0)
        expect(error == 0 and session != 0, f"a session: error {error}, id {session}")
        expect_equal(set(found), {(first, 0), (second, 0)}, "partitions of the full answer")
        produce(second, batch([b"new"]))
        error, same, found = fetch(connection, [], session=session, epoch=1, max_wait=1000)
        expect_equal((error, same, set(found)), (0, session, {(second, 0)}), "what changed")
        error, _, _ = fetch(connection, [], session=session, epoch=9)
        expect_equal(error, 71, "code of a wrong epoch")
        error, _, _ = fetch(connection, [], session=session ^ 0x55555, epoch=3)
        expect_equal(error, 70, "code of an unknown session")


def parked_fetch_does_not_hold_others():
    topic = create("parked")
    with Connection() as parked, Connection() as other:
        correlation = parked.send(FETCH, 11, fetch_body([(topic, 0, 0)], max_wait=3000))
        started = time.monotonic()
        for _ in range(20):
            metadata(other, [topic])
        expect(time.monotonic() - started < 1.5, "requests of another connection waited")
        parked.receive(correlation)


def list_offsets():
    topic = create("list")
    produce(topic, batch([b"x"] * 3))
    with Connection() as connection:
        def at(timestamp, partition=0):
            body = struct.pack(">ib", -1, 0) + array(
                [string(topic) + array([struct.pack(">iiq", partition, -1, timestamp)])])
            reader = connection.call(LIST_OFFSETS, 5, body)
            reader.take("i")
            partition = lambda: (reader.take("i"), reader.take("h"), reader.take("q"),
                                 reader.take("q"), reader.take("i"))
            ((_, (found,)),) = reader.array(lambda: (reader.string(), reader.array(partition)))
            return found[1], found[3]

        expect_equal(at(-1), (0, 3), "latest")
        expect_equal(at(-2), (0, 0), "earliest")
        expect_equal(at(0), (0, 0), "from time 0")
        expect_equal(at(1 << 50), (0, -1), "from the far future")
        expect_equal(at(-1, partition=5)[0], 3, "code of an unknown partition")


def leader_epochs():
    topic = create("epochs")
    produce(topic, batch([b"x"] * 3))
    with Connection() as connection:
        def end_of(epoch):
            body = struct.pack(">i", -1) + array(
                [string(topic) + array([struct.pack(">iii", 0, -1, epoch)])])
            reader = connection.call(OFFSET_FOR_LEADER_EPOCH, 3, body)
            reader.take("i")
            partition = lambda: (reader.take("h"), reader.take("i"), reader.take("i"),
                                 reader.take("q"))
            ((_, (found,)),) = reader.array(lambda: (reader.string(), reader.array(partition)))
            return found[0], found[2], found[3]

        expect_equal(end_of(0), (0, 0, 3), "end of epoch 0")
        expect_equal(end_of(1000), (0, -1, -1), "end of an epoch to come")


def group_errors():
    group = unique("wire")
    with Connection() as connection:
        def join(name=group, session=10_000, member="", protocol="consumer"):
            body = (string(name) + struct.pack(">ii", session, 10_000) + string(member)
                    + string(protocol) + array([string("range") + struct.pack(">i", 0)]))
            reader = connection.call(JOIN_GROUP, 4, body)
            reader.take("i")
            code = reader.take("h")
            generation = reader.take("i")
            reader.string(), reader.string()
            return code, generation, reader.string()

        def is_loaded():
            connection.call(FIND_COORDINATOR, 1, string(group) + b"\0")
            return join(member="nobody")[0] not in (14, 15, 16)

        wait_for(is_loaded, 10, "a coordinator")
        expect_equal(join(name="")[0], 24, "code of an empty group id")
        expect_equal(join(session=1)[0], 26, "code of a session of 1 ms")
        expect_equal(join(member="nobody")[0], 25, "code of an unknown member")
        code, _, member = join()
        expect(code == 79 and member, f"a member id first: {code} {member}")
        code, generation, _ = join(member=member)
        expect_equal((code, generation), (0, 1), "(code, generation) of the join")
        expect_equal(join(member=member, protocol="connect")[0], 23, "code of another protocol")
        body = string(group) + struct.pack(">i", 99) + string(member)
        reader = connection.call(HEARTBEAT, 1, body)
        reader.take("i")
        expect_equal(reader.take("h"), 22, "code of another generation")


def offsets_of_an_unknown_group():
    topic = create("fetched")
    body = string(unique("nobody")) + array([string(topic) + array([struct.pack(">i", 0)])])
    with Connection() as connection:
        def fetched():
            reader = connection.call(OFFSET_FETCH, 2, body)
            partition = lambda: (reader.take("i"), reader.take("q"), reader.string(),
                                 reader.take("h"))
            answer = reader.array(lambda: (reader.string(), reader.array(partition)))
            return reader.take("h") == 0 and answer

        answer = wait_for(fetched, 10, "an answer")
        expect_equal(answer, [(topic, [(0, -1, "", 0)])], "offsets")


def metadata_of_all_and_none():
    topic = create("meta", 3)
    with Connection() as connection:
        expect(topic in metadata(connection, None), "null asks for all topics")
        expect_equal(metadata(connection, []), {}, "an empty list asks for none")
        # Version 4 carries the wish not to create.
        name = unique("nowhere")
        reader = connection.call(METADATA, 4, array([string(name)]) + b"\0")
        reader.take("i")
        reader.array(lambda: (reader.take("i"), reader.string(), reader.take("i"), reader.string()))
        reader.string(), reader.take("i")
        expect_equal(reader.take("i"), 1, "topics in the answer")
        expect_equal(reader.take("h"), 3, "code of an unknown topic")


def many_connections():
    """Two hundred connections that say nothing, and one that works."""
    idle = [Connection() for _ in range(200)]
    try:
        expect_equal(api_versions(0)[0], 0, "code")
    finally:
        for connection in idle:
            connection.socket.close()


def declared_but_never_sent():
    """Eight connections that announce 50 MiB each and stop: they cost nothing to others."""
    waiting = [Connection() for _ in range(8)]
    try:
        for connection in waiting:
            connection.socket.sendall(struct.pack(">i", 50 << 20) + b"\0" * 1000)
        expect_equal(api_versions(0)[0], 0, "code")
    finally:
        for connection in waiting:
            connection.socket.close()


if __name__ == "__main__":
    checks.run([(check.__name__, check) for check in [
        advertises_what_kafka_does,
        unknown_version_of_api_versions,
        unknown_requests_close,
        garbage_closes,
        absurd_lengths_close,
        one_byte_at_a_time,
        trailing_bytes_are_ignored,
        answer_after_fin,
        pipelined_answers_come_in_order,
        pipelined_produces_keep_their_order,
        refused_batches,
        idempotence,
        fetch_waits_and_is_woken,
        fetch_sizes,
        fetch_errors,
        fetch_sessions,
        parked_fetch_does_not_hold_others,
        list_offsets,
        leader_epochs,
        group_errors,
        offsets_of_an_unknown_group,
        metadata_of_all_and_none,
        many_connections,
        declared_but_never_sent,
    ]])
