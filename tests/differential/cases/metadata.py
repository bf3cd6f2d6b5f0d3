"""Metadata, DescribeCluster, DescribeTopicPartitions, FindCoordinator: what there is, and where."""

import uuid

from cases import case

UNKNOWN = uuid.UUID(int=0x1234_5678)


def asked(*names):
    return [{"Name": name} for name in names]


@case("Metadata", versions="all")
def names(b, v):
    one, two = b.topic("one", 3), b.topic("two")
    def ask(note, topics, **more):
        b.call("Metadata", v, {"Topics": topics, "AllowAutoTopicCreation": False, **more},
               note=note)
    ask("one", asked(one))
    ask("two of them", asked(two, one))
    ask("one twice", asked(one, one))
    ask("unknown", asked(b.name("unknown"), one))
    ask("bad names", asked("", ".", "..", "a/b", "a b", "ä", "x" * 249, "x" * 250))
    ask("internal", asked("__consumer_offsets"))
    if v > 0:
        ask("none", [])
    ask("operations", asked(one), IncludeTopicAuthorizedOperations=True,
        IncludeClusterAuthorizedOperations=True)
    ask("operations of an unknown one", asked(b.name("unknown")),
        IncludeTopicAuthorizedOperations=True)


@case("Metadata", versions="all")
def everything(b, v):
    b.call("Metadata", v, {"Topics": None if v else [], "AllowAutoTopicCreation": True,
                           "IncludeTopicAuthorizedOperations": True})


@case("Metadata", versions=range(10, 14))
def ids(b, v):
    one = b.topic("one")
    def ask(note, *topics):
        b.call("Metadata", v, {"Topics": list(topics), "AllowAutoTopicCreation": True}, note=note)
    known = b.topic_id(one)
    ask("known", {"TopicId": known, "Name": None})
    ask("known with its name", {"TopicId": known, "Name": one})
    ask("known with another name", {"TopicId": known, "Name": "other"})
    ask("unknown", {"TopicId": UNKNOWN, "Name": None})
    ask("unknown with a name", {"TopicId": UNKNOWN, "Name": one})
    ask("neither", {"Name": None})
    ask("neither, and one", {"Name": None}, {"Name": one})
    ask("id and name in turn", {"TopicId": known, "Name": None}, {"Name": one})
    ask("twice", {"TopicId": known, "Name": None}, {"TopicId": known, "Name": None})
    ask("reserved", {"TopicId": uuid.UUID(int=1), "Name": None})


@case("Metadata", versions="all")
def creation(b, v):
    name = b.name("made")
    b.call("Metadata", v, {"Topics": asked(name), "AllowAutoTopicCreation": v < 4 or v % 2 == 0},
           note="first")
    if v < 4 or v % 2 == 0:
        b.await_topic(name, 1)
    b.call("Metadata", v, {"Topics": asked(name), "AllowAutoTopicCreation": False}, note="then")
    b.call("Metadata", v, {"Topics": asked("a b", "", "x" * 250), "AllowAutoTopicCreation": True},
           note="bad names")
    b.call("Metadata", v, {"Topics": asked(b.name("colli_sion")), "AllowAutoTopicCreation": True},
           note="collision, first")
    if v >= 0:
        b.await_topic(b.name("colli_sion"), 1)
    b.call("Metadata", v, {"Topics": asked(b.name("colli.sion")), "AllowAutoTopicCreation": True},
           note="collision, then")


@case("DescribeCluster", versions="all")
def describe(b, v):
    for kind in (1, 2, 0, 3, -1):
        for operations in (False, True):
            b.call("DescribeCluster", v, {
                "IncludeClusterAuthorizedOperations": operations, "EndpointType": kind,
                "IncludeFencedBrokers": operations}, note=f"endpoints {kind}, {operations}")


@case("DescribeTopicPartitions")
def pages(b):
    a, c = b.topic("a", 5), b.topic("c", 2)
    def ask(note, topics, limit=2000, cursor=None):
        b.call("DescribeTopicPartitions", 0, {"Topics": asked(*topics), "Cursor": cursor,
                                              "ResponsePartitionLimit": limit}, note=note)
    ask("both", [c, a])
    ask("twice", [c, a, c])
    ask("unknown", [b.name("b"), a])
    ask("bad names", ["", ".", "a b", "x" * 250])
    for limit in (-1, 0, 1, 3, 5, 6, 7):
        ask(f"limit {limit}", [a, c], limit)
    for topic, at in ((a, 0), (a, 3), (a, 5), (a, 100), (a, -1), (c, 1), (b.name("b"), 0),
                      (b.name("b"), 2), (b.name("z"), 0), ("", 0)):
        ask(f"cursor at {topic} {at}", [a, c], 3, {"TopicName": topic, "PartitionIndex": at})
    ask("cursor of one not asked for", [c], 3, {"TopicName": a, "PartitionIndex": 1})
    ask("internal", ["__consumer_offsets"])


@case("DescribeTopicPartitions")
def everything_by_page(b):
    ask = {"Topics": [], "ResponsePartitionLimit": 4, "Cursor": None}
    for _ in range(6):
        cursor = b.call("DescribeTopicPartitions", 0, ask).get("NextCursor")
        if cursor is None:
            break
        ask["Cursor"] = cursor


@case("FindCoordinator", versions="all")
def coordinators(b, v):
    def ask(key, kind, note):
        b.call("FindCoordinator", v, {"Key": key, "KeyType": kind, "CoordinatorKeys": [key]},
               note=note)
    ask("group", 0, "a group")
    ask("", 0, "the empty group")
    ask("x" * 1000, 0, "a long group")
    for kind in (2, 3, -1, 127):
        ask("group", kind, f"type {kind}")
    if v >= 4:
        b.call("FindCoordinator", v, {"KeyType": 0, "CoordinatorKeys": []}, note="none")
        b.call("FindCoordinator", v, {"KeyType": 0, "CoordinatorKeys": ["a", "b", "a", ""]},
               note="several")
        # No right one: Kafka would create its topic of share groups' state.
        for key in ("a:b:c", "g:!:0", "g:AAAAAAAAAAAAAAAAAAAAAA:x"):
            ask(key, 2, f"share {key}")
