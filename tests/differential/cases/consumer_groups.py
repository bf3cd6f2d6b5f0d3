"""Consumer groups of the server-side protocol (KIP-848): heartbeats, descriptions, offsets.

Only what does not depend on when a second passed: assignments are waited for where Kafka batches
them. Regular expressions are matched by Kafka after its first answer and are left to the clients.
"""

from cases import case


class Group:
    """Requests of one consumer group."""

    def __init__(self, b, suffix=""):
        self.b, self.id = b, b.name(suffix)
        # The coordinator knows the topics.
        b.settle()

    def beat(self, note, member="m1", epoch=0, version=1, quiet=False, **fields):
        value = {"GroupId": self.id, "MemberId": member, "MemberEpoch": epoch, "InstanceId": None,
                 "RackId": None, "RebalanceTimeoutMs": -1, "SubscribedTopicNames": None,
                 "SubscribedTopicRegex": None, "ServerAssignor": None, "TopicPartitions": None,
                 **fields}
        if quiet:
            return self.b.quiet("ConsumerGroupHeartbeat", version, value)
        return self.b.call("ConsumerGroupHeartbeat", version, value, note=note)

    def join(self, note, topic, member="m1", **fields):
        return self.beat(note, member, 0, **{
            "RebalanceTimeoutMs": 60_000, "SubscribedTopicNames": [topic], "TopicPartitions": [],
            **fields})

    def describe(self, note, version=1, operations=False):
        return self.b.call("ConsumerGroupDescribe", version, {
            "GroupIds": [self.id], "IncludeAuthorizedOperations": operations}, note=note)


@case("ConsumerGroupHeartbeat", versions="all")
def consumer_group_life(b, version):
    topic, group = b.topic("t", 4), Group(b, "g")
    group.beat("to a group that is not there", epoch=3, version=version)
    group.join("joins", topic, version=version)
    group.describe("one member", operations=True)
    group.beat("nothing new", epoch=2, version=version)
    group.beat("an epoch too low", epoch=1, version=version)
    group.beat("an epoch too high", epoch=3, version=version)
    group.beat("a member that is not there", "m9", 2, version=version)
    group.join("joins again, the answer was lost", topic, version=version)
    group.beat("leaves", epoch=-1, version=version)
    group.beat("leaves again", epoch=-1, version=version)
    group.describe("empty")


@case("ConsumerGroupHeartbeat", versions="all")
def consumer_group_wrong_requests(b, version):
    topic = b.topic("t", 1)
    group = Group(b, "g")
    for note, fields in [
        ("no member id", {"MemberId": "", "MemberEpoch": 4}),
        ("no rebalance timeout", {"RebalanceTimeoutMs": -1}),
        ("no subscription", {"SubscribedTopicNames": None}),
        ("partitions at the join", {"TopicPartitions": None}),
        ("a wrong epoch", {"MemberEpoch": -3}),
        ("leaves for a while without an instance", {"MemberEpoch": -2}),
        ("an empty instance", {"InstanceId": ""}),
        ("an empty rack", {"RackId": ""}),
        ("an assignor that is not there", {"ServerAssignor": "nope"}),
        ("no group", {"GroupId": ""}),
    ]:
        group.join(note, topic, version=version, **fields)
    group.describe("nothing was made")


@case("ConsumerGroupHeartbeat", versions="all")
def consumer_group_static_member(b, version):
    topic, group = b.topic("t", 3), Group(b, "g")
    one = {"InstanceId": "i", "version": version}
    group.join("joins", topic, "s1", **one)
    group.join("another with its instance", topic, "s2", **one)
    group.beat("another speaks for it", "s2", 2, **one)
    group.beat("an unknown instance", "s1", 2, InstanceId="other", version=version)
    group.beat("leaves for a while", "s1", -2, **one)
    group.describe("while it is away")
    group.join("comes back", topic, "s2", **one)
    group.describe("when it is back")
    group.beat("leaves for good", "s2", -1, **one)


@case("OffsetCommit", versions="all")
def consumer_group_commits(b, version):
    topic, group = b.topic("t", 2), Group(b, "g")
    group.join("", topic, quiet=True)
    name = {"Name": topic} if version < 10 else {"TopicId": b.topic_id(topic)}
    for member, epoch in [("m1", 2), ("m1", 1), ("m1", 3), ("m9", 2), ("", -1)]:
        b.call("OffsetCommit", version, {
            "GroupId": group.id, "GenerationIdOrMemberEpoch": epoch, "MemberId": member,
            "Topics": [{**name, "Partitions": [{"PartitionIndex": 0, "CommittedOffset": 5}]}]},
            note=f"{member!r} in epoch {epoch}")


@case("DescribeGroups", versions="all")
def consumer_group_as_classic(b, version):
    topic, group = b.topic("t", 1), Group(b, "g")
    group.join("", topic, quiet=True)
    b.call("DescribeGroups", version, {"Groups": [group.id]}, note="a consumer group")
