"""MirrorMaker 2 between two clusters, in both directions: `--bootstrap` and `--other`.

Records, partitions, configurations and groups' offsets are mirrored; the first broker is killed
under load. With `--exactly-once` mirrored records are compared exactly.

Prints one line per check, see ../conformance/checks.py, and `please kill-broker`, see README.md.
"""

import argparse
import os
import sys
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "conformance"))

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, ResourceType,
)

import checks
from checks import expect, expect_equal, wait_for
from worker import Process, free_port

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--bootstrap", required=True)
parser.add_argument("--other", required=True)
parser.add_argument("--libs", required=True)
parser.add_argument("--folder", required=True)
parser.add_argument("--kills-file", required=True)
parser.add_argument("--exactly-once", action="store_true")
OPTIONS = parser.parse_args()
checks.CHECK_SECONDS = 400

SECONDS = 180
ID = uuid.uuid4().hex[:8]
CLUSTERS = {"one": OPTIONS.bootstrap, "two": OPTIONS.other}
DIRECTIONS = [("one", "two"), ("two", "one")]
PARTITIONS = 2


def properties():
    found = {
        "clusters": "one, two",
        "listeners": f"http://127.0.0.1:{free_port()}",
        "dedicated.mode.enable.internal.rest": "true",
        "replication.factor": 1,
        "refresh.topics.interval.seconds": 1,
        "refresh.groups.interval.seconds": 1,
        "sync.topic.configs.interval.seconds": 1,
        "emit.heartbeats.interval.seconds": 1,
        "emit.checkpoints.interval.seconds": 1,
        "sync.group.offsets.enabled": "true",
        "sync.group.offsets.interval.seconds": 1,
        "offset.lag.max": 0,
        "scheduled.rebalance.max.delay.ms": 500,
        "offset.flush.interval.ms": 300,
    }
    for kind in ("checkpoints", "heartbeats", "offset-syncs"):
        found[f"{kind}.topic.replication.factor"] = 1
    for kind in ("offset", "status", "config"):
        found[f"{kind}.storage.replication.factor"] = 1
    for name, bootstrap in CLUSTERS.items():
        found[f"{name}.bootstrap.servers"] = bootstrap
        support = "enabled" if OPTIONS.exactly_once else "disabled"
        found[f"{name}.exactly.once.source.support"] = support
    for source, target in DIRECTIONS:
        found[f"{source}->{target}.enabled"] = "true"
        found[f"{source}->{target}.topics"] = f"{source}-orders-.*"
        found[f"{source}->{target}.groups"] = f"{source}-group-.*"
    return found


MAKER = Process(OPTIONS, "org.apache.kafka.connect.mirror.MirrorMaker", properties(), "mirror")
# Kept: a client that nobody holds ends with its answers under way.
ADMINS = {name: AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
          for name, bootstrap in CLUSTERS.items()}
SENT = {name: [] for name in CLUSTERS}


def client(name):
    # Quiet about connections that a kill ended.
    return {"bootstrap.servers": CLUSTERS[name], "log_level": 0}


def topic(name):
    return f"{name}-orders-{ID}"


def send(name, count):
    """Numbers as values, by turns to the topic's partitions; returns when all are acknowledged."""
    producer = Producer({**client(name), "enable.idempotence": True})
    failures = []
    for _ in range(count):
        number = len(SENT[name])
        SENT[name].append(f"{number}")
        producer.produce(topic(name), value=f"{number}", key=f"key-{number}",
                         partition=number % PARTITIONS, headers=[("from", name.encode())],
                         on_delivery=lambda error, _: failures.append(error) if error else None)
    expect_equal(producer.flush(SECONDS), 0, "records that are not acknowledged")
    expect_equal(failures, [], "failures")


def read(name, wanted_topic, count):
    """Values in the topic once there are `count` different ones, by partition in their order."""
    consumer = Consumer({**client(name), "group.id": f"reader-{ID}", "enable.auto.commit": False,
                         "isolation.level": "read_committed", "auto.offset.reset": "earliest"})
    consumer.assign([TopicPartition(wanted_topic, n, 0) for n in range(PARTITIONS)])
    found = []

    def enough():
        message = consumer.poll(0.5)
        if message is not None and not message.error():
            expect_equal(message.key().decode(), f"key-{message.value().decode()}", "key")
            found.append((message.partition(), message.value().decode(), message.headers()))
        return len({value for _, value, _ in found}) >= count
    try:
        wait_for(enough, SECONDS, f"{count} records in {wanted_topic} of {name}")
    except AssertionError as failure:
        raise AssertionError(f"{failure}: {len(found)} found") from None
    finally:
        consumer.close()
    return found


def mirrored(source, target):
    """Everything sent arrives, in its partition and, without a failure, in order."""
    found = read(target, f"{source}.{topic(source)}", len(SENT[source]))
    for partition in range(PARTITIONS):
        wanted = [value for value in SENT[source] if int(value) % PARTITIONS == partition]
        got = [value for at, value, _ in found if at == partition]
        if not OPTIONS.exactly_once:
            got = sorted(set(got), key=int)
        expect_equal(got, wanted, f"partition {partition} of {source}'s topic in {target}")
    expect(all(headers == [("from", source.encode())] for _, _, headers in found), "headers")


def prepare():
    for name in CLUSTERS:
        new = NewTopic(topic(name), PARTITIONS, 1, config={"retention.ms": "86400000"})
        ADMINS[name].create_topics([new])[topic(name)].result(SECONDS)
        send(name, 100)
    MAKER.start()


def both_directions():
    for source, target in DIRECTIONS:
        mirrored(source, target)
    expect(MAKER.alive(), f"MirrorMaker died, see {MAKER.log}.out")


def goes_on():
    for name in CLUSTERS:
        send(name, 50)
    both_directions()


def config_of(name, wanted_topic, key):
    resource = ConfigResource(ResourceType.TOPIC, wanted_topic)
    found = ADMINS[name].describe_configs([resource])[resource].result(SECONDS)
    return found[key].value


def configs():
    for source, target in DIRECTIONS:
        remote = f"{source}.{topic(source)}"
        expect_equal(config_of(target, remote, "retention.ms"), "86400000", "retention.ms")
        change = ConfigEntry("retention.ms", "43200000",
                             incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, topic(source), incremental_configs=[change])
        altered = ADMINS[source].incremental_alter_configs([resource])
        altered[resource].result(SECONDS)
        wait_for(lambda: config_of(target, remote, "retention.ms") == "43200000", SECONDS,
                 f"retention.ms of {remote} in {target}")


def group_offsets():
    """A group moves to the other cluster and goes on where it was."""
    for source, target in DIRECTIONS:
        group = f"{source}-group-{ID}"
        end = len(SENT[source]) // PARTITIONS
        consumer = Consumer({**client(source), "group.id": group, "enable.auto.commit": False})
        consumer.commit(offsets=[TopicPartition(topic(source), 0, end)], asynchronous=False)
        consumer.close()
        # The offset is translated by what has been mirrored since MirrorMaker knows it.
        send(source, 10)
        remote = TopicPartition(f"{source}.{topic(source)}", 0)
        follower = Consumer({**client(target), "group.id": group, "enable.auto.commit": False})

        def translated():
            try:
                return 0 < follower.committed([remote], timeout=10)[0].offset <= end
            except KafkaException:
                return False
        wait_for(translated, SECONDS, f"{group}'s offset in {target}")
        follower.close()


def internal_topics():
    for source, target in DIRECTIONS:
        names = set(ADMINS[target].list_topics(timeout=SECONDS).topics)
        wanted = {"heartbeats", f"{source}.checkpoints.internal", f"{source}.heartbeats"}
        expect(wanted <= names, f"{wanted - names} missing in {target}")
        policy = config_of(target, f"{source}.checkpoints.internal", "cleanup.policy")
        expect_equal(policy, "compact", "cleanup.policy of checkpoints")


def kills_done():
    with open(OPTIONS.kills_file, encoding="utf-8") as file:
        return len(file.readlines())


def broker_killed():
    print("please kill-broker", flush=True)

    def killed():
        for name in CLUSTERS:
            send(name, 10)
        return kills_done() >= 1
    wait_for(killed, SECONDS, "the broker's restart")
    for name in CLUSTERS:
        send(name, 100)
    both_directions()


checks.run([
    ("starts", prepare),
    ("both_directions", both_directions),
    ("goes_on", goes_on),
    ("internal_topics", internal_topics),
    ("topic_configs", configs),
    ("group_offsets", group_offsets),
    ("broker_killed", broker_killed),
    ("stops", MAKER.stop),
])
if MAKER.alive():
    MAKER.kill()
