"""What a broker has to remember across a stop or a kill: `prepare` makes it, `verify` looks.

Topic ids, configuration, records, log starts, committed offsets, deleted things staying deleted,
and idempotent producers' sequences. `cargo xtask test --only restart` stops or kills the broker in
between. Prints one line per check, see ../conformance/checks.py.
"""

import argparse
import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "conformance"))

from confluent_kafka import Consumer, Producer, TopicPartition, TopicCollection
from confluent_kafka.admin import (
    AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic,
    ResourceType,
)

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("task", choices=["prepare", "verify"])
parser.add_argument("--bootstrap", required=True)
parser.add_argument("--state", required=True)
OPTIONS = parser.parse_args()
# wire.py reads the command line when it is imported; it gets what it knows.
sys.argv = [sys.argv[0], "--bootstrap", OPTIONS.bootstrap]

import checks
from checks import expect_equal, unique, wait_for

RECORDS = 300
PARTITIONS = 6
SECONDS = 20
ADMIN = AdminClient({"bootstrap.servers": OPTIONS.bootstrap})


def result(futures):
    return {key: future.result(timeout=SECONDS) for key, future in futures.items()}


def topic_ids(names):
    found = result(ADMIN.describe_topics(TopicCollection(names)))
    return {name: str(description.topic_id) for name, description in found.items()}


def consumer(group):
    return Consumer({"bootstrap.servers": OPTIONS.bootstrap, "group.id": group,
                     "enable.auto.commit": False, "auto.offset.reset": "earliest"})


def idempotent_batch(sequence, producer, epoch):
    import wire

    return wire.batch([b"x", b"y"], producer=producer, epoch=epoch, sequence=sequence)


def prepare():
    import wire

    names = {name: unique(name) for name in
             ["plain", "grown", "trimmed", "deleted", "configured", "sequences", "empty"]}
    state = {"names": names, "group": unique("restart"), "deleted_group": unique("gone")}
    result(ADMIN.create_topics([
        NewTopic(names["plain"], PARTITIONS, 1), NewTopic(names["grown"], 1, 1),
        NewTopic(names["trimmed"], 1, 1), NewTopic(names["deleted"], 3, 1),
        NewTopic(names["sequences"], 1, 1), NewTopic(names["empty"], 40, 1),
        NewTopic(names["configured"], 1, 1, config={"retention.ms": "123456789"}),
    ]))
    result(ADMIN.create_partitions([NewPartitions(names["grown"], 4)]))
    change = ConfigEntry("max.message.bytes", "54321", incremental_operation=AlterConfigOpType.SET)
    result(ADMIN.incremental_alter_configs(
        [ConfigResource(ResourceType.TOPIC, names["configured"], incremental_configs=[change])]))

    wait_for(lambda: len(ADMIN.list_topics(timeout=SECONDS).topics[names["grown"]].partitions) == 4,
             10, "four partitions")
    producer = Producer({"bootstrap.servers": OPTIONS.bootstrap, "enable.idempotence": True})
    for n in range(RECORDS):
        producer.produce(names["plain"], f"value {n}".encode(), partition=n % PARTITIONS)
        producer.produce(names["trimmed"], f"value {n}".encode(), partition=0)
        producer.produce(names["grown"], f"value {n}".encode(), partition=n % 4)
        producer.produce(names["deleted"], b"x", partition=n % 3)
    expect_equal(producer.flush(SECONDS), 0, "records left")
    result(ADMIN.delete_records([TopicPartition(names["trimmed"], 0, 100)]))
    result(ADMIN.delete_topics([names["deleted"]]))

    for group in [state["group"], state["deleted_group"]]:
        member = consumer(group)
        offsets = [TopicPartition(names["plain"], p, 7 + p, metadata=f"note {p}")
                   for p in range(PARTITIONS)]
        wait_for(lambda: commit(member, offsets), SECONDS, "a commit")
        member.close()
    result(ADMIN.delete_consumer_groups([state["deleted_group"]]))

    with wire.Connection() as connection:
        state["producer"], state["epoch"] = wait_for(
            lambda: wire.init_producer_id(connection), 10, "a producer id")
        for n in range(6):
            answer = wire.produce(names["sequences"], idempotent_batch(
                n * 2, state["producer"], state["epoch"]), connection)
            expect_equal(answer, (0, n * 2), "a batch")

    kept = [name for key, name in names.items() if key != "deleted"]
    state["ids"] = topic_ids(kept)
    state["cluster"] = ADMIN.describe_cluster().result(timeout=SECONDS).cluster_id
    with open(OPTIONS.state, "w") as file:
        json.dump(state, file)


def commit(member, offsets):
    try:
        return member.commit(offsets=offsets, asynchronous=False)
    except Exception:  # the coordinator may not be there yet
        return None


def verify():
    with open(OPTIONS.state) as file:
        state = json.load(file)
    names = state["names"]

    def topics_are_there():
        expect_equal(topic_ids(list(state["ids"])), state["ids"], "topic ids")
        topics = ADMIN.list_topics(timeout=SECONDS).topics
        counts = [len(topics[names[key]].partitions) for key in ["plain", "grown", "empty"]]
        expect_equal(counts, [PARTITIONS, 4, 40], "partitions")

    def deleted_topics_stay_deleted():
        topics = ADMIN.list_topics(timeout=SECONDS).topics
        expect_equal(names["deleted"] in topics, False, "deleted topic in the metadata")

    def the_cluster_id_is_the_same():
        found = ADMIN.describe_cluster().result(timeout=SECONDS).cluster_id
        expect_equal(found, state["cluster"], "cluster id")

    def configuration_is_there():
        resource = ConfigResource(ResourceType.TOPIC, names["configured"])
        (configs,) = result(ADMIN.describe_configs([resource])).values()
        found = [configs[key].value for key in ["retention.ms", "max.message.bytes"]]
        expect_equal(found, ["123456789", "54321"], "values")

    def records_are_there():
        for key, partitions in [("plain", PARTITIONS), ("grown", 4)]:
            wanted = {p: [f"value {n}" for n in range(RECORDS) if n % partitions == p]
                      for p in range(partitions)}
            expect_equal(read(names[key], partitions, RECORDS), wanted, key)

    def trimmed_records_stay_trimmed():
        wanted = {0: [f"value {n}" for n in range(100, RECORDS)]}
        expect_equal(read(names["trimmed"], 1, RECORDS - 100), wanted, "values")

    def committed_offsets_are_there():
        member = consumer(state["group"])
        wanted = [TopicPartition(names["plain"], p) for p in range(PARTITIONS)]
        found = member.committed(wanted, timeout=SECONDS)
        member.close()
        expect_equal([(p.offset, p.metadata) for p in found],
                     [(7 + p, f"note {p}") for p in range(PARTITIONS)], "offsets")

    def groups_are_there():
        listed = ADMIN.list_consumer_groups().result(timeout=SECONDS)
        groups = [group.group_id for group in listed.valid]
        expect_equal((state["group"] in groups, state["deleted_group"] in groups), (True, False),
                     "(kept, deleted) in the list")

    def duplicates_are_known():
        import wire

        with wire.Connection() as connection:
            send = lambda sequence: wire.produce(names["sequences"], idempotent_batch(
                sequence, state["producer"], state["epoch"]), connection)
            expect_equal(send(10), (0, 10), "the last batch again")
            # Kafka's snapshot keeps the last batch alone: older ones may be out of order then.
            older = [(send(n * 2), (0, n * 2)) for n in range(1, 5)]
            wrong = [pair for pair in older if pair[0] != pair[1] and pair[0][0] != 45]
            expect_equal(wrong, [], "older batches that are neither known nor refused")
            expect_equal(send(14)[0], 45, "code for a gap")
            expect_equal(send(12), (0, 12), "what comes next")

    def it_still_works():
        producer = Producer({"bootstrap.servers": OPTIONS.bootstrap})
        errors = []
        for p in range(40):
            producer.produce(names["empty"], b"first", partition=p,
                             on_delivery=lambda error, _: errors.append(error) if error else None)
        expect_equal((producer.flush(SECONDS), errors), (0, []), "(left, errors)")

    checks.run([(check.__name__, check) for check in [
        topics_are_there, deleted_topics_stay_deleted, the_cluster_id_is_the_same,
        configuration_is_there, records_are_there, trimmed_records_stay_trimmed,
        committed_offsets_are_there, groups_are_there, duplicates_are_known, it_still_works,
    ]])


def read(topic, partitions, count):
    """{partition: values} of the first `count` records."""
    reader = consumer(unique("reader"))
    reader.assign([TopicPartition(topic, p, 0) for p in range(partitions)])
    values, deadline = {p: [] for p in range(partitions)}, time.monotonic() + SECONDS
    while sum(map(len, values.values())) < count and time.monotonic() < deadline:
        for message in reader.consume(count, timeout=0.2):
            if message.error() is None:
                values[message.partition()].append(message.value().decode())
    reader.close()
    return values


{"prepare": prepare, "verify": verify}[OPTIONS.task]()
