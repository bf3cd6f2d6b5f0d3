"""What the fault programs share: the process under test, a client beside it, and what is held.

`Bench.held` is asked after each fault: the process is the same one, its memory and its sockets are
within their bounds, and a well-behaved client beside the fault was answered promptly. It injects
nothing itself. `cargo xtask faults` starts these programs; see ../conformance/checks.py for what
they print, docs/reliability.md for what is promised.
"""

import argparse
import multiprocessing
import os
import resource
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "conformance"))

MIB = 1 << 20
# Resident memory may be this much above that of the warm broker once a fault is over: recent
# batches, which stay in memory up to 128 MiB per core (the quick form appends 35 MiB of them, the
# long form more than fits), buffers that are used again, and what the allocator keeps for each
# thread.
RSS_GROWTH_MAX = (192 if "--quick" in sys.argv else 384) * MIB
# And this much while it lasts: beside the above, each of two cores may unpack 100 MiB of a batch.
RSS_PEAK_MAX = RSS_GROWTH_MAX + 256 * MIB
# The client beside is answered within this, on a machine that builds other things at the same time.
PROMPT_SECONDS = 2.0
# Descriptors that are no sockets: files of topics that the check made, and of the read cache.
FILES_GROWTH_MAX = 128
# A broker has this long to close and free what a fault left. Requests that ask to wait are answered
# on a connection that ended its sending half for 30 s.
SETTLE_SECONDS = 45


def options(*more):
    """The command line of a fault program; wire.py then finds its own part of it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--pid", type=int, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true")
    for name in more:
        parser.add_argument(name)
    found = parser.parse_args()
    sys.argv = [sys.argv[0], "--bootstrap", found.bootstrap]
    return found


def allow_descriptors(count):
    """Raises this program's own limit; False when the machine does not allow it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= count:
        return True
    if hard != resource.RLIM_INFINITY and hard < count:
        return False
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
    return True


class Process:
    """The broker as the kernel sees it."""

    def __init__(self, pid):
        self.pid = pid
        self.started = self._stat()[19]

    def _stat(self):
        with open(f"/proc/{self.pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()

    def alive(self):
        try:
            stat = self._stat()
        except FileNotFoundError:
            return False
        return stat[0] not in "ZX" and stat[19] == self.started

    def _status(self, key):
        with open(f"/proc/{self.pid}/status") as file:
            for line in file:
                if line.startswith(key + ":"):
                    return int(line.split()[1]) * 1024
        raise AssertionError(f"no {key} in /proc/PID/status")

    def rss(self):
        return self._status("VmRSS")

    def peak(self):
        return self._status("VmHWM")

    def forget_peak(self):
        with open(f"/proc/{self.pid}/clear_refs", "w") as file:
            file.write("5")

    def descriptors(self):
        """(sockets, others)."""
        folder, sockets, others = f"/proc/{self.pid}/fd", 0, 0
        for name in os.listdir(folder):
            try:
                is_socket = os.readlink(f"{folder}/{name}").startswith("socket:")
            except FileNotFoundError:
                continue
            sockets, others = sockets + is_socket, others + (not is_socket)
        return sockets, others


def _beside(topic, pipe):
    """The client beside: a produce and a metadata request every 20 ms on one connection."""
    import wire

    latencies, errors = [], []
    records = wire.batch([b"beside"])
    connection = wire.Connection()
    connection.socket.settimeout(30)
    pipe.send("ready")
    while True:
        started = time.monotonic()
        try:
            error, _ = wire.produce(topic, records, connection)
            wire.metadata(connection, [topic])
            if error:
                errors.append(f"produce answered {error}")
        except Exception as raised:
            errors.append(f"{type(raised).__name__}: {raised}")
            break
        latencies.append(time.monotonic() - started)
        # After the round: a fault that is over at once has one, too.
        if pipe.poll(0.02):
            break
    pipe.send((latencies, errors))


class Beside:
    """A well-behaved client in a process of its own, from `with` to the end of the block."""

    def __init__(self, topic):
        self.ours, theirs = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=_beside, args=(topic, theirs), daemon=True)

    def __enter__(self):
        self.process.start()
        if not self.ours.poll(20) or self.ours.recv() != "ready":
            raise AssertionError("the client beside could not connect")
        return self

    def __exit__(self, *_):
        if self.process.is_alive():
            self.process.terminate()
        self.process.join(5)

    def result(self):
        """(latencies in seconds, sorted; errors)."""
        self.ours.send("stop")
        if not self.ours.poll(35):
            raise AssertionError("the client beside waits for an answer")
        latencies, errors = self.ours.recv()
        return sorted(latencies), errors


class Bench:
    """Runs checks with everything that is held after each of them."""

    def __init__(self, pid):
        import wire

        self.process = Process(pid)
        self.topic = wire.create("beside", 3)
        for _ in range(200):
            wire.produce(self.topic, wire.batch([b"warm" * 100]))
        # All checks are held against this one moment: what one leaves, the next may not add to.
        self.rss = self.process.rss()

    def check(self, name, fault, peak=RSS_PEAK_MAX, growth=RSS_GROWTH_MAX,
              prompt=PROMPT_SECONDS):
        """(name, function) for checks.run; a fault may return a text that is printed."""
        return name, lambda: self._held(name, fault, peak, growth, prompt)

    def _held(self, name, fault, peak, growth, prompt):
        from checks import expect

        process = self.process
        expect(process.alive(), "the broker is dead from an earlier check")
        process.forget_peak()
        rss, (sockets, files) = self.rss, process.descriptors()
        with Beside(self.topic) as beside:
            said = fault()
            latencies, errors = beside.result()
        expect(process.alive(), "the broker died")
        over = lambda: (process.rss() - rss > growth, process.descriptors()[0] - sockets > 0,
                        process.descriptors()[1] - files > FILES_GROWTH_MAX)
        deadline = time.monotonic() + SETTLE_SECONDS
        while any(over()) and time.monotonic() < deadline:
            time.sleep(0.05)
        grown, highest = process.rss() - rss, process.peak() - rss
        more = [after - before for after, before in zip(process.descriptors(), (sockets, files))]
        expect(not errors, f"the client beside: {errors[:3]}")
        expect(latencies, "the client beside was never answered")
        p50, slowest = latencies[len(latencies) // 2], latencies[-1]
        print(f"{name}: memory {grown / MIB:+.1f} MiB, highest {highest / MIB:+.1f} MiB; sockets "
              f"{more[0]:+}, files {more[1]:+}; the client beside: {len(latencies)} rounds, p50 "
              f"{p50 * 1000:.1f} ms, slowest {slowest * 1000:.0f} ms{'; ' + said if said else ''}",
              flush=True)
        expect(grown <= growth, f"memory grew by {grown / MIB:.1f} MiB")
        expect(highest <= peak, f"memory was {highest / MIB:.1f} MiB higher during the fault")
        expect(more[0] <= 0, f"{more[0]} sockets are left")
        expect(more[1] <= FILES_GROWTH_MAX, f"{more[1]} more files are open")
        expect(slowest <= prompt, f"the client beside waited {slowest:.2f} s")
