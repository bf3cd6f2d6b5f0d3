"""Hostile bytes against the running release binary: frames, counts, mutations, bombs, slow senders.

Requests that a well-behaved client would send are written down once (`recorded`) and then broken in
every way a stranger could. Each attempt ends with an answer or a closed connection; what else is
held is in bench.py. The seed is printed: with it the same mutations are sent again.
"""

import random
import select
import socket
import struct
import time
import zlib

import bench

OPTIONS = bench.options()

import checks
import wire
from checks import expect, expect_equal, unique
from wire import array, string, varint

FRAME_BYTES_MAX = 100 << 20
# Attempts under way at once, and how long one may take to end.
TOGETHER = 64
ATTEMPT_SECONDS = 5
MUTATIONS = 10_000 if OPTIONS.quick else 1_000_000
IDLE = 2_000
SLOW = 200
GREEDY = 8
CROWD = 64
# A request that the client asks to wait: no answer may be right for as long as it says.
FETCH, JOIN_GROUP, SYNC_GROUP = 1, 11, 14
DELETE_TOPICS = 20
WAITING_APIS = {FETCH, JOIN_GROUP, SYNC_GROUP}


def compact(text):
    return bytes([len(text) + 1]) + text.encode()


def request(api, version, body, flexible=False):
    header = struct.pack(">hhi", api, version, 7) + string("hostile") + (b"\0" if flexible else b"")
    return header + body


def recorded(topic):
    """{name: a well-formed request without its length}."""
    group = string("hostile-group")
    named = string(topic)
    return {
        "api_versions": request(18, 0, b""),
        "api_versions_flexible": request(18, 3, compact("name") + compact("1") + b"\0", True),
        "metadata": request(3, 1, array([named])),
        "metadata_flexible": request(
            3, 9, b"\x02" + compact(topic) + b"\0" + b"\0\0\0\0", True),
        "produce": request(0, 7, wire.produce_body(topic, wire.batch([b"one", b"two"]))),
        "fetch": request(1, 11, wire.fetch_body([(topic, 0, 0)], partition_bytes=4096)),
        "fetch_session": request(1, 11, wire.fetch_body([(topic, 0, 0)], epoch=0)),
        "list_offsets": request(2, 5, struct.pack(">ib", -1, 0) + array(
            [named + array([struct.pack(">iiq", 0, -1, -1)])])),
        "find_coordinator": request(10, 1, group + b"\0"),
        "join_group": request(11, 4, group + struct.pack(">ii", 10_000, 10_000) + string("")
                              + string("consumer") + array([string("range") + array([])])),
        "heartbeat": request(12, 1, group + struct.pack(">i", 1) + string("member")),
        "leave_group": request(13, 1, group + string("member")),
        "sync_group": request(14, 1, group + struct.pack(">i", 1) + string("member") + array(
            [string("member") + struct.pack(">i", 3) + b"abc"])),
        "describe_groups": request(15, 1, array([group])),
        "list_groups": request(16, 1, b""),
        "offset_commit": request(8, 5, group + struct.pack(">i", -1) + string("") + array(
            [named + array([struct.pack(">iq", 0, 5) + string("note")])])),
        "offset_fetch": request(9, 2, group + array([named + array([struct.pack(">i", 0)])])),
        "init_producer_id": request(22, 1, struct.pack(">hi", -1, 60_000)),
        "leader_epoch": request(23, 3, struct.pack(">i", -1) + array(
            [named + array([struct.pack(">iii", 0, -1, 0)])])),
        # validate_only, so that the mutations make few topics.
        "create_topics": request(19, 2, array([string("hostile-new") + struct.pack(">ih", 1, 1)
                                               + array([]) + array([])])
                                 + struct.pack(">ib", 1000, 1)),
        "describe_configs": request(32, 1, array([b"\x02" + named + struct.pack(">i", -1)])
                                    + b"\0"),
        "delete_records": request(21, 1, array([named + array([struct.pack(">iq", 0, 0)])])
                                  + struct.pack(">i", 1000)),
    }


def framed(body):
    return struct.pack(">i", len(body)) + body


class Attempt:
    """One connection that sends bytes, says that no more come, and reads to the end."""

    def __init__(self, data):
        self.data, self.answer = data, b""
        self.socket = socket.create_connection((wire.HOST, int(wire.PORT)), timeout=10)
        self.deadline = time.monotonic() + ATTEMPT_SECONDS
        try:
            self.socket.sendall(data)
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:  # closed already: it ends with the next read
            pass
        self.socket.setblocking(False)

    def ended(self):
        """Reads what there is; whether the broker has closed."""
        try:
            while True:
                more = self.socket.recv(1 << 16)
                if not more:
                    return True
                self.answer += more[:64 - len(self.answer)] if len(self.answer) < 64 else b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def may_wait(self):
        """Whether the broker read a request that tells it to wait."""
        return len(self.data) >= 6 and struct.unpack_from(">h", self.data, 4)[0] in WAITING_APIS


def attempt_all(datas):
    """Sends each on its own connection; (answered, closed, waiting), and it is an error when one
    neither ends nor may wait."""
    answered = closed = waiting = 0
    under_way = {}
    datas = iter(datas)
    more = True
    while more or under_way:
        while more and len(under_way) < TOGETHER:
            data = next(datas, None)
            if data is None:
                more = False
            else:
                attempt = Attempt(data)
                under_way[attempt.socket.fileno()] = attempt
        ready, _, _ = select.select(list(under_way), [], [], 0.1)
        now = time.monotonic()
        for number in list(under_way):
            attempt = under_way[number]
            if number in ready and attempt.ended():
                answered, closed = answered + bool(attempt.answer), closed + (not attempt.answer)
            elif attempt.answer and attempt.deadline < now or (
                    attempt.may_wait() and attempt.deadline - ATTEMPT_SECONDS + 0.3 < now):
                waiting += 1
            elif attempt.deadline < now:
                raise AssertionError(f"no answer and no end after {ATTEMPT_SECONDS} s for "
                                     f"{attempt.data[:400].hex()}")
            else:
                continue
            attempt.socket.close()
            del under_way[number]
    return answered, closed, waiting


def told(counts):
    return "{} answered, {} closed, {} left waiting as they asked".format(*counts)


BENCH = bench.Bench(OPTIONS.pid)
TOPIC = wire.create("hostile", 2)
REQUESTS = recorded(TOPIC)


def recorded_requests_are_well_formed():
    """What follows means nothing if the originals were refused."""
    for name, body in REQUESTS.items():
        with wire.Connection() as connection:
            connection.socket.sendall(framed(body))
            length = connection.raw(4)
            expect(len(length) == 4, f"{name} closes")
            expect_equal(connection.raw(4), struct.pack(">i", 7), f"correlation id of {name}")


def frame_sizes_close():
    for size in [-1, -(1 << 31), 0, 1, 7, FRAME_BYTES_MAX + 1, (1 << 31) - 1]:
        with wire.Connection() as connection:
            connection.socket.sendall(struct.pack(">i", size) + b"\0" * max(0, min(size, 4096)))
            expect(connection.closed(), f"a frame of {size} bytes does not close")


def largest_frames_announced_cost_nothing():
    """Fifty connections announce the largest frame allowed, send 1 KiB of it, and stay."""
    waiting = [wire.Connection() for _ in range(50)]
    try:
        for connection in waiting:
            connection.socket.sendall(struct.pack(">i", FRAME_BYTES_MAX) + b"\0" * 1024)
        time.sleep(1)
    finally:
        for connection in waiting:
            connection.socket.close()


def cut_at_every_byte():
    """The frame ends early in the stream: nothing may be answered that was not wholly sent."""
    frames = [framed(body)[:cut] for body in REQUESTS.values() for cut in range(len(body) + 4)]
    counts = attempt_all(frames)
    expect_equal(counts[0], 0, "answers to half a request")
    return told(counts)


def shortened_at_every_byte():
    """The frame's own length ends it early: every decoder meets the end of its input anywhere."""
    return told(attempt_all(framed(body[:cut])
                            for body in REQUESTS.values() for cut in range(len(body))))


def counts_larger_than_the_frame():
    """Any two, four or five bytes after the header as a length that no frame can hold."""
    lies = [struct.pack(">i", 0x7FFFFFFF), struct.pack(">i", 0x00FFFFFF), struct.pack(">i", -2),
            struct.pack(">h", 0x7FFF), struct.pack(">h", -2), b"\xff\xff\xff\xff\x07",
            b"\xff" * 10]

    def all_of_them():
        for body in REQUESTS.values():
            for at in range(17, len(body), 1 if not OPTIONS.quick else 2):
                for lie in lies:
                    yield framed(body[:at] + lie + body[at + len(lie):])

    return told(attempt_all(all_of_them()))


def mutated(rng, body):
    """One to four changes: a bit, a byte, an interesting number, a piece removed, doubled or
    moved, or the tail of another request."""
    data = bytearray(body)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data) or 1)
        kind = rng.randrange(7)
        if not data:
            data += bytes([rng.randrange(256)])
        elif kind == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at] = rng.randrange(256)
        elif kind == 2:
            number = rng.choice([0, 1, -1, 0x7F, 0x80, 0x7FFF, -0x8000])
            data[at:at + 2] = struct.pack(">h", max(-0x8000, min(number, 0x7FFF)))
        elif kind == 3:
            data[at:at + 4] = struct.pack(">i", rng.choice([0, -1, 0x7FFFFFFF, -0x80000000, 1000]))
        elif kind == 4:
            del data[at:at + rng.randint(1, 8)]
        elif kind == 5:
            piece = data[at:at + rng.randint(1, 16)]
            where = rng.randrange(len(data))
            data[where:where] = piece
        else:
            other = rng.choice(list(REQUESTS.values()))
            data[at:] = other[rng.randrange(len(other)):]
    return bytes(data)


def mutations():
    rng = random.Random(OPTIONS.seed)
    bodies = list(REQUESTS.values())
    started = time.monotonic()
    counts = attempt_all(framed(mutated(rng, rng.choice(bodies))) for _ in range(MUTATIONS))
    took = time.monotonic() - started
    return f"{MUTATIONS} of seed {OPTIONS.seed} in {took:.0f} s, {told(counts)}"


BOMB_BYTES = 1 << 30


def one_record_of(size):
    """The bytes before the zeros of one record whose value is about `size` zero bytes; the zero
    after them is its count of headers."""
    head = b"\0" + varint(0) + varint(0) + varint(-1) + varint(size)
    return varint(len(head) + size + 1) + head, size + 1


def gzip_bomb(size):
    head, zeros = one_record_of(size)
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    out = packer.compress(head)
    while zeros > 0:
        out += packer.compress(bytes(min(zeros, 1 << 20)))
        zeros -= 1 << 20
    return out + packer.flush()


def zstd_bomb(size):
    """Blocks of one repeated byte: 4 bytes for 128 KiB."""
    head, zeros = one_record_of(size)
    block = lambda last, kind, size: struct.pack("<I", last | kind << 1 | size << 3)[:3]
    out = struct.pack("<IBB", 0xFD2FB528, 0, 7 << 3) + block(0, 0, len(head)) + head
    while zeros > 0:
        piece = min(zeros, 128 << 10)
        zeros -= piece
        out += block(int(zeros == 0), 1, piece) + b"\0"
    return out


def snappy_bomb(size):
    """Copies of 64 bytes: 3 bytes each."""
    head, zeros = one_record_of(size)
    length, total = b"", len(head) + zeros
    while total > 127:
        length, total = length + bytes([total & 127 | 128]), total >> 7
    out = length + bytes([total]) + bytes([(len(head)) << 2]) + head + b"\0"
    # The literal above is the head and one zero.
    copies, rest = divmod(zeros - 1, 64)
    out += (bytes([63 << 2 | 2]) + struct.pack("<H", 1)) * copies
    return out + (bytes([rest - 1 << 2 | 2]) + struct.pack("<H", 1) if rest else b"")


def lz4_bomb(size):
    import lz4.frame

    head, zeros = one_record_of(size)
    packer = lz4.frame.LZ4FrameCompressor(block_size=lz4.frame.BLOCKSIZE_MAX4MB,
                                          block_linked=False, auto_flush=True)
    out = packer.begin() + packer.compress(head)
    while zeros > 0:
        out += packer.compress(bytes(min(zeros, 4 << 20)))
        zeros -= 4 << 20
    return out + packer.flush()


def codec_batch(codec, payload, count=1):
    import crc32c

    now = int(time.time() * 1000)
    body = struct.pack(">hiqqqhii", codec, count - 1, now, now, -1, -1, -1, count) + payload
    return struct.pack(">qiibI", 0, len(body) + 9, -1, 2, crc32c.crc32c(body)) + body


def bomb(codec, payload):
    """A batch within message.max.bytes that unpacks to far more, eight times."""
    def send():
        records = codec_batch(codec, payload())
        expect(len(records) < 1_000_000, f"the bomb itself has {len(records)} bytes")
        codes = set()
        with wire.Connection() as connection:
            connection.socket.settimeout(30)
            started = time.monotonic()
            for _ in range(8):
                codes.add(wire.produce(TOPIC, records, connection)[0])
            took = (time.monotonic() - started) / 8
        return f"{len(records)} bytes sent, {took * 1000:.0f} ms each, codes {sorted(codes)}"
    return send


def bombs_in_one_request():
    """Batches that are small enough once unpacked, one for each partition: seconds of a core."""
    topic = wire.create("crowd", CROWD)
    records = codec_batch(1, gzip_bomb(90 << 20))
    parts = [struct.pack(">ii", partition, len(records)) + records for partition in range(CROWD)]
    body = struct.pack(">hhi", -1, -1, 60_000) + array([string(topic) + array(parts)])
    with wire.Connection() as connection:
        connection.socket.settimeout(60)
        started = time.monotonic()
        reader = connection.call(wire.PRODUCE, 7, body)
        took = time.monotonic() - started
    # Partition, code, base offset, append time, log start.
    part = lambda: tuple(reader.take(form) for form in "ihqqq")
    ((_, answers),) = reader.array(lambda: (reader.string(), reader.array(part)))
    expect_equal(sorted(answer[:3] for answer in answers), [(at, 0, 0) for at in range(CROWD)],
                 "what each partition was answered")
    # What it stored would count as growth in all checks that follow.
    with wire.Connection() as connection:
        body = array([string(topic)]) + struct.pack(">i", 10_000)
        reader = connection.call(DELETE_TOPICS, 1, body)
        reader.take("i")
        (code,) = reader.array(lambda: (reader.string(), reader.take("h"))[1])
        expect_equal(code, 0, f"deletion of {topic}")
    return f"{CROWD} batches of {len(records)} bytes in {took:.1f} s"


def lying_payloads():
    """Headers of the codecs that declare more than memory holds."""
    huge = b"\xff\xff\xff\xff\x0f"
    zstd = struct.pack("<IB", 0xFD2FB528, 0xE0) + struct.pack("<Q", 1 << 60) + b"\x01\0\0"
    window = struct.pack("<IBB", 0xFD2FB528, 0, 0xFF) + b"\x03\0\0a"
    xerial = b"\x82SNAPPY\0\0\0\0\1\0\0\0\1" + struct.pack(">i", 0x7FFFFFFF) + huge
    for codec, payload in [(1, b"\x1f\x8b\x08\0"), (1, b""), (2, huge), (2, xerial), (2, b""),
                           (3, b"\x04\x22\x4d\x18\x6c\x70" + struct.pack("<Q", 1 << 62) + b"\0"),
                           (3, b""), (4, zstd), (4, window), (4, b""), (5, b"x"), (7, b"x")]:
        for count in [1, 0x7FFFFFFF]:
            code = wire.produce(TOPIC, codec_batch(codec, payload, count))[0]
            expect(code in (2, 10, 76, 87), f"codec {codec}, {payload[:8].hex()}, {count}: {code}")


def slow_senders():
    """A byte each 50 ms on many connections, none of which is ever a whole request."""
    frame = framed(REQUESTS["produce"])
    senders = [wire.Connection() for _ in range(SLOW)]
    try:
        for at in range(60):
            for sender in senders:
                sender.socket.sendall(frame[at:at + 1])
            time.sleep(0.05)
    finally:
        for sender in senders:
            sender.socket.close()


def requests_without_reading():
    """Connections that send for as long as the broker reads, and never read an answer."""
    frame = framed(REQUESTS["metadata"]) * 200
    greedy = [wire.Connection() for _ in range(GREEDY)]
    sent, quiet = 0, time.monotonic()
    try:
        for connection in greedy:
            connection.socket.setblocking(False)
        left = {connection: b"" for connection in greedy}
        deadline = time.monotonic() + 15
        while time.monotonic() - quiet < 1.5 and time.monotonic() < deadline:
            _, ready, _ = select.select([], [c.socket for c in greedy], [], 0.1)
            for connection in greedy:
                if connection.socket in ready:
                    left[connection] = left[connection] or frame
                    count = connection.socket.send(left[connection])
                    left[connection] = left[connection][count:]
                    sent, quiet = sent + count, time.monotonic()
        expect(time.monotonic() < deadline, "the broker still read after 15 s")
    finally:
        for connection in greedy:
            connection.socket.close()
    return f"{GREEDY} connections, {sent} bytes until it stopped reading"


def idle_connections():
    expect(bench.allow_descriptors(IDLE + 200), f"the machine allows no {IDLE} descriptors")
    before = BENCH.process.rss()
    idle = []
    try:
        for _ in range(IDLE):
            idle.append(socket.create_connection((wire.HOST, int(wire.PORT)), timeout=10))
        for connection in idle[::10]:
            connection.sendall(framed(REQUESTS["api_versions"]))
        for connection in idle[::10]:
            connection.settimeout(10)
            expect(connection.recv(4), "an answer on an idle connection")
        each = (BENCH.process.rss() - before) / IDLE
    finally:
        for connection in idle:
            connection.close()
    return f"{IDLE} connections, {each / 1024:.1f} KiB each"


# A million mutations take minutes, on a machine that does other things half an hour.
checks.CHECK_SECONDS = 90 if OPTIONS.quick else 5_400
checks.run([BENCH.check(name, fault, **bounds) for name, fault, bounds in [
    ("recorded_requests_are_well_formed", recorded_requests_are_well_formed, {}),
    ("frame_sizes_close", frame_sizes_close, {}),
    ("largest_frames_announced_cost_nothing", largest_frames_announced_cost_nothing, {}),
    ("cut_at_every_byte", cut_at_every_byte, {}),
    ("shortened_at_every_byte", shortened_at_every_byte, {}),
    ("counts_larger_than_the_frame", counts_larger_than_the_frame, {}),
    ("mutations", mutations, {}),
    ("bomb_gzip", bomb(1, lambda: gzip_bomb(900 << 20)), {}),
    ("bomb_snappy", bomb(2, lambda: snappy_bomb(20 << 20)), {}),
    ("bomb_lz4", bomb(3, lambda: lz4_bomb(200 << 20)), {}),
    ("bomb_zstd", bomb(4, lambda: zstd_bomb(BOMB_BYTES)), {}),
    ("bombs_in_one_request", bombs_in_one_request, {}),
    ("lying_payloads", lying_payloads, {}),
    ("slow_senders", slow_senders, {}),
    ("requests_without_reading", requests_without_reading, {}),
    ("idle_connections", idle_connections, {}),
]])
