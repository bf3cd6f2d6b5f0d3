"""confluent-kafka (librdkafka) against a broker: see checks.py for what is printed."""

import os
import socket
import struct
import time
import urllib.request

from confluent_kafka import (
    OFFSET_BEGINNING, Consumer, ConsumerGroupState, ConsumerGroupTopicPartitions, KafkaError,
    KafkaException, Producer, TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ConfigSource, NewPartitions,
    NewTopic, OffsetSpec, ResourceType,
)

import checks
from checks import expect, expect_equal, unique, wait_for

BOOTSTRAP = checks.arguments().bootstrap
ADMIN = AdminClient({"bootstrap.servers": BOOTSTRAP})
TOPIC = unique("confluent")
SECONDS = 15
# Members hear of a change with their next heartbeat, five seconds later at most.
MODERN_SECONDS = 60


def producer(**options):
    config = {"bootstrap.servers": BOOTSTRAP, "linger.ms": 5, "acks": "all"}
    config.update({key.replace("_", "."): value for key, value in options.items()})
    return Producer(config)


def consumer(group, **options):
    config = {
        "bootstrap.servers": BOOTSTRAP, "group.id": group, "auto.offset.reset": "earliest",
        "enable.auto.commit": False, "session.timeout.ms": 6000, "heartbeat.interval.ms": 200,
        "check.crcs": True,
    }
    config.update({key.replace("_", "."): value for key, value in options.items()})
    return Consumer(config)


def result(futures):
    """The results of a dictionary of futures; a failure is raised."""
    return {key: future.result(timeout=SECONDS) for key, future in futures.items()}


def code_of(futures):
    """The error code of a single future that has to fail."""
    (future,) = futures.values()
    try:
        future.result(timeout=SECONDS)
    except KafkaException as error:
        return error.args[0].name()
    return "success"


def create(name, partitions=1, **config):
    config = {key.replace("_", "."): value for key, value in config.items()}
    result(ADMIN.create_topics([NewTopic(name, partitions, 1, config=config)]))
    return name


def send(topic, values, partition=0, **options):
    """Produces and returns (error, partition, offset) of each, in the order of sending."""
    reports = {}
    sender = producer(**options)
    for n, value in enumerate(values):
        sender.produce(topic, value, partition=partition,
                       on_delivery=lambda error, message, n=n: reports.update({n: (error, message)}))
        sender.poll(0)
    expect_equal(sender.flush(SECONDS), 0, "records left in the producer")
    return [reports[n] for n in range(len(values))]


def read(source, count, seconds=SECONDS):
    """The next `count` records of a consumer."""
    records, deadline = [], time.monotonic() + seconds
    while len(records) < count:
        expect(time.monotonic() < deadline, f"{len(records)} of {count} records in {seconds} s")
        for message in source.consume(count - len(records), timeout=0.2):
            if message.error() is not None:
                raise KafkaException(message.error())
            records.append(message)
    return records


def assigned(topic, partition=0, offset=OFFSET_BEGINNING, **options):
    reader = consumer(unique("reader"), **options)
    reader.assign([TopicPartition(topic, partition, offset)])
    return reader


def create_topics():
    names = [TOPIC, unique("other")]
    topics = [NewTopic(name, 3, 1, config={"retention.ms": "86400000"}) for name in names]
    result(ADMIN.create_topics(topics))

    def listed():
        found = ADMIN.list_topics(timeout=SECONDS).topics
        return all(name in found for name in names) and found

    listed = wait_for(listed, SECONDS, "topics in metadata")
    expect_equal([len(listed[name].partitions) for name in names], [3, 3], "partitions")
    for partition in listed[TOPIC].partitions.values():
        expect(partition.leader >= 0 and partition.replicas == partition.isrs, "a leader in the ISR")


def create_validate_only():
    name = unique("validate")
    result(ADMIN.create_topics([NewTopic(name, 1, 1)], validate_only=True))
    expect(name not in ADMIN.list_topics(timeout=SECONDS).topics, "validate_only created the topic")


def create_existing():
    expect_equal(code_of(ADMIN.create_topics([NewTopic(TOPIC, 1, 1)])), "TOPIC_ALREADY_EXISTS",
                 "code")


def create_with_too_many_replicas():
    expect_equal(code_of(ADMIN.create_topics([NewTopic(unique("rf"), 1, 3)])),
                 "INVALID_REPLICATION_FACTOR", "code")


def create_with_an_invalid_config():
    for config in [{"no.such.key": "1"}, {"retention.ms": "soon"}, {"cleanup.policy": "burn"}]:
        topic = NewTopic(unique("config"), 1, 1, config=config)
        expect_equal(code_of(ADMIN.create_topics([topic])), "INVALID_CONFIG", str(config))


def create_with_an_invalid_name():
    for name in ["not a name", "..", "x" * 250]:
        expect_equal(code_of(ADMIN.create_topics([NewTopic(name, 1, 1)])), "TOPIC_EXCEPTION", name)


def codec(name):
    def check():
        topic = create(unique(f"codec-{name}"))
        records = checks.sample(name)
        sender = producer(compression_type=name)
        failures = []
        for key, value, headers in records:
            sender.produce(topic, value, key=key, headers=headers,
                           on_delivery=lambda error, _: failures.append(error) if error else None)
        expect_equal(sender.flush(SECONDS), 0, "records left in the producer")
        expect_equal(failures, [], "failures")
        reader = assigned(topic)
        got = [(m.key(), m.value(), m.headers() or []) for m in read(reader, len(records))]
        reader.close()
        expect_equal(got, records, "records")

    return check


def idempotent():
    topic = create(unique("idempotent"), 2)
    values = [str(n).encode() for n in range(1000)]
    reports = send(topic, values, enable_idempotence=True, partition=1)
    expect_equal([m.offset() for _, m in reports], list(range(1000)), "offsets")
    reader = assigned(topic, 1)
    expect_equal([m.value() for m in read(reader, 1000)], values, "values")
    reader.close()


def acks_zero_and_one():
    topic = create(unique("acks"))
    send(topic, [b"one"] * 10, acks="1")
    send(topic, [b"zero"] * 10, acks="0")
    reader = assigned(topic)
    expect_equal(sorted(m.value() for m in read(reader, 20)), [b"one"] * 10 + [b"zero"] * 10, "values")
    reader.close()


def by_time():
    topic = create(unique("time"))
    sender = producer()
    start = int(time.time() * 1000) - 100_000
    for n in range(100):
        sender.produce(topic, str(n).encode(), timestamp=start + n * 1000)
    sender.flush(SECONDS)
    reader = consumer(unique("time"))
    for at, wanted in [(start - 5, 0), (start + 41_500, 42), (start + 99_000, 99)]:
        (found,) = reader.offsets_for_times([TopicPartition(topic, 0, at)], timeout=SECONDS)
        expect_equal(found.offset, wanted, f"offset at {at - start}")
    (found,) = reader.offsets_for_times([TopicPartition(topic, 0, start + 200_000)],
                                        timeout=SECONDS)
    expect_equal(found.offset, -1, "offset after the end")
    reader.assign([TopicPartition(topic, 0, 42)])
    message = read(reader, 1)[0]
    expect_equal((message.value(), message.timestamp()[1]), (b"42", start + 42_000), "record")
    reader.close()


def list_offsets():
    topic = create(unique("offsets"))
    send(topic, [b"x"] * 7)
    reader = consumer(unique("offsets"))
    expect_equal(reader.get_watermark_offsets(TopicPartition(topic, 0), timeout=SECONDS), (0, 7),
                 "watermarks")
    reader.close()
    for spec, wanted in [(OffsetSpec.earliest(), 0), (OffsetSpec.latest(), 7)]:
        found = result(ADMIN.list_offsets({TopicPartition(topic, 0): spec}))
        expect_equal([info.offset for info in found.values()], [wanted], str(spec))


def long_poll_is_woken():
    topic = create(unique("poll"))
    reader = assigned(topic, fetch_wait_max_ms=10_000, fetch_min_bytes=1)
    expect_equal(reader.poll(1.0), None, "record in an empty topic")
    send(topic, [b"wake"])
    started = time.monotonic()
    read(reader, 1)
    expect(time.monotonic() - started < 2, "the fetch waited for its time and not for the record")
    reader.close()


def two_members_share_and_hand_over(**options):
    def check():
        topic = create(unique("group"), 4)
        group = unique("group")
        first, second = consumer(group, **options), consumer(group, **options)

        def partitions():
            for member in (first, second):
                member.poll(0.05)
            return [sorted(p.partition for p in member.assignment()) for member in (first, second)]

        first.subscribe([topic])
        wait_for(lambda: partitions()[0] == [0, 1, 2, 3], SECONDS, "the first member alone")
        second.subscribe([topic])
        wait_for(lambda: sorted(map(len, partitions())) == [2, 2], SECONDS, "two halves")
        expect_equal(sorted(sum(partitions(), [])), [0, 1, 2, 3], "partitions of both")
        state = result(ADMIN.describe_consumer_groups([group]))[group]
        expect_equal((state.state, len(state.members)), (ConsumerGroupState.STABLE, 2), "state")
        second.close()
        wait_for(lambda: first.poll(0.05) or len(first.assignment()) == 4, SECONDS,
                 "all partitions after the other left")
        for partition in range(4):
            send(topic, [b"x"] * 5, partition=partition)
        read(first, 20)
        first.close()

    return check


def commit_and_restart():
    topic, group = create(unique("commit")), unique("commit")
    send(topic, [str(n).encode() for n in range(20)])
    first = consumer(group)
    first.subscribe([topic])
    read(first, 8)
    first.commit(offsets=[TopicPartition(topic, 0, 8, metadata="note")], asynchronous=False)
    first.close()
    second = consumer(group)
    (committed,) = second.committed([TopicPartition(topic, 0)], timeout=SECONDS)
    expect_equal((committed.offset, committed.metadata), (8, "note"), "committed")
    second.subscribe([topic])
    expect_equal([m.value() for m in read(second, 12)], [str(n).encode() for n in range(8, 20)],
                 "records after the restart")
    second.close()


def static_member_restarts_without_a_rebalance():
    topic, group = create(unique("static"), 2), unique("static")
    first = consumer(group, group_instance_id="one")
    first.subscribe([topic])
    wait_for(lambda: first.poll(0.05) or len(first.assignment()) == 2, SECONDS, "assignment")
    members = lambda: result(ADMIN.describe_consumer_groups([group]))[group].members
    expect_equal([m.group_instance_id for m in members()], ["one"], "instance")
    first.close()
    expect_equal([m.group_instance_id for m in members()], ["one"], "instance after it went away")
    again = consumer(group, group_instance_id="one")
    again.subscribe([topic])
    wait_for(lambda: again.poll(0.05) or len(again.assignment()) == 2, SECONDS, "assignment again")
    again.unsubscribe()
    again.close()


def member_of(group, **options):
    """A consumer of the server-side protocol, which takes its intervals from the broker."""
    config = {
        "bootstrap.servers": BOOTSTRAP, "group.id": group, "auto.offset.reset": "earliest",
        "enable.auto.commit": False, "group.protocol": "consumer",
    }
    config.update({key.replace("_", "."): value for key, value in options.items()})
    return Consumer(config)


def consumer_protocol_shares_and_hands_over():
    topic, group = create(unique("modern"), 4), unique("modern")
    first, second = member_of(group), member_of(group, group_remote_assignor="range")

    def partitions():
        for member in (first, second):
            member.poll(0.05)
        return [sorted(p.partition for p in member.assignment()) for member in (first, second)]

    first.subscribe([topic])
    wait_for(lambda: partitions()[0] == [0, 1, 2, 3], MODERN_SECONDS, "the first member alone")
    second.subscribe([topic])
    wait_for(lambda: sorted(map(len, partitions())) == [2, 2], MODERN_SECONDS, "two halves")
    expect_equal(sorted(sum(partitions(), [])), [0, 1, 2, 3], "partitions of both")
    for partition in range(4):
        send(topic, [b"x"] * 5, partition=partition)
    read(first, 10)
    first.commit(asynchronous=False)
    second.close()
    first.close()
    third = member_of(group)
    committed = third.committed([TopicPartition(topic, n) for n in range(4)], timeout=SECONDS)
    expect_equal(sorted(one.offset for one in committed), [-1001, -1001, 5, 5], "committed")
    third.subscribe(["^" + topic[:-1] + ".*"])
    expect_equal(len(read(third, 10, MODERN_SECONDS)), 10, "what nobody had committed")
    third.close()


def incremental_alter_and_describe():
    topic = create(unique("alter"))

    def alter(operation, value):
        entry = ConfigEntry("retention.ms", value, incremental_operation=operation)
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
        result(ADMIN.incremental_alter_configs([resource]))

    def described():
        resource = ConfigResource(ResourceType.TOPIC, topic)
        (configs,) = result(ADMIN.describe_configs([resource])).values()
        entry = configs["retention.ms"]
        return entry.value, ConfigSource(entry.source)

    expect_equal(described(), ("604800000", ConfigSource.DEFAULT_CONFIG), "default")
    alter(AlterConfigOpType.SET, "123456789")
    wait_for(lambda: described() == ("123456789", ConfigSource.DYNAMIC_TOPIC_CONFIG), 5, "the value")
    alter(AlterConfigOpType.DELETE, None)
    wait_for(lambda: described()[0] == "604800000", 5, "the default again")
    entry = ConfigEntry("retention.ms", "never", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    expect_equal(code_of(ADMIN.incremental_alter_configs([resource])), "INVALID_CONFIG", "code")


def describe_broker_configs():
    broker = next(iter(ADMIN.list_topics(timeout=SECONDS).brokers))
    resource = ConfigResource(ResourceType.BROKER, str(broker))
    (configs,) = result(ADMIN.describe_configs([resource])).values()
    for key in ["log.retention.hours", "message.max.bytes", "num.partitions", "log.dirs"]:
        expect(key in configs, f"no {key}")
    expect(configs["node.id"].is_read_only, "node.id is read-only")


def describe_unknown_topic_config():
    resource = ConfigResource(ResourceType.TOPIC, unique("nowhere"))
    expect_equal(code_of(ADMIN.describe_configs([resource])), "UNKNOWN_TOPIC_OR_PART", "code")


def create_partitions():
    topic = create(unique("grow"), 2)
    result(ADMIN.create_partitions([NewPartitions(topic, 5)]))
    wait_for(lambda: len(ADMIN.list_topics(topic, timeout=SECONDS).topics[topic].partitions) == 5,
             5, "five partitions")
    for count in [5, 3]:
        expect_equal(code_of(ADMIN.create_partitions([NewPartitions(topic, count)])),
                     "INVALID_PARTITIONS", f"code for {count}")
    send(topic, [b"x"], partition=4)


def delete_records():
    topic = create(unique("trim"))
    send(topic, [str(n).encode() for n in range(10)])
    deleted = result(ADMIN.delete_records([TopicPartition(topic, 0, 4)]))
    expect_equal([d.low_watermark for d in deleted.values()], [4], "low watermark")
    reader = assigned(topic)
    expect_equal(read(reader, 1)[0].offset(), 4, "first offset")
    reader.close()
    expect_equal(code_of(ADMIN.delete_records([TopicPartition(topic, 0, 11)])),
                 "OFFSET_OUT_OF_RANGE", "code beyond the end")


def offset_out_of_range_resets():
    topic = create(unique("range"))
    send(topic, [b"a", b"b"])
    reader = assigned(topic, offset=1000)
    expect_equal(read(reader, 2)[0].offset(), 0, "offset after the reset")
    reader.close()


def groups_list_describe_alter_delete():
    topic, group = create(unique("admin-group")), unique("admin-group")
    send(topic, [b"x"] * 10)
    member = consumer(group)
    member.subscribe([topic])
    read(member, 10)
    member.commit(asynchronous=False)
    expect_equal(code_of(ADMIN.delete_consumer_groups([group])), "NON_EMPTY_GROUP", "code")
    member.close()
    listed = ADMIN.list_consumer_groups().result(timeout=SECONDS)
    expect(group in [g.group_id for g in listed.valid], "the group is listed")
    described = result(ADMIN.describe_consumer_groups([group]))[group]
    expect_equal((described.state, described.members), (ConsumerGroupState.EMPTY, []), "state")

    offsets = lambda: result(ADMIN.list_consumer_group_offsets(
        [ConsumerGroupTopicPartitions(group)]))[group].topic_partitions
    expect_equal([(p.topic, p.offset) for p in offsets()], [(topic, 10)], "offsets")
    wanted = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, 0, 3)])
    result(ADMIN.alter_consumer_group_offsets([wanted]))
    expect_equal([p.offset for p in offsets()], [3], "offsets after the change")
    result(ADMIN.delete_consumer_groups([group]))
    expect_equal(code_of(ADMIN.delete_consumer_groups([group])), "GROUP_ID_NOT_FOUND", "code")


def too_large_message():
    topic = create(unique("large"), max_message_bytes="10000")
    ((error, _),) = send(topic, [b"x" * 20_000])
    expect_equal(error and error.name(), "MSG_SIZE_TOO_LARGE", "code")
    ((error, _),) = send(topic, [b"x" * 5_000])
    expect_equal(error, None, "error of a small one")


def unknown_topic():
    reader = consumer(unique("unknown"), allow_auto_create_topics=False)
    reader.subscribe([unique("nowhere")])
    message = wait_for(lambda: reader.poll(0.2), SECONDS, "an error")
    expect_equal(message.error() and message.error().name(), "UNKNOWN_TOPIC_OR_PART", "code")
    reader.close()
    (report,) = send(TOPIC, [b"x"], partition=99, message_timeout_ms=5000)
    expect_equal(report[0] and report[0].name(), "_UNKNOWN_PARTITION", "code for a partition")


def auto_creation():
    topic = unique("auto")
    ((error, message),) = send(topic, [b"x"], partition=0)
    expect_equal((error, message.offset()), (None, 0), "report")


def transactional(transactional_id):
    sender = producer(transactional_id=transactional_id)
    sender.init_transactions(SECONDS)
    return sender


def transactions():
    topic = create(unique("txn"), partitions=2)
    sender = transactional(unique("txn-id"))
    for n in range(6):
        sender.begin_transaction()
        for partition in (0, 1):
            sender.produce(topic, str(n).encode(), partition=partition)
        if n % 2:
            # What is not sent yet would not be.
            expect_equal(sender.flush(SECONDS), 0, "records left in the producer")
            sender.abort_transaction(SECONDS)
        else:
            sender.commit_transaction(SECONDS)
    # What comes before the one after the last is all there is.
    sender.begin_transaction()
    for partition in (0, 1):
        sender.produce(topic, b"end", partition=partition)
    sender.commit_transaction(SECONDS)
    for partition in (0, 1):
        for isolation, wanted in [("read_committed", "024"), ("read_uncommitted", "012345")]:
            reader = assigned(topic, partition, isolation_level=isolation)
            values = []
            while b"end" not in values:
                values += [message.value() for message in read(reader, 1)]
            expect_equal(b"".join(values), wanted.encode() + b"end",
                         f"{isolation} of partition {partition}")
            reader.close()


def offsets_in_transactions():
    source, target, group = create(unique("from")), create(unique("to")), unique("txn-group")
    send(source, [str(n).encode() for n in range(10)])
    sender, reader = transactional(unique("txn-id")), consumer(group)
    reader.subscribe([source])
    records = read(reader, 10)
    partition = TopicPartition(source, 0)

    def copy(some, commit):
        sender.begin_transaction()
        for record in some:
            sender.produce(target, record.value(), partition=0)
        upto = TopicPartition(source, 0, some[-1].offset() + 1)
        sender.send_offsets_to_transaction([upto], reader.consumer_group_metadata(), SECONDS)
        if commit:
            sender.commit_transaction(SECONDS)
        else:
            sender.abort_transaction(SECONDS)

    def committed():
        (found,) = reader.committed([partition], timeout=SECONDS)
        return found.offset
    copy(records[:4], True)
    expect_equal(committed(), 4, "offset after the commit")
    copy(records[4:], False)
    expect_equal(committed(), 4, "offset after the abort")
    copy(records[4:], True)
    expect_equal(committed(), 10, "offset in the end")
    copied = assigned(target, isolation_level="read_committed")
    expect_equal([message.value() for message in read(copied, 10)],
                 [str(n).encode() for n in range(10)], "each record once")
    copied.close()
    reader.close()


def a_second_producer_fences_the_first():
    topic, transactional_id = create(unique("fenced")), unique("txn-id")
    first = transactional(transactional_id)
    first.begin_transaction()
    first.produce(topic, b"lost", partition=0)
    first.flush(SECONDS)
    second = transactional(transactional_id)
    second.begin_transaction()
    second.produce(topic, b"kept", partition=0)
    second.commit_transaction(SECONDS)
    try:
        first.commit_transaction(SECONDS)
        raise AssertionError("the first producer could commit")
    except KafkaException as error:
        expect_equal(error.args[0].name(), "_FENCED", "code")
    reader = assigned(topic, isolation_level="read_committed")
    expect_equal([message.value() for message in read(reader, 1)], [b"kept"], "records")
    reader.close()


def describe_cluster():
    cluster = ADMIN.describe_cluster().result(timeout=SECONDS)
    expect(cluster.cluster_id and len(cluster.nodes) == 1, "one node and a cluster id")
    host, port = BOOTSTRAP.rsplit(":", 1)
    expect_equal((cluster.nodes[0].host, cluster.nodes[0].port), (host, int(port)), "address")


def subscribe_to_metrics(name, client, interval_ms):
    """A subscription to all metrics of one client. librdkafka's admin client cannot make one."""
    def text(value):
        return struct.pack(">h", len(value)) + value.encode()
    configs = {"metrics": "*", "interval.ms": str(interval_ms), "match": f"client_id={client}"}
    body = struct.pack(">ib", 1, 16) + text(name) + struct.pack(">i", len(configs))
    for key, value in configs.items():
        body += text(key) + b"\0" + text(value)
    # IncrementalAlterConfigs of version 0, to be done and not only validated.
    request = struct.pack(">hhi", 44, 0, 1) + text("conformance") + body + b"\0"
    host, port = BOOTSTRAP.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=SECONDS) as connection:
        connection.sendall(struct.pack(">i", len(request)) + request)
        answer = b""
        while len(answer) < 18:
            more = connection.recv(4096)
            expect(more, "the connection was closed")
            answer += more
    # Length, correlation id, throttle time and count stand before the code.
    expect_equal(struct.unpack_from(">h", answer, 16)[0], 0, "code")


def pushes_its_metrics():
    admin = os.environ.get("CORELANE_ADMIN")
    if not admin:
        # Kafka needs a plug-in, and shows nothing.
        return
    topic, client = create(unique("telemetry")), unique("telemetry")
    subscribe_to_metrics(unique("subscription"), client, 300)
    sender = producer(client_id=client)

    def shown():
        sender.produce(topic, b"x")
        sender.flush(SECONDS)
        with urllib.request.urlopen(f"http://{admin}/metrics", timeout=SECONDS) as page:
            lines = page.read().decode().splitlines()
        own = [line for line in lines if f'client_id="{client}"' in line]
        return (any(line.startswith("corelane_client_info") and "rdkafka" in line
                    for line in own)
                and any(line.startswith("corelane_client_producer_") for line in own))

    wait_for(shown, 30, "the producer's metrics")


def delete_topic():
    topic = create(unique("delete"))
    send(topic, [b"x"])
    result(ADMIN.delete_topics([topic]))
    wait_for(lambda: topic not in ADMIN.list_topics(timeout=SECONDS).topics, 5, "the topic is gone")
    expect_equal(code_of(ADMIN.delete_topics([topic])), "UNKNOWN_TOPIC_OR_PART", "code")
    create(topic)
    reader = consumer(unique("again"))
    expect_equal(reader.get_watermark_offsets(TopicPartition(topic, 0), timeout=SECONDS), (0, 0),
                 "watermarks of the topic made again")
    reader.close()


checks.run([
    ("create_topics", create_topics),
    ("create_validate_only", create_validate_only),
    ("create_existing", create_existing),
    ("create_with_too_many_replicas", create_with_too_many_replicas),
    ("create_with_an_invalid_config", create_with_an_invalid_config),
    ("create_with_an_invalid_name", create_with_an_invalid_name),
    *[(f"produce_and_consume_{name}", codec(name)) for name in checks.CODECS],
    ("idempotent", idempotent),
    ("acks_zero_and_one", acks_zero_and_one),
    ("by_time", by_time),
    ("list_offsets", list_offsets),
    ("long_poll_is_woken", long_poll_is_woken),
    ("group_of_two_eager", two_members_share_and_hand_over()),
    ("group_of_two_cooperative",
     two_members_share_and_hand_over(partition_assignment_strategy="cooperative-sticky")),
    ("consumer_protocol_shares_and_hands_over", consumer_protocol_shares_and_hands_over),
    ("commit_and_restart", commit_and_restart),
    ("static_member_restarts_without_a_rebalance", static_member_restarts_without_a_rebalance),
    ("incremental_alter_and_describe", incremental_alter_and_describe),
    ("describe_broker_configs", describe_broker_configs),
    ("describe_unknown_topic_config", describe_unknown_topic_config),
    ("create_partitions", create_partitions),
    ("delete_records", delete_records),
    ("offset_out_of_range_resets", offset_out_of_range_resets),
    ("groups_list_describe_alter_delete", groups_list_describe_alter_delete),
    ("too_large_message", too_large_message),
    ("unknown_topic", unknown_topic),
    ("auto_creation", auto_creation),
    ("transactions", transactions),
    ("offsets_in_transactions", offsets_in_transactions),
    ("a_second_producer_fences_the_first", a_second_producer_fences_the_first),
    ("pushes_its_metrics", pushes_its_metrics),
    ("describe_cluster", describe_cluster),
    ("delete_topic", delete_topic),
])
