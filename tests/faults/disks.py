"""A disk that is full, slow, read-only or broken under the running broker: one phase per start.

Each phase breaks the disk (`control` is the socket it obeys), and judges what clients are told: a
record is acknowledged, or refused with a storage error, and never answered wrongly. What was
acknowledged is written down with its offset and read back: at the end of the phase where the
broker heals by itself, otherwise after a restart on a sound disk (`after_...`).
"""

import json
import os
import socket
import time

import bench

OPTIONS = bench.options("--phase", "--device", "--control", "--mounted", "--state")

import checks
import wire
from checks import expect, expect_equal, wait_for

STORAGE_ERROR = 56
VALUE_BYTES = 16 << 10
# Records of the quick form before, and at most while the fault lasts: more than the journals hold.
BEFORE = 200
DURING_MAX = 8000
PARTITIONS = 2


def tell(command):
    with socket.socket(socket.AF_UNIX) as control:
        control.settimeout(10)
        control.connect(OPTIONS.control)
        control.sendall(command.encode() + b"\n")
        said = control.recv(100).decode()
    expect(said.startswith("ok"), f"{command}: {said}")


def value(topic, number):
    """Content that names itself and does not compress."""
    return f"{topic}:{number};".encode().ljust(VALUE_BYTES, bytes([number % 251]))


class Log:
    """One topic, and what was acknowledged of it: partition and offset to number."""

    def __init__(self, name, acked=None):
        self.topic = name if acked is not None else wire.create(name, PARTITIONS)
        self.acked = acked if acked is not None else {}
        self.number = 0
        self.connection = None

    def produce(self, timeout=20):
        """Sends one record; its error code, or None when the connection was lost."""
        number, self.number = self.number, self.number + 1
        try:
            if self.connection is None:
                self.connection = wire.Connection()
                self.connection.socket.settimeout(timeout)
            code, offset = wire.produce(self.topic, wire.batch([value(self.topic, number)]),
                                        self.connection, partition=number % PARTITIONS)
        except Exception:
            if self.connection is not None:
                self.connection.socket.close()
            self.connection = None
            return None
        if code == 0:
            self.acked[f"{number % PARTITIONS}:{offset}"] = number
        return code

    def produce_all(self, count):
        for _ in range(count):
            expect_equal(self.produce(), 0, "code of a produce")

    def verify(self):
        """Every acknowledged record is at its offset, whole."""
        left = {(int(key.split(":")[0]), int(key.split(":")[1])): number
                for key, number in self.acked.items()}
        wanted = len(left)
        with wire.Connection() as connection:
            for partition in range(PARTITIONS):
                offset, end = 0, 1 + max([o for p, o in left if p == partition], default=-1)
                while offset < end:
                    _, _, found = wire.fetch(connection, [(self.topic, partition, offset)])
                    code, _, records = found[(self.topic, partition)]
                    expect_equal(code, 0, f"code of a fetch at {offset}")
                    before = offset
                    for base, content in batches(records):
                        number = left.pop((partition, base), None)
                        if number is not None:
                            expect(value(self.topic, number) in content,
                                   f"{self.topic} {partition} offset {base} is not {number}")
                        offset = max(offset, base + 1)
                    expect(offset > before, f"nothing at {offset} of {end}")
        expect(not left, f"{len(left)} acknowledged records are gone: {sorted(left)[:5]}")
        return wanted


def batches(records):
    """(base offset, bytes) of each whole batch; ours have one record each."""
    at = 0
    while at + 12 <= len(records):
        base = int.from_bytes(records[at:at + 8], "big")
        end = at + 12 + int.from_bytes(records[at + 8:at + 12], "big")
        if end > len(records):
            return
        yield base, records[at:end]
        at = end


def load():
    if not os.path.exists(OPTIONS.state):
        return {}
    with open(OPTIONS.state) as file:
        return json.load(file)


def save(*logs):
    state = load()
    state.update({log.topic: log.acked for log in logs})
    with open(OPTIONS.state, "w") as file:
        json.dump(state, file)


def verify_all():
    """What any phase had acknowledged, whichever fault came since."""
    count = sum(Log(topic, acked).verify() for topic, acked in load().items())
    print(f"{count} acknowledged records are there", flush=True)


PROCESS = bench.Process(OPTIONS.pid)


def refused_until(log, limit=DURING_MAX):
    """Produces until the broker refuses; (acknowledged meanwhile, code)."""
    for count in range(limit):
        code = log.produce()
        if code != 0:
            expect(PROCESS.alive(), "the broker died")
            return count, code
    raise AssertionError(f"{limit} records were acknowledged by a broken disk")


def still_refused(log):
    """Nothing is acknowledged any more, whichever way a client asks."""
    for _ in range(20):
        code = log.produce()
        expect(code in (STORAGE_ERROR, None), f"code {code} after the disk failed")


def other_apis_answer():
    with wire.Connection() as connection:
        expect(wire.metadata(connection, None), "no topics")
    expect_equal(wire.api_versions(0)[0], 0, "code of ApiVersions")


def fill(path):
    """Takes all space there is, the last block too."""
    with open(path, "ab") as file:
        size, piece = os.fstat(file.fileno()).st_size, 64 << 20
        while piece >= 4096:
            try:
                os.posix_fallocate(file.fileno(), size, piece)
                size += piece
            except OSError:
                piece //= 2
        os.fsync(file.fileno())


def full():
    """Refused with a storage error, reads go on, and it heals by itself."""
    log = Log("full")
    log.produce_all(BEFORE)
    filler = os.path.join(OPTIONS.mounted, "filler")
    fill(filler)
    try:
        # The broker's own files give back space while it flushes: it heals for a moment, and is
        # filled again, until the journals are full, too.
        count = refused = healings = 0
        while refused < 20:
            code = log.produce()
            expect(PROCESS.alive(), "the broker died")
            expect(code in (0, STORAGE_ERROR), f"code {code} on a full disk")
            if code == 0:
                count, healings = count + 1, healings + (refused > 0)
                expect(count < DURING_MAX, f"{count} records were acknowledged by a full disk")
                if refused:
                    fill(filler)
            refused = 0 if code == 0 else refused + 1
        other_apis_answer()
        log.verify()
    finally:
        os.unlink(filler)
    started = time.monotonic()
    # A file system gives freed space back in pieces: one record may be taken and the next refused.
    wait_for(lambda: all(log.produce() == 0 for _ in range(BEFORE)), 15,
             "records acknowledged one after the other when space is back")
    healed = time.monotonic() - started
    log.verify()
    save(log)
    print(f"full: {count} more records acknowledged, then code {STORAGE_ERROR}; {healings} times a "
          f"little space was found; healed {healed:.1f} s after all was back", flush=True)


def slow():
    """20 ms for each write and flush: slower, and nothing else."""
    log = Log("slow")
    tell("slow 20")
    try:
        latencies = []
        for _ in range(50):
            started = time.monotonic()
            expect_equal(log.produce(), 0, "code on a slow disk")
            latencies.append(time.monotonic() - started)
    finally:
        tell("slow 0")
    latencies.sort()
    log.verify()
    save(log)
    print(f"slow: p50 {latencies[25] * 1000:.0f} ms, slowest {latencies[-1] * 1000:.0f} ms",
          flush=True)


def eio_read():
    """Reads that fail are errors; nothing wrong is answered, and producers go on elsewhere."""
    log, other = Log("unread"), Log("beside")
    # More than memory keeps.
    log.produce_all(2000)
    other.produce_all(BEFORE)
    tell("fail read")
    codes = set()
    with wire.Connection() as connection:
        connection.socket.settimeout(20)
        for _ in range(5):
            _, _, found = wire.fetch(connection, [(log.topic, 0, 0)], max_wait=100)
            code, _, records = found[(log.topic, 0)]
            codes.add(code)
            for base, content in batches(records):
                expect(value(log.topic, log.acked[f"0:{base}"]) in content, "wrong bytes")
    expect(STORAGE_ERROR in codes, f"codes {codes}: was anything read?")
    other_apis_answer()
    save(log, other)
    print(f"eio_read: codes {sorted(codes)}", flush=True)


def broken(fault):
    """What fails is refused at once and from then on; nothing is acknowledged by a broken disk."""
    def check():
        log = Log(fault.replace(" ", "-"))
        log.produce_all(BEFORE)
        tell(fault)
        started = time.monotonic()
        count, code = refused_until(log, 50)
        took = time.monotonic() - started
        expect(count == 0, f"{count} records were acknowledged after the disk broke")
        expect(code in (STORAGE_ERROR, None), f"code {code}")
        still_refused(log)
        if PROCESS.alive():
            other_apis_answer()
        save(log)
        print(f"{fault}: code {code} after {took * 1000:.0f} ms", flush=True)
    return check


def read_only():
    """The file system finds an error and makes itself read-only, as ext4 does."""
    log = Log("read-only")
    log.produce_all(BEFORE)
    with open(f"/sys/fs/ext4/{OPTIONS.device}/trigger_fs_error", "w") as file:
        file.write("1")
    count, code = refused_until(log)
    expect(code in (STORAGE_ERROR, None), f"code {code}")
    still_refused(log)
    save(log)
    print(f"read_only: {count} more records acknowledged, then code {code}", flush=True)


PHASES = {"full": full, "slow": slow, "eio_read": eio_read, "eio_write": broken("fail write"),
          "eio_flush": broken("fail flush"), "read_only": read_only}
checks.CHECK_SECONDS = 120
PHASE = OPTIONS.phase
checks.run([(PHASE, verify_all if PHASE.startswith("after_") else PHASES[PHASE])])
