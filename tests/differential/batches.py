"""Record batches: written by hand, right or wrong where an argument says so, and read field by field.

Source: KIP-98 (format 2), Kafka's `MemoryRecords` and `DefaultRecordBatch`; KIP-31/32 (formats 0, 1).
"""

import struct
import zlib

import crc32c

HEADER_BYTES = 61
TRANSACTIONAL, CONTROL = 0x10, 0x20


def varint(value):
    value = (value << 1) ^ (value >> 63)
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def record(value=b"v", key=None, offset_delta=0, timestamp_delta=0, headers=(), attributes=0):
    """One record with its length in front."""
    def sized(data):
        return varint(-1) if data is None else varint(len(data)) + data
    body = bytes([attributes]) + varint(timestamp_delta) + varint(offset_delta)
    body += sized(key) + sized(value) + varint(len(headers))
    for name, content in headers:
        body += varint(len(name)) + name + sized(content)
    return varint(len(body)) + body


def batch(values=(b"v",), *, at, key=None, base=0, producer=-1, epoch=-1, sequence=-1, magic=2,
          count=None, last_delta=None, crc=None, attributes=0, leader_epoch=-1, maximum=None,
          first=None, size=None, records=None, deltas=None):
    """A batch of format 2 at the timestamp `at`; every other argument replaces what is right."""
    if records is None:
        steps = deltas or range(len(values))
        records = b"".join(record(value, key, delta) for value, delta in zip(values, steps))
    count = len(values) if count is None else count
    last_delta = len(values) - 1 if last_delta is None else last_delta
    codec = attributes & 7
    if codec == 1:
        compressor = zlib.compressobj(wbits=31)
        records = compressor.compress(records) + compressor.flush()
    body = struct.pack(">hiqqqhii", attributes, last_delta, at if first is None else first,
                       at if maximum is None else maximum, producer, epoch, sequence, count)
    body += records
    sum_ = crc32c.crc32c(body) if crc is None else crc
    size = len(body) + 9 if size is None else size
    return struct.pack(">qiibI", base, size, leader_epoch, magic, sum_) + body


def old_message(value=b"v", *, magic, at, offset=0, crc=None):
    """A message of format 0 or 1."""
    body = struct.pack(">bb", magic, 0) + (struct.pack(">q", at) if magic == 1 else b"")
    body += struct.pack(">i", -1) + struct.pack(">i", len(value)) + value
    sum_ = zlib.crc32(body) if crc is None else crc
    message = struct.pack(">I", sum_) + body
    return struct.pack(">qi", offset, len(message)) + message


def read(data):
    """The batches of a fetched record set, as values to compare; what is no batch is left as hex."""
    if data is None:
        return None
    found, at = [], 0
    while at + HEADER_BYTES <= len(data):
        base, size, epoch, magic, crc = struct.unpack_from(">qiibI", data, at)
        end = at + 12 + size
        if magic != 2 or end > len(data):
            break
        body = data[at + 21:end]
        fields = struct.unpack_from(">hiqqqhii", body)
        names = ("Attributes", "LastOffsetDelta", "BaseTimestamp", "MaxTimestamp", "ProducerId",
                 "ProducerEpoch", "BaseSequence", "Count")
        one = {"BaseOffset": base, "LeaderEpoch": epoch, "CrcIsRight": crc32c.crc32c(body) == crc,
               **dict(zip(names, fields)), "Records": body[40:].hex()}
        found.append(one)
        at = end
    if at < len(data):
        found.append({"Rest": len(data) - at})
    return found
