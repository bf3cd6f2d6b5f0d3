"""Random well-formed requests: every API, fields drawn from what is there, what is not, and limits.

The same seed draws the same requests for both brokers. Fields that make a broker wait, or that cost
it memory in proportion to their value, are drawn from small numbers.
"""

import random
import uuid

import batches
from cases import every_api
from schema import ZERO_UUID

ROUNDS, ROUNDS_QUICK = 40, 6
BORDERS = {
    "int8": (0, 1, 2, -1, 127, -128), "int16": (0, 1, -1, 32767, -32768),
    "uint16": (0, 1, 65535), "int32": (0, 1, 2, 5, -1, -2, 2147483647, -2147483648),
    "uint32": (0, 1), "int64": (0, 1, 5, -1, -2, 9223372036854775807, -9223372036854775808),
    "float64": (0.0, 1.0),
}
# Nothing random may wait, or hold memory for what does not exist.
SMALL = {
    "MaxWaitMs": (0, 1, 10), "TimeoutMs": (1000, 5000), "timeoutMs": (1000, 5000),
    "RebalanceTimeoutMs": (300, 500), "SessionTimeoutMs": (300, 500, 0, -1),
    "NumPartitions": (1, 2, 0, -1, -2), "Count": (1, 2, 3, 0, -1), "Acks": (1, -1, 2),
    "ReplicaId": (-1, -1, -1, -2), "MinBytes": (0, 0, 1, 2147483647), "KeyType": (0, 3, -1),
    "ResponsePartitionLimit": (1, 2, 100), "TransactionTimeoutMs": (1, 1000),
    "RetentionTimeMs": (-1, 100_000_000),
    # A wrong one refuses the whole request, whatever else it says.
    "IsolationLevel": (0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 2),
    # Its own id would be taken away.
    "BrokerId": (7, 0, -1, 2147483647),
    # Of an operation that does not exist, Kafka's controller resigns.
    "ConfigOperation": (0, 1, 2, 3),
}


class Draw:
    """Values for one API's requests."""

    def __init__(self, random_, b, api, topics, group):
        self.random, self.b, self.api, self.topics, self.group = random_, b, api, topics, group

    def fields(self, message, fields, version):
        value = {}
        for field in fields:
            said = version not in field.tagged or self.random.random() < 0.2
            if version in field.versions and said:
                value[field.name] = self.field(message, field, version)
        if version in message.flexible and self.random.random() < 0.05:
            # A tag nobody knows is skipped.
            value["_tags"] = {9000: b"unknown"}
        return value

    def field(self, message, field, version):
        if version in field.nullable and self.random.random() < 0.1 and self.may_be_null(field):
            return None
        if field.element:
            count = self.random.choice((0, 1, 1, 1, 2, 3))
            if count == 0 and field.name == "Topics" and self.api == "Metadata":
                count = 1
            if self.api == "WriteTxnMarkers":
                # A partition twice, or a marker without any beside others, is never answered by
                # Kafka, and of several markers it answers when the first are written.
                count = min(count, 1)
            if field.name == "Transactions":
                # Without any, Kafka never answers; nor does it with one twice.
                count = 1
            if field.name == "Resources" and self.api == "AlterConfigs":
                # The same one twice is never answered by Kafka.
                count = min(count, 1)
            return [self.one(message, field, field.element, version) for _ in range(count)]
        return self.one(message, field, field.kind, version)

    def may_be_null(self, field):
        """Null lists ask for everything there is, null records are never answered."""
        return field.name not in ("Topics", "Records", "TransactionalId", "ConfigurationKeys")

    def one(self, message, field, kind, version):
        pick = self.random.choice
        if self.api == "DescribeTopicPartitions" and field.name == "PartitionIndex":
            # A cursor beyond 2³¹ - limit overflows in Kafka.
            return pick((0, 1, 2, 5, -1))
        if self.api == "WriteTxnMarkers" and field.name == "ProducerId":
            # Kafka takes ids below -1, which it gives to nobody.
            return pick((0, 1, 5, -1, 9223372036854775807))
        if field.name in SMALL:
            return pick(SMALL[field.name])
        if kind in message.structs:
            return self.fields(message, message.structs[kind], version)
        if kind == "bool":
            return pick((True, False))
        if kind == "uuid" and self.api == "Fetch":
            # Two partitions of the id that is none are more than Kafka can answer.
            return pick([*(self.b.ids[name] for name in self.topics), uuid.UUID(int=0x55)])
        if kind == "uuid":
            return pick([*(self.b.ids[name] for name in self.topics), uuid.UUID(int=0x55),
                         ZERO_UUID])
        if kind == "records":
            return batches.batch([b"v"] * pick((1, 2)), at=self.b.base_ms)
        if kind == "bytes":
            return pick((b"", b"bytes"))
        if kind == "string":
            return self.text(field)
        return pick(BORDERS[kind]) if self.random.random() < 0.5 else pick((0, 0, 1))

    def text(self, field):
        pick = self.random.choice
        if self.api == "DescribeTopicPartitions" and field.name == "Name":
            # Asked for a topic without a name Kafka answers -1 for all of them.
            return pick([*self.topics, *self.topics, f"{self.b.case}-none", "a b"])
        if self.api == "Metadata" and field.name == "Name":
            # What it asks for it creates; and Kafka only after the answer.
            return pick([*self.topics, *self.topics, "a b", ""])
        if field.entity == "topicName" or field.name in ("Topic", "TopicName"):
            return pick([*self.topics, *self.topics, f"{self.b.case}-none", "a b", ""])
        if field.entity == "groupId" or field.name in ("GroupId", "Key", "CoordinatorKeys"):
            return pick((self.group, self.group, f"{self.b.case}-no-group", ""))
        if field.name == "TransactionalId" and self.api in ("Produce", "InitProducerId"):
            return None
        if field.name in ("Name", "ConfigurationKeys") and "onfig" in self.api:
            return pick(("retention.ms", "cleanup.policy", "no.such.key", "segment.bytes"))
        if field.name == "Value":
            return pick(("1", "1000000", "x", "delete", ""))
        if field.name == "ResourceName":
            return pick([*self.topics, "none", ""])
        if field.name == "Name":
            return pick([*self.topics, f"{self.b.case}-new", "a b"])
        return pick(("", "x", "range"))


@every_api
def random_requests(b, api, v):
    drawn = random.Random(f"{b.seed} {api} {v}")
    topics = [b.topic("one", 2), b.topic("two", 1)]
    b.produce(topics[0], batches.batch([b"a", b"b", b"c"], at=b.base_ms))
    group = b.name("group")
    b.quiet("OffsetCommit", 8, {"GroupId": group, "Topics": [{"Name": topics[0], "Partitions": [
        {"PartitionIndex": 0, "CommittedOffset": 1, "CommittedMetadata": ""}]}]})
    message = b.schemas.requests[api]
    draw = Draw(drawn, b, api, topics, group)
    for number in range(ROUNDS_QUICK if b.quick_form else ROUNDS):
        value = draw.fields(message, message.fields, v)
        if api == "Fetch" and v >= 7:
            value["SessionId"], value["SessionEpoch"] = 0, -1
        if api in ("DeleteTopics", "CreateTopics", "CreatePartitions") and number % 4:
            if api == "DeleteTopics":
                continue
            value["ValidateOnly" if api == "CreatePartitions" else "validateOnly"] = True
        if api == "JoinGroup":
            # A group of its own: the next to join it would wait for this one to come back.
            value["GroupId"] = drawn.choice((b.name(f"group-{number}"), ""))
            # One protocol listed twice is never answered by Kafka.
            value["Protocols"] = list({one["Name"]: one for one in value["Protocols"]}.values())
        if api == "ApiVersions":
            # What is served differs on purpose.
            answer = b.quiet(api, v, value)
            b.note(api, v, f"random {number}", {"ErrorCode": answer.get("ErrorCode")})
            continue
        b.call(api, v, value, note=f"random {number}")
        if api in ("DeleteTopics", "CreateTopics", "CreatePartitions"):
            b.settle()
