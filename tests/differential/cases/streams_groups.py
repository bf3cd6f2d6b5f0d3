"""Streams groups (KIP-1071): heartbeats, descriptions, offsets.

Only what does not depend on when a second passed: the initial delay is switched off for the groups
that get tasks. Internal topics are made by Kafka after its answer and by Corelane before it, so a
heartbeat that follows is asked without comparing.
"""

from cases import case


def topic_info(name, partitions=0, replication=0, configs=()):
    return {"Name": name, "Partitions": partitions, "ReplicationFactor": replication,
            "TopicConfigs": [{"Key": key, "Value": value} for key, value in configs]}


def part(name, sources, **fields):
    return {"SubtopologyId": name, "SourceTopics": sources, "SourceTopicRegex": [],
            "StateChangelogTopics": [], "RepartitionSinkTopics": [],
            "RepartitionSourceTopics": [], "CopartitionGroups": [], **fields}


class Group:
    """Requests of one streams group."""

    def __init__(self, b, suffix="", eager=True):
        self.b, self.id = b, b.name(suffix)
        if eager:
            b.quiet("IncrementalAlterConfigs", 1, {"Resources": [{
                "ResourceType": 32, "ResourceName": self.id, "Configs": [
                    {"Name": name, "ConfigOperation": 0, "Value": "0"} for name in
                    ("streams.initial.rebalance.delay.ms", "streams.assignment.interval.ms")]}],
                "ValidateOnly": False})
        # The coordinators know the topics and the configuration.
        b.settle()

    def beat(self, note, member="m1", epoch=0, quiet=False, **fields):
        value = {"GroupId": self.id, "MemberId": member, "MemberEpoch": epoch,
                 "EndpointInformationEpoch": -1, "InstanceId": None, "RackId": None,
                 "RebalanceTimeoutMs": -1, "Topology": None, "ActiveTasks": None,
                 "StandbyTasks": None, "WarmupTasks": None, "ProcessId": None,
                 "UserEndpoint": None, "ClientTags": None, "TaskOffsets": None,
                 "TaskEndOffsets": None, "ShutdownApplication": False, **fields}
        if quiet:
            return self.b.quiet("StreamsGroupHeartbeat", 0, value)
        return self.b.call("StreamsGroupHeartbeat", 0, value, note=note)

    def join(self, note, parts, member="m1", topology_epoch=0, **fields):
        return self.beat(note, member, 0, **{
            "RebalanceTimeoutMs": 60_000, "ProcessId": "p-" + member, "ActiveTasks": [],
            "StandbyTasks": [], "WarmupTasks": [],
            "Topology": {"Epoch": topology_epoch, "Subtopologies": parts}, **fields})

    def owns(self, note, member, epoch, tasks, **fields):
        ids = [{"SubtopologyId": name, "Partitions": ps} for name, ps in tasks.items()]
        return self.beat(note, member, epoch, ActiveTasks=ids, StandbyTasks=[], WarmupTasks=[],
                         **fields)

    def describe(self, note, operations=False):
        return self.b.call("StreamsGroupDescribe", 0, {
            "GroupIds": [self.id], "IncludeAuthorizedOperations": operations}, note=note)


@case("StreamsGroupHeartbeat", versions="all")
def streams_group_life(b, version):
    topic, group = b.topic("t", 4), Group(b, "g")
    parts = [part("0", [topic])]
    group.beat("to a group that is not there", epoch=3)
    group.join("joins", parts)
    group.describe("one member", operations=True)
    group.beat("nothing new", epoch=2)
    group.beat("nothing new, and the endpoints are known", epoch=2, EndpointInformationEpoch=0)
    group.beat("an epoch too low", epoch=1)
    group.beat("an epoch too high", epoch=3)
    group.beat("a member that is not there", "m9", 2)
    group.join("joins again, the answer was lost", parts)
    group.beat("another rack", epoch=2, RackId="r")
    group.describe("with a rack")
    group.beat("leaves", epoch=-1)
    group.beat("leaves again", epoch=-1)
    group.describe("empty")
    group.join("comes back", parts)
    group.beat("leaves for good", epoch=-1)
    b.call("DeleteGroups", 2, {"GroupsNames": [group.id]}, note="deletes the group")
    group.describe("gone")


@case("StreamsGroupHeartbeat", versions="all")
def streams_group_delay(b, version):
    topic, group = b.topic("t", 2), Group(b, "g", eager=False)
    group.join("joins and waits for others", [part("0", [topic])])
    group.describe("nobody has anything")
    group.beat("leaves", epoch=-1)


@case("StreamsGroupHeartbeat", versions="all")
def streams_group_wrong_requests(b, version):
    topic, group = b.topic("t", 1), Group(b, "g")
    parts = [part("0", [topic])]
    for note, fields in [
        ("no member id", {"MemberId": ""}),
        ("no group", {"GroupId": ""}),
        ("an instance", {"InstanceId": "i"}),
        ("an empty rack", {"RackId": ""}),
        ("no rebalance timeout", {"RebalanceTimeoutMs": -1}),
        ("no topology", {"Topology": None}),
        ("no active tasks", {"ActiveTasks": None}),
        ("standby tasks at the join", {"StandbyTasks": [
            {"SubtopologyId": "0", "Partitions": [0]}]}),
        ("warmup tasks", {"WarmupTasks": [{"SubtopologyId": "0", "Partitions": [0]}]}),
        ("task offsets", {"TaskOffsets": []}),
        ("task end offsets", {"TaskEndOffsets": []}),
        ("a wrong epoch", {"MemberEpoch": -3}),
        ("leaves for a while", {"MemberEpoch": -2}),
        ("a topology later", {"MemberEpoch": 2}),
        ("one kind of tasks", {"MemberEpoch": 2, "Topology": None, "StandbyTasks": None}),
    ]:
        group.join(note, parts, **fields)
    group.describe("nothing was made")


@case("StreamsGroupHeartbeat", versions="all")
def streams_group_wrong_topologies(b, version):
    topic, other = b.topic("t", 2), b.topic("o", 3)
    group = Group(b, "g")
    for note, parts in [
        ("a topic of the broker", [part("0", ["__consumer_offsets"])]),
        ("a name that is none", [part("0", ["no/name"])]),
        ("an expression", [part("0", [topic], SourceTopicRegex=["a.*"])]),
        ("a changelog with partitions", [
            part("0", [topic], StateChangelogTopics=[topic_info(b.name("c"), 3)])]),
        ("no inputs", [part("0", [], StateChangelogTopics=[topic_info(b.name("c"))])]),
        ("a repartition topic that nobody writes", [
            part("0", [topic], RepartitionSourceTopics=[topic_info(b.name("r"))])]),
        ("a repartition topic that feeds itself", [
            part("0", [], RepartitionSourceTopics=[topic_info(b.name("r"))],
                 RepartitionSinkTopics=[b.name("r")])]),
    ]:
        group.join(note, parts)
    group.describe("nothing was made")
    for number, (note, parts) in enumerate([
        ("a source that is missing", [part("0", [b.name("missing")])]),
        ("sources that are not alike", [
            part("0", sorted([topic, other]), CopartitionGroups=[
                {"SourceTopics": [0, 1], "SourceTopicRegex": [], "RepartitionSourceTopics": []}])]),
        ("a changelog that is there and wrong", [
            part("0", [topic], StateChangelogTopics=[topic_info(other)])]),
        ("a repartition topic that does not fit its source", [
            part("0", [topic], RepartitionSinkTopics=[b.name("r")]),
            part("1", [other], RepartitionSourceTopics=[topic_info(b.name("r"), 2)],
                 CopartitionGroups=[{"SourceTopics": [0], "SourceTopicRegex": [],
                                     "RepartitionSourceTopics": [0]}])]),
    ]):
        waiting = Group(b, f"w{number}")
        waiting.join(note, parts)
        waiting.beat(note + ", again", epoch=2)
        waiting.describe(note)


@case("StreamsGroupHeartbeat", versions="all")
def streams_group_internal_topics(b, version):
    topic, group = b.topic("t", 3), Group(b, "g")
    changelog = b.name("changelog")
    parts = [part("0", [topic], StateChangelogTopics=[
        topic_info(changelog, configs=[("cleanup.policy", "compact")])])]
    group.join("the changelog is missing", parts)
    group.describe("not ready")
    b.await_topic(changelog, 3)
    group.beat("the topics are there", epoch=2, quiet=True)


@case("StreamsGroupHeartbeat", versions="all")
def streams_group_two_members(b, version):
    topic, group = b.topic("t", 4), Group(b, "g")
    parts = [part("0", [topic])]
    group.join("joins", parts, UserEndpoint={"Host": "one", "Port": 1})
    group.beat("has everything", epoch=2)
    group.join("another joins", parts, "m2", UserEndpoint={"Host": "two", "Port": 2},
               ClientTags=[{"Key": "zone", "Value": "z"}])
    group.describe("the other waits")
    group.beat("the first is told to give back", epoch=2)
    group.beat("the other still waits", "m2", 3)
    group.owns("the first gave back", "m1", 2, {"0": [0, 1]})
    group.describe("the other is about to get them")
    group.beat("the other gets them", "m2", 3)
    group.describe("both have theirs")
    group.owns("a task that is not there", "m1", 3, {"0": [9]})
    group.owns("a part that is not there", "m1", 3, {"7": [0]})
    group.join("another topology", [part("1", [topic])], "m3")
    group.beat("asks for the end", epoch=-1, ShutdownApplication=True)
    group.beat("hears of the end", "m2", 3)


@case("StreamsGroupHeartbeat", versions="all")
def streams_group_stale_topology(b, version):
    topic, group = b.topic("t", 2), Group(b, "g")
    parts = [part("0", [topic])]
    group.join("joins", parts, topology_epoch=4)
    group.join("with an older topology", parts, "m2", topology_epoch=3)
    group.join("with a newer topology", parts, "m3", topology_epoch=5)
    group.describe("two members")


@case("StreamsGroupDescribe", versions="all")
def streams_group_and_others(b, version):
    topic, group = b.topic("t", 2), Group(b, "g")
    group.join("joins", [part("0", [topic])])
    b.call("ConsumerGroupHeartbeat", 1, {
        "GroupId": group.id, "MemberId": "c", "MemberEpoch": 0, "InstanceId": None, "RackId": None,
        "RebalanceTimeoutMs": 60_000, "SubscribedTopicNames": [topic],
        "SubscribedTopicRegex": None, "ServerAssignor": None, "TopicPartitions": []},
        note="a consumer of the other protocol")
    b.call("DescribeGroups", 6, {"Groups": [group.id], "IncludeAuthorizedOperations": False},
           note="as a classic group")
    b.call("ConsumerGroupDescribe", 1, {
        "GroupIds": [group.id], "IncludeAuthorizedOperations": False}, note="as a consumer group")
    b.call("DeleteGroups", 2, {"GroupsNames": [group.id]}, note="not while somebody is in")
    for note, member, epoch in [
        ("the member's", "m1", 2), ("a newer", "m1", 3), ("an older", "m1", 1),
        ("another's", "m9", 2), ("nobody's", "", -1),
    ]:
        b.call("OffsetCommit", 9, {
            "GroupId": group.id, "GenerationIdOrMemberEpoch": epoch, "MemberId": member,
            "GroupInstanceId": None, "Topics": [{"Name": topic, "Partitions": [
                {"PartitionIndex": 0, "CommittedOffset": 0, "CommittedLeaderEpoch": -1,
                 "CommittedMetadata": ""}]}]}, note=f"commits with {note} epoch")
        b.call("OffsetFetch", 9, {"Groups": [{
            "GroupId": group.id, "MemberId": member or None, "MemberEpoch": epoch, "Topics": [
                {"Name": topic, "PartitionIndexes": [0]}]}], "RequireStable": False},
            note=f"fetches with {note} epoch")
    b.call("OffsetDelete", 0, {"GroupId": group.id, "Topics": [
        {"Name": topic, "Partitions": [{"PartitionIndex": 0}]}]}, note="deletes offsets it reads")
    b.call("StreamsGroupDescribe", 0, {
        "GroupIds": ["", b.name("nope"), group.id], "IncludeAuthorizedOperations": True},
        note="no group, one that is not there, and this one")
