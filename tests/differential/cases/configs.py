"""DescribeConfigs, AlterConfigs, IncrementalAlterConfigs."""

from cases import case
from cases.topics import CONFIGS

TOPIC, BROKER, LOGGER, CLIENT_METRICS, GROUP = 2, 4, 8, 16, 32
SET, DELETE, APPEND, SUBTRACT = 0, 1, 2, 3


def described(b, v, name, note, keys=None, **more):
    b.call("DescribeConfigs", v, {"Resources": [{
        "ResourceType": TOPIC, "ResourceName": name, "ConfigurationKeys": keys}],
        "IncludeSynonyms": True, **more}, note=note)


@case("DescribeConfigs", versions="all")
def describe(b, v):
    name = b.topic(configs={"retention.ms": "5000", "cleanup.policy": "compact,delete"})
    described(b, v, name, "a topic")
    described(b, v, name, "a topic without synonyms", IncludeSynonyms=False)
    described(b, v, name, "a topic with documentation", IncludeDocumentation=True)
    described(b, v, name, "some keys", ["retention.ms", "segment.bytes", "no.such.key"])
    described(b, v, name, "a key twice", ["retention.ms", "retention.ms"])
    described(b, v, name, "no keys", [])
    described(b, v, b.name("unknown"), "unknown topic")
    described(b, v, "a b", "bad name")
    described(b, v, "", "empty name")
    def ask(note, *resources, **more):
        b.call("DescribeConfigs", v, {"Resources": [
            {"ResourceType": kind, "ResourceName": of, "ConfigurationKeys": keys}
            for kind, of, keys in resources], **more}, note=note)
    keys = ["num.partitions", "log.retention.ms", "log.retention.hours", "message.max.bytes",
            "group.initial.rebalance.delay.ms", "node.id", "auto.create.topics.enable",
            "log.cleanup.policy", "offsets.retention.minutes", "no.such.key"]
    ask("some of a broker", (BROKER, "1", keys), IncludeSynonyms=True)
    ask("some of all brokers", (BROKER, "", keys), IncludeSynonyms=True)
    for broker in ("2", "x", "-1", "01", " 1"):
        ask(f"broker {broker!r}", (BROKER, broker, ["num.partitions"]))
    for kind in (0, 1, 3, 5, 64, -1, 127):
        ask(f"type {kind}", (kind, "1", None))
    ask("nothing")
    ask("the same twice", (TOPIC, name, ["retention.ms"]), (TOPIC, name, ["segment.ms"]))
    ask("a topic and a broker", (TOPIC, name, ["retention.ms"]), (BROKER, "1", ["node.id"]))
    ask("a group", (GROUP, "g", None))
    ask("the empty group", (GROUP, "", None))
    ask("client metrics", (CLIENT_METRICS, "m", None))
    ask("empty client metrics", (CLIENT_METRICS, "", None))
    ask("loggers of another broker", (LOGGER, "2", None))
    ask("internal topic", (TOPIC, "__consumer_offsets", None))


@case("DescribeConfigs", versions=[1, 4])
def whole_broker(b, v):
    for name in ("1", ""):
        b.call("DescribeConfigs", v, {"Resources": [
            {"ResourceType": BROKER, "ResourceName": name, "ConfigurationKeys": None}],
            "IncludeSynonyms": True, "IncludeDocumentation": v == 4}, note=f"broker {name!r}")


@case("IncrementalAlterConfigs", versions="all")
def client_metrics(b, v):
    def ask(note, key, operation, value):
        b.call("IncrementalAlterConfigs", v, {"Resources": [{
            "ResourceType": CLIENT_METRICS, "ResourceName": b.name("m"), "Configs": [
                {"Name": key, "ConfigOperation": operation, "Value": value}]}],
            "ValidateOnly": True}, note=note)
    for value in ("1000", "99", "3600001", "x", ""):
        ask(f"interval {value!r}", "interval.ms", SET, value)
    for value in ("*", "", "org.apache.,x"):
        ask(f"metrics {value!r}", "metrics", SET, value)
    for value in ("client_id=a.*", "nope=a", "client_id=[", "client_id", "client_id=a,client_id=b",
                  "client_software_name=x,client_source_port=1", "", "=a", "client_id=",
                  "client_id=a=b", "client_instance_id=x, client_source_address=1"):
        ask(f"match {value!r}", "match", SET, value)
    ask("an unknown key", "nope", SET, "1")
    ask("one more", "metrics", APPEND, "a")
    ask("one less", "metrics", SUBTRACT, "a")


def altered(b, v, note, *resources, only=False, api="IncrementalAlterConfigs"):
    answer = b.call(api, v, {"ValidateOnly": only, "Resources": [
        {"ResourceType": kind, "ResourceName": of, "Configs": [
            {"Name": key, "Value": value, **({"ConfigOperation": how[0]} if how else {})}
            for key, value, *how in configs]} for kind, of, configs in resources]}, note=note)
    if not only:
        b.settle()
    return answer


def wait_for_config(b, name, key, value):
    def there():
        answer = b.quiet("DescribeConfigs", 4, {"Resources": [{
            "ResourceType": TOPIC, "ResourceName": name, "ConfigurationKeys": [key]}]})
        return answer["Results"][0]["Configs"][0]["Value"] == value
    b.until(f"{key}={value} of {name}", there)


@case("IncrementalAlterConfigs", versions="all")
def operations(b, v):
    name, other = b.topic(), b.topic("other")
    def alter(note, *configs, only=False):
        altered(b, v, note, (TOPIC, name, configs), only=only)
    alter("set", ("retention.ms", "5000", SET))
    wait_for_config(b, name, "retention.ms", "5000")
    described(b, 4, name, "after set", ["retention.ms"])
    alter("set again", ("retention.ms", "5000", SET))
    alter("only validated", ("retention.ms", "6000", SET), only=True)
    alter("only validated, bad", ("retention.ms", "x", SET), only=True)
    alter("delete", ("retention.ms", None, DELETE))
    wait_for_config(b, name, "retention.ms", "604800000")
    alter("delete with a value", ("retention.ms", "7", DELETE))
    alter("delete what is not set", ("segment.ms", None, DELETE))
    alter("delete an unknown key", ("no.such.key", None, DELETE))
    alter("set to null", ("retention.ms", None, SET))
    alter("append to a list", ("cleanup.policy", "compact", APPEND))
    wait_for_config(b, name, "cleanup.policy", "delete,compact")
    described(b, 4, name, "after append", ["cleanup.policy"])
    alter("append again", ("cleanup.policy", "compact", APPEND))
    alter("append two", ("cleanup.policy", "compact,delete", APPEND))
    alter("append empty", ("cleanup.policy", "", APPEND))
    alter("append null", ("cleanup.policy", None, APPEND))
    alter("append nonsense", ("cleanup.policy", "x", APPEND))
    alter("subtract", ("cleanup.policy", "delete", SUBTRACT))
    wait_for_config(b, name, "cleanup.policy", "compact")
    alter("subtract what is not there", ("cleanup.policy", "delete", SUBTRACT))
    alter("subtract the last", ("cleanup.policy", "compact", SUBTRACT))
    described(b, 4, name, "after subtract", ["cleanup.policy"])
    alter("append to what is no list", ("retention.ms", "5", APPEND))
    alter("subtract from what is no list", ("retention.ms", "5", SUBTRACT))
    alter("append an unknown key", ("no.such.key", "5", APPEND))
    alter("nothing")
    alter("key twice", ("retention.ms", "5", SET), ("retention.ms", "6", SET))
    alter("set and delete", ("retention.ms", "5", SET), ("retention.ms", None, DELETE))
    alter("good and bad", ("retention.ms", "5", SET), ("segment.bytes", "x", SET))
    altered(b, v, "unknown topic", (TOPIC, b.name("unknown"), [("retention.ms", "5", SET)]))
    altered(b, v, "bad name", (TOPIC, "a b", [("retention.ms", "5", SET)]))
    altered(b, v, "empty name", (TOPIC, "", [("retention.ms", "5", SET)]))
    altered(b, v, "one good, one unknown", (TOPIC, other, [("retention.ms", "77", SET)]),
            (TOPIC, b.name("unknown"), [("retention.ms", "5", SET)]))
    wait_for_config(b, other, "retention.ms", "77")
    altered(b, v, "the same twice", (TOPIC, other, [("retention.ms", "1", SET)]),
            (TOPIC, other, [("retention.ms", "2", SET)]))
    altered(b, v, "nothing")
    for kind in (0, 1, 3, 64, -1, 127):
        altered(b, v, f"type {kind}", (kind, "1", [("retention.ms", "5", SET)]))


@case("IncrementalAlterConfigs", versions="all")
def brokers_and_groups(b, v):
    def alter(note, kind, name, *configs, only=True):
        altered(b, v, note, (kind, name, configs), only=only)
    alter("unknown broker", BROKER, "2", ("message.max.bytes", "5", SET))
    alter("bad broker", BROKER, "x", ("message.max.bytes", "5", SET))
    alter("read-only key", BROKER, "1", ("num.partitions", "5", SET))
    alter("read-only key of all", BROKER, "", ("node.id", "5", SET))
    alter("unknown key", BROKER, "1", ("no.such.key", "5", SET))
    alter("bad value", BROKER, "1", ("message.max.bytes", "x", SET))
    alter("good value", BROKER, "1", ("log.cleaner.threads", "1", SET))
    alter("good value of all", BROKER, "", ("message.max.bytes", "100000", SET))


DYNAMIC = [
    # (key, values) that a running broker may take.
    ("max.connections", ("0", "-1", "100")),
    ("max.connections.per.ip", ("0", "-1", "100")),
    ("max.connections.per.ip.overrides", ("127.0.0.1:5", "127.0.0.1:5,localhost:6", "127.0.0.1",
                                          "127.0.0.1:0", "127.0.0.1:-1", "127.0.0.1:x", "")),
    ("max.connection.creation.rate", ("-1", "0", "100")),
    ("listener.name.plaintext.max.connections", ("100", "0", "-1", "x")),
    ("listener.name.plaintext.max.connection.creation.rate", ("100", "0")),
    ("listener.name.other.max.connections", ("0",)),
    ("log.retention.ms", ("-1", "0", "-2", "5")),
    ("log.retention.bytes", ("-1", "5")),
    ("log.local.retention.ms", ("-2", "-1", "5", "99999999999")),
    ("log.local.retention.bytes", ("-2", "-1", "5")),
    ("log.cleanup.policy", ("compact", "delete,compact", "", "x")),
    ("log.message.timestamp.type", ("LogAppendTime", "x")),
    ("log.message.timestamp.before.max.ms", ("0", "-1")),
    ("log.message.timestamp.after.max.ms", ("0", "-1")),
    ("log.segment.bytes", ("1048576", "13")),
    ("log.roll.ms", ("1", "0", "-1")),
    ("log.roll.jitter.ms", ("0", "-1")),
    ("log.cleaner.min.cleanable.ratio", ("0", "1", "1.1")),
    ("log.cleaner.threads", ("1", "0", "2", "3")),
    ("log.cleaner.dedupe.buffer.size", ("1048577", "1048576")),
    ("log.cleaner.io.max.bytes.per.second", ("1", "x")),
    ("replica.alter.log.dirs.io.max.bytes.per.second", ("5", "0", "-1", "x", "9223372036854775808")),
    ("log.cleaner.enable", ("false",)),
    ("log.cleaner.backoff.ms", ("5",)),
    ("compression.type", ("zstd", "x")),
    ("compression.gzip.level", ("-1", "0", "9")),
    ("message.max.bytes", ("0", "-1")),
    ("producer.id.expiration.ms", ("5", "0")),
    ("transaction.partition.verification.enable", ("false",)),
    ("background.threads", ("11", "0", "4", "5", "20", "21")),
    ("num.io.threads", ("3", "4", "16", "17")),
    ("num.network.threads", ("1", "6", "7")),
    ("num.replica.fetchers", ("2", "3")),
    ("num.recovery.threads.per.data.dir", ("1", "4", "5")),
    ("unclean.leader.election.enable", ("true",)),
    ("group.consumer.assignment.interval.ms", ("5", "-1")),
    ("num.partitions", ("5",)), ("log.retention.hours", ("5",)), ("log.dirs", ("/x",)),
    ("connections.max.idle.ms", ("5",)), ("auto.create.topics.enable", ("false",)),
    ("offsets.retention.minutes", ("5",)), ("telemetry.max.bytes", ("5",)),
    ("remote.log.storage.system.enable", ("true",)),
]


@case("IncrementalAlterConfigs", versions=[1])
def dynamic_keys(b, v):
    for key, given in DYNAMIC:
        for value in given:
            for scope in ("", "1"):
                altered(b, v, f"{key}={value} of '{scope}'",
                        (BROKER, scope, [(key, value, SET)]), only=True)


@case("IncrementalAlterConfigs", versions=[1])
def dynamic_keys_together(b, v):
    def both(note, *pairs):
        # Replaced as a whole, the cluster's lose what Kafka's eligible leader replicas need.
        for scope, replaced in (("", False), ("1", False), ("1", True)):
            api = "AlterConfigs" if replaced else "IncrementalAlterConfigs"
            configs = [pair if replaced else (*pair, SET) for pair in pairs]
            altered(b, 2 if replaced else v, f"{note} of '{scope}'", (BROKER, scope, configs),
                    only=True, api=api)
    both("nobody but one", ("max.connections.per.ip", "0"),
         ("max.connections.per.ip.overrides", "127.0.0.1:5"))
    both("nobody", ("max.connections.per.ip", "0"), ("max.connections.per.ip.overrides", ""))
    for whole, local in (("5", "5"), ("5", "6"), ("5", "-1"), ("5", "-2"), ("-1", "6")):
        for unit in ("ms", "bytes"):
            both(f"{whole} {unit}, {local} of them here", (f"log.retention.{unit}", whole),
                 (f"log.local.retention.{unit}", local))
    both("a small map each", ("log.cleaner.threads", "2"),
         ("log.cleaner.dedupe.buffer.size", "2097152"))
    both("two that are wrong", ("max.connections", "0"), ("log.roll.ms", "0"))
    both("no map and no thread", ("log.cleaner.threads", "0"),
         ("log.cleaner.dedupe.buffer.size", "1048576"))


@case("IncrementalAlterConfigs", versions=[1])
def values(b, v):
    name = b.topic()
    for key, given in CONFIGS:
        for value in given:
            altered(b, v, f"{key}={value}", (TOPIC, name, [(key, value, SET)]), only=True)


@case("AlterConfigs", versions="all")
def replace(b, v):
    name, other = b.topic(), b.topic("other")
    def alter(note, *resources, only=False):
        altered(b, v, note, *resources, only=only, api="AlterConfigs")
    alter("set two", (TOPIC, name, [("retention.ms", "5"), ("segment.ms", "6")]))
    wait_for_config(b, name, "segment.ms", "6")
    alter("set one", (TOPIC, name, [("retention.ms", "5")]))
    wait_for_config(b, name, "segment.ms", "604800000")
    described(b, 4, name, "afterwards", ["retention.ms", "segment.ms"])
    alter("null", (TOPIC, name, [("retention.ms", None)]))
    alter("bad", (TOPIC, name, [("retention.ms", "x")]))
    alter("unknown key", (TOPIC, name, [("no.such.key", "x")]))
    alter("good and bad", (TOPIC, name, [("retention.ms", "7"), ("segment.bytes", "1")]))
    alter("only validated", (TOPIC, name, [("retention.ms", "8")]), only=True)
    alter("key twice", (TOPIC, name, [("retention.ms", "9"), ("retention.ms", "10")]))
    alter("unknown topic", (TOPIC, b.name("unknown"), [("retention.ms", "5")]))
    alter("one good, one unknown", (TOPIC, other, [("retention.ms", "5")]),
          (TOPIC, b.name("unknown"), []))
    alter("nothing of one", (TOPIC, name, []))
    alter("nothing")
    alter("empty name", (TOPIC, "", []))
    for kind in (0, 1, 3, 64, -1):
        alter(f"type {kind}", (kind, "1", []))
    alter("unknown broker", (BROKER, "2", []))
    alter("bad broker", (BROKER, "x", []))
