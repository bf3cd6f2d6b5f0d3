"""Groups: joining, syncing, heartbeats, leaving, and what one may ask about a group."""

import time
import uuid

from cases import case

CONSUMER = "consumer"
LAST = 9223372036854775807
UNKNOWN = uuid.UUID(int=0x1234_5678)


class Group:
    """Requests of one group in one version of each API, `v` counting down from the newest."""

    def __init__(self, b, suffix="", back=0):
        self.b, self.id, self.back = b, b.name(suffix) if suffix else b.name(), back

    def version(self, api):
        served = self.b.served[api]
        return served[max(0, len(served) - 1 - self.back)]

    def join_fields(self, member="", instance=None, protocols=(("range", b"m"),), session=6000,
                    rebalance=3000, kind=CONSUMER, **more):
        return {"GroupId": self.id, "SessionTimeoutMs": session, "RebalanceTimeoutMs": rebalance,
                "MemberId": member, "GroupInstanceId": instance, "ProtocolType": kind,
                "Protocols": [{"Name": name, "Metadata": data} for name, data in protocols], **more}

    def send_join(self, note, on=None, **fields):
        return self.b.send("JoinGroup", self.version("JoinGroup"), self.join_fields(**fields),
                           note=note, on=on)

    def join(self, note, on=None, **fields):
        return self.b.receive(self.send_join(note, on, **fields))

    def enter(self, note="enters", on=None, **fields):
        """Joins, with the member id that the broker demands first; returns the answer."""
        answer = self.join(f"{note}, first", on, **fields)
        if answer.get("ErrorCode") == 79:
            answer = self.join(f"{note}, with its id", on, **{**fields, "member": answer["MemberId"]})
        return answer

    def member_id(self, note="asks for an id", **fields):
        return self.join(note, **fields).get("MemberId", "")

    def sync(self, note, generation, member, assignments=(), on=None, **more):
        return self.b.call("SyncGroup", self.version("SyncGroup"), {
            "GroupId": self.id, "GenerationId": generation, "MemberId": member,
            "ProtocolType": CONSUMER, "ProtocolName": "range",
            "Assignments": [{"MemberId": one, "Assignment": data} for one, data in assignments],
            **more}, note=note, on=on)

    def heartbeat(self, note, generation, member, instance=None, group=None):
        return self.b.call("Heartbeat", self.version("Heartbeat"), {
            "GroupId": self.id if group is None else group, "GenerationId": generation,
            "MemberId": member, "GroupInstanceId": instance}, note=note)

    def leave(self, note, *members, group=None):
        pairs = [one if isinstance(one, tuple) else (one, None) for one in members]
        return self.b.call("LeaveGroup", self.version("LeaveGroup"), {
            "GroupId": self.id if group is None else group,
            "MemberId": pairs[0][0] if pairs else "",
            "Members": [{"MemberId": member, "GroupInstanceId": instance, "Reason": "because"}
                        for member, instance in pairs]}, note=note)

    def commit(self, note, topic, *parts, generation=-1, member="", instance=None, group=None):
        return self.b.call("OffsetCommit", self.version("OffsetCommit"), {
            "GroupId": self.id if group is None else group,
            "GenerationIdOrMemberEpoch": generation, "MemberId": member,
            "GroupInstanceId": instance, "Topics": [{
                "Name": topic, "TopicId": self.b.ids.get(topic, UNKNOWN), "Partitions": [
                    {"PartitionIndex": index, "CommittedOffset": offset,
                     "CommittedLeaderEpoch": 0, "CommittedMetadata": metadata}
                    for index, offset, metadata in parts]}]}, note=note)

    def fetch(self, note, *topics, stable=False, group=None, member=None, epoch=-1):
        """`topics`: (name, partitions) each, or None for all."""
        group = self.id if group is None else group
        asked = None if topics == (None,) else [
            {"Name": name, "TopicId": self.b.ids.get(name, UNKNOWN),
             "PartitionIndexes": list(parts)} for name, parts in topics]
        return self.b.call("OffsetFetch", self.version("OffsetFetch"), {
            "GroupId": group, "Topics": asked, "RequireStable": stable,
            "Groups": [{"GroupId": group, "Topics": asked, "MemberId": member,
                        "MemberEpoch": epoch}]}, note=note)

    def describe(self, note, *groups, operations=False):
        return self.b.call("DescribeGroups", self.version("DescribeGroups"), {
            "Groups": list(groups) or [self.id], "IncludeAuthorizedOperations": operations},
            note=note)

    def gone(self):
        """Removes what is left, quietly."""
        self.b.quiet("DeleteGroups", 2, {"GroupsNames": [self.id]})


@case("JoinGroup", versions="all")
def life_of_one_member(b, v):
    group = Group(b, back=9 - v)
    topic = b.topic(partitions=2)
    joined = group.enter()
    member, generation = joined.get("MemberId", ""), joined.get("GenerationId", -1)
    group.describe("while joining is complete")
    group.heartbeat("before sync", generation, member)
    group.commit("before sync", topic, (0, 1, ""), generation=generation, member=member)
    group.sync("leads", generation, member, [(member, b"mine")])
    group.sync("again", generation, member)
    group.describe("stable", operations=True)
    group.heartbeat("stable", generation, member)
    group.heartbeat("another generation", generation + 1, member)
    group.heartbeat("negative generation", -1, member)
    group.heartbeat("unknown member", generation, "x")
    group.heartbeat("no member", generation, "")
    group.sync("another generation", generation + 1, member)
    group.sync("unknown member", generation, "x")
    if group.version("SyncGroup") >= 5:
        group.sync("another protocol", generation, member, ProtocolName="other")
        group.sync("another type", generation, member, ProtocolType="other")
        group.sync("null protocol", generation, member, ProtocolName=None)
        group.sync("null type", generation, member, ProtocolType=None)
    group.commit("right", topic, (0, 5, "m"), (1, 6, None), generation=generation, member=member)
    group.commit("another generation", topic, (0, 7, ""), generation=generation + 1,
                 member=member)
    group.commit("unknown member", topic, (0, 7, ""), generation=generation, member="x")
    group.commit("no member", topic, (0, 7, ""))
    group.commit("no member, a generation", topic, (0, 7, ""), generation=generation)
    group.fetch("what was committed", (topic, [0, 1, 2]))
    group.b.call("DeleteGroups", 2, {"GroupsNames": [group.id]}, note="while it has members")
    group.b.call("OffsetDelete", 0, {"GroupId": group.id, "Topics": [
        {"Name": topic, "Partitions": [{"PartitionIndex": 0}]}]}, note="while it has members")
    again = group.join("joins again", member=member)
    group.sync("after joining again", again.get("GenerationId", -1), member, [(member, b"more")])
    group.leave("leaves", member)
    group.leave("leaves again", member)
    group.heartbeat("after leaving", generation, member)
    group.describe("empty")
    group.fetch("of an empty one", (topic, [0]))
    group.commit("to an empty one", topic, (0, 9, ""))
    group.commit("to an empty one with a generation", topic, (0, 9, ""), generation=generation,
                 member=member)
    group.b.call("DeleteGroups", 1, {"GroupsNames": [group.id]}, note="when it is empty")
    group.describe("dead")
    group.fetch("of a dead one", (topic, [0]))


@case("JoinGroup", versions="all")
def refused_joins(b, v):
    group = Group(b, back=9 - v)
    group.join("unknown member id", member="x")
    for session in (0, -1, 99, 1_800_001):
        group.join(f"session {session}", session=session)
    group.join("no protocol", protocols=())
    group.join("no type", kind="")
    group.join("empty protocol name", protocols=(("", b""),), session=200)
    for note, name in (("empty", ""), ("odd", f"ä b/c {v}"), ("long", f"{v}" + "x" * 3000)):
        group.b.call("JoinGroup", v, {**group.join_fields(session=200), "GroupId": name}, note=note)
    if v >= 5:
        group.join("bad instance", instance="a b", session=300)
        group.join("empty instance", instance="", session=300)
        group.join("instance with an unknown member", instance="i", member="x", session=300)


@case("JoinGroup", versions="all")
def two_members(b, v):
    group = Group(b, back=9 - v)
    here, there = b.connect(), b.connect()
    one = group.enter("first member", on=here)
    first = one.get("MemberId", "")
    group.sync("first alone", one.get("GenerationId", -1), first, [(first, b"all")], on=here)
    # The second's join waits for the first to come back.
    if v >= 4:
        second = group.member_id("the second asks for its id", on=there)
    else:
        second = ""
    waiting = group.send_join("the second joins", on=there, member=second)
    def rebalances():
        answer = b.quiet("Heartbeat", 0, {"GroupId": group.id, "GenerationId": 1,
                                          "MemberId": first})
        return answer.get("ErrorCode") == 27
    b.until("a rebalance", rebalances)
    group.describe("preparing")
    group.commit("while preparing", "t", (0, 1, ""), generation=1, member=first)
    group.sync("while preparing", 1, first, on=here)
    back = group.join("the first comes back", on=here, member=first,
                      protocols=(("range", b"n"), ("other", b"o")))
    joined = b.receive(waiting)
    second, generation = joined.get("MemberId", ""), back.get("GenerationId", -1)
    group.describe("completing")
    group.commit("while completing", "t", (0, 1, ""), generation=generation, member=first)
    follower = b.send("SyncGroup", group.version("SyncGroup"), {
        "GroupId": group.id, "GenerationId": generation, "MemberId": second,
        "ProtocolType": CONSUMER, "ProtocolName": "range"}, note="the follower waits", on=there)
    time.sleep(0.02)
    group.sync("the leader", generation, first, [(first, b"a"), (second, b"b"), ("x", b"c")],
               on=here)
    b.receive(follower)
    group.describe("two are stable")
    group.join("another protocol altogether", member="", protocols=(("none", b""),), session=200)
    group.join("another type", kind="connect", session=200)
    if group.version("LeaveGroup") >= 3:
        group.leave("three at once", second, "x", (first, None))
        group.leave("nobody")
    else:
        group.leave("the second", second)
        group.leave("the first", first)
    group.describe("empty")
    group.gone()


@case("JoinGroup", versions="all")
def changed_protocols_and_selection(b, v):
    group = Group(b, back=9 - v)
    one = group.enter("first", protocols=(("a", b"1"), ("b", b"2")))
    member = one.get("MemberId", "")
    group.sync("assigns", one.get("GenerationId", -1), member, [(member, b"x")],
               ProtocolName="a")
    same = group.join("the leader again, the same", member=member,
                      protocols=(("a", b"1"), ("b", b"2")))
    group.heartbeat("after", same.get("GenerationId", -1), member)
    other = group.join("other metadata", member=member, protocols=(("a", b"3"),))
    group.sync("assigns", other.get("GenerationId", -1), member, [(member, b"y")],
               ProtocolName="a")
    group.join("other protocols", member=member, protocols=(("c", b"3"),))
    group.describe("afterwards")
    group.leave("leaves", member)


@case("JoinGroup", versions=range(5, 10))
def static_members(b, v):
    group = Group(b, back=9 - v)
    one = group.enter("first", instance="one")
    member, generation = one.get("MemberId", ""), one.get("GenerationId", -1)
    group.sync("assigns", generation, member, [(member, b"x")], GroupInstanceId="one")
    group.heartbeat("right", generation, member, "one")
    group.heartbeat("wrong instance", generation, member, "two")
    group.heartbeat("instance with another member", generation, "x", "one")
    again = group.join("restarts", instance="one")
    fresh = again.get("MemberId", "")
    group.heartbeat("the replaced one", again.get("GenerationId", -1), member, "one")
    group.heartbeat("the new one", again.get("GenerationId", -1), fresh, "one")
    group.sync("the new one", again.get("GenerationId", -1), fresh, GroupInstanceId="one")
    group.sync("the replaced one", again.get("GenerationId", -1), member, GroupInstanceId="one")
    topic = b.topic()
    group.commit("the replaced one", topic, (0, 1, ""), member=member, instance="one",
                 generation=again.get("GenerationId", -1))
    group.commit("the new one", topic, (0, 1, ""), member=fresh, instance="one",
                 generation=again.get("GenerationId", -1))
    group.join("the replaced one joins", instance="one", member=member)
    changed = group.join("restarts with other protocols", instance="one",
                         protocols=(("range", b"other"),))
    group.describe("afterwards")
    group.leave("by another member's id", ("x", "one"))
    group.leave("unknown instance", ("", "two"))
    group.leave("by instance", ("", "one"))
    group.leave("by instance again", ("", "one"))
    group.describe("empty")
    assert changed is not None


@case("Heartbeat", versions="all")
def unknown_groups(b, v):
    group = Group(b, back=4 - v)
    for name in (b.name("unknown"), ""):
        group.heartbeat(f"group {name!r}", 1, "x", group=name)
        group.heartbeat(f"group {name!r}, no member", -1, "", group=name)


@case("SyncGroup", versions="all")
def sync_of_unknown_groups(b, v):
    for name in (b.name("unknown"), ""):
        for kind in (CONSUMER, None, ""):
            b.call("SyncGroup", v, {"GroupId": name, "GenerationId": 1, "MemberId": "x",
                                    "ProtocolType": kind, "ProtocolName": "range"},
                   note=f"group {name!r}, type {kind!r}")


@case("LeaveGroup", versions="all")
def leave_of_unknown_groups(b, v):
    group = Group(b, back=5 - v)
    for name in (b.name("unknown"), ""):
        group.leave(f"group {name!r}", "x", group=name)
        group.leave(f"group {name!r}, nobody", group=name)
        group.leave(f"group {name!r}, an instance", ("", "i"), group=name)


@case("OffsetCommit", versions="all")
def commits(b, v):
    group = Group(b, back=10 - v)
    topic, other = b.topic(partitions=2), b.topic("other")
    group.commit("right", topic, (0, 5, "m"), (1, 0, None))
    group.commit("no metadata but empty", topic, (0, 6, ""))
    group.commit("long metadata", topic, (0, 7, "x" * 4096), (1, 7, "x" * 4097))
    for offset in (-1, -2, LAST, -LAST - 1):
        group.commit(f"offset {offset}", topic, (1, offset, ""))
    group.commit("unknown partition", topic, (5, 1, ""), (-1, 1, ""), (0, 8, ""))
    group.commit("unknown topic", b.name("unknown"), (0, 1, ""))
    group.commit("bad topic", "a b", (0, 1, ""))
    group.commit("partition twice", topic, (0, 9, ""), (0, 10, ""))
    group.commit("no partition", topic)
    group.commit("with a member", topic, (0, 1, ""), member="x")
    group.commit("with a generation", topic, (0, 1, ""), generation=5)
    group.commit("negative generation", topic, (0, 1, ""), generation=-2)
    group.commit("unknown group, generation", topic, (0, 1, ""), generation=1, group=b.name("g"))
    group.commit("unknown group, generation and member", topic, (0, 1, ""), generation=1,
                 member="x", group=b.name("g"))
    group.commit("the empty group", topic, (0, 1, ""), group="")
    if v >= 7:
        group.commit("with an instance", topic, (0, 1, ""), instance="i")
    b.call("OffsetCommit", v, {"GroupId": group.id, "Topics": []}, note="nothing")
    b.call("OffsetCommit", v, {"GroupId": group.id, "RetentionTimeMs": 5, "Topics": [
        {"Name": name, "TopicId": b.ids[name], "Partitions": [
            {"PartitionIndex": 0, "CommittedOffset": 3, "CommittedMetadata": ""}]}
        for name in (topic, other, topic)]}, note="topic twice")
    group.fetch("everything", None)
    group.fetch("some", (topic, [0, 1, 7]))


@case("OffsetFetch", versions="all")
def fetches(b, v):
    group = Group(b, back=10 - v)
    topic, other = b.topic(partitions=3), b.topic("other")
    b.quiet("OffsetCommit", 8, {"GroupId": group.id, "Topics": [
        {"Name": name, "Partitions": [{"PartitionIndex": 0, "CommittedOffset": 3,
                                       "CommittedLeaderEpoch": 2, "CommittedMetadata": "m"}]}
        for name in (topic, other)]})
    group.fetch("one", (topic, [0]))
    group.fetch("two", (topic, [0, 1]), (other, [0]))
    group.fetch("twice", (topic, [0, 0]))
    group.fetch("topic twice", (topic, [0]), (topic, [1]))
    group.fetch("unknown partition", (topic, [9, -1]))
    group.fetch("unknown topic", (b.name("unknown"), [0]))
    group.fetch("bad topic", ("a b", [0]))
    group.fetch("no partition", (topic, []))
    group.fetch("nothing")
    group.fetch("unknown group", (topic, [0]), group=b.name("unknown"))
    group.fetch("the empty group", (topic, [0]), group="")
    if v >= 2:
        group.fetch("everything", None)
        group.fetch("everything of an unknown group", None, group=b.name("unknown"))
    if v >= 7:
        group.fetch("stable", (topic, [0]), stable=True)
    if v >= 9:
        group.fetch("with a member", (topic, [0]), member="x")
        group.fetch("with a member and an epoch", (topic, [0]), member="x", epoch=1)
        group.fetch("with an epoch", (topic, [0]), epoch=1)
        group.fetch("with the empty member", (topic, [0]), member="", epoch=-1)
    if v >= 8:
        one = {"Name": topic, "TopicId": b.ids[topic], "PartitionIndexes": [0]}
        b.call("OffsetFetch", v, {"Groups": [
            {"GroupId": group.id, "Topics": [one]}, {"GroupId": b.name("unknown"), "Topics": [one]},
            {"GroupId": group.id, "Topics": None}]}, note="three groups")
        b.call("OffsetFetch", v, {"Groups": []}, note="no group")
    b.quiet("DeleteTopics", 5, {"TopicNames": [other], "TimeoutMs": 5000})
    b.until("the topic is gone", lambda: b.quiet("Metadata", 9, {
        "Topics": [{"Name": other}], "AllowAutoTopicCreation": False})["Topics"][0]["ErrorCode"] == 3)
    b.until("its offsets are gone", lambda: len(b.quiet("OffsetFetch", 7, {
        "GroupId": group.id, "Topics": None})["Topics"]) == 1)
    if v >= 2:
        group.fetch("everything after a deletion", None)


@case("DescribeGroups", versions="all")
def describes(b, v):
    group = Group(b, back=6 - v)
    topic = b.topic()
    group.commit("only offsets", topic, (0, 1, ""))
    group.describe("a group of offsets")
    group.describe("operations", operations=True)
    group.describe("unknown", b.name("unknown"))
    group.describe("unknown, operations", b.name("unknown"), operations=True)
    group.describe("empty name", "")
    group.describe("twice", group.id, group.id)
    group.describe("several", group.id, b.name("unknown"), "")
    b.call("DescribeGroups", v, {"Groups": []}, note="nothing")


@case("ListGroups", versions="all")
def lists(b, v):
    group = Group(b)
    b.quiet("OffsetCommit", 8, {"GroupId": group.id, "Topics": []})
    joined = group.enter(session=60_000)
    def ask(note, states=(), types=()):
        b.call("ListGroups", v, {"StatesFilter": list(states), "TypesFilter": list(types)},
               note=note)
    ask("all")
    member = joined.get("MemberId", "")
    group.sync("leads", joined.get("GenerationId", -1), member, [(member, b"mine")])
    ask("all, stable")
    for states in (["Stable"], ["stable"], ["STABLE"], ["Empty"], ["Stable", "Empty"], ["x"],
                   [""], ["CompletingRebalance"]):
        ask(f"states {states}", states)
    for types in (["classic"], ["Classic"], ["consumer"], ["x"], [""], ["classic", "x"]):
        ask(f"types {types}", (), types)
    ask("both", ["Stable"], ["classic"])
    group.leave("leaves", member)
    ask("all, empty")
    group.gone()
    ask("all, deleted")


@case("DeleteGroups", versions="all")
def deletes(b, v):
    one, two = Group(b, "one"), Group(b, "two")
    topic = b.topic()
    for group in (one, two):
        group.commit("offsets", topic, (0, 1, ""))
    def ask(note, *names):
        b.call("DeleteGroups", v, {"GroupsNames": list(names)}, note=note)
    ask("nothing")
    ask("unknown", b.name("unknown"))
    ask("empty", "")
    ask("unknown twice", b.name("unknown"), b.name("unknown"))
    ask("one", one.id)
    ask("one again", one.id)
    ask("twice", two.id, two.id)
    ask("several", one.id, two.id, b.name("unknown"), "")


@case("OffsetDelete")
def offset_deletes(b):
    group = Group(b)
    topic, other = b.topic(partitions=2), b.topic("other")
    group.commit("offsets", topic, (0, 1, ""), (1, 2, ""))
    group.commit("offsets", other, (0, 1, ""))
    def ask(note, *topics, name=None):
        b.call("OffsetDelete", 0, {"GroupId": group.id if name is None else name, "Topics": [
            {"Name": topic, "Partitions": [{"PartitionIndex": index} for index in parts]}
            for topic, parts in topics]}, note=note)
    ask("nothing")
    ask("no partition", (topic, []))
    ask("unknown group", (topic, [0]), name=b.name("unknown"))
    ask("the empty group", (topic, [0]), name="")
    ask("unknown topic", (b.name("unknown"), [0]))
    ask("unknown partition", (topic, [7, -1]))
    ask("never committed", (other, [5]))
    ask("one", (topic, [0]))
    ask("one again", (topic, [0]))
    ask("twice", (topic, [1, 1]))
    ask("topic twice", (topic, [0]), (topic, [1]))
    group.fetch("afterwards", None)
    ask("the last", (other, [0]))
    group.describe("afterwards")


@case("OffsetDelete")
def of_a_subscribed_group(b):
    """A stable consumer group's offsets of subscribed topics stay."""
    group = Group(b)
    topic, other = b.topic(), b.topic("other")
    name = topic.encode()
    metadata = b"\0\0\0\0\0\1" + len(name).to_bytes(2, "big") + name + b"\xff\xff\xff\xff"
    joined = group.enter(protocols=(("range", metadata),))
    member = joined.get("MemberId", "")
    group.sync("leads", joined.get("GenerationId", -1), member, [(member, b"mine")])
    for one in (topic, other):
        group.commit("offsets", one, (0, 1, ""), generation=joined.get("GenerationId", -1),
                     member=member)
    b.call("OffsetDelete", 0, {"GroupId": group.id, "Topics": [
        {"Name": one, "Partitions": [{"PartitionIndex": 0}]} for one in (topic, other)]})
    group.fetch("afterwards", None)
    group.leave("leaves", member)


@case("Heartbeat", slow=True)
def sessions_end(b):
    """A member that is silent for longer than its session is gone."""
    group = Group(b)
    joined = group.enter(session=150)
    member, generation = joined.get("MemberId", ""), joined.get("GenerationId", -1)
    group.sync("leads", generation, member, [(member, b"mine")])
    group.heartbeat("in time", generation, member)
    time.sleep(0.5)
    group.heartbeat("too late", generation, member)
    group.describe("afterwards")
