"""kafka-python against a broker: see checks.py for what is printed."""

import time
from contextlib import contextmanager

from kafka import KafkaConsumer, KafkaProducer, TopicPartition, errors
from kafka.admin import ConfigResource, KafkaAdminClient, NewTopic
from kafka.structs import OffsetAndMetadata

import checks
from checks import expect, expect_equal, unique, wait_for

BOOTSTRAP = checks.arguments().bootstrap
ADMIN = KafkaAdminClient(bootstrap_servers=BOOTSTRAP)
SECONDS = 15


@contextmanager
def producer(**options):
    sender = KafkaProducer(bootstrap_servers=BOOTSTRAP, **options)
    try:
        yield sender
    finally:
        sender.close(timeout=5)


@contextmanager
def consumer(group=None, **options):
    config = {
        "auto_offset_reset": "earliest", "enable_auto_commit": False, "session_timeout_ms": 6000,
        "heartbeat_interval_ms": 200, "check_crcs": True,
    }
    config.update(options)
    reader = KafkaConsumer(bootstrap_servers=BOOTSTRAP, group_id=group, **config)
    try:
        yield reader
    finally:
        reader.close()


def create(name, partitions=1, **config):
    config = {key.replace("_", "."): value for key, value in config.items()}
    ADMIN.create_topics([NewTopic(name, partitions, 1, topic_configs=config)])
    ADMIN.wait_for_topics([name])
    return name


def send(topic, values, partition=0, **options):
    """Produces and returns the offsets."""
    with producer(**options) as sender:
        futures = [sender.send(topic, value, partition=partition) for value in values]
        sender.flush(timeout=SECONDS)
        return [future.get(timeout=SECONDS).offset for future in futures]


def read(reader, count, seconds=SECONDS):
    records, deadline = [], time.monotonic() + seconds
    while len(records) < count:
        expect(time.monotonic() < deadline, f"{len(records)} of {count} records in {seconds} s")
        for batch in reader.poll(timeout_ms=200).values():
            records.extend(batch)
    return records


def raises(error, call, what):
    try:
        call()
    except error:
        return
    raise AssertionError(f"{what}: no {error.__name__}")


def create_topics():
    names = [unique("kafka-python"), unique("kafka-python")]
    ADMIN.create_topics([NewTopic(name, 3, 1) for name in names])
    ADMIN.wait_for_topics(names)
    expect(set(names) <= set(ADMIN.list_topics()), "both are listed")
    described = ADMIN.describe_topics(names)
    expect_equal([len(topic["partitions"]) for topic in described], [3, 3], "partitions")


def create_with_errors():
    topic = create(unique("errors"))
    for new, error in [
        (NewTopic(topic, 1, 1), errors.TopicAlreadyExistsError),
        (NewTopic(unique("p"), 0, 1), errors.InvalidPartitionsError),
        (NewTopic(unique("r"), 1, 3), errors.InvalidReplicationFactorError),
        (NewTopic(unique("c"), 1, 1, topic_configs={"no.such.key": "1"}),
         errors.InvalidConfigurationError),
        (NewTopic("not a name", 1, 1), errors.InvalidTopicError),
    ]:
        raises(error, lambda: ADMIN.create_topics([new]), new.name)


def create_with_assignments_and_defaults():
    node = ADMIN.describe_cluster()["brokers"][0]["broker_id"]
    manual, default = unique("manual"), unique("default")
    ADMIN.create_topics({manual: {"assignments": {0: [node], 1: [node]}}, default: {}})
    ADMIN.wait_for_topics([manual, default])
    counts = {t["name"]: len(t["partitions"]) for t in ADMIN.describe_topics([manual, default])}
    expect_equal(counts, {manual: 2, default: 1}, "partitions")


def codec(name):
    def check():
        topic = create(unique(f"codec-{name}"))
        records = checks.sample(name, nulls=False)
        compression = None if name == "none" else name
        with producer(compression_type=compression, linger_ms=20) as sender:
            futures = [sender.send(topic, value, key=key, headers=headers)
                       for key, value, headers in records]
            sender.flush(timeout=SECONDS)
            expect_equal([f.get(timeout=SECONDS).offset for f in futures],
                         list(range(len(records))), "offsets")
        with consumer() as reader:
            reader.assign([TopicPartition(topic, 0)])
            got = [(r.key, r.value, list(r.headers)) for r in read(reader, len(records))]
        expect_equal(got, records, "records")

    return check


def not_idempotent():
    topic = create(unique("plain"))
    expect_equal(send(topic, [b"x"] * 50, enable_idempotence=False, acks=1), list(range(50)),
                 "offsets")


def by_time():
    topic = create(unique("time"))
    start = int(time.time() * 1000) - 100_000
    with producer() as sender:
        for n in range(100):
            sender.send(topic, str(n).encode(), timestamp_ms=start + n * 1000)
        sender.flush(timeout=SECONDS)
    partition = TopicPartition(topic, 0)
    with consumer() as reader:
        for at, wanted in [(start - 5, 0), (start + 41_500, 42), (start + 99_000, 99)]:
            found = reader.offsets_for_times({partition: at})[partition]
            expect_equal((found.offset, found.timestamp), (wanted, start + wanted * 1000), str(at))
        expect_equal(reader.offsets_for_times({partition: start + 200_000})[partition], None, "end")
        reader.assign([partition])
        reader.seek(partition, 42)
        expect_equal(read(reader, 1)[0].value, b"42", "record")
        expect_equal((reader.beginning_offsets([partition])[partition],
                      reader.end_offsets([partition])[partition]), (0, 100), "ends")


def group_of_two():
    # kafka-python 3.0.12 loses the answer to a SyncGroup that arrives just after a poll gave up, and
    # does not ask again: short polls make that likely, against any broker.
    topic, group = create(unique("group"), 4), unique("group")
    with consumer(group) as first:
        first.subscribe([topic])
        wait_for(lambda: first.poll(500) or len(first.assignment()) == 4, SECONDS, "one member")
        with consumer(group) as second:
            second.subscribe([topic])

            def halves():
                first.poll(500)
                second.poll(500)
                return len(first.assignment()) == 2 and len(second.assignment()) == 2

            wait_for(halves, SECONDS, "two halves")
            expect(not first.assignment() & second.assignment(), "no partition is shared")
            described = ADMIN.describe_groups([group])[group]
            expect_equal((described["group_state"], len(described["members"])), ("Stable", 2),
                         "state")
        wait_for(lambda: first.poll(500) or len(first.assignment()) == 4, SECONDS,
                 "all partitions after the other left")
        for partition in range(4):
            send(topic, [b"x"] * 5, partition=partition)
        read(first, 20)


def commit_and_restart():
    topic, group = create(unique("commit")), unique("commit")
    send(topic, [str(n).encode() for n in range(20)])
    partition = TopicPartition(topic, 0)
    with consumer(group, max_poll_records=8) as first:
        first.subscribe([topic])
        read(first, 8)
        first.commit({partition: OffsetAndMetadata(8, "note", -1)})
    with consumer(group) as second:
        expect_equal(second.committed(partition, metadata=True)[:2], (8, "note"), "committed")
        second.subscribe([topic])
        expect_equal([r.value for r in read(second, 12)], [str(n).encode() for n in range(8, 20)],
                     "records after the restart")


def groups_admin():
    topic, group = create(unique("admin")), unique("admin")
    send(topic, [b"x"] * 10)
    with consumer(group) as member:
        member.subscribe([topic])
        read(member, 10)
        member.commit()
        expect_equal(dict(ADMIN.delete_groups([group]))[group], "NonEmptyGroupError", "deletion")
    expect(group in [g["group_id"] for g in ADMIN.list_groups()], "the group is listed")
    expect_equal(ADMIN.describe_groups([group])[group]["group_state"], "Empty", "state")
    partition = TopicPartition(topic, 0)
    offsets = lambda: ADMIN.list_group_offsets(group)[group][partition].offset
    expect_equal(offsets(), 10, "offset")
    ADMIN.alter_group_offsets(group, {partition: OffsetAndMetadata(3, "", -1)})
    expect_equal(offsets(), 3, "offset after the change")
    ADMIN.delete_group_offsets(group, [partition])
    expect_equal(ADMIN.list_group_offsets(group)[group], {}, "offsets after their deletion")
    expect_equal(dict(ADMIN.delete_groups([group]))[group] in ("OK", "GroupIdNotFoundError"), True,
                 "deletion of the empty group")


def configs():
    topic = create(unique("configs"))

    def described(key="retention.ms"):
        resource = ConfigResource("TOPIC", topic)
        return ADMIN.describe_configs([resource], config_filter="all")["topic"][topic][key]

    expect_equal(described()["value"], "604800000", "default")
    ADMIN.alter_configs([ConfigResource("TOPIC", topic, {"retention.ms": "1234567"})])
    wait_for(lambda: described()["value"] == "1234567", 5, "the value")
    expect_equal(described()["config_source"], "DYNAMIC_TOPIC_CONFIG", "source")
    ADMIN.alter_configs([ConfigResource("TOPIC", topic, {"max.message.bytes": "5000"})],
                        incremental=False)
    wait_for(lambda: described("max.message.bytes")["value"] == "5000", 5, "the other value")
    ADMIN.reset_configs([ConfigResource("TOPIC", topic, ["retention.ms"])])
    wait_for(lambda: described()["value"] == "604800000", 5, "the default again")
    answer = ADMIN.alter_configs([ConfigResource("TOPIC", topic, {"retention.ms": "never"})])
    expect("InvalidConfig" in answer["topic"][topic], f"an invalid value: {answer}")


def create_partitions():
    topic = create(unique("grow"), 2)
    ADMIN.create_partitions({topic: 5})
    wait_for(lambda: len(ADMIN.describe_topics([topic])[0]["partitions"]) == 5, 5, "five")
    raises(errors.InvalidPartitionsError, lambda: ADMIN.create_partitions({topic: 3}), "fewer")


def delete_records():
    topic = create(unique("trim"))
    send(topic, [str(n).encode() for n in range(10)])
    partition = TopicPartition(topic, 0)
    done = ADMIN.delete_records({partition: 4})
    expect_equal(done[partition]["low_watermark"], 4, "low watermark")
    with consumer() as reader:
        reader.assign([partition])
        expect_equal(read(reader, 1)[0].offset, 4, "first offset")
    raises(errors.OffsetOutOfRangeError, lambda: ADMIN.delete_records({partition: 11}), "beyond")


def too_large_message():
    topic = create(unique("large"), max_message_bytes="10000")
    raises(errors.MessageSizeTooLargeError, lambda: send(topic, [b"x" * 20_000]), "20 kB")
    expect_equal(send(topic, [b"x" * 5_000]), [0], "offset of a small one")


def cluster():
    described = ADMIN.describe_cluster()
    host, port = BOOTSTRAP.rsplit(":", 1)
    expect_equal([(b["host"], b["port"]) for b in described["brokers"]], [(host, int(port))],
                 "brokers")
    expect(described["cluster_id"], "a cluster id")
    names = [d["log_dir"] for d in ADMIN.describe_log_dirs()[0]["log_dirs"]]
    expect_equal(len(names), 1, "log directories")


def delete_topic():
    topic = create(unique("delete"))
    send(topic, [b"x"])
    ADMIN.delete_topics([topic])
    wait_for(lambda: topic not in ADMIN.list_topics(), 5, "the topic is gone")
    raises(errors.UnknownTopicOrPartitionError, lambda: ADMIN.delete_topics([topic]), "again")


checks.run([
    ("create_topics", create_topics),
    ("create_with_errors", create_with_errors),
    ("create_with_assignments_and_defaults", create_with_assignments_and_defaults),
    *[(f"produce_and_consume_{name}", codec(name)) for name in checks.CODECS],
    ("not_idempotent", not_idempotent),
    ("by_time", by_time),
    ("group_of_two", group_of_two),
    ("commit_and_restart", commit_and_restart),
    ("groups_admin", groups_admin),
    ("configs", configs),
    ("create_partitions", create_partitions),
    ("delete_records", delete_records),
    ("too_large_message", too_large_message),
    ("cluster", cluster),
    ("delete_topic", delete_topic),
])
ADMIN.close()
