"""CreateTopics, CreatePartitions, DeleteTopics, DeleteRecords, and topics' lives."""

import uuid

import batches
from cases import case

TIMEOUT_MS = 10_000


def wanted(name, partitions=1, factor=1, assignments=(), configs=()):
    return {"Name": name, "NumPartitions": partitions, "ReplicationFactor": factor,
            "Assignments": [{"PartitionIndex": index, "BrokerIds": list(brokers)}
                            for index, brokers in assignments],
            "Configs": [{"Name": key, "Value": value} for key, value in configs]}


def creator(b, v):
    def create(note, *topics, only=False, timeout=TIMEOUT_MS):
        answer = b.call("CreateTopics", v, {"Topics": list(topics), "timeoutMs": timeout,
                                            "validateOnly": only}, note=note)
        if not only and timeout > 0:
            for one in answer.get("Topics", []):
                if one["ErrorCode"] == 0:
                    b.until("the topic", lambda one=one: b.quiet("Metadata", 9, {
                        "Topics": [{"Name": one["Name"]}], "AllowAutoTopicCreation": False,
                    })["Topics"][0]["ErrorCode"] == 0)
        return answer
    return create


@case("CreateTopics", versions="all")
def create(b, v):
    create = creator(b, v)
    name = b.name
    create("one", wanted(name("one"), 3))
    create("again", wanted(name("one")))
    create("again and another", wanted(name("one")), wanted(name("two")))
    create("twice in one", wanted(name("three")), wanted(name("three"), 2))
    create("none")
    create("the broker's count", wanted(name("four"), -1, -1))
    create("validated only", wanted(name("five")), only=True)
    create("validated only, there already", wanted(name("one")), only=True)
    for partitions in (0, -2, 2_000_000_000):
        create(f"{partitions} partitions", wanted(name("bad"), partitions))
    for factor in (0, -2, 2, 32767):
        create(f"factor {factor}", wanted(name("bad"), 1, factor))
    create("no partitions, factor 2", wanted(name("bad"), 0, 2))
    for number, bad in enumerate(("", ".", "..", "a/b", "a b", "ä", "x" * 250, "a:b", "a\0b")):
        create(f"name {bad[:8]!r}", wanted(bad))
    create("collision, first", wanted(name("x_y")))
    create("collision, then", wanted(name("x.y")))
    create("collision in one", wanted(name("p_q")), wanted(name("p.q")))
    create("internal", wanted("__consumer_offsets"))
    create("metadata", wanted("__cluster_metadata"))
    create("transaction state", wanted("__transaction_state", 0))
    create("no time", wanted(name("late")), timeout=0)
    b.settle()


@case("CreateTopics", versions="all")
def assignments(b, v):
    create = creator(b, v)
    name = b.name
    create("by hand", wanted(name("one"), -1, -1, [(0, [1]), (1, [1])]))
    create("by hand, with a count", wanted(name("two"), 1, -1, [(0, [1])]))
    create("by hand, with a factor", wanted(name("two"), -1, 1, [(0, [1])]))
    create("unknown broker", wanted(name("two"), -1, -1, [(0, [2])]))
    create("negative broker", wanted(name("two"), -1, -1, [(0, [-1])]))
    create("broker twice", wanted(name("two"), -1, -1, [(0, [1, 1])]))
    create("no broker", wanted(name("two"), -1, -1, [(0, [])]))
    create("a gap", wanted(name("two"), -1, -1, [(0, [1]), (2, [1])]))
    create("not from zero", wanted(name("two"), -1, -1, [(1, [1])]))
    create("negative index", wanted(name("two"), -1, -1, [(-1, [1])]))
    create("index twice", wanted(name("two"), -1, -1, [(0, [1]), (0, [1])]))
    create("in disorder", wanted(name("three"), -1, -1, [(1, [1]), (0, [1])]))
    create("different factors", wanted(name("two"), -1, -1, [(0, [1]), (1, [1, 2])]))
    create("validated only", wanted(name("four"), -1, -1, [(0, [1])]), only=True)


CONFIGS = [
    ("retention.ms", ("1000", "-1", "-2", "", " 5 ", "x", "9223372036854775807",
                      "9223372036854775808", None)),
    ("cleanup.policy", ("delete", "compact", "compact,delete", "delete,delete", "", " compact ",
                        "Compact", "none", "delete, compact", None)),
    ("segment.bytes", ("1048576", "1048575", "14", "0", "-1", "2147483647", "2147483648")),
    ("max.message.bytes", ("0", "1", "-1", "2147483647", "1e3", "0x10", "+5", "1_000")),
    ("compression.type", ("producer", "gzip", "GZIP", "uncompressed", "none", "brotli")),
    ("compression.gzip.level", ("-1", "0", "1", "9", "10")),
    ("compression.lz4.level", ("1", "17", "18", "0")),
    ("compression.zstd.level", ("3", "-131072", "22", "23", "-131073")),
    ("message.timestamp.type", ("CreateTime", "LogAppendTime", "createtime", "")),
    ("message.timestamp.before.max.ms", ("0", "-1", "9223372036854775807")),
    ("message.timestamp.after.max.ms", ("0", "-1")),
    ("min.insync.replicas", ("1", "0", "2", "-1")),
    ("min.cleanable.dirty.ratio", ("0", "1", "0.5", "1.1", "-0.1", "x", "NaN", "1e-1", ".5")),
    ("unclean.leader.election.enable", ("true", "TRUE", "yes", " false ", "1", "")),
    ("preallocate", ("true", "no")),
    ("segment.ms", ("1", "0", "-1")),
    ("segment.jitter.ms", ("0", "-1", "5")),
    ("segment.index.bytes", ("4", "3", "0", "1024")),
    ("index.interval.bytes", ("0", "-1")),
    ("flush.messages", ("1", "0")),
    ("flush.ms", ("0", "-1")),
    ("file.delete.delay.ms", ("0", "-1")),
    ("delete.retention.ms", ("0", "-1")),
    ("min.compaction.lag.ms", ("0", "-1", "9223372036854775807")),
    ("max.compaction.lag.ms", ("1", "0")),
    ("retention.bytes", ("-1", "-2", "0")),
    ("local.retention.ms", ("-2", "-1", "0", "1", "-3", "99999999999")),
    ("local.retention.bytes", ("-2", "-1", "0", "1", "-3")),
    ("remote.storage.enable", ("true", "false")),
    ("remote.log.copy.disable", ("true", "false")),
    ("remote.log.delete.on.disable", ("true", "false")),
    ("leader.replication.throttled.replicas", ("*", "", "0:1", "0:1,1:1", "x", "0:1,*", "none")),
    ("follower.replication.throttled.replicas", ("*", "1:x")),
    ("message.format.version", ("2.0",)),
    ("message.downconversion.enable", ("true",)),
    ("message.timestamp.difference.max.ms", ("1",)),
    ("internal.segment.bytes", ("1000",)),
    ("errors.deadletterqueue.group.enable", ("true",)),
    ("no.such.key", ("1", "", None)),
    ("", ("1",)),
    ("Retention.ms", ("1",)),
    (" retention.ms", ("1",)),
]


@case("CreateTopics", versions=[2, 5, 7])
def configs(b, v):
    number = 0
    for key, values in CONFIGS:
        for value in values:
            number += 1
            b.call("CreateTopics", v, {"Topics": [wanted(f"{b.name()}-{number}",
                   configs=[(key, value)])], "timeoutMs": TIMEOUT_MS, "validateOnly": v != 7},
                   note=f"{key}={value}")
    together = [
        ("min over max lag", [("min.compaction.lag.ms", "10"), ("max.compaction.lag.ms", "5")]),
        ("a key twice", [("retention.ms", "1"), ("retention.ms", "2")]),
        ("a key twice, one null", [("retention.ms", "1"), ("retention.ms", None)]),
        ("local over all", [("retention.ms", "5"), ("local.retention.ms", "6")]),
        ("local over all, remote", [("retention.ms", "5"), ("local.retention.ms", "6"),
                                    ("remote.storage.enable", "true")]),
        ("good and bad", [("retention.ms", "5"), ("segment.bytes", "x")]),
        ("two bad", [("retention.ms", "x"), ("segment.bytes", "x")]),
        ("two unknown", [("b", "x"), ("a", "x")]),
        ("jitter over segment", [("segment.jitter.ms", "50"), ("segment.ms", "5")]),
    ]
    for note, given in together:
        number += 1
        b.call("CreateTopics", v, {"Topics": [wanted(f"{b.name()}-{number}", configs=given)],
               "timeoutMs": TIMEOUT_MS, "validateOnly": v != 7}, note=note)


@case("CreatePartitions", versions="all")
def grow(b, v):
    name = b.topic("one", 2)
    def ask(note, *topics, only=False, timeout=TIMEOUT_MS):
        return b.call("CreatePartitions", v, {
            "Topics": [{"Name": topic, "Count": count, "Assignments": None if by is None else
                        [{"BrokerIds": brokers} for brokers in by]} for topic, count, by in topics],
            "TimeoutMs": timeout, "ValidateOnly": only}, note=note)
    ask("validated only", (name, 3, None), only=True)
    ask("one more", (name, 3, None))
    b.await_topic(name, 3)
    for count in (3, 2, 0, -1, 2_000_000_000):
        ask(f"to {count}", (name, count, None))
    ask("unknown", (b.name("unknown"), 5, None))
    ask("bad name", ("a b", 5, None))
    ask("empty name", ("", 5, None))
    ask("none")
    ask("twice", (name, 4, None), (name, 5, None))
    ask("twice and another", (name, 4, None), (name, 4, None), (b.name("unknown"), 4, None))
    for note, by in (("no assignment", []), ("too many", [[1], [1]]), ("unknown broker", [[7]]),
                     ("broker twice", [[1, 1]]), ("no broker", [[]]), ("negative", [[-1]])):
        ask(note, (name, 4, by))
    ask("by hand", (name, 4, [[1]]))
    b.await_topic(name, 4)
    ask("metadata", ("__cluster_metadata", 5, None))
    # Only validated: the other cases' groups live there.
    for count in (9, 4, 2):
        ask(f"internal to {count}", ("__consumer_offsets", count, None), only=True)
    ask("internal, by hand", ("__consumer_offsets", 5, [[1]]), only=True)
    ask("no time", (name, 5, None), timeout=0)
    b.settle()


@case("CreatePartitions", last=True)
def the_groups_topic(b):
    """Where every case's groups live; they must be found afterwards."""
    groups = [b.name(f"group-{number}") for number in range(8)]
    def commit(group, offset):
        return {"GroupId": group, "Topics": [{"Name": "__consumer_offsets", "Partitions": [
            {"PartitionIndex": 0, "CommittedOffset": offset, "CommittedMetadata": ""}]}]}
    for group in groups:
        b.quiet("OffsetCommit", 8, commit(group, 5))
    b.call("CreatePartitions", 3, {"TimeoutMs": TIMEOUT_MS, "Topics": [
        {"Name": "__consumer_offsets", "Count": 9, "Assignments": None}]}, note="grows")
    for group in groups:
        b.call("OffsetFetch", 7, {"GroupId": group, "Topics": None}, note="is found")
    for group in groups:
        b.call("OffsetCommit", 8, commit(group, 6), note="commits again")


@case("DeleteTopics", versions="all")
def delete(b, v):
    one, two, three, four = (b.topic(name) for name in ("one", "two", "three", "four"))
    def ask(note, *topics, timeout=TIMEOUT_MS):
        return b.call("DeleteTopics", v, {
            "Topics": [{"Name": topic, "TopicId": uuid.UUID(int=0)} if isinstance(topic, str)
                       else topic for topic in topics],
            "TopicNames": [topic for topic in topics if isinstance(topic, str)],
            "TimeoutMs": timeout}, note=note)
    ask("none")
    ask("unknown", b.name("unknown"))
    ask("one", one)
    ask("one again", one)
    ask("one twice", two, two)
    ask("one and an unknown one", two, b.name("unknown"))
    ask("bad name", "a b")
    ask("empty name", "")
    ask("no time", three, timeout=0)
    ask("negative time", three, timeout=-1)
    if v >= 6:
        known = b.topic_id(four)
        ask("unknown id", {"TopicId": uuid.UUID(int=0x77)})
        ask("nothing", {"Name": None})
        ask("id and name", {"TopicId": known, "Name": four})
        ask("id and another's name", {"TopicId": known, "Name": "other"})
        ask("id twice", {"TopicId": known}, {"TopicId": known})
        ask("id, and its name", {"TopicId": known}, four)
        ask("unknown id twice", {"TopicId": uuid.UUID(int=0x77)}, {"TopicId": uuid.UUID(int=0x77)})
        ask("two unknown ids and a name", {"TopicId": uuid.UUID(int=0x77)},
            {"TopicId": uuid.UUID(int=0x78)}, b.name("unknown"))
        ask("by id", {"TopicId": known})
        ask("by id again", {"TopicId": known})


@case("DeleteTopics")
def deleted_is_gone(b):
    name = b.topic("one", 2)
    b.produce(name, batches.batch(at=b.base_ms))
    b.quiet("DeleteTopics", 5, {"TopicNames": [name], "TimeoutMs": TIMEOUT_MS})
    def gone():
        (topic,) = b.quiet("Metadata", 9, {"Topics": [{"Name": name}],
                                           "AllowAutoTopicCreation": False})["Topics"]
        return topic["ErrorCode"] == 3
    b.until("the topic is gone", gone)
    b.call("Produce", 9, {"Acks": -1, "TimeoutMs": 1000, "TopicData": [{"Name": name,
           "PartitionData": [{"Index": 0, "Records": batches.batch(at=b.base_ms)}]}]})
    b.call("ListOffsets", 7, {"ReplicaId": -1, "Topics": [{"Name": name, "Partitions": [
        {"PartitionIndex": 0, "Timestamp": -1}]}]})
    b.call("CreateTopics", 7, {"Topics": [wanted(name, 1)], "timeoutMs": TIMEOUT_MS}, note="again")
    b.await_topic(name, 1)
    b.call("ListOffsets", 7, {"ReplicaId": -1, "Topics": [{"Name": name, "Partitions": [
        {"PartitionIndex": 0, "Timestamp": -1}, {"PartitionIndex": 1, "Timestamp": -1}]}]})


@case("DeleteRecords", versions="all")
def delete_records(b, v):
    name = b.topic("one", 2)
    for _ in range(5):
        b.produce(name, batches.batch([b"x"] * 2, at=b.base_ms))
    def ask(note, *parts, topic=name, timeout=TIMEOUT_MS):
        return b.call("DeleteRecords", v, {"TimeoutMs": timeout, "Topics": [
            {"Name": topic, "Partitions": [{"PartitionIndex": index, "Offset": offset}
                                           for index, offset in parts]}]}, note=note)
    for offset in (0, 3, 3, 1, 11, -2, 9223372036854775807, -9223372036854775808):
        ask(f"to {offset}", (0, offset))
    ask("an empty one, to 0", (1, 0))
    ask("an empty one, to its end", (1, -1))
    ask("an empty one, to 1", (1, 1))
    ask("no such partition", (2, 0))
    ask("negative partition", (-1, 0))
    ask("unknown", (0, 0), topic=b.name("unknown"))
    ask("bad name", (0, 0), topic="a b")
    ask("twice", (0, 4), (0, 5))
    ask("two", (0, 5), (1, 0))
    ask("none")
    ask("to the end", (0, -1))
    ask("no time", (0, -1), timeout=0)
    ask("internal", (0, 0), topic="__consumer_offsets")
    b.call("DeleteRecords", v, {"TimeoutMs": 1000, "Topics": []}, note="no topic")
    b.call("DeleteRecords", v, {"TimeoutMs": 1000, "Topics": [
        {"Name": name, "Partitions": [{"PartitionIndex": 0, "Offset": 10}]},
        {"Name": name, "Partitions": [{"PartitionIndex": 0, "Offset": 10}]}]}, note="topic twice")
    compacted = b.topic("compacted", configs={"cleanup.policy": "compact"})
    b.produce(compacted, batches.batch(key=b"k", at=b.base_ms))
    ask("compacted", (0, 1), topic=compacted)
