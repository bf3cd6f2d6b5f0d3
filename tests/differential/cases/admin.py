"""What one node answers about its cluster: leaders, moves, folders, quorum, features, voters."""

import uuid

from cases import case

X = uuid.UUID(bytes=bytes(range(16)))
NOBODY = uuid.UUID(int=0)
METADATA = "__cluster_metadata"


@case("ListConfigResources", versions="all")
def resources(b, v):
    b.topic("one")
    for kinds in ([4], [16, 32], [8, 4], [99], [4, 99], [0], [1], [-1], [16, 16]):
        value = {"ResourceTypes": kinds} if v > 0 else {}
        b.call("ListConfigResources", v, value, note=f"types {kinds}")


@case("ElectLeaders", versions="all")
def elections(b, v):
    name = b.topic(partitions=2)
    for kind in (0, 1, 2, -1) if v > 0 else (0,):
        for note, topics in (
                ("of both", [{"Topic": name, "Partitions": [0, 1]}]),
                ("a partition twice", [{"Topic": name, "Partitions": [0, 0]}]),
                ("unknown partitions", [{"Topic": name, "Partitions": [9, -1]}]),
                ("an unknown topic", [{"Topic": b.name("none"), "Partitions": [0]}]),
                ("no partitions", [{"Topic": name, "Partitions": []}]),
                ("nothing", [])):
            value = {"TopicPartitions": topics, "TimeoutMs": 5000}
            if v > 0:
                value["ElectionType"] = kind
            b.call("ElectLeaders", v, value, note=f"{note}, type {kind}")


@case("AlterPartitionReassignments", versions="all")
def reassignments(b, v):
    name = b.topic(partitions=2)
    def ask(note, *parts, topic=name, **more):
        b.call("AlterPartitionReassignments", v, {"TimeoutMs": 5000, "Topics": [
            {"Name": topic, "Partitions": [
                {"PartitionIndex": index, "Replicas": replicas} for index, replicas in parts]}],
            **more}, note=note)
    ask("where it is", (0, [1]))
    ask("another broker", (0, [2]))
    ask("one broker more", (0, [1, 2]))
    ask("nobody", (0, []))
    ask("an end to it", (0, None))
    ask("an unknown partition", (9, [1]))
    ask("the end of an unknown partition", (9, None))
    ask("a broker twice", (0, [1, 1]))
    ask("a negative broker", (0, [-1]))
    ask("a partition twice", (0, [1]), (0, [1]))
    ask("no partition")
    ask("an unknown topic", (0, [1]), (1, None), topic=b.name("none"))
    if v >= 1:
        ask("the same number", (0, [1]), AllowReplicationFactorChange=False)
        ask("another number", (0, [1, 2]), AllowReplicationFactorChange=False)
    b.call("AlterPartitionReassignments", v, {"TimeoutMs": 5000, "Topics": []}, note="nothing")


@case("ListPartitionReassignments", versions="all")
def no_reassignments(b, v):
    name = b.topic()
    for note, topics in (("all", None), ("none", []), ("some", [(name, [0, 9])]),
                         ("unknown", [(b.name("none"), [0])])):
        value = topics and [{"Name": of, "PartitionIndexes": indexes} for of, indexes in topics]
        b.call("ListPartitionReassignments", v, {"TimeoutMs": 5000, "Topics": value}, note=note)


@case("AlterReplicaLogDirs", versions="all")
def folders(b, v):
    name = b.topic(partitions=2)
    own = b.quiet("DescribeLogDirs", 4, {"Topics": []})["Results"][0]["LogDir"]
    def ask(note, *dirs):
        b.call("AlterReplicaLogDirs", v, {"Dirs": [
            {"Path": path, "Topics": [{"Name": topic, "Partitions": partitions}
                                      for topic, partitions in topics]}
            for path, topics in dirs]}, note=note)
    some = [(name, [0, 9]), (b.name("none"), [0])]
    ask("its own", (own, some))
    for path in ("/nowhere", "relative", ""):
        ask(f"{path!r}", (path, some))
    ask("its own, then none", (own, [(name, [0])]), ("/nowhere", [(name, [0, 1])]))
    ask("none, then its own", ("/nowhere", [(name, [0, 1])]), (own, [(name, [0])]))
    ask("the metadata log", (own, [(METADATA, [0])]))
    ask("nothing")


@case("DescribeQuorum", versions="all")
def quorum(b, v):
    def ask(note, *topics):
        b.call("DescribeQuorum", v, {"Topics": [
            {"TopicName": topic, "Partitions": [{"PartitionIndex": index} for index in indexes]}
            for topic, indexes in topics]}, note=note)
    ask("the metadata log", (METADATA, [0]))
    ask("nothing")
    ask("another topic", ("x", [0]))
    ask("another partition", (METADATA, [1]))
    ask("no partition", (METADATA, []))
    ask("two partitions", (METADATA, [0, 1]))
    ask("the partition twice", (METADATA, [0, 0]))
    ask("the log and a topic", (METADATA, [0]), ("x", [0]))


@case("UpdateFeatures", versions="all")
def features(b, v):
    def ask(note, *updates):
        said = [{"Feature": name, "MaxVersionLevel": level,
                 **({"AllowDowngrade": kind > 1} if v == 0 else {"UpgradeType": kind})}
                for name, level, kind in updates]
        value = {"timeoutMs": 5000, "FeatureUpdates": said}
        if v > 0:
            value["ValidateOnly"] = True
        b.call("UpdateFeatures", v, value, note=note)
    ask("nothing")
    ask("unknown", ("nope", 1, 1))
    ask("without a name", ("", 1, 1))
    ask("as it is", ("metadata.version", 30, 1))
    ask("too high", ("metadata.version", 31, 1))
    ask("too low", ("metadata.version", 5, 3))
    ask("zero", ("metadata.version", 0, 3))
    ask("negative", ("metadata.version", -1, 3))
    if v > 0:
        ask("lower, safely", ("metadata.version", 29, 2))
    ask("lower as an upgrade", ("metadata.version", 29, 1))
    ask("the quorum as it is", ("kraft.version", 1, 1))
    ask("the quorum lower", ("kraft.version", 0, 2))
    ask("the quorum higher", ("kraft.version", 2, 1))
    ask("as it is, twice", ("metadata.version", 30, 1), ("metadata.version", 30, 1))
    ask("one right, one wrong", ("metadata.version", 30, 1), ("nope", 3, 1))
    if v > 0:
        ask("kind 0", ("metadata.version", 30, 0))
        ask("kind 7", ("metadata.version", 30, 7))


@case("UnregisterBroker", versions="all")
def unregister(b, v):
    # Not its own id: Kafka would do it.
    for broker in (7, -1, 2147483647):
        b.call("UnregisterBroker", v, {"BrokerId": broker}, note=f"broker {broker}")


LISTENERS = [{"Name": "CONTROLLER", "Host": "127.0.0.1", "Port": 1}]


def own_cluster(b):
    return b.quiet("DescribeCluster", 0, {})["ClusterId"]


@case("AddRaftVoter", versions="all")
def add_voter(b, v):
    for cluster in (None, "wrong", own_cluster(b)):
        which = cluster if cluster in (None, "wrong") else "its own"
        for voter, directory in ((1, X), (-1, X), (2, NOBODY), (1, NOBODY)):
            b.call("AddRaftVoter", v, {
                "ClusterId": cluster, "TimeoutMs": 1000, "VoterId": voter,
                "VoterDirectoryId": directory, "Listeners": LISTENERS},
                note=f"cluster {which}, voter {voter}, directory {directory.int}")
    for voter in (1, 2):
        b.call("AddRaftVoter", v, {
            "ClusterId": None, "TimeoutMs": 1000, "VoterId": voter, "VoterDirectoryId": X,
            "Listeners": []}, note=f"voter {voter} without a listener")
    b.call("AddRaftVoter", v, {
        "ClusterId": None, "TimeoutMs": 1000, "VoterId": 2, "VoterDirectoryId": X,
        "Listeners": LISTENERS}, note="another voter")


@case("RemoveRaftVoter", versions="all")
def remove_voter(b, v):
    for cluster in (None, "wrong", own_cluster(b)):
        which = cluster if cluster in (None, "wrong") else "its own"
        for voter, directory in ((1, X), (2, X), (-1, X), (1, NOBODY)):
            b.call("RemoveRaftVoter", v, {
                "ClusterId": cluster, "VoterId": voter, "VoterDirectoryId": directory},
                note=f"cluster {which}, voter {voter}, directory {directory.int}")
