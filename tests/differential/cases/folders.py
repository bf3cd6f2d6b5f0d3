"""Brokers with two data folders: where partitions are, where they are to be, and moving them.

Which folder a new partition gets is each broker's choice, so a case asks for one first.
"""

import batches
from cases import case

NOWHERE = "/nowhere"


def paths(b):
    """Both folders; the one with the metadata log is the first."""
    answer = b.quiet("DescribeLogDirs", 4, {"Topics": []})
    return sorted(one["LogDir"] for one in answer["Results"])


def wish(b, v, note, *places):
    """AlterReplicaLogDirs of (folder, topic, partitions)."""
    return b.call("AlterReplicaLogDirs", v, {"Dirs": [
        {"Path": path, "Topics": [{"Name": topic, "Partitions": partitions}]}
        for path, topic, partitions in places]}, note=note)


def placed(b, suffix="", version=2):
    """A topic with records, whose partition 0 is in the first folder and 1 and 2 in the second."""
    name = b.name(suffix)
    first, second = paths(b)
    wish(b, version, "before the topic", (first, name, [0]), (second, name, [1, 2]))
    b.topic(suffix, partitions=3)
    for partition in (0, 1):
        b.produce(name, batches.batch([b"a", b"b"], at=b.base_ms), partition=partition)
    return name, first, second


def where(b, name):
    """{partition: (folders it is in, folders it is moving to)}, by the folders' places."""
    answer = b.quiet("DescribeLogDirs", 4, {
        "Topics": [{"Topic": name, "Partitions": [0, 1, 2]}]})
    found = {}
    for place, one in enumerate(sorted(answer["Results"], key=lambda one: one["LogDir"])):
        for topic in one["Topics"]:
            for partition in topic["Partitions"]:
                both = found.setdefault(partition["PartitionIndex"], ([], []))
                both[partition["IsFutureKey"]].append(place)
    return found


@case("DescribeLogDirs", versions="all", folders=2)
def in_two_folders(b, v):
    name, *_ = placed(b)
    def ask(note, topics):
        b.call("DescribeLogDirs", v, {"Topics": topics}, note=note)
    ask("all of them", [{"Topic": name, "Partitions": [0, 1, 2]}])
    ask("of the first folder", [{"Topic": name, "Partitions": [0]}])
    ask("of the second folder", [{"Topic": name, "Partitions": [2, 1]}])
    ask("twice", [{"Topic": name, "Partitions": [1, 0, 1]}])
    ask("unknown partition", [{"Topic": name, "Partitions": [7, -1]}])
    ask("unknown topic", [{"Topic": b.name("none"), "Partitions": [0]}])
    ask("nothing", [])
    b.quiet("DeleteTopics", 5, {"TopicNames": [name], "TimeoutMs": 5000})
    b.until("the topic is gone", lambda: not where(b, name))
    ask("deleted", [{"Topic": name, "Partitions": [0, 1, 2]}])


@case("AlterReplicaLogDirs", versions="all", folders=2)
def right_and_wrong(b, v):
    name, first, second = placed(b, version=v)
    none = b.name("none")
    wish(b, v, "where they are", (first, name, [0]), (second, name, [1, 2]))
    wish(b, v, "where one is, twice", (first, name, [0, 0]), (first, name, [0]))
    wish(b, v, "unknown partitions", (first, name, [9, -1]), (second, name, [7]))
    wish(b, v, "unknown topic", (first, none, [0]), (second, none, [1]))
    wish(b, v, "a name that no topic may have", (second, "a b", [0]))
    for path in (NOWHERE, "data-1", "", second + "/", second + "/.."):
        kind = path.replace(second, "second")
        wish(b, v, f"a folder that is none: {kind!r}", (path, name, [0, 9]), (path, none, [0]))
    wish(b, v, "none, then where it is", (NOWHERE, name, [1, 2]), (second, name, [1]))
    wish(b, v, "where it is, then none", (second, name, [1]), (NOWHERE, name, [1, 2]))
    wish(b, v, "no partition", (second, name, []))
    wish(b, v, "nothing")
    b.note("DescribeLogDirs", v, "afterwards", {"where": str(sorted(where(b, name).items()))})


@case("AlterReplicaLogDirs", versions="all", folders=2)
def before_creation(b, v):
    """A wish for a partition that is not there counts when it is created; the last one does."""
    first, second = paths(b)
    name = b.name()
    for _ in range(2):
        wish(b, v, "to the first", (first, name, [0, 1, 2]))
        wish(b, v, "to the second", (second, name, [0, 1]))
        wish(b, v, "to none", (NOWHERE, name, [1]))
        wish(b, v, "to both", (second, name, [2]), (first, name, [2]))
        b.topic(partitions=3)
        b.note("DescribeLogDirs", v, "created", {"where": str(sorted(where(b, name).items()))})
        b.quiet("DeleteTopics", 5, {"TopicNames": [name], "TimeoutMs": 5000})
        b.until("the topic is gone", lambda: not where(b, name))


@case("CreatePartitions", folders=2)
def a_wish_for_a_further_partition(b):
    name, first, second = placed(b)
    wish(b, 2, "a partition to come", (second, name, [3]), (first, name, [4]))
    b.quiet("CreatePartitions", 3, {"TimeoutMs": 5000, "ValidateOnly": False, "Topics": [
        {"Name": name, "Count": 5, "Assignments": None}]})
    b.await_topic(name, 5)
    for partition in (3, 4):
        b.call("DescribeLogDirs", 4, {"Topics": [{"Topic": name, "Partitions": [partition]}]},
               note=f"partition {partition}")


@case("AlterReplicaLogDirs", versions="all", folders=2)
def move(b, v):
    """Each replica to the other folder and back, and what is read of it afterwards."""
    name, first, second = placed(b, version=v)
    for turn, (of_0, of_1) in enumerate([(second, first), (first, second)]):
        wish(b, v, f"move {turn}", (of_0, name, [0]), (of_1, name, [1, 2]))
        b.until("the move has an end", lambda: all(
            not future for _, future in where(b, name).values()))
        b.note("DescribeLogDirs", v, f"moved {turn}",
               {"where": str(sorted(where(b, name).items()))})
        b.call("ListOffsets", 7, {"ReplicaId": -1, "Topics": [
            {"Name": name, "Partitions": [{"PartitionIndex": n, "Timestamp": -1}
                                          for n in range(3)]}]}, note=f"ends {turn}")


@case("AlterReplicaLogDirs", versions="all", folders=2)
def move_and_deletion(b, v):
    """A topic that is deleted while it moves is in no folder afterwards."""
    name, first, second = placed(b, version=v)
    wish(b, v, "move", (second, name, [0]), (first, name, [1, 2]))
    b.call("DeleteTopics", 5, {"TopicNames": [name], "TimeoutMs": 5000}, note="deletion")
    b.until("the topic is gone", lambda: not where(b, name))
    wish(b, v, "after the deletion", (second, name, [0]), (NOWHERE, name, [1]))
    b.topic(partitions=3)
    b.note("DescribeLogDirs", v, "created again",
           {"where of 0": str(sorted(where(b, name).items())[:1])})
