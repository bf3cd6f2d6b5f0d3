"""Fetch and ListOffsets, OffsetForLeaderEpoch, DescribeLogDirs: what is read of a log."""

import uuid

import batches
from cases import case

UNKNOWN = uuid.UUID(int=0x1234_5678)
LAST = 9223372036854775807


def filled(b, suffix="", partitions=2, **configs):
    """A topic whose partition 0 holds offsets 0-9 in five batches of 72 bytes each."""
    name = b.topic(suffix, partitions, configs)
    for number in range(5):
        b.produce(name, batches.batch([b"a", b"b"], at=b.base_ms + 1000 * number))
    return name


def part(index=0, offset=0, size=1 << 20, **more):
    return {"Partition": index, "FetchOffset": offset, "PartitionMaxBytes": size, **more}


def fetcher(b, v):
    def topic(name, *parts):
        return {"Topic": name, "TopicId": b.ids.get(name, UNKNOWN), "Partitions": list(parts)}
    def ask(note, *topics, wait=0, least=1, most=1 << 20, quiet=False, on=None, **more):
        fields = {"ReplicaId": -1, "MaxWaitMs": wait, "MinBytes": least, "MaxBytes": most,
                  "Topics": list(topics), **more}
        return b.call("Fetch", v, fields, note=note, on=on)
    return topic, ask


@case("Fetch", versions="all")
def offsets_and_sizes(b, v):
    name = filled(b)
    topic, ask = fetcher(b, v)
    for offset in (0, 1, 2, 9, 10, 11, 100, -1, -2, LAST, -LAST - 1):
        ask(f"offset {offset}", topic(name, part(0, offset)))
    for size in (1, 71, 72, 73, 145, 0, 2147483647, -1):
        ask(f"partition bytes {size}", topic(name, part(0, 0, size)))
    for most in (0, 1, 73, 2147483647, -1):
        ask(f"bytes {most}", topic(name, part()), most=most)
    ask("empty partition", topic(name, part(1)))
    ask("both partitions", topic(name, part(1), part(0)))
    ask("both, few bytes", topic(name, part(0), part(0, 5), part(1)), most=80)
    ask("partition twice", topic(name, part(0), part(0, 5)))
    ask("topic twice", topic(name, part(0, 8)), topic(name, part(1)))
    ask("no partition", topic(name))
    ask("unknown partition", topic(name, part(5), part(-1), part(0, 8)))
    ask("unknown topic", topic(b.name("unknown"), part()), topic(name, part(0, 8)))
    if v < 13:
        ask("bad topic", topic("a b", part()), topic("", part()))
    ask("nothing")
    for least in (0, -1, 2147483647):
        ask(f"at least {least}", topic(name, part(0, 8)), least=least)
    for isolation in (1, 2, -1):
        ask(f"isolation {isolation}", topic(name, part(0, 8)), IsolationLevel=isolation)
    ask("log start", topic(name, part(0, 8, LogStartOffset=5)))
    # Beyond its end: what is in it is of other cases, and partly drawn.
    ask("internal", topic("__consumer_offsets", part(0, LAST)))
    if v >= 9:
        for epoch in (0, 1, -2, 2147483647):
            ask(f"leader epoch {epoch}", topic(name, part(0, 8, CurrentLeaderEpoch=epoch)))
    if v >= 12:
        for epoch in (0, 1, -2):
            for offset in (8, 10, 11, 50):
                ask(f"last epoch {epoch} at {offset}",
                    topic(name, part(0, offset, LastFetchedEpoch=epoch)))
        ask("another cluster", topic(name, part(0, 8)), ClusterId="other")
    if v >= 11:
        ask("a rack", topic(name, part(0, 8)), RackId="r1")
    if v >= 13:
        ask("zero id", {"TopicId": uuid.UUID(int=0), "Partitions": [part()]})


@case("Fetch", versions="all")
def replicas(b, v):
    """Fetches that claim to be a follower's."""
    name = filled(b)
    topic, ask = fetcher(b, v)
    for replica in (1, 5, -2, -3):
        ask(f"replica {replica}", topic(name, part(0, 8)), ReplicaId=replica,
            **({"ReplicaState": {"ReplicaId": replica, "ReplicaEpoch": -1}} if v >= 15 else {}))


@case("Fetch", versions="all")
def trimmed(b, v):
    name = filled(b)
    b.quiet("DeleteRecords", 2, {"TimeoutMs": 5000, "Topics": [
        {"Name": name, "Partitions": [{"PartitionIndex": 0, "Offset": 5}]}]})
    topic, ask = fetcher(b, v)
    for offset in (0, 3, 4, 5, 6, 10, 11):
        ask(f"offset {offset}", topic(name, part(0, offset)))


@case("Fetch", versions=range(7, 19))
def sessions(b, v):
    name = filled(b)
    topic, ask = fetcher(b, v)
    unknown = topic(b.name("unknown"), part())
    for session, epoch in ((0, 0), (0, -1), (12345, 0), (12345, 1), (12345, -1), (-5, 3), (0, 5),
                           (0, -2), (12345, -2)):
        ask(f"session {session}, epoch {epoch}", topic(name, part(0, 8)), SessionId=session,
            SessionEpoch=epoch)
    made = ask("a session", topic(name, part(0, 8), part(1)), SessionId=0, SessionEpoch=0)
    session = made["SessionId"]
    def goes_on(note, epoch, *topics, forget=()):
        ask(note, *topics, SessionId=session, SessionEpoch=epoch, ForgottenTopicsData=[
            {"Topic": name, "TopicId": b.ids[name], "Partitions": list(forget)}] if forget else [])
    goes_on("nothing changed", 1)
    goes_on("a wrong epoch", 7)
    goes_on("the epoch again", 1)
    goes_on("the right epoch", 2)
    b.produce(name, batches.batch(at=b.base_ms), partition=1)
    goes_on("something was produced", 3)
    goes_on("it is still there", 4)
    goes_on("moved on", 5, topic(name, part(1, 1)))
    goes_on("forgotten", 6, forget=[0])
    goes_on("forgotten again", 7, forget=[0])
    goes_on("one added that has an error", 8, topic(name, part(9)))
    goes_on("the error stays", 9)
    goes_on("an unknown topic", 10, unknown)
    goes_on("and stays", 11)
    goes_on("all forgotten", 12, forget=[0, 1, 9])
    goes_on("back", 13, topic(name, part(0, 8)))
    goes_on("forgotten and asked for", 14, topic(name, part(0, 9)), forget=[0])
    goes_on("closed", -1, topic(name, part(0, 8)))
    goes_on("gone", 15)
    empty = ask("a session of nothing", SessionId=0, SessionEpoch=0)
    ask("which goes on", topic(name, part(0, 8)), SessionId=empty.get("SessionId", 0),
        SessionEpoch=1)
    again = ask("a session again", topic(name, part(0, 8)), SessionId=session, SessionEpoch=0)
    ask("replaced by a full one", topic(name, part(1)), SessionId=again.get("SessionId", 0),
        SessionEpoch=0)
    ask("the replaced one", SessionId=again.get("SessionId", 0), SessionEpoch=1)


@case("Fetch", versions=[7, 12, 13, 18])
def deleted_while_in_a_session(b, v):
    name, other = filled(b), b.topic("other")
    topic, ask = fetcher(b, v)
    made = ask("a session", topic(name, part(0, 10)), topic(other, part(0)), SessionId=0,
               SessionEpoch=0)
    b.quiet("DeleteTopics", 5, {"TopicNames": [name], "TimeoutMs": 5000})
    b.until("the topic is gone", lambda: b.quiet("Metadata", 9, {
        "Topics": [{"Name": name}], "AllowAutoTopicCreation": False})["Topics"][0]["ErrorCode"] == 3)
    ask("afterwards", SessionId=made["SessionId"], SessionEpoch=1)
    ask("and once more", SessionId=made["SessionId"], SessionEpoch=2)
    ask("without a session", topic(name, part()))


@case("Fetch", versions=[4, 11, 13, 18], slow=True)
def waits(b, v):
    name = filled(b)
    topic, ask = fetcher(b, v)
    def timed(note, wait, least, *parts, low, high, **more):
        ask(note, topic(name, *parts), wait=wait, least=least, **more)
        took = b.steps[-1].took * 1000
        b.note("Fetch", v, f"{note}: took {low}-{high} ms", {"InTime": low <= took <= high})
    timed("at the end", 300, 1, part(0, 10), low=290, high=1500)
    timed("enough is there", 3000, 72, part(0, 0), low=0, high=900)
    timed("not enough is there", 300, 10_000, part(0, 0), low=290, high=1500)
    timed("an error does not wait", 3000, 1, part(0, 50), low=0, high=900)
    timed("no partition does not wait", 3000, 1, low=0, high=900)
    timed("at least 0", 3000, 0, part(0, 10), low=0, high=900)
    timed("negative wait", -1, 1, part(0, 10), low=0, high=900)
    other = b.connect()
    pending = b.send("Fetch", v, {"ReplicaId": -1, "MaxWaitMs": 3000, "MinBytes": 1, "MaxBytes":
                     1 << 20, "Topics": [topic(name, part(1))]}, on=other, note="woken")
    b.until("a moment", lambda: True)
    b.produce(name, batches.batch(at=b.base_ms), partition=1)
    b.receive(pending)


@case("ListOffsets", versions="all")
def list_offsets(b, v):
    name = filled(b)
    b.quiet("DeleteRecords", 2, {"TimeoutMs": 5000, "Topics": [
        {"Name": name, "Partitions": [{"PartitionIndex": 0, "Offset": 3}]}]})
    def ask(note, *parts, topic=name, replica=-1, isolation=0):
        return b.call("ListOffsets", v, {"ReplicaId": replica, "IsolationLevel": isolation,
            "TimeoutMs": 1000, "Topics": [{"Name": topic, "Partitions": [
                {"PartitionIndex": index, "Timestamp": at, "CurrentLeaderEpoch": epoch}
                for index, at, epoch in parts]}]}, note=note)
    for at in range(-8, 1):
        ask(f"time {at}", (0, at, -1))
        ask(f"time {at}, empty partition", (1, at, -1))
    for at in (b.base_ms - 1, b.base_ms, b.base_ms + 1, b.base_ms + 1500, b.base_ms + 4000,
               b.base_ms + 4001, LAST, -LAST - 1):
        ask(f"time {at - b.base_ms:+} from the first", (0, at, -1))
        ask(f"time {at - b.base_ms:+} from the first, empty partition", (1, at, -1))
    for epoch in (0, 1, -2):
        ask(f"leader epoch {epoch}", (0, -1, epoch))
    for isolation in (1, 2, -1):
        ask(f"isolation {isolation}", (0, -1, -1), (0 + 1, -2, -1), isolation=isolation)
    for replica in (1, -2, 5, -3):
        ask(f"replica {replica}", (0, -1, -1), replica=replica)
    ask("unknown partition", (7, -1, -1), (-1, -1, -1))
    ask("partition twice", (0, -1, -1), (0, -2, -1))
    ask("no partition")
    ask("unknown topic", (0, -1, -1), topic=b.name("unknown"))
    ask("bad topic", (0, -1, -1), topic="a b")
    ask("internal", (0, -2, -1), topic="__consumer_offsets")
    b.call("ListOffsets", v, {"ReplicaId": -1, "Topics": []}, note="nothing")
    b.call("ListOffsets", v, {"ReplicaId": -1, "Topics": [
        {"Name": name, "Partitions": [{"PartitionIndex": 0, "Timestamp": -1}]},
        {"Name": name, "Partitions": [{"PartitionIndex": 1, "Timestamp": -1}]},
        {"Name": name, "Partitions": [{"PartitionIndex": 0, "Timestamp": -1}]}]},
        note="topic twice")


@case("ListOffsets", versions=[1, 7, 11])
def times_inside_batches(b, v):
    name = b.topic()
    base = b.base_ms
    b.produce(name, batches.batch(at=base, maximum=base + 30, count=3, last_delta=2, records=
              batches.record(timestamp_delta=10) + batches.record(timestamp_delta=30, offset_delta=1)
              + batches.record(timestamp_delta=20, offset_delta=2)))
    b.produce(name, batches.batch([b"x"] * 2, at=base + 15, attributes=1))
    for at in (0, 9, 10, 11, 15, 16, 20, 25, 30, 31):
        b.call("ListOffsets", v, {"ReplicaId": -1, "Topics": [{"Name": name, "Partitions": [
            {"PartitionIndex": 0, "Timestamp": base + at}]}]}, note=f"+{at}")
    b.call("ListOffsets", v, {"ReplicaId": -1, "Topics": [{"Name": name, "Partitions": [
        {"PartitionIndex": 0, "Timestamp": -3}]}]}, note="maximum")


@case("OffsetForLeaderEpoch", versions="all")
def epochs(b, v):
    name = filled(b)
    def ask(note, *parts, topic=name, replica=-2):
        b.call("OffsetForLeaderEpoch", v, {"ReplicaId": replica, "Topics": [
            {"Topic": topic, "Partitions": [{"Partition": index, "CurrentLeaderEpoch": current,
             "LeaderEpoch": epoch} for index, current, epoch in parts]}]}, note=note)
    for epoch in (-1, 0, 1, 5, -2, 2147483647):
        ask(f"epoch {epoch}", (0, -1, epoch))
        ask(f"epoch {epoch}, empty partition", (1, -1, epoch))
    for current in (0, 1, -2):
        ask(f"current epoch {current}", (0, current, 0))
    for replica in (-1, 1, 5):
        ask(f"replica {replica}", (0, -1, 0), replica=replica)
    ask("unknown partition", (7, -1, 0), (-1, -1, 0))
    ask("partition twice", (0, -1, 0), (0, -1, 1))
    ask("no partition")
    ask("unknown topic", (0, -1, 0), topic=b.name("unknown"))
    ask("bad topic", (0, -1, 0), topic="a b")
    b.call("OffsetForLeaderEpoch", v, {"Topics": []}, note="nothing")
    b.call("OffsetForLeaderEpoch", v, {"Topics": [
        {"Topic": name, "Partitions": [{"Partition": 0, "LeaderEpoch": 0}]},
        {"Topic": name, "Partitions": [{"Partition": 1, "LeaderEpoch": 0}]}]}, note="topic twice")


@case("DescribeLogDirs", versions="all")
def log_dirs(b, v):
    name = filled(b)
    def ask(note, topics):
        b.call("DescribeLogDirs", v, {"Topics": topics}, note=note)
    ask("one", [{"Topic": name, "Partitions": [0, 1]}])
    ask("one partition", [{"Topic": name, "Partitions": [0]}])
    ask("twice", [{"Topic": name, "Partitions": [0, 0]}])
    ask("unknown partition", [{"Topic": name, "Partitions": [7, -1]}])
    ask("unknown topic", [{"Topic": b.name("unknown"), "Partitions": [0]}])
    ask("nothing", [])
    ask("no partition", [{"Topic": name, "Partitions": []}])
    ask("topic twice", [{"Topic": name, "Partitions": [0]}, {"Topic": name, "Partitions": [1]}])
