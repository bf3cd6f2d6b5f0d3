"""Every difference from Kafka that may stay, each with its reason; nothing else may.

`api` and `path` are regular expressions over the whole name (a path with its indexes), `case` over
the start of the case's name, `note` over the start of the step's; `kafka` and `corelane` are the
values, or anything when left out.
"""

import re

ANYTHING = object()


class Allowed:
    """One tolerated difference; `sometimes` when it takes a race to see it, `folders` for brokers
    with so many data folders."""

    def __init__(self, reason, api, path=".*", case="", note="", kafka=ANYTHING, corelane=ANYTHING,
                 sometimes=False, folders=1):
        self.reason, self.api, self.path, self.case, self.note = reason, api, path, case, note
        self.kafka, self.corelane, self.sometimes = kafka, corelane, sometimes
        self.folders = folders

    def covers(self, case, step, difference):
        return (re.fullmatch(self.api, step.api) is not None
                and re.fullmatch(self.path, difference.path) is not None
                and re.match(self.case, case) is not None
                and re.match(self.note, step.note) is not None
                and self.kafka in (ANYTHING, difference.kafka)
                and self.corelane in (ANYTHING, difference.corelane))


UNKNOWN_SERVER_ERROR = -1

# Texts below stand in docs/compatibility.md, too.
AUTO_CREATED = ("A topic that Metadata creates is there when the answer says so; Kafka says 3 "
                "(unknown) and creates it behind the answer")
NAMED_CODE = "Where Kafka answers -1 (unknown server error), a code says what is wrong"
OWN_CONFIG = "`corelane.durability` is a topic config of its own"
ELR = ("Kafka's eligible leader replicas make `min.insync.replicas` a dynamic default of the "
       "cluster; one broker has none")
NOT_SERVED = "APIs and features that this broker does not serve are not advertised"
WHOLE_BATCHES = ("Fetch answers hold whole batches; Kafka cuts the last where the size ends, and "
                 "clients drop it")
GROUPS_STAY = ("More partitions for `__consumer_offsets` are refused, because groups are found by "
               "their number; Kafka adds them")
OWN_DEFAULT = "`node.id` has a default, 1; in Kafka it has to be set"
OWN_ADDRESSES = "Addresses, folders and roles are each broker's own"
CLOSED_LATER = ("A failed request with acks=0 closes the connection once the failure is known; an "
                "answer to the next request may still leave before")
DURABLE_FIRST = ("A record sent with acks=0 is visible once it is durable, Kafka's as soon as it is "
                 "in memory")

NO_CONTROLLERS = ("No listener of controllers: a voter has none to show, and no other voter can "
                  "be added")

OWN_SENTENCE = "What is wrong with a broker's setting is said in other words"

ONE_OF_SEVERAL = "Of several features that are wrong, Kafka names the first of its hash map"

ALLOWED = [
    Allowed(OWN_SENTENCE, "IncrementalAlterConfigs", r".*ErrorMessage",
            case="incrementalalterconfigs-dynamic-keys",
            note="max.connections.per.ip.overrides="),
    Allowed(OWN_SENTENCE, "(Incremental)?AlterConfigs", r".*ErrorMessage",
            case="incrementalalterconfigs-dynamic-keys", kafka="/ by zero"),
    Allowed(ONE_OF_SEVERAL, "UpdateFeatures", "ErrorMessage", case="updatefeatures-random",
            sometimes=True),
    Allowed(NO_CONTROLLERS, "DescribeQuorum", r"Nodes\[0\]\.Listeners.*"),
    Allowed(NO_CONTROLLERS, "AddRaftVoter", "ErrorMessage", note="another voter"),
    Allowed(NAMED_CODE, "AlterUserScramCredentials", r".*ErrorMessage",
            note="without a password", kafka=None),
    Allowed(AUTO_CREATED, "Metadata", case="metadata-creation", note="first|collision"),
    Allowed(AUTO_CREATED, "Metadata", case="metadata-names-v[0-3]$",
            note="unknown|.*an unknown|bad"),
    Allowed(NAMED_CODE, ".*", r".*ErrorCode", kafka=UNKNOWN_SERVER_ERROR),
    Allowed(NAMED_CODE, "DescribeTopicPartitions", r".*TopicAuthorizedOperations",
            note="bad names"),
    Allowed(NAMED_CODE, "Produce", "_outcome", note="null", kafka="no answer"),
    Allowed(NAMED_CODE, "CreatePartitions", r".*ErrorMessage", note="to 2000000000", kafka=None),
    Allowed(GROUPS_STAY, "CreatePartitions", r".*ErrorCode", note="internal|grows", corelane=37),
    Allowed(GROUPS_STAY, "CreatePartitions", r".*ErrorMessage", note="internal|grows", kafka=None),
    Allowed(OWN_CONFIG, "DescribeConfigs|CreateTopics", r".*\[corelane\..*"),
    Allowed(ELR, "DescribeConfigs|CreateTopics", r".*\[min\.insync\.replicas\].*"),
    Allowed(OWN_DEFAULT, "DescribeConfigs", r".*\[node\.id\]\.Synonyms.*"),
    Allowed(OWN_ADDRESSES, "DescribeConfigs",
            r".*\[(controller|advertised|listener|log\.dir|process|node|broker|inter).*\].*",
            case="describeconfigs-whole"),
    Allowed(CLOSED_LATER, "ListOffsets", "_outcome", case="produce-nothing-acknowledged",
            kafka="the connection is closed", sometimes=True),
    Allowed(NAMED_CODE, "Produce", r".*LogStartOffset", case="produce-refused", note="codec"),
    Allowed(NOT_SERVED, "ApiVersions", r"ApiKeys\[.*|(Supported|Finalized)Features.*"),
    Allowed(WHOLE_BATCHES, "Fetch", r".*\.Records(\.length|\[\d+\]\.Rest)"),
    Allowed(DURABLE_FIRST, "ListOffsets", r".*\.Offset", case="produce-nothing-acknowledged",
            sometimes=True),
]
