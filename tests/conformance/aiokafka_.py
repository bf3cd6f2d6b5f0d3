"""aiokafka against a broker: see checks.py for what is printed."""

import asyncio
import time

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition, errors
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

import checks
from checks import expect, expect_equal, unique

BOOTSTRAP = checks.arguments().bootstrap
SECONDS = 15


def producer(**options):
    return AIOKafkaProducer(bootstrap_servers=BOOTSTRAP, **options)


def consumer(*topics, group=None, **options):
    config = {
        "auto_offset_reset": "earliest", "enable_auto_commit": False, "session_timeout_ms": 6000,
        "heartbeat_interval_ms": 200,
    }
    config.update(options)
    return AIOKafkaConsumer(*topics, bootstrap_servers=BOOTSTRAP, group_id=group, **config)


async def wait_for(condition, seconds, what):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        await asyncio.sleep(0.05)
    raise AssertionError(f"{what} not within {seconds} s")


async def create(admin, name, partitions=1, **config):
    config = {key.replace("_", "."): value for key, value in config.items()}
    answer = await admin.create_topics([NewTopic(name, partitions, 1, topic_configs=config)])
    expect_equal([code for _, code, *_ in answer.topic_errors], [0], f"creation of {name}")

    async def has_leaders():
        (topic,) = await admin.describe_topics([name])
        return topic["error_code"] == 0 and all(p["leader"] >= 0 for p in topic["partitions"])

    await wait_for(has_leaders, 5, f"leaders of {name}")
    return name


async def send(topic, values, partition=0, **options):
    async with producer(**options) as sender:
        futures = [await sender.send(topic, value, partition=partition) for value in values]
        return [(await future).offset for future in futures]


async def read(reader, count, seconds=SECONDS):
    records, deadline = [], time.monotonic() + seconds
    while len(records) < count:
        expect(time.monotonic() < deadline, f"{len(records)} of {count} records in {seconds} s")
        for batch in (await reader.getmany(timeout_ms=200)).values():
            records.extend(batch)
    return records


async def raises(error, awaitable, what):
    try:
        await awaitable
    except error:
        return
    raise AssertionError(f"{what}: no {error.__name__}")


async def create_topics(admin):
    names = [unique("aiokafka"), unique("aiokafka")]
    answer = await admin.create_topics([NewTopic(name, 3, 1) for name in names])
    expect_equal([code for _, code, *_ in answer.topic_errors], [0, 0], "codes")

    async def listed():
        return set(names) <= set(await admin.list_topics())

    await wait_for(listed, 5, "both are listed")
    counts = [len(topic["partitions"]) for topic in await admin.describe_topics(names)]
    expect_equal(counts, [3, 3], "partitions")


async def create_with_errors(admin):
    topic = await create(admin, unique("errors"))
    for new, wanted in [
        (NewTopic(topic, 1, 1), 36),
        (NewTopic(unique("p"), 0, 1), 37),
        (NewTopic(unique("r"), 1, 3), 38),
        (NewTopic(unique("c"), 1, 1, topic_configs={"no.such.key": "1"}), 40),
        (NewTopic("not a name", 1, 1), 17),
    ]:
        answer = await admin.create_topics([new])
        expect_equal([code for _, code, *_ in answer.topic_errors], [wanted], new.name)


def codec(name):
    async def check(admin):
        topic = await create(admin, unique(f"codec-{name}"))
        records = checks.sample(name, nulls=False)
        compression = None if name == "none" else name
        async with producer(compression_type=compression, linger_ms=20) as sender:
            futures = [await sender.send(topic, value, key=key, headers=headers)
                       for key, value, headers in records]
            expect_equal([(await future).offset for future in futures], list(range(len(records))),
                         "offsets")
        async with consumer(topic) as reader:
            got = [(r.key, r.value, list(r.headers)) for r in await read(reader, len(records))]
        expect_equal(got, records, "records")

    return check


async def idempotent(admin):
    topic = await create(admin, unique("idempotent"))
    values = [str(n).encode() for n in range(500)]
    expect_equal(await send(topic, values, enable_idempotence=True), list(range(500)), "offsets")
    async with consumer(topic) as reader:
        expect_equal([r.value for r in await read(reader, 500)], values, "values")


async def by_time(admin):
    topic = await create(admin, unique("time"))
    start = int(time.time() * 1000) - 100_000
    async with producer() as sender:
        for n in range(100):
            await sender.send(topic, str(n).encode(), timestamp_ms=start + n * 1000)
    partition = TopicPartition(topic, 0)
    async with consumer() as reader:
        reader.assign([partition])
        for at, wanted in [(start - 5, 0), (start + 41_500, 42), (start + 99_000, 99)]:
            found = (await reader.offsets_for_times({partition: at}))[partition]
            expect_equal((found.offset, found.timestamp), (wanted, start + wanted * 1000), str(at))
        found = (await reader.offsets_for_times({partition: start + 200_000}))[partition]
        expect_equal(found, None, "after the end")
        reader.seek(partition, 42)
        expect_equal((await read(reader, 1))[0].value, b"42", "record")
        ends = (await reader.beginning_offsets([partition]), await reader.end_offsets([partition]))
        expect_equal([end[partition] for end in ends], [0, 100], "ends")


async def group_of_two(admin):
    topic, group = await create(admin, unique("group"), 4), unique("group")
    async with consumer(topic, group=group) as first:
        await wait_for(lambda: len(first.assignment()) == 4, SECONDS, "one member")
        async with consumer(topic, group=group) as second:
            await wait_for(lambda: len(first.assignment()) == len(second.assignment()) == 2,
                           SECONDS, "two halves")
            expect(not first.assignment() & second.assignment(), "no partition is shared")
            (described,) = (await admin.describe_consumer_groups([group]))[0].groups
            expect_equal((described[2], len(described[5])), ("Stable", 2), "state")
        await wait_for(lambda: len(first.assignment()) == 4, SECONDS,
                       "all partitions after the other left")
        for partition in range(4):
            await send(topic, [b"x"] * 5, partition=partition)
        await read(first, 20)


async def commit_and_restart(admin):
    topic, group = await create(admin, unique("commit")), unique("commit")
    await send(topic, [str(n).encode() for n in range(20)])
    partition = TopicPartition(topic, 0)
    async with consumer(topic, group=group) as first:
        await read(first, 20)
        await first.commit({partition: (8, "note")})
    async with consumer(topic, group=group) as second:
        expect_equal(await second.committed(partition), 8, "committed")
        expect_equal([r.value for r in await read(second, 12)],
                     [str(n).encode() for n in range(8, 20)], "records after the restart")
    offsets = await admin.list_consumer_group_offsets(group)
    expect_equal(offsets[partition][:2], (8, "note"), "offsets by the admin client")
    groups = [name for name, *_ in await admin.list_consumer_groups()]
    expect(group in groups, "the group is listed")


async def configs(admin):
    topic = await create(admin, unique("configs"))

    async def described(key):
        resource = ConfigResource(ConfigResourceType.TOPIC, topic)
        (answer,) = await admin.describe_configs([resource])
        (result,) = answer.resources
        expect_equal(result[0], 0, "code")
        return {entry[0]: entry[1] for entry in result[4]}[key]

    expect_equal(await described("retention.ms"), "604800000", "default")
    resource = ConfigResource(ConfigResourceType.TOPIC, topic, configs={"retention.ms": "1234567"})
    await admin.alter_configs([resource])

    async def changed():
        return await described("retention.ms") == "1234567"

    await wait_for(changed, 5, "the value")


async def create_partitions(admin):
    topic = await create(admin, unique("grow"), 2)
    await admin.create_partitions({topic: NewPartitions(5)})

    async def five():
        (described,) = await admin.describe_topics([topic])
        return len(described["partitions"]) == 5

    await wait_for(five, 5, "five partitions")
    await raises(errors.InvalidPartitionsError, admin.create_partitions({topic: NewPartitions(3)}),
                 "fewer")


async def delete_records(admin):
    topic = await create(admin, unique("trim"))
    await send(topic, [str(n).encode() for n in range(10)])
    partition = TopicPartition(topic, 0)
    done = await admin.delete_records({partition: RecordsToDelete(4)})
    expect_equal(done, {partition: 4}, "low watermark")
    async with consumer(topic) as reader:
        expect_equal((await read(reader, 1))[0].offset, 4, "first offset")
    await raises(errors.OffsetOutOfRangeError,
                 admin.delete_records({partition: RecordsToDelete(11)}), "beyond the end")


async def too_large_message(admin):
    topic = await create(admin, unique("large"), max_message_bytes="10000")
    await raises(errors.MessageSizeTooLargeError, send(topic, [b"x" * 20_000]), "20 kB")
    expect_equal(await send(topic, [b"x" * 5_000]), [0], "offset of a small one")


async def transactions(admin):
    topic = await create(admin, unique("txn"))
    async with producer(transactional_id=unique("txn-id")) as sender:
        for n in range(6):
            await sender.begin_transaction()
            await sender.send_and_wait(topic, str(n).encode(), partition=0)
            if n % 2:
                await sender.abort_transaction()
            else:
                await sender.commit_transaction()
    for isolation, wanted in [("read_committed", "024"), ("read_uncommitted", "012345")]:
        async with consumer(topic, isolation_level=isolation) as reader:
            values = [record.value for record in await read(reader, len(wanted))]
        expect_equal(b"".join(values), wanted.encode(), isolation)


async def offsets_in_transactions(admin):
    source, target = await create(admin, unique("from")), await create(admin, unique("to"))
    await send(source, [str(n).encode() for n in range(10)])
    group, partition = unique("txn-group"), TopicPartition(source, 0)
    async with producer(transactional_id=unique("txn-id")) as sender:
        for upto, commit in [(4, True), (10, False), (10, True)]:
            start = 0 if upto == 4 else 4
            await sender.begin_transaction()
            for n in range(start, upto):
                await sender.send(target, str(n).encode(), partition=0)
            await sender.send_offsets_to_transaction({partition: upto}, group)
            if commit:
                await sender.commit_transaction()
            else:
                await sender.abort_transaction()

            async def committed(wanted=upto if commit else 4):
                found = (await admin.list_consumer_group_offsets(group)).get(partition)
                return found is not None and found.offset == wanted

            # The answer to the end does not wait for its markers.
            await wait_for(committed, SECONDS, f"offset after {upto}, {commit}")
    async with consumer(target, isolation_level="read_committed") as reader:
        values = [record.value for record in await read(reader, 10)]
    expect_equal(b"".join(values), b"0123456789", "each record once")


async def a_second_producer_fences_the_first(admin):
    topic, transactional_id = await create(admin, unique("fenced")), unique("txn-id")
    first = producer(transactional_id=transactional_id)
    await first.start()
    await first.begin_transaction()
    await first.send_and_wait(topic, b"lost", partition=0)
    async with producer(transactional_id=transactional_id) as second:
        async with second.transaction():
            await second.send_and_wait(topic, b"kept", partition=0)
    await raises(errors.ProducerFenced, first.commit_transaction(), "commit of the first")
    await first.stop()
    async with consumer(topic, isolation_level="read_committed") as reader:
        values = [record.value for record in await read(reader, 1)]
    expect_equal(values, [b"kept"], "records")


async def cluster(admin):
    described = await admin.describe_cluster()
    host, port = BOOTSTRAP.rsplit(":", 1)
    expect_equal([(b["host"], b["port"]) for b in described["brokers"]], [(host, int(port))],
                 "brokers")


async def delete_topic(admin):
    topic = await create(admin, unique("delete"))
    await send(topic, [b"x"])
    answer = await admin.delete_topics([topic])
    expect_equal([tuple(t[:2]) for t in answer.topic_error_codes], [(topic, 0)], "codes")

    async def gone():
        return topic not in await admin.list_topics()

    await wait_for(gone, 5, "the topic is gone")


CHECKS = [
    ("create_topics", create_topics),
    ("create_with_errors", create_with_errors),
    *[(f"produce_and_consume_{name}", codec(name)) for name in checks.CODECS],
    ("idempotent", idempotent),
    ("by_time", by_time),
    ("group_of_two", group_of_two),
    ("commit_and_restart", commit_and_restart),
    ("configs", configs),
    ("create_partitions", create_partitions),
    ("delete_records", delete_records),
    ("too_large_message", too_large_message),
    ("transactions", transactions),
    ("offsets_in_transactions", offsets_in_transactions),
    ("a_second_producer_fences_the_first", a_second_producer_fences_the_first),
    ("cluster", cluster),
    ("delete_topic", delete_topic),
]


async def main():
    admin = AIOKafkaAdminClient(bootstrap_servers=BOOTSTRAP)
    await admin.start()
    for name, check in CHECKS:
        error = None
        try:
            await asyncio.wait_for(check(admin), checks.CHECK_SECONDS)
        except Exception as raised:  # whatever the client throws is the reason
            error = raised
        checks.report(name, error)
    await admin.close()


asyncio.run(main())
