"""An IP link between two network namespaces that loses, repeats, delays and swallows packets.

Both ends are TUN devices that exist already; a thread of this program carries every packet from one
to the other and does what `Link` was told. The machine's own network is not touched. Namespaces and
devices are made by xtask/src/suites/faults/network.rs; network.py does harm with them.
"""

import ctypes
import fcntl
import heapq
import os
import random
import select
import struct
import threading
import time

CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
# Packets under way; what is more is lost, as in the queue of a real link.
UNDER_WAY_MAX = 20_000
TO_BROKER, TO_CLIENTS = 0, 1


def enter(namespace):
    """This thread, and what it starts from now on, lives in the namespace with this name."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        if libc.setns(descriptor, CLONE_NEWNET):
            code = ctypes.get_errno()
            raise OSError(code, f"namespace {namespace}: {os.strerror(code)}")
    finally:
        os.close(descriptor)


def device(name):
    """Takes hold of a TUN device of the namespace this thread is in."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    request = struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI)
    fcntl.ioctl(descriptor, TUNSETIFF, request)
    return descriptor


class Link:
    """Carries packets from when it is made until the program ends."""

    def __init__(self, clients, broker, seed):
        """Descriptors of the two devices."""
        self.ends, self.random = (clients, broker), random.Random(seed)
        self.under_way, self.count = [], 0
        self.carried, self.lost = 0, 0
        self.heal()
        threading.Thread(target=self._carry, daemon=True).start()

    def heal(self):
        """Every packet arrives, at once and once."""
        self.loss, self.repeat, self.delay_seconds = 0.0, 0.0, 0.0
        self.swallowed = ()
        self.vanished_ports = frozenset()

    def spoil(self, loss, repeat, delay_seconds):
        """Chances of a packet to be lost and to come twice; delays up to this, which reorder."""
        self.loss, self.repeat, self.delay_seconds = loss, repeat, delay_seconds

    def swallow(self, *directions):
        """Nothing arrives in these directions."""
        self.swallowed = directions

    def vanish(self, ports):
        """The clients behind these ports are gone: they neither hear nor say anything more."""
        self.vanished_ports = frozenset(ports)

    def _arrivals(self, direction, packet):
        """When copies of the packet arrive, in seconds from now; none if it is lost."""
        if direction in self.swallowed or self._of_vanished(direction, packet):
            return []
        copies = 2 if self.random.random() < self.repeat else 1
        return [self.random.uniform(0, self.delay_seconds) for _ in range(copies)
                if self.random.random() >= self.loss]

    def _of_vanished(self, direction, packet):
        if not self.vanished_ports:
            return False
        header = (packet[0] & 15) * 4
        if packet[9] != 6 or len(packet) < header + 4:
            return False
        source, destination = struct.unpack_from(">HH", packet, header)
        port = source if direction == TO_BROKER else destination
        return port in self.vanished_ports

    def _take(self, direction, now):
        while True:
            try:
                packet = os.read(self.ends[direction], 65536)
            except BlockingIOError:
                return
            # Only IPv4: the kernel says other things on a fresh device.
            if packet[0] >> 4 != 4 or len(packet) < 20:
                continue
            arrivals = self._arrivals(direction, packet)
            self.lost += not arrivals
            for after in arrivals:
                if len(self.under_way) < UNDER_WAY_MAX:
                    self.count += 1
                    heapq.heappush(self.under_way, (now + after, self.count, direction, packet))

    def _carry(self):
        while True:
            now = time.monotonic()
            while self.under_way and self.under_way[0][0] <= now:
                _, _, direction, packet = heapq.heappop(self.under_way)
                self.carried += 1
                try:
                    os.write(self.ends[1 - direction], packet)
                except OSError:
                    self.lost += 1
            wait = max(0, self.under_way[0][0] - now) if self.under_way else 1
            ready, _, _ = select.select(self.ends, [], [], wait)
            for end in ready:
                self._take(self.ends.index(end), time.monotonic())
