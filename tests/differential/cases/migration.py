"""Members of the classic and of the consumer protocol in one group (KIP-848, online migration).

Groups of one or two members, so that what Kafka takes from a hash map has one order. Where Kafka
batches assignments, the cases ask until there is one, and compare from there on.
"""

import struct
import time

from cases import case
from cases.consumer_groups import Group

PATIENCE_SECONDS = 20


def text(value):
    data = value.encode()
    return struct.pack(">h", len(data)) + data


def topics(parts):
    out = struct.pack(">i", len(parts))
    for name, partitions in parts:
        out += text(name) + struct.pack(f">i{len(partitions)}i", len(partitions), *partitions)
    return out


def subscription(*names, version=1, owned=(), user_data=None):
    """What a classic consumer puts into JoinGroup."""
    out = struct.pack(">hi", version, len(names)) + b"".join(text(name) for name in names)
    out += struct.pack(">i", -1) if user_data is None else (
        struct.pack(">i", len(user_data)) + user_data)
    return out + (topics(owned) if version >= 1 else b"")


def assignment(*parts, version=1, user_data=None):
    """What a leader puts into SyncGroup: (topic, partitions) each."""
    out = struct.pack(">h", version) + topics(parts)
    return out + (struct.pack(">i", -1) if user_data is None else (
        struct.pack(">i", len(user_data)) + user_data))


class Mixed(Group):
    """Requests of both protocols to one group."""

    def send_join(self, note, topic, member="", instance=None, version=9, owned=(),
                  protocols=None, kind="consumer", quiet=False):
        data = subscription(topic, owned=owned)
        protocols = [("range", data)] if protocols is None else protocols
        value = {"GroupId": self.id, "SessionTimeoutMs": 30_000, "RebalanceTimeoutMs": 60_000,
                 "MemberId": member, "GroupInstanceId": instance, "ProtocolType": kind,
                 "Protocols": [{"Name": name, "Metadata": data} for name, data in protocols]}
        if quiet:
            return self.b.quiet("JoinGroup", version, value)
        return self.b.call("JoinGroup", version, value, note=note)

    def sync(self, note, generation, member, parts=(), instance=None, quiet=False, **more):
        value = {"GroupId": self.id, "GenerationId": generation, "MemberId": member,
                 "GroupInstanceId": instance, "ProtocolType": "consumer", "ProtocolName": "range",
                 "Assignments": [{"MemberId": one, "Assignment": data} for one, data in parts],
                 **more}
        if quiet:
            return self.b.quiet("SyncGroup", 5, value)
        return self.b.call("SyncGroup", 5, value, note=note)

    def heartbeat(self, note, generation, member, instance=None, quiet=False):
        value = {"GroupId": self.id, "GenerationId": generation, "MemberId": member,
                 "GroupInstanceId": instance}
        if quiet:
            return self.b.quiet("Heartbeat", 4, value)
        return self.b.call("Heartbeat", 4, value, note=note)

    def leave(self, note, member, instance=None):
        return self.b.call("LeaveGroup", 5, {"GroupId": self.id, "Members": [
            {"MemberId": member, "GroupInstanceId": instance, "Reason": "because"}]}, note=note)

    def commit(self, note, topic, offset, epoch, member, version=9, instance=None):
        return self.b.call("OffsetCommit", version, {
            "GroupId": self.id, "GenerationIdOrMemberEpoch": epoch, "MemberId": member,
            "GroupInstanceId": instance, "Topics": [{"Name": topic, "Partitions": [
                {"PartitionIndex": 0, "CommittedOffset": offset, "CommittedLeaderEpoch": 0,
                 "CommittedMetadata": ""}]}]}, note=note)

    def fetch(self, note, topic, member=None, epoch=-1):
        return self.b.call("OffsetFetch", 9, {"Groups": [{
            "GroupId": self.id, "MemberId": member, "MemberEpoch": epoch, "Topics": [
                {"Name": topic, "PartitionIndexes": [0]}]}], "RequireStable": False}, note=note)

    def listed(self, note):
        answer = self.b.quiet("ListGroups", 5, {"StatesFilter": [], "TypesFilter": []})
        found = [one for one in answer.get("Groups", []) if one["GroupId"] == self.id]
        self.b.note("ListGroups", 5, note, {"Groups": found})

    def describe_classic(self, note):
        return self.b.call("DescribeGroups", 6, {"Groups": [self.id]}, note=note)

    def classic(self, topic, partitions, instance=None, user_data=None, **more):
        """A stable classic group of one member that has the partitions; its id and generation."""
        first = {"MemberId": ""} if instance else self.send_join(
            "", topic, instance=instance, quiet=True, **more)
        joined = self.send_join("", topic, first["MemberId"], instance, quiet=True, **more)
        member, generation = joined["MemberId"], joined["GenerationId"]
        part = assignment((topic, partitions), user_data=user_data)
        self.sync("", generation, member, [(member, part)], instance, quiet=True)
        return member, generation

    def rejoined(self, topic, member, instance=None, owned=()):
        """Joins again until there is an assignment for the group's epoch; the last answer."""
        end = time.monotonic() + PATIENCE_SECONDS
        while True:
            joined = self.send_join("", topic, member, instance, owned=owned, quiet=True)
            synced = self.sync("", joined.get("GenerationId", -1), member, (), instance, quiet=True)
            if synced.get("ErrorCode") != 27 or time.monotonic() > end:
                return joined
            time.sleep(0.1)

    def settled(self, member, epoch, owned=None):
        """Heartbeats of the consumer protocol until the epoch is reached."""
        end = time.monotonic() + PATIENCE_SECONDS
        while True:
            answer = self.beat("", member, epoch, quiet=True, TopicPartitions=owned)
            epoch = answer.get("MemberEpoch", epoch)
            seen = self.b.quiet("ConsumerGroupDescribe", 1, {
                "GroupIds": [self.id], "IncludeAuthorizedOperations": False})
            group = (seen.get("Groups") or [{}])[0]
            if group.get("GroupEpoch") == epoch or time.monotonic() > end:
                return epoch
            time.sleep(0.1)


@case("ConsumerGroupHeartbeat")
def upgrade_by_a_joining_consumer(b):
    topic, group = b.topic("t", 4), Mixed(b, "g")
    member, generation = group.classic(topic, [0, 1, 2, 3])
    group.commit("as a classic group", topic, 3, generation, member)
    group.beat("not joining", "c1", 1)
    group.beat("leaving", "c1", -1)
    joined = group.join("joins a classic group", topic, "c1")
    group.describe("both kinds of members")
    group.describe_classic("as a classic group")
    group.listed("what it is listed as")
    group.heartbeat("the classic member has to join again", generation, member)
    group.heartbeat("in another generation", generation + 1, member)
    group.heartbeat("unknown", generation, "m9")
    group.heartbeat("one of the other protocol", joined.get("MemberEpoch", -1), "c1")
    group.sync("before it joins again", generation, member)
    group.sync("in another generation", generation + 1, member)
    group.sync("another protocol", generation, member, ProtocolName="other")
    group.sync("another type", generation, member, ProtocolType="other")
    group.sync("one of the other protocol", joined.get("MemberEpoch", -1), "c1")
    group.commit("with its generation", topic, 5, generation, member)
    group.commit("with another", topic, 6, generation + 1, member)
    group.commit("the consumer's", topic, 7, joined.get("MemberEpoch", -1), "c1")
    group.commit("nobody's", topic, 7, -1, "")
    group.commit("in an old version", topic, 8, generation, member, version=8)
    group.fetch("the classic member", topic)
    group.fetch("with its id", topic, member, generation)
    group.fetch("with another generation", topic, member, generation + 1)
    again = group.send_join("joins again", topic, member, owned=[(topic, [0, 1, 2, 3])])
    generation = again.get("GenerationId", -1)
    group.sync("and gets what stays", generation, member)
    group.heartbeat("it has to give back", generation, member)
    again = group.send_join("it has given back", topic, member, owned=[(topic, [0, 1])])
    generation = again.get("GenerationId", -1)
    group.sync("the same part", generation, member)
    group.heartbeat("nothing to do", generation, member)
    group.beat("gets the rest", "c1", joined.get("MemberEpoch", -1))
    group.describe("settled")
    group.sync("again", generation, member, ProtocolType=None, ProtocolName=None)


@case("ConsumerGroupHeartbeat")
def upgrade_refused(b):
    # Another topic than the others': who gets which of one topic's is as Kafka's hash map has it.
    topic, other = b.topic("t", 2), b.topic("other", 2)
    for note, kind, data, part in [
        ("another type", "connect", subscription(topic), assignment((topic, [0, 1]))),
        ("no subscription", "consumer", b"x", assignment((topic, [0, 1]))),
        ("no assignment", "consumer", subscription(topic), b"x"),
        ("an empty assignment", "consumer", subscription(topic), b""),
        ("subscription with user data", "consumer", subscription(topic, user_data=b"u"),
         assignment((topic, [0, 1]))),
        ("assignment with user data", "consumer", subscription(topic),
         assignment((topic, [0, 1]), user_data=b"u")),
        ("empty user data", "consumer", subscription(topic, user_data=b""),
         assignment((topic, [0, 1]), user_data=b"")),
        ("a version of the future", "consumer", subscription(topic, version=9),
         assignment((topic, [0, 1]), version=9)),
        ("a topic that is not there", "consumer", subscription("nope-" + topic),
         assignment(("nope-" + topic, [0, 1]))),
    ]:
        group = Mixed(b, note.replace(" ", "-"))
        more = {"protocols": [("range", data)], "kind": kind, "quiet": True}
        first = group.send_join("", topic, **more)
        joined = group.send_join("", topic, first["MemberId"], **more)
        member, generation = joined["MemberId"], joined["GenerationId"]
        group.sync("", generation, member, [(member, part)], quiet=True,
                   ProtocolType=kind)
        group.join(note, other, "c1")
        group.describe(note)
        group.heartbeat(note, generation, member)


@case("ConsumerGroupHeartbeat")
def upgrade_of_a_group_that_waits_for_its_leader(b):
    topic, other, group = b.topic("t", 2), b.topic("other", 2), Mixed(b, "g")
    first = group.send_join("", topic, quiet=True)
    joined = group.send_join("", topic, first["MemberId"], quiet=True)
    member, generation = joined["MemberId"], joined["GenerationId"]
    group.join("before the leader assigned", other, "c1")
    group.sync("the leader's", generation, member, [(member, assignment((topic, [0, 1])))])
    group.describe("upgraded")
    group.heartbeat("joins again", generation, member)


@case("JoinGroup", versions="all")
def classic_joins_a_consumer_group(b, version):
    topic, group = b.topic("t", 2), Mixed(b, "g")
    group.join("", topic, "c1", quiet=True)
    first = group.send_join("a classic member", topic, version=version)
    member = first.get("MemberId", "")
    if first.get("ErrorCode") == 79:
        group.send_join("with its id", topic, member, version=version)
    group.describe("both")
    group.send_join("another type", topic, kind="connect", version=version)
    group.send_join("no common protocol", topic, protocols=[("other", subscription(topic))],
                    version=version)
    group.send_join("no protocols", topic, protocols=[], version=version)
    group.send_join("what cannot be read", topic, "m7", protocols=[("range", b"x")],
                    version=version)
    if version >= 4:
        group.send_join("an id that nobody gave it", topic, "made-up", version=version)
    if version >= 5:
        group.send_join("an instance with an unknown id", topic, "m9", "i", version=version)
    group.leave("leaves", member)
    group.leave("leaves again", member)
    group.leave("one of the other protocol", "c1")
    group.describe("after that")


@case("JoinGroup")
def classic_takes_over_a_consumers_id(b):
    topic, group = b.topic("t", 2), Mixed(b, "g")
    group.join("", topic, "c1", quiet=True)
    group.join("", topic, "c2", quiet=True)
    group.send_join("under the id of a consumer", topic, "c1")
    group.describe("it is classic")
    group.beat("as a consumer in its epoch", "c1", 2)


@case("ConsumerGroupHeartbeat")
def downgrade_by_the_last_consumer(b):
    topic, group = b.topic("t", 2), Mixed(b, "g")
    member, generation = group.classic(topic, [0, 1])
    group.commit("before", topic, 3, generation, member)
    joined = group.join("", topic, "c1", quiet=True)
    again = group.rejoined(topic, member, owned=[])
    generation = again.get("GenerationId", -1)
    group.describe("both")
    group.beat("the consumer leaves", "c1", -1)
    group.describe("not a consumer group any more")
    group.describe_classic("a classic group")
    group.listed("classic")
    group.heartbeat("a rebalance", generation, member)
    group.beat("the consumer once more", "c1", joined.get("MemberEpoch", -1))
    last = group.send_join("joins the classic group", topic, member)
    generation = last.get("GenerationId", -1)
    group.sync("leads", generation, member, [(member, assignment((topic, [0, 1])))])
    group.heartbeat("stable", generation, member)
    group.fetch("offsets stay", topic)
    group.join("upgraded once more", topic, "c2")
    group.describe("both again")


@case("LeaveGroup")
def downgrade_and_upgrade_by_leave_group(b):
    topic, group = b.topic("t", 2), Mixed(b, "g")
    member, _ = group.classic(topic, [0, 1])
    group.join("", topic, "c1", quiet=True)
    group.join("", topic, "c2", quiet=True)
    group.leave("one of the consumers", "c2")
    group.leave("the classic one", member)
    group.describe("consumers are left")


@case("JoinGroup")
def static_members_change_their_protocol(b):
    topic, group = b.topic("t", 2), Mixed(b, "g")
    member, generation = group.classic(topic, [0, 1], instance="i")
    group.join("as a consumer", topic, "c1", InstanceId="i")
    group.describe("it is a consumer")
    group.heartbeat("the classic one is fenced", generation, member, "i")
    group.sync("the classic one is fenced", generation, member, (), "i")
    group.heartbeat("the classic one without its instance", generation, member)
    group.commit("the classic one", topic, 5, generation, member, instance="i")
    epoch = group.settled("c1", generation + 1)
    back = group.send_join("as a classic member again", topic, "", "i")
    generation = back.get("GenerationId", -1)
    group.describe("it is a classic group")
    group.describe_classic("stable")
    group.sync("what it had", generation, back.get("MemberId", ""), (), "i")
    group.heartbeat("nothing to do", generation, back.get("MemberId", ""), "i")
    group.beat("the consumer is fenced", "c1", epoch, InstanceId="i")


@case("JoinGroup")
def static_member_joins_a_mixed_group(b):
    topic, group = b.topic("t", 2), Mixed(b, "g")
    group.join("", topic, "c1", quiet=True, InstanceId="one")
    joined = group.send_join("a static classic member", topic, "", "two")
    member = joined.get("MemberId", "")
    group.send_join("comes back under a new id", topic, "", "two")
    group.send_join("the old id", topic, member, "two")
    group.heartbeat("the old id", joined.get("GenerationId", -1), member, "two")
    taken = group.send_join("takes a live consumer's instance", topic, "", "one")
    group.describe("what is left")
    generation, member = taken.get("GenerationId", -1), taken.get("MemberId", "")
    group.sync("in the generation it was told", generation, member, (), "one")
    group.heartbeat("in the generation it was told", generation, member, "one")


@case("JoinGroup")
def static_classic_takes_the_place_of_the_last_consumer(b):
    topic, other = b.topic("t", 2), b.topic("other", 3)

    def taken(group, what, name):
        joined = group.send_join(f"{what}: takes it", name, "", "one")
        generation, member = joined.get("GenerationId", -1), joined.get("MemberId", "")
        group.describe_classic(f"{what}: a classic group")
        group.sync(f"{what}: what it has", generation, member, (), "one")
        group.heartbeat(f"{what}: in its generation", generation, member, "one")
    for what, name in (("alone", topic), ("alone, another topic", other)):
        group = Mixed(b, what.replace(", ", "-").replace(" ", "-"))
        group.join("", topic, "c1", quiet=True, InstanceId="one")
        taken(group, what, name)
    for what, name in (("beside another", topic), ("beside another, another topic", other)):
        group = Mixed(b, what.replace(", ", "-").replace(" ", "-"))
        first = group.join("", topic, "c1", quiet=True, InstanceId="one")
        two = group.send_join("", topic, "", "two", quiet=True)
        owned = [{"TopicId": b.topic_id(topic), "Partitions": [0]}]
        epoch = first.get("MemberEpoch", -1)
        end = time.monotonic() + PATIENCE_SECONDS
        while epoch < 2 and time.monotonic() < end:
            told = group.beat("", "c1", epoch, quiet=True, InstanceId="one", TopicPartitions=owned)
            epoch = told.get("MemberEpoch", epoch)
        group.rejoined(topic, two.get("MemberId", ""), "two")
        taken(group, what, name)


@case("JoinGroup")
def classic_takes_the_place_of_an_empty_consumer_group(b):
    topic, group = b.topic("t", 2), Mixed(b, "g")
    group.join("", topic, "c1", quiet=True)
    group.commit("by a consumer", topic, 4, 2, "c1")
    group.beat("", "c1", -1, quiet=True)
    group.sync("nobody is in", 1, "m1")
    group.heartbeat("nobody is in", 1, "m1")
    group.leave("nobody is in", "m1")
    group.send_join("with an unknown id", topic, "m1")
    first = group.send_join("a classic member", topic)
    joined = group.send_join("with its id", topic, first.get("MemberId", ""))
    group.describe("not a consumer group")
    group.describe_classic("a classic group")
    group.sync("leads", joined.get("GenerationId", -1), joined.get("MemberId", ""),
               [(joined.get("MemberId", ""), assignment((topic, [0, 1])))])
    group.fetch("offsets stay", topic)
    group.listed("classic")


@case("TxnOffsetCommit", versions="all")
def members_of_consumer_groups_commit_in_transactions(b, version):
    topic, group = b.topic("t", 2), Mixed(b, "g")
    group.join("", topic, "c1", quiet=True)
    group.join("", topic, "c2", quiet=True)
    epoch = group.settled("c1", 2, owned=[
        {"TopicId": b.topic_id(topic), "Partitions": [0]}])
    classic = group.send_join("", topic, "made-up", quiet=True)
    name = b.name("txn")
    # Random requests name small producer ids: such a producer must not be known to the group.
    while b.quiet("InitProducerId", 4, {"TransactionalId": None, "TransactionTimeoutMs": 60_000,
                                        "ProducerId": -1, "ProducerEpoch": -1})["ProducerId"] < 16:
        pass
    begun = b.quiet("InitProducerId", 4, {
        "TransactionalId": name, "TransactionTimeoutMs": 60_000, "ProducerId": -1,
        "ProducerEpoch": -1})
    producer, of = begun["ProducerId"], begun["ProducerEpoch"]
    b.quiet("AddOffsetsToTxn", 3, {"TransactionalId": name, "ProducerId": producer,
                                   "ProducerEpoch": of, "GroupId": group.id})
    cases = [("in its epoch", "c1", epoch), ("an older epoch", "c1", epoch - 1),
             ("the oldest epoch", "c1", 1), ("a newer epoch", "c1", epoch + 1),
             ("unknown", "m9", epoch), ("nobody", "", -1), ("a member without epoch", "c1", -1),
             ("classic", "made-up", classic.get("GenerationId", -1)),
             ("classic, older", "made-up", classic.get("GenerationId", -1) - 1)]
    for note, member, said in cases if version >= 3 else [("nobody", "", -1)]:
        for index in (0, 1):
            b.call("TxnOffsetCommit", version, {
                "TransactionalId": name, "GroupId": group.id, "ProducerId": producer,
                "ProducerEpoch": of, "GenerationId": said, "MemberId": member,
                "GroupInstanceId": None, "Topics": [{"Name": topic, "Partitions": [
                    {"PartitionIndex": index, "CommittedOffset": 5, "CommittedLeaderEpoch": 0,
                     "CommittedMetadata": ""}]}]}, note=f"{note}, partition {index}")
    b.quiet("EndTxn", 3, {"TransactionalId": name, "ProducerId": producer, "ProducerEpoch": of,
                          "Committed": False})
