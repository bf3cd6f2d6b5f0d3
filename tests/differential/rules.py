"""How fields are compared that no two brokers fill alike, each with its reason.

A rule is looked up by API (or `*`) and path without indexes; a field without a rule is compared as
it is. `ORDERS` says by what a list is sorted before it is compared.
"""

import re
import time

CLOCK_SLACK_MS = 120_000


class Rule:
    """How one kind of field is compared."""

    def __init__(self, reason, same):
        self.reason, self.same = reason, same


def pair(kind, reason):
    return Rule(reason, lambda comparison, kafka, corelane: comparison.paired(
        kind, kafka, corelane))


def both_now(_, kafka, corelane):
    now = time.time() * 1000
    return all(abs(now - one) < CLOCK_SLACK_MS for one in (kafka, corelane))


def ports(comparison, kafka, corelane):
    return kafka == comparison.kafka.address[1] and corelane == comparison.corelane.address[1]


# Kafka writes 16-byte ids into its sentences in base64, member ids and ports as they are.
MADE_UP = re.compile(r"[A-Za-z0-9_-]{22}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def sentences(comparison, kafka, corelane):
    def plain(text):
        # Of several unknown keys Kafka names the first of its hash map.
        text = re.sub(r"^(Unknown topic config name:).*", r"\1 <key>", text)
        # And of several keys that are no lists likewise.
        text = re.sub(r"Can't \w+ to key \S+ (because its type)", r"Can't change <key> \1", text)
        # What a timestamp may be is told by the broker's clock.
        text = re.sub(r"(should be within) \[\d+, \d+\]", r"\1 <the clock>", text)
        # Of several unknown types of entity it names the first of its hash map, and so it
        # writes entities and endpoints.
        text = re.sub(r"^(Unhandled client quota entity type:).*", r"\1 <type>", text)
        text = re.sub(r"\((entries|endpoints)=\{.*\}\)", r"(\1)", text)
        # A sentence about one setting put into one about all of them.
        text = re.sub(r"^Invalid value org\.apache\.kafka\.common\.config\.ConfigException: (.*)"
                      r" for configuration Invalid dynamic configuration$", r"\1", text)
        return MADE_UP.sub("<id>", text)
    return plain(kafka) == plain(corelane)


TOPIC_ID = pair("topic id", "each broker draws a topic's id at random")
MEMBER_ID = pair("member id", "each broker draws the random half of a member id")
PRODUCER_ID = pair("producer id", "producer ids come from blocks that each broker reserves")
CLOCK = Rule("both brokers' wall clocks, read at different moments", both_now)
STARTED = Rule("both brokers' wall clocks; without a transaction neither has a time",
               lambda *three: three[1] == three[2] or both_now(*three))
PORT = Rule("each broker listens on a free port", ports)
SENTENCE = Rule("ids inside a sentence differ; the words must not", sentences)
SIZE = Rule("bytes on disk: Kafka counts files, and both are above zero or zero together",
            lambda _, kafka, corelane: (kafka > 0) == (corelane > 0))
WORDS = Rule("descriptions are written anew; both brokers give one",
             lambda _, kafka, corelane: bool(kafka) and bool(corelane))
ANY = Rule("depends on the load of the moment, not on the request", lambda *_: True)
DISK = Rule("the two brokers look at the same disk at different moments",
            lambda _, kafka, corelane: abs(kafka - corelane) < 1 << 34)

POSITIVE = Rule("the metadata logs hold different records; both have some",
                lambda _, kafka, corelane: kafka > 0 and corelane > 0)

RULES = [
    ("DescribeQuorum", r".*\.ReplicaDirectoryId",
     pair("directory id", "each broker's folder has its own id")),
    ("DescribeQuorum", r".*\.Last(Fetch|CaughtUp)Timestamp", CLOCK),
    ("DescribeQuorum", r".*\.(HighWatermark|LogEndOffset)", POSITIVE),
    ("*", r"(.*\.)?ThrottleTimeMs", ANY),
    ("*", r"(.*\.)?TopicId", TOPIC_ID),
    ("*", r"(.*\.)?(MemberId|Leader)", MEMBER_ID),
    ("*", r"(.*\.)?ProducerId", PRODUCER_ID),
    ("*", r"(.*\.)?Port", PORT),
    ("*", r"(.*\.)?(ErrorMessage|BatchIndexErrorMessage)", SENTENCE),
    ("*", r"ClusterId", pair("cluster id", "each cluster has its own id")),
    ("Fetch", r"SessionId", pair("session id", "fetch session ids are drawn at random")),
    ("Fetch", r".*\.Records\[\]\.(BaseTimestamp|MaxTimestamp)", CLOCK),
    ("Produce", r".*\.LogAppendTimeMs", CLOCK),
    ("ListOffsets", r".*\.Timestamp", CLOCK),
    ("DescribeProducers", r".*\.LastTimestamp", CLOCK),
    ("DescribeTransactions", r".*\.TransactionStartTimeMs", STARTED),
    ("DescribeConfigs", r".*\.Documentation", WORDS),
    ("GetTelemetrySubscriptions", "ClientInstanceId",
     pair("client instance id", "each broker draws a client instance's id at random")),
    ("GetTelemetrySubscriptions", "SubscriptionId",
     pair("subscription id", "mixed with the instance's id, which each broker draws")),
    ("DescribeLogDirs", r"Results\[\]\.LogDir", pair("folder", "each broker has its own folder")),
    ("DescribeLogDirs", r".*\.PartitionSize", SIZE),
    ("DescribeLogDirs", r"Results\[\]\.(TotalBytes|UsableBytes)", DISK),
]

BY_NAME = "Kafka answers in the order of a hash map"
ORDERS = [
    # (API, list, sorted by, reason)
    ("Metadata", "Topics", ("Name", "TopicId", "ErrorCode"), BY_NAME),
    ("Produce", "Responses", ("Name", "TopicId"), BY_NAME),
    ("Produce", "Responses[].PartitionResponses", ("Index",), BY_NAME),
    ("ListOffsets", "Topics", ("Name",), BY_NAME),
    ("ListOffsets", "Topics[].Partitions", ("PartitionIndex",), BY_NAME),
    ("OffsetForLeaderEpoch", "Topics[].Partitions", ("Partition",), BY_NAME),
    ("DeleteTopics", "Responses", ("Name", "TopicId", "ErrorCode"),
     "Kafka shuffles, so that nobody learns from positions what he may not see"),
    ("CreateTopics", "Topics", ("Name", "ErrorCode"), BY_NAME),
    ("CreatePartitions", "Results", ("Name", "ErrorCode"), BY_NAME),
    ("DescribeConfigs", "Results", ("ResourceType", "ResourceName", "ErrorCode"), BY_NAME),
    ("AlterConfigs", "Responses", ("ResourceType", "ResourceName", "ErrorCode"), BY_NAME),
    ("IncrementalAlterConfigs", "Responses", ("ResourceType", "ResourceName", "ErrorCode"),
     BY_NAME),
    ("DeleteRecords", "Topics", ("Name",), BY_NAME),
    ("DeleteRecords", "Topics[].Partitions", ("PartitionIndex",), BY_NAME),
    ("DescribeLogDirs", "Results", ("LogDir",), BY_NAME),
    ("DescribeLogDirs", "Results[].Topics", ("Name",), BY_NAME),
    ("DescribeLogDirs", "Results[].Topics[].Partitions", ("PartitionIndex",), BY_NAME),
    ("ListGroups", "Groups", ("GroupId",), BY_NAME),
    ("DescribeGroups", "Groups", ("GroupId",), "Kafka asks its group shards one by one"),
    ("ConsumerGroupDescribe", "Groups", ("GroupId",), "Kafka asks its group shards one by one"),
    ("StreamsGroupDescribe", "Groups", ("GroupId",), "Kafka asks its group shards one by one"),
    ("StreamsGroupDescribe", "Groups[].Members", ("ProcessId",), BY_NAME),
    ("OffsetFetch", "Topics", ("Name",), BY_NAME),
    ("OffsetFetch", "Groups[].Topics", ("Name", "TopicId"), BY_NAME),
    ("DeleteGroups", "Results", ("GroupId",), BY_NAME),
    ("DescribeProducers", "Topics[].Partitions[].ActiveProducers", ("ProducerId",), BY_NAME),
    ("WriteTxnMarkers", "Markers", ("ProducerId",), BY_NAME),
    ("WriteTxnMarkers", "Markers[].Topics", ("Name",), BY_NAME),
    ("WriteTxnMarkers", "Markers[].Topics[].Partitions", ("PartitionIndex",), BY_NAME),
    ("AddPartitionsToTxn", "ResultsByTopicV3AndBelow", ("Name",), BY_NAME),
    ("AddPartitionsToTxn", "ResultsByTopicV3AndBelow[].ResultsByPartition", ("PartitionIndex",),
     BY_NAME),
    ("AddPartitionsToTxn", "ResultsByTransaction[].TopicResults", ("Name",), BY_NAME),
    ("AddPartitionsToTxn", "ResultsByTransaction[].TopicResults[].ResultsByPartition",
     ("PartitionIndex",), BY_NAME),
    ("TxnOffsetCommit", "Topics", ("Name",), BY_NAME),
    ("DescribeTransactions", "TransactionStates", ("TransactionalId",), BY_NAME),
    ("DescribeTransactions", "TransactionStates[].Topics", ("Topic",), BY_NAME),
    ("ListTransactions", "TransactionStates", ("TransactionalId",), BY_NAME),
    ("DescribeGroups", "Groups[].Members", ("GroupInstanceId", "MemberId"), BY_NAME),
    ("ConsumerGroupDescribe", "Groups[].Members", ("MemberType", "InstanceId", "MemberId"), BY_NAME),
    ("ListConfigResources", "ConfigResources", ("ResourceType", "ResourceName"), BY_NAME),
    ("ElectLeaders", "ReplicaElectionResults", ("Topic",), BY_NAME),
    ("AlterReplicaLogDirs", "Results", ("TopicName",), BY_NAME),
    ("AlterReplicaLogDirs", "Results[].Partitions", ("PartitionIndex",), BY_NAME),
    ("AlterClientQuotas", "Entries", ("Entity",), BY_NAME),
    ("AlterClientQuotas", "Entries[].Entity", ("EntityType",), BY_NAME),
    ("DescribeClientQuotas", "Entries", ("Entity",), BY_NAME),
    ("DescribeUserScramCredentials", "Results", ("User",), BY_NAME),
    ("AlterUserScramCredentials", "Results", ("User",), BY_NAME),
    ("DescribeUserScramCredentials", "Results[].CredentialInfos", ("Mechanism",), BY_NAME),
    ("JoinGroup", "Members", ("GroupInstanceId", "MemberId"), BY_NAME),
]

# Lists whose elements are told apart by a name of their own; their order means nothing.
NAMED = {
    ("ApiVersions", "ApiKeys"): "ApiKey",
    ("ApiVersions", "SupportedFeatures"): "Name",
    ("ApiVersions", "FinalizedFeatures"): "Name",
    ("DescribeConfigs", "Results[].Configs"): "Name",
    ("CreateTopics", "Topics[].Configs"): "Name",
}

_compiled = [(api, re.compile(path), rule) for api, path, rule in RULES]


def rule_for(api, shape):
    for of, path, rule in _compiled:
        if of in ("*", api) and path.fullmatch(shape):
            return rule
    return None


def order_of(api, shape, ids):
    for of, path, names, _ in ORDERS:
        if of == api and path == shape:
            # An id says nothing; what it stands for does.
            def label(value):
                if isinstance(value, list):
                    return str(sorted(map(str, value)))
                return str(ids.get(value, value))
            return lambda one: tuple(label(one.get(name)) for name in names)
    return None


def name_of(api, shape):
    return NAMED.get((api, shape))
