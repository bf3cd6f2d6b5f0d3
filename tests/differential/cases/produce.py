"""Produce and InitProducerId: every batch a producer may send, and those it must not."""

import struct
import uuid

import batches
from batches import batch
from cases import case

UNKNOWN = uuid.UUID(int=0x1234_5678)


def producer(b, v):
    """`send(note, records, ...)` to one partition, compared."""
    def send(note, records, topic=None, partition=0, acks=-1, transactional=None, timeout=5000,
             **options):
        topic = topic if topic is not None else b.name()
        data = {"Name": topic, "TopicId": b.ids.get(topic, UNKNOWN),
                "PartitionData": [{"Index": partition, "Records": records}]}
        return b.call("Produce", v, {"TransactionalId": transactional, "Acks": acks,
                                     "TimeoutMs": timeout, "TopicData": [data]}, note=note,
                      **options)
    return send


def right(b, **more):
    return batch(at=b.base_ms, **more)


@case("Produce", versions="all")
def requests(b, v):
    b.topic(partitions=2)
    other = b.topic("other")
    send = producer(b, v)
    send("right", right(b))
    send("three records", right(b, values=[b"a", b"b", b"c"]))
    for acks in (1, 2, -2, 32767):
        send(f"acks {acks}", right(b), acks=acks)
    send("no time", right(b), timeout=0)
    send("negative time", right(b), timeout=-1)
    for partition in (2, -1, 2147483647):
        send(f"partition {partition}", right(b), partition=partition)
    send("unknown topic", right(b), topic=b.name("unknown"))
    if v < 13:
        send("empty topic", right(b), topic="")
        send("bad topic", right(b), topic="a b")
    send("internal topic", right(b), topic="__consumer_offsets")
    send("transactional id", right(b), transactional="t")
    send("empty transactional id", right(b), transactional="")
    b.call("Produce", v, {"Acks": -1, "TimeoutMs": 1000, "TopicData": []}, note="no topic")
    b.call("Produce", v, {"Acks": 5, "TimeoutMs": 1000, "TopicData": []}, note="no topic, acks 5")

    def ask(note, *topics, acks=-1):
        b.call("Produce", v, {"Acks": acks, "TimeoutMs": 1000, "TopicData": [
            {"Name": topic, "TopicId": b.ids.get(topic, UNKNOWN), "PartitionData": [
                {"Index": index, "Records": records} for index, records in parts]}
            for topic, parts in topics]}, note=note)
    name = b.name()
    ask("no partition", (name, []))
    ask("two partitions", (name, [(1, right(b)), (0, right(b))]))
    ask("two topics", (other, [(0, right(b))]), (name, [(0, right(b))]))
    ask("good and bad", (name, [(0, right(b)), (7, right(b)), (1, right(b, crc=1))]))
    ask("good and bad, acks 1", (name, [(0, right(b)), (7, right(b))]), acks=1)
    ask("partition twice", (name, [(0, right(b)), (0, right(b, values=[b"x", b"y"]))]))
    ask("topic twice", (name, [(0, right(b))]), (name, [(1, right(b))]))
    ask("topic and partition twice", (name, [(0, right(b))]), (name, [(0, right(b))]))
    ask("unknown and known", (b.name("unknown"), [(0, right(b))]), (name, [(0, right(b))]))
    b.call("ListOffsets", 7, {"ReplicaId": -1, "Topics": [{"Name": name, "Partitions": [
        {"PartitionIndex": 0, "Timestamp": -1}, {"PartitionIndex": 1, "Timestamp": -1}]}]},
        note="what was appended")


@case("Produce", versions="all")
def nothing_acknowledged(b, v):
    name = b.topic()
    for number, (records, partition) in enumerate([(right(b), 0), (right(b, crc=1), 0),
                                                   (right(b), 9)]):
        connection = b.connect()
        data = {"Name": name, "TopicId": b.ids[name],
                "PartitionData": [{"Index": partition, "Records": records}]}
        b.send("Produce", v, {"Acks": 0, "TimeoutMs": 1000, "TopicData": [data]}, on=connection,
               record=False)
        # Kafka closes a connection whose unacknowledged request failed.
        b.call("ListOffsets", 4, {"ReplicaId": -1, "Topics": [{"Name": name, "Partitions": [
            {"PartitionIndex": 0, "Timestamp": -1}]}]}, on=connection, note=f"after {number}")


@case("Produce", versions="all")
def refused_batches(b, v):
    b.topic(configs={"max.message.bytes": "5000"})
    send = producer(b, v)
    good, at = right(b), b.base_ms
    # Kafka never answers.
    send("null", None, patience=1.5)
    send("empty", b"")
    send("one byte", b"\0")
    send("zeros", b"\0" * 100)
    send("cut in the header", good[:40])
    send("cut in the records", good[:-3])
    send("two batches", good + good)
    send("a second one, cut", good + good[:-3])
    send("a second one, cut in its header", good + good[:20])
    for magic in (0, 1):
        send(f"format {magic}", batches.old_message(magic=magic, at=at))
        send(f"format {magic}, wrong CRC", batches.old_message(magic=magic, at=at, crc=7))
    for magic in (0, 1, 3, -1, 127):
        send(f"magic {magic}", right(b, magic=magic))
    send("wrong CRC", right(b, crc=1))
    for base in (5, -1, 9223372036854775807):
        send(f"base offset {base}", right(b, base=base))
    for count in (0, 2, -1, 2147483647):
        send(f"count {count}", right(b, count=count))
    for delta in (1, -1, 2147483647):
        send(f"last delta {delta}", right(b, last_delta=delta))
    send("count 2 and delta 1", right(b, count=2, last_delta=1))
    for size in (0, 10, 49, -1, 2147483647, 14):
        send(f"size {size}", right(b, size=size))
    send("offset deltas with a gap", right(b, values=[b"a", b"b"], deltas=[0, 5], last_delta=5))
    send("offset deltas the wrong way", right(b, values=[b"a", b"b"], deltas=[1, 0]))
    send("control", right(b, attributes=batches.CONTROL))
    send("transactional", right(b, attributes=batches.TRANSACTIONAL))
    send("transactional with an id", right(b, attributes=batches.TRANSACTIONAL, producer=1,
                                           epoch=0, sequence=0))
    for codec in (5, 6, 7):
        send(f"codec {codec}", right(b, attributes=codec) if codec != 1 else b"")
    for codec in (2, 3, 4):
        send(f"codec {codec} that is none", right(b, attributes=codec))
    send("gzip", right(b, attributes=1))
    send("unused attribute bits", right(b, attributes=0x7f80))
    send("append time claimed", right(b, attributes=8))
    send("too large", right(b, values=[b"x" * 6000]))
    send("just too large", right(b, values=[b"x" * 4930]))
    send("large, and packed small", right(b, values=[b"x" * 60000], attributes=1))
    send("no record in the bytes", right(b, records=b""))
    send("a record too many in the bytes",
         right(b, records=batches.record() + batches.record(offset_delta=1)))
    send("records cut", right(b, records=batches.record()[:-1]))
    send("a record's length too long", right(b, records=batches.varint(100) + b"\0" * 10))
    send("a record's length negative", right(b, records=batches.varint(-5) + b"\0" * 10))
    send("a null value", right(b, records=batches.record(None)))
    send("headers", right(b, records=batches.record(headers=[(b"h", b"v"), (b"n", None)])))
    body = bytes([0]) + batches.varint(0) * 2 + batches.varint(-1) + batches.varint(1) + b"v"
    for note, tail in (("a negative header count", batches.varint(-1)),
                       ("more headers than bytes", batches.varint(1000)),
                       ("a null header name", batches.varint(1) + batches.varint(-1)
                        + batches.varint(0))):
        data = body + tail
        send(note, right(b, records=batches.varint(len(data)) + data))
    send("a key's length too long", right(b, records=batches.varint(8) + bytes(3)
                                          + batches.varint(50) + bytes(4)))
    send("record attributes", right(b, records=batches.record(attributes=0x7f)))
    send("what is there in the end", good)


@case("Produce", versions=[3, 5, 8, 9, 13])
def timestamps(b, v):
    narrow = b.topic("narrow", configs={"message.timestamp.before.max.ms": "86400000",
                                        "message.timestamp.after.max.ms": "3600000"})
    appended = b.topic("appended", configs={"message.timestamp.type": "LogAppendTime"})
    send = producer(b, v)
    day = 86_400_000
    for topic in (narrow, appended):
        for note, at in (("now", b.base_ms), ("two days ago", b.base_ms - 2 * day),
                         ("in two hours", b.base_ms + 7_200_000), ("none", -1), ("-2", -2),
                         ("zero", 0), ("the last", 9223372036854775807),
                         ("the first", -9223372036854775808)):
            send(f"{topic[-8:]}: {note}", batch(at=at), topic=topic)
        send(f"{topic[-8:]}: one of three", batch(at=b.base_ms, records=batches.record()
             + batches.record(offset_delta=1, timestamp_delta=-2 * day)
             + batches.record(offset_delta=2), count=3, last_delta=2), topic=topic)
        send(f"{topic[-8:]}: packed", batch(at=b.base_ms - 2 * day, attributes=1), topic=topic)
        send(f"{topic[-8:]}: only the maximum", batch(at=b.base_ms, maximum=b.base_ms + 2 * day),
             topic=topic)
        send(f"{topic[-8:]}: a maximum too low", batch(at=b.base_ms, maximum=5), topic=topic)
    b.call("Fetch", 11, {"ReplicaId": -1, "MaxWaitMs": 0, "MinBytes": 0, "MaxBytes": 1 << 20,
           "Topics": [{"Topic": topic, "Partitions": [{"Partition": 0, "FetchOffset": 0,
                       "PartitionMaxBytes": 1 << 20}]} for topic in (narrow, appended)]},
           note="what was appended")


@case("Produce", versions=[3, 9, 13])
def altered_while_written_to(b, v):
    """What a topic takes follows its configuration at once."""
    topic = b.topic()
    send = producer(b, v)

    def alter(**configs):
        b.quiet("IncrementalAlterConfigs", 1, {"ValidateOnly": False, "Resources": [{
            "ResourceType": 2, "ResourceName": topic, "Configs": [
                {"Name": key.replace("_", "."), "ConfigOperation": 0, "Value": value}
                for key, value in configs.items()]}]})
        b.settle()

    old = batch(at=b.base_ms - 86_400_000)
    alter(message_timestamp_before_max_ms="3600000")
    send("too old", old)
    send("not too old", batch(at=b.base_ms))
    alter(message_timestamp_type="LogAppendTime")
    send("by the broker's time", old)
    alter(message_timestamp_type="CreateTime", message_timestamp_before_max_ms="9223372036854775807",
          cleanup_policy="compact")
    send("no key", right(b))
    alter(cleanup_policy="")
    send("no key where nothing is cleaned", right(b, key=b"k"))
    alter(max_message_bytes="10")
    send("too large", right(b))


@case("Produce", versions=[3, 5, 8, 9, 13])
def compacted(b, v):
    b.topic(configs={"cleanup.policy": "compact"})
    send = producer(b, v)
    send("a key", right(b, key=b"k"))
    send("an empty key", right(b, key=b""))
    send("no key", right(b))
    send("no key in one of three", batch(at=b.base_ms, records=batches.record(key=b"a")
         + batches.record(offset_delta=1) + batches.record(key=b"c", offset_delta=2), count=3,
         last_delta=2))
    send("no key, packed", right(b, attributes=1))
    send("a null value", right(b, records=batches.record(None, b"k")))


@case("Produce", versions=[3, 7, 9, 13])
def compression_of_the_topic(b, v):
    send = producer(b, v)
    for codec in ("gzip", "uncompressed", "lz4", "snappy", "zstd"):
        topic = b.topic(codec, configs={"compression.type": codec})
        for attributes in (0, 1):
            send(f"{codec} from {attributes}", right(b, values=[b"x" * 100] * 3,
                 attributes=attributes), topic=topic)
        send(f"{codec}, a wrong record", right(b, records=b"\x05abc"), topic=topic)
        answer = b.quiet("Fetch", 10, {
            "ReplicaId": -1, "MaxWaitMs": 0, "MinBytes": 0, "MaxBytes": 1 << 20,
            "Topics": [{"Topic": topic, "Partitions": [{"Partition": 0, "FetchOffset": 0,
                                                        "PartitionMaxBytes": 1 << 20}]}]})
        data = answer["Responses"][0]["Partitions"][0]["Records"]
        found = [{name: one[name] for name in ("BaseOffset", "Attributes", "Count", "CrcIsRight",
                                               "LastOffsetDelta", "MaxTimestamp", "BaseTimestamp")}
                 for one in batches.read(data)]
        # The packed bytes themselves differ from one compressor to the next.
        b.note("Fetch", 10, f"{codec}: batches", {"Batches": found})


@case("Produce", versions=[3, 6, 8, 9, 13])
def idempotence(b, v):
    b.topic(partitions=4)
    plain = producer(b, v)
    ids = b.until("a producer id", lambda: (lambda one: one if one["ErrorCode"] == 0 else None)(
        b.quiet("InitProducerId", 1, {"TransactionalId": None, "TransactionTimeoutMs": 1})))
    number = ids["ProducerId"]
    def send(note, sequence, count=1, epoch=0, partition=0, producer=number):
        plain(f"{note}: epoch {epoch}, sequence {sequence}", right(b, values=[b"v"] * count,
              producer=producer, epoch=epoch, sequence=sequence), partition=partition)
    for sequence in range(7):
        send("in order", sequence)
    for sequence in range(7):
        send("again", sequence)
    send("again with more", 6, 2)
    send("a gap", 9)
    send("negative", -1)
    send("goes on", 7, 3)
    send("inside the last", 8)
    send("new epoch, not from 0", 10, epoch=1)
    send("new epoch", 0, epoch=1)
    send("the old epoch", 10, epoch=0)
    send("a much later epoch", 0, epoch=7)
    send("the epoch before", 1, epoch=1)
    send("the largest epoch", 0, epoch=32767)
    send("negative epoch", 0, epoch=-1, partition=1)
    send("starts in the middle", 55, partition=2)
    send("goes on from there", 56, partition=2)
    send("an id nobody was given", 0, producer=987654321, partition=1)
    send("an id below -1", 0, producer=-5, partition=1)
    send("wraps", 2147483646, partition=3)
    send("wraps on", 2147483647, 2, partition=3)
    send("after the wrap", 1, partition=3)
    send("after the wrap, 0", 0, partition=3)
    plain("no id but a sequence", right(b, sequence=5), partition=1)
    plain("no id but an epoch", right(b, epoch=5), partition=1)
    plain("two batches in one", right(b, producer=number, epoch=0, sequence=60)
          + right(b, producer=number, epoch=0, sequence=61), partition=2)
    b.call("DescribeProducers", 0, {"Topics": [{"Name": b.name(),
           "PartitionIndexes": [0, 1, 2, 3]}]}, note="afterwards")


@case("Produce", versions=range(7, 14))
def unfinished_transactions_do_not_exist(b, v):
    """Batches of a transaction that was never begun; nothing here needs a coordinator."""
    b.topic()
    send = producer(b, v)
    for transactional in (None, "t", ""):
        records = right(b, attributes=batches.TRANSACTIONAL, producer=4000, epoch=0, sequence=0)
        if transactional is None:
            send(f"id {transactional!r}", records, transactional=transactional)


@case("InitProducerId", versions="all")
def ids_without_transactions(b, v):
    def ask(note, **fields):
        return b.call("InitProducerId", v, {"TransactionalId": None, "TransactionTimeoutMs": 1000,
                                            **fields}, note=note)
    b.until("a producer id", lambda: b.quiet("InitProducerId", 1, {
        "TransactionalId": None, "TransactionTimeoutMs": 1}).get("ErrorCode") == 0)
    ask("one")
    ask("another")
    ask("no time", TransactionTimeoutMs=0)
    ask("negative time", TransactionTimeoutMs=-1)
    ask("the longest time", TransactionTimeoutMs=2147483647)
    ask("empty transactional id", TransactionalId="")
    if v >= 3:
        ask("an id", ProducerId=5, ProducerEpoch=0)
        ask("an id without an epoch", ProducerId=5)
        ask("an epoch without an id", ProducerEpoch=5)
        ask("negative ones", ProducerId=-2, ProducerEpoch=-2)


@case("DescribeProducers")
def producers(b):
    name = b.topic(partitions=2)
    def ask(note, *parts, topic=name):
        b.call("DescribeProducers", 0, {"Topics": [
            {"Name": topic, "PartitionIndexes": list(parts)}]}, note=note)
    ask("empty", 0, 1)
    for number, epoch, sequence, count in ((7, 0, 0, 3), (8, 2, 0, 1), (7, 0, 3, 1)):
        b.produce(name, batch([b"v"] * count, at=b.base_ms, producer=number, epoch=epoch,
                              sequence=sequence))
    ask("two", 0, 1)
    ask("unknown partition", 5, -1)
    ask("twice", 0, 0)
    ask("none")
    ask("unknown topic", 0, topic=b.name("unknown"))
    ask("bad topic", 0, topic="a b")
    ask("internal", 0, topic="__consumer_offsets")
    b.call("DescribeProducers", 0, {"Topics": []}, note="nothing")
    b.call("DescribeProducers", 0, {"Topics": [{"Name": name, "PartitionIndexes": [0]},
           {"Name": name, "PartitionIndexes": [1]}]}, note="topic twice")
