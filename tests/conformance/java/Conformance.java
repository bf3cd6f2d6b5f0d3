// The Java client against a broker: prints one line per check, as checks.py says.

import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.CreateTopicsOptions;
import org.apache.kafka.clients.admin.GroupListing;
import org.apache.kafka.clients.admin.ListTransactionsOptions;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.admin.TransactionDescription;
import org.apache.kafka.clients.admin.TransactionState;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.consumer.OffsetOutOfRangeException;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.GroupIdNotFoundException;
import org.apache.kafka.common.errors.GroupNotEmptyException;
import org.apache.kafka.common.errors.InvalidConfigurationException;
import org.apache.kafka.common.errors.InvalidPartitionsException;
import org.apache.kafka.common.errors.InvalidReplicationFactorException;
import org.apache.kafka.common.errors.InvalidTopicException;
import org.apache.kafka.common.errors.ProducerFencedException;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Every check is a method; `main` runs them in order, each with a bound on its time. */
public final class Conformance extends Checks {
    private static final int CHECK_SECONDS = 40;
    private static final int SECONDS = 15;

    private final String bootstrap;
    private final Admin admin;

    private Conformance(String bootstrap) {
        this.bootstrap = bootstrap;
        this.admin = Admin.create(Map.of("bootstrap.servers", bootstrap));
    }

    public static void main(String[] arguments) {
        new Conformance(option(arguments, "--bootstrap", "127.0.0.1:9092")).all();
        System.exit(0);
    }

    private void all() {
        check("create_topics", this::createTopics);
        check("create_with_errors", this::createWithErrors);
        check("create_validate_only", this::createValidateOnly);
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            check("produce_and_consume_" + codec, () -> codec(codec));
        }
        check("idempotent", this::idempotent);
        check("not_idempotent", this::notIdempotent);
        check("by_time", this::byTime);
        check("list_offsets", this::listOffsets);
        check("group_of_two", () -> groupOfTwo(Map.of()));
        check("group_of_two_cooperative", () -> groupOfTwo(
            Map.of("partition.assignment.strategy", CooperativeStickyAssignor.class.getName())));
        check("commit_and_restart", this::commitAndRestart);
        check("groups_admin", this::groupsAdmin);
        check("configs", this::configs);
        check("broker_configs", this::brokerConfigs);
        check("create_partitions", this::createPartitions);
        check("delete_records", this::deleteRecords);
        check("offset_out_of_range", this::offsetOutOfRange);
        check("too_large_message", this::tooLargeMessage);
        check("unknown_topic", this::unknownTopic);
        check("transactions", this::transactions);
        check("offsets_in_transactions", this::offsetsInTransactions);
        check("a_second_producer_fences_the_first", this::aSecondProducerFencesTheFirst);
        check("transactions_seen_by_operators", this::transactionsSeenByOperators);
        check("pushes_its_metrics", this::pushesItsMetrics);
        check("cluster", this::cluster);
        check("topic_ids", this::topicIds);
        check("delete_topic", this::deleteTopic);
    }

    private static void check(String name, Check check) {
        check(name, CHECK_SECONDS, check);
    }

    private static void waitFor(Callable<Boolean> condition, int seconds, String what)
            throws Exception {
        waitFor(seconds, what, condition);
    }

    private static <T> T get(KafkaFuture<T> future) throws Exception {
        return future.get(SECONDS, TimeUnit.SECONDS);
    }

    private static void fails(Class<? extends Exception> wanted, Callable<?> call, String what)
            throws Exception {
        try {
            call.call();
        } catch (Exception failure) {
            Throwable cause = failure instanceof ExecutionException ? failure.getCause() : failure;
            expect(wanted.isInstance(cause), what + ": failed otherwise: " + cause);
            return;
        }
        throw new AssertionError(what + ": did not fail with " + wanted.getSimpleName());
    }

    private String create(String name, int partitions, Map<String, String> configs)
            throws Exception {
        String topic = unique(name);
        get(admin.createTopics(
            List.of(new NewTopic(topic, partitions, (short) 1).configs(configs))).all());
        waitFor(() -> {
            try {
                return describe(topic).partitions().stream().allMatch(p -> p.leader() != null);
            } catch (ExecutionException notYet) {
                return false;
            }
        }, 5, "leaders of " + topic);
        return topic;
    }

    private TopicDescription describe(String topic) throws Exception {
        return get(admin.describeTopics(List.of(topic)).allTopicNames()).get(topic);
    }

    private KafkaProducer<byte[], byte[]> producer(Map<String, Object> more) {
        Map<String, Object> config = new HashMap<>(Map.of("bootstrap.servers", bootstrap));
        config.putAll(more);
        return new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer());
    }

    private KafkaConsumer<byte[], byte[]> consumer(String group, Map<String, Object> more) {
        Map<String, Object> config = new HashMap<>(Map.of(
            "bootstrap.servers", bootstrap, "group.id", group, "auto.offset.reset", "earliest",
            "enable.auto.commit", false, "session.timeout.ms", 6000,
            "heartbeat.interval.ms", 200));
        config.putAll(more);
        return new KafkaConsumer<>(
            config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    /** Sends numbers as values to partition 0 and returns the offsets. */
    private List<Long> sendNumbers(String topic, int from, int to, Map<String, Object> config)
            throws Exception {
        try (KafkaProducer<byte[], byte[]> producer = producer(config)) {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (int n = from; n < to; n++) {
                sent.add(producer.send(new ProducerRecord<>(topic, 0, null, bytes("" + n))));
            }
            List<Long> offsets = new ArrayList<>();
            for (Future<RecordMetadata> one : sent) {
                offsets.add(one.get(SECONDS, TimeUnit.SECONDS).offset());
            }
            return offsets;
        }
    }

    private static List<ConsumerRecord<byte[], byte[]>> read(
            KafkaConsumer<byte[], byte[]> consumer, int count) {
        List<ConsumerRecord<byte[], byte[]>> records = new ArrayList<>();
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(SECONDS);
        while (records.size() < count) {
            expect(System.nanoTime() < deadline, records.size() + " of " + count + " records");
            consumer.poll(Duration.ofMillis(200)).forEach(records::add);
        }
        return records;
    }

    private List<ConsumerRecord<byte[], byte[]>> readAll(String topic, int count) {
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(unique("reader"), Map.of())) {
            TopicPartition partition = new TopicPartition(topic, 0);
            consumer.assign(List.of(partition));
            consumer.seekToBeginning(List.of(partition));
            return read(consumer, count);
        }
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private static String text(byte[] bytes) {
        return bytes == null ? null : new String(bytes, StandardCharsets.UTF_8);
    }

    private static List<String> values(List<ConsumerRecord<byte[], byte[]>> records) {
        return records.stream().map(record -> text(record.value())).toList();
    }

    private static List<String> numbers(int from, int to) {
        List<String> numbers = new ArrayList<>();
        for (int n = from; n < to; n++) {
            numbers.add("" + n);
        }
        return numbers;
    }

    private void createTopics() throws Exception {
        String name = unique("java");
        NewTopic wanted = new NewTopic(name, Optional.of(3), Optional.empty())
            .configs(Map.of("retention.ms", "86400000"));
        var result = admin.createTopics(List.of(wanted));
        expectEqual(get(result.numPartitions(name)), 3, "partitions in the answer");
        expectEqual(get(result.replicationFactor(name)), 1, "replicas in the answer");
        expectEqual(get(result.config(name)).get("retention.ms").value(), "86400000", "config");
        waitFor(() -> get(admin.listTopics().names()).contains(name), 5, "the topic is listed");
        expectEqual(describe(name).partitions().size(), 3, "partitions described");
    }

    private void createWithErrors() throws Exception {
        String topic = create("errors", 1, Map.of());
        Map<NewTopic, Class<? extends Exception>> wrong = new HashMap<>();
        wrong.put(new NewTopic(topic, 1, (short) 1), TopicExistsException.class);
        wrong.put(new NewTopic(unique("p"), 0, (short) 1), InvalidPartitionsException.class);
        wrong.put(new NewTopic(unique("r"), 1, (short) 3),
            InvalidReplicationFactorException.class);
        wrong.put(new NewTopic(unique("c"), 1, (short) 1).configs(Map.of("no.such.key", "1")),
            InvalidConfigurationException.class);
        wrong.put(new NewTopic("not a name", 1, (short) 1), InvalidTopicException.class);
        for (var entry : wrong.entrySet()) {
            fails(entry.getValue(),
                () -> get(admin.createTopics(List.of(entry.getKey())).all()),
                entry.getKey().toString());
        }
    }

    private void createValidateOnly() throws Exception {
        String name = unique("validate");
        get(admin.createTopics(List.of(new NewTopic(name, 1, (short) 1)),
            new CreateTopicsOptions().validateOnly(true)).all());
        expect(!get(admin.listTopics().names()).contains(name), "validateOnly created the topic");
    }

    private void codec(String codec) throws Exception {
        String topic = create("codec-" + codec, 1, Map.of());
        List<String> sent = new ArrayList<>();
        try (KafkaProducer<byte[], byte[]> producer =
                producer(Map.of("compression.type", codec, "linger.ms", 50))) {
            for (int n = 0; n < 150; n++) {
                byte[] key = n % 7 == 0 ? null : bytes("key-" + n % 10);
                byte[] value = n % 11 == 5 ? null
                    : n % 13 == 6 ? new byte[0] : bytes((codec + " " + n + " ").repeat(n % 40));
                ProducerRecord<byte[], byte[]> record =
                    new ProducerRecord<>(topic, 0, 1_700_000_000_000L + n, key, value);
                if (n % 3 == 0) {
                    record.headers().add("name", bytes(codec)).add("name", bytes("again"))
                        .add("null", null).add("empty", new byte[0]);
                }
                sent.add(show(key, value, record.headers().toArray(), record.timestamp()));
                producer.send(record);
            }
        }
        List<String> got = readAll(topic, sent.size()).stream().map(record ->
            show(record.key(), record.value(), record.headers().toArray(), record.timestamp()))
            .toList();
        expectEqual(got, sent, "records");
    }

    private static String show(byte[] key, byte[] value, Header[] headers, long timestamp) {
        StringBuilder shown = new StringBuilder();
        shown.append(text(key)).append('=').append(text(value)).append('@').append(timestamp);
        for (Header header : headers) {
            shown.append(' ').append(header.key()).append(':').append(text(header.value()));
        }
        return shown.toString();
    }

    private void idempotent() throws Exception {
        String topic = create("idempotent", 1, Map.of());
        List<Long> offsets =
            sendNumbers(topic, 0, 2000, Map.of("enable.idempotence", true, "batch.size", 500));
        expectEqual(offsets, numbers(0, 2000), "offsets");
        expectEqual(values(readAll(topic, 2000)), numbers(0, 2000), "values");
    }

    private void notIdempotent() throws Exception {
        String topic = create("plain", 1, Map.of());
        sendNumbers(topic, 0, 10, Map.of("enable.idempotence", false, "acks", "1"));
        sendNumbers(topic, 10, 20, Map.of("enable.idempotence", false, "acks", "0"));
        expectEqual(values(readAll(topic, 20)), numbers(0, 20), "values");
    }

    private KafkaProducer<byte[], byte[]> transactional(String id) {
        KafkaProducer<byte[], byte[]> producer = producer(Map.of("transactional.id", id));
        producer.initTransactions();
        return producer;
    }

    private List<String> readIsolated(String topic, String isolation, int count) {
        try (KafkaConsumer<byte[], byte[]> consumer =
                consumer(unique("reader"), Map.of("isolation.level", isolation))) {
            TopicPartition partition = new TopicPartition(topic, 0);
            consumer.assign(List.of(partition));
            consumer.seekToBeginning(List.of(partition));
            return values(read(consumer, count));
        }
    }

    private void transactions() throws Exception {
        String topic = create("txn", 1, Map.of());
        try (KafkaProducer<byte[], byte[]> producer = transactional(unique("txn-id"))) {
            for (int n = 0; n < 6; n++) {
                producer.beginTransaction();
                producer.send(new ProducerRecord<>(topic, 0, null, bytes("" + n)));
                // What is not sent yet would be dropped by an abort.
                producer.flush();
                if (n % 2 == 0) {
                    producer.commitTransaction();
                } else {
                    producer.abortTransaction();
                }
            }
        }
        expectEqual(readIsolated(topic, "read_committed", 3), List.of("0", "2", "4"), "committed");
        expectEqual(readIsolated(topic, "read_uncommitted", 6), numbers(0, 6), "all");
    }

    private void offsetsInTransactions() throws Exception {
        String source = create("from", 1, Map.of());
        String target = create("to", 1, Map.of());
        sendNumbers(source, 0, 10, Map.of());
        TopicPartition partition = new TopicPartition(source, 0);
        try (KafkaProducer<byte[], byte[]> producer = transactional(unique("txn-id"));
                KafkaConsumer<byte[], byte[]> consumer = consumer(unique("group"), Map.of())) {
            consumer.subscribe(List.of(source));
            expectEqual(values(read(consumer, 10)), numbers(0, 10), "read");
            int[][] steps = {{0, 4, 1}, {4, 10, 0}, {4, 10, 1}};
            for (int[] step : steps) {
                producer.beginTransaction();
                for (int n = step[0]; n < step[1]; n++) {
                    producer.send(new ProducerRecord<>(target, 0, null, bytes("" + n)));
                }
                producer.sendOffsetsToTransaction(
                    Map.of(partition, new OffsetAndMetadata(step[1])), consumer.groupMetadata());
                if (step[2] == 1) {
                    producer.commitTransaction();
                } else {
                    producer.abortTransaction();
                }
                long committed = consumer.committed(Set.of(partition)).get(partition).offset();
                expectEqual(committed, step[2] == 1 ? (long) step[1] : 4L, "offset");
            }
        }
        expectEqual(readIsolated(target, "read_committed", 10), numbers(0, 10), "each once");
    }

    private void aSecondProducerFencesTheFirst() throws Exception {
        String topic = create("fenced", 1, Map.of());
        String id = unique("txn-id");
        KafkaProducer<byte[], byte[]> first = transactional(id);
        first.beginTransaction();
        first.send(new ProducerRecord<>(topic, 0, null, bytes("lost"))).get(
            SECONDS, TimeUnit.SECONDS);
        try (KafkaProducer<byte[], byte[]> second = transactional(id)) {
            second.beginTransaction();
            second.send(new ProducerRecord<>(topic, 0, null, bytes("kept")));
            second.commitTransaction();
        }
        fails(ProducerFencedException.class, () -> {
            first.commitTransaction();
            return null;
        }, "commit of the first");
        first.close(Duration.ZERO);
        expectEqual(readIsolated(topic, "read_committed", 1), List.of("kept"), "records");
    }

    private void transactionsSeenByOperators() throws Exception {
        String topic = create("seen", 1, Map.of());
        String id = unique("txn-id");
        try (KafkaProducer<byte[], byte[]> producer = transactional(id)) {
            producer.beginTransaction();
            producer.send(new ProducerRecord<>(topic, 0, null, bytes("x"))).get(
                SECONDS, TimeUnit.SECONDS);
            TransactionDescription seen =
                get(admin.describeTransactions(List.of(id)).all()).get(id);
            expectEqual(seen.state(), TransactionState.ONGOING, "state");
            expectEqual(seen.topicPartitions(), Set.of(new TopicPartition(topic, 0)), "partitions");
            ListTransactionsOptions ongoing = new ListTransactionsOptions()
                .filterStates(Set.of(TransactionState.ONGOING))
                .filterOnTransactionalIdPattern(id);
            expectEqual(get(admin.listTransactions(ongoing).all()).size(), 1, "listed");
            producer.abortTransaction();
            waitFor(() -> get(admin.describeTransactions(List.of(id)).all()).get(id).state()
                == TransactionState.COMPLETE_ABORT, SECONDS, "the abort");
        }
    }

    private void byTime() throws Exception {
        String topic = create("time", 1, Map.of());
        TopicPartition partition = new TopicPartition(topic, 0);
        long start = System.currentTimeMillis() - 100_000;
        try (KafkaProducer<byte[], byte[]> producer = producer(Map.of())) {
            for (int n = 0; n < 100; n++) {
                producer.send(
                    new ProducerRecord<>(topic, 0, start + n * 1000L, null, bytes("" + n)));
            }
        }
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(unique("time"), Map.of())) {
            for (long[] pair : new long[][] {{-5, 0}, {41_500, 42}, {99_000, 99}}) {
                OffsetAndTimestamp found = consumer
                    .offsetsForTimes(Map.of(partition, start + pair[0])).get(partition);
                expectEqual(found.offset(), pair[1], "offset at " + pair[0]);
                expectEqual(found.timestamp(), start + pair[1] * 1000, "time at " + pair[0]);
            }
            expectEqual(consumer.offsetsForTimes(Map.of(partition, start + 200_000))
                .get(partition), null, "after the end");
            consumer.assign(List.of(partition));
            consumer.seek(partition, 42);
            expectEqual(text(read(consumer, 1).get(0).value()), "42", "record");
        }
    }

    private void listOffsets() throws Exception {
        String topic = create("offsets", 1, Map.of());
        TopicPartition partition = new TopicPartition(topic, 0);
        sendNumbers(topic, 0, 7, Map.of());
        Map<OffsetSpec, Long> specs = Map.of(OffsetSpec.earliest(), 0L, OffsetSpec.latest(), 7L,
            OffsetSpec.maxTimestamp(), 6L, OffsetSpec.earliestLocal(), 0L);
        for (var entry : specs.entrySet()) {
            var found = get(admin.listOffsets(Map.of(partition, entry.getKey())).all());
            long offset = found.get(partition).offset();
            // Records of one batch may share the largest timestamp: the first of them counts.
            boolean latest = entry.getKey() instanceof OffsetSpec.MaxTimestampSpec;
            expect(offset == entry.getValue() || latest && offset >= 0 && offset < 7,
                entry.getKey() + ": got " + offset);
        }
    }

    private void groupOfTwo(Map<String, Object> options) throws Exception {
        String topic = create("group", 4, Map.of());
        String group = unique("group");
        try (KafkaConsumer<byte[], byte[]> first = consumer(group, options)) {
            first.subscribe(List.of(topic));
            waitFor(() -> {
                first.poll(Duration.ofMillis(50));
                return first.assignment().size() == 4;
            }, SECONDS, "one member");
            try (KafkaConsumer<byte[], byte[]> second = consumer(group, options)) {
                second.subscribe(List.of(topic));
                waitFor(() -> {
                    first.poll(Duration.ofMillis(50));
                    second.poll(Duration.ofMillis(50));
                    return first.assignment().size() == 2 && second.assignment().size() == 2;
                }, SECONDS, "two halves");
                Set<Integer> all = new TreeSet<>();
                first.assignment().forEach(partition -> all.add(partition.partition()));
                second.assignment().forEach(partition -> all.add(partition.partition()));
                expectEqual(all, "[0, 1, 2, 3]", "partitions of both");
                var described =
                    get(admin.describeConsumerGroups(List.of(group)).all()).get(group);
                expectEqual(described.groupState() + " " + described.members().size(), "Stable 2",
                    "state");
            }
            waitFor(() -> {
                first.poll(Duration.ofMillis(50));
                return first.assignment().size() == 4;
            }, SECONDS, "all partitions after the other left");
            sendNumbers(topic, 0, 20, Map.of());
            expectEqual(values(read(first, 20)), numbers(0, 20), "values");
        }
    }

    private void commitAndRestart() throws Exception {
        String topic = create("commit", 1, Map.of());
        String group = unique("commit");
        TopicPartition partition = new TopicPartition(topic, 0);
        sendNumbers(topic, 0, 20, Map.of());
        try (KafkaConsumer<byte[], byte[]> first =
                consumer(group, Map.of("max.poll.records", 8))) {
            first.subscribe(List.of(topic));
            read(first, 8);
            first.commitSync(
                Map.of(partition, new OffsetAndMetadata(8, Optional.of(0), "note")));
        }
        try (KafkaConsumer<byte[], byte[]> second = consumer(group, Map.of())) {
            OffsetAndMetadata committed = second.committed(Set.of(partition)).get(partition);
            expectEqual(committed.offset() + committed.metadata() + committed.leaderEpoch(),
                "8noteOptional[0]", "committed");
            second.subscribe(List.of(topic));
            expectEqual(values(read(second, 12)), numbers(8, 20), "values after the restart");
        }
    }

    private void groupsAdmin() throws Exception {
        String topic = create("admin", 1, Map.of());
        String group = unique("admin");
        TopicPartition partition = new TopicPartition(topic, 0);
        sendNumbers(topic, 0, 10, Map.of());
        try (KafkaConsumer<byte[], byte[]> member = consumer(group, Map.of())) {
            member.subscribe(List.of(topic));
            read(member, 10);
            member.commitSync();
            fails(GroupNotEmptyException.class,
                () -> get(admin.deleteConsumerGroups(List.of(group)).all()), "with a member");
        }
        List<String> listed =
            get(admin.listGroups().all()).stream().map(GroupListing::groupId).toList();
        expect(listed.contains(group), "the group is listed");
        get(admin.alterConsumerGroupOffsets(
            group, Map.of(partition, new OffsetAndMetadata(3))).all());
        var offsets =
            get(admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata());
        expectEqual(offsets.get(partition).offset(), 3, "offset after the change");
        get(admin.deleteConsumerGroupOffsets(group, Set.of(partition)).all());
        fails(GroupIdNotFoundException.class,
            () -> get(admin.deleteConsumerGroups(List.of(unique("no-such"))).all()), "no group");
        try {
            get(admin.deleteConsumerGroups(List.of(group)).all());
        } catch (ExecutionException gone) {
            // A group without members and offsets may have ended by itself.
            expect(gone.getCause() instanceof GroupIdNotFoundException, "deletion: " + gone);
        }
        waitFor(() -> get(admin.listGroups().all()).stream()
            .noneMatch(found -> found.groupId().equals(group)), 5, "the group is gone");
    }

    private String described(ConfigResource resource, String key) throws Exception {
        Config config = get(admin.describeConfigs(List.of(resource)).all()).get(resource);
        return config.get(key).value() + " " + config.get(key).source();
    }

    private void alter(ConfigResource resource, String key, String value, AlterConfigOp.OpType op)
            throws Exception {
        AlterConfigOp change = new AlterConfigOp(new ConfigEntry(key, value), op);
        get(admin.incrementalAlterConfigs(Map.of(resource, List.of(change))).all());
    }

    private void configs() throws Exception {
        ConfigResource topic =
            new ConfigResource(ConfigResource.Type.TOPIC, create("configs", 1, Map.of()));
        expectEqual(described(topic, "retention.ms"), "604800000 DEFAULT_CONFIG", "default");
        alter(topic, "retention.ms", "1234567", AlterConfigOp.OpType.SET);
        waitFor(() -> described(topic, "retention.ms").equals("1234567 DYNAMIC_TOPIC_CONFIG"), 5,
            "the value");
        alter(topic, "cleanup.policy", "compact", AlterConfigOp.OpType.APPEND);
        waitFor(() -> described(topic, "cleanup.policy").startsWith("delete,compact "), 5,
            "the list with one more");
        alter(topic, "cleanup.policy", "compact", AlterConfigOp.OpType.SUBTRACT);
        waitFor(() -> described(topic, "cleanup.policy").startsWith("delete "), 5, "the list");
        alter(topic, "retention.ms", null, AlterConfigOp.OpType.DELETE);
        waitFor(() -> described(topic, "retention.ms").startsWith("604800000 "), 5, "the default");
        for (String value : List.of("never", "-2")) {
            fails(InvalidConfigurationException.class, () -> {
                alter(topic, "retention.ms", value, AlterConfigOp.OpType.SET);
                return null;
            }, "retention.ms=" + value);
        }
        ConfigResource nowhere = new ConfigResource(ConfigResource.Type.TOPIC, unique("nowhere"));
        fails(UnknownTopicOrPartitionException.class,
            () -> described(nowhere, "retention.ms"), "an unknown topic");
    }

    private void brokerConfigs() throws Exception {
        String id = get(admin.describeCluster().nodes()).iterator().next().idString();
        ConfigResource broker = new ConfigResource(ConfigResource.Type.BROKER, id);
        expect(described(broker, "message.max.bytes").startsWith("1048588 "), "message.max.bytes");
        alter(broker, "log.retention.ms", "987654321", AlterConfigOp.OpType.SET);
        waitFor(() -> described(broker, "log.retention.ms")
            .equals("987654321 DYNAMIC_BROKER_CONFIG"), 5, "a dynamic value");
        alter(broker, "log.retention.ms", null, AlterConfigOp.OpType.DELETE);
        waitFor(() -> !described(broker, "log.retention.ms").startsWith("987654321"), 5,
            "the value is gone");
    }

    private void pushesItsMetrics() throws Exception {
        String page = System.getenv("CORELANE_ADMIN");
        if (page == null || page.isEmpty()) {
            // Kafka needs a plug-in, and shows nothing.
            return;
        }
        String topic = create("telemetry", 1, Map.of());
        String client = unique("telemetry");
        ConfigResource subscription =
            new ConfigResource(ConfigResource.Type.CLIENT_METRICS, unique("subscription"));
        alter(subscription, "interval.ms", "300", AlterConfigOp.OpType.SET);
        alter(subscription, "match", "client_id=" + client, AlterConfigOp.OpType.SET);
        alter(subscription, "metrics", "*", AlterConfigOp.OpType.SET);
        Map<String, Object> named = Map.of("client.id", client);
        try (KafkaProducer<byte[], byte[]> producer = producer(named);
                KafkaConsumer<byte[], byte[]> consumer = consumer(unique("telemetry"), named)) {
            consumer.assign(List.of(new TopicPartition(topic, 0)));
            for (String line : List.of("producer_record_send_total", "consumer_fetch_manager_")) {
                waitFor(() -> {
                    producer.send(new ProducerRecord<>(topic, new byte[10])).get();
                    consumer.poll(Duration.ofMillis(20));
                    return shows(page, "corelane_client_" + line, client);
                }, 30, line);
            }
            Duration patience = Duration.ofSeconds(SECONDS);
            for (Uuid id : List.of(
                    producer.clientInstanceId(patience), consumer.clientInstanceId(patience))) {
                expect(shows(page, "corelane_client_info", id.toString()), "the instance " + id);
            }
        }
    }

    /** Whether the metrics page has a series of a name that begins so, with this in its labels. */
    private static boolean shows(String page, String name, String label) throws Exception {
        try (var body = URI.create("http://" + page + "/metrics").toURL().openStream()) {
            return new String(body.readAllBytes(), StandardCharsets.UTF_8).lines()
                .anyMatch(line -> line.startsWith(name) && line.contains("\"" + label + "\""));
        }
    }

    private void createPartitions() throws Exception {
        String topic = create("grow", 2, Map.of());
        get(admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(5))).all());
        waitFor(() -> describe(topic).partitions().size() == 5, 5, "five partitions");
        fails(InvalidPartitionsException.class,
            () -> get(admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(3))).all()),
            "fewer");
    }

    private void deleteRecords() throws Exception {
        String topic = create("trim", 1, Map.of());
        TopicPartition partition = new TopicPartition(topic, 0);
        sendNumbers(topic, 0, 10, Map.of());
        var deleted = admin.deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(4)));
        expectEqual(get(deleted.lowWatermarks().get(partition)).lowWatermark(), 4, "watermark");
        expectEqual(values(readAll(topic, 6)), numbers(4, 10), "values");
        fails(org.apache.kafka.common.errors.OffsetOutOfRangeException.class,
            () -> get(admin.deleteRecords(
                Map.of(partition, RecordsToDelete.beforeOffset(11))).all()), "beyond the end");
    }

    private void offsetOutOfRange() throws Exception {
        String topic = create("range", 1, Map.of());
        TopicPartition partition = new TopicPartition(topic, 0);
        sendNumbers(topic, 0, 3, Map.of());
        try (KafkaConsumer<byte[], byte[]> consumer =
                consumer(unique("range"), Map.of("auto.offset.reset", "none"))) {
            consumer.assign(List.of(partition));
            consumer.seek(partition, 1000);
            fails(OffsetOutOfRangeException.class, () -> read(consumer, 1), "offset 1000");
        }
    }

    private void tooLargeMessage() throws Exception {
        String topic = create("large", 1, Map.of("max.message.bytes", "10000"));
        try (KafkaProducer<byte[], byte[]> producer = producer(Map.of())) {
            fails(RecordTooLargeException.class, () -> producer.send(
                new ProducerRecord<>(topic, new byte[20_000])).get(SECONDS, TimeUnit.SECONDS),
                "20 kB");
            producer.send(new ProducerRecord<>(topic, new byte[5_000]))
                .get(SECONDS, TimeUnit.SECONDS);
        }
    }

    private void unknownTopic() throws Exception {
        fails(UnknownTopicOrPartitionException.class, () -> describe(unique("nowhere")),
            "describe");
        fails(UnknownTopicOrPartitionException.class,
            () -> get(admin.deleteTopics(List.of(unique("nowhere"))).all()), "delete");
    }

    private void cluster() throws Exception {
        var cluster = admin.describeCluster();
        Node node = get(cluster.nodes()).iterator().next();
        expectEqual(node.host() + ":" + node.port(), bootstrap, "node");
        expect(!get(cluster.clusterId()).isEmpty(), "a cluster id");
        expectEqual(get(cluster.controller()).id(), node.id(), "controller");
        expectEqual(get(admin.describeLogDirs(List.of(node.id())).allDescriptions()).size(), 1,
            "log directories");
        expect(get(admin.describeFeatures().featureMetadata()).finalizedFeatures() != null,
            "features");
    }

    private void topicIds() throws Exception {
        String topic = create("ids", 2, Map.of());
        var id = describe(topic).topicId();
        var byId = get(admin.describeTopics(
            org.apache.kafka.common.TopicCollection.ofTopicIds(List.of(id))).allTopicIds());
        expectEqual(byId.get(id).name(), topic, "name by id");
        get(admin.deleteTopics(
            org.apache.kafka.common.TopicCollection.ofTopicIds(List.of(id))).all());
        waitFor(() -> !get(admin.listTopics().names()).contains(topic), 5, "deleted by id");
    }

    private void deleteTopic() throws Exception {
        String topic = create("delete", 1, Map.of());
        sendNumbers(topic, 0, 3, Map.of());
        var id = describe(topic).topicId();
        get(admin.deleteTopics(List.of(topic)).all());
        waitFor(() -> !get(admin.listTopics().names()).contains(topic), 5, "the topic is gone");
        get(admin.createTopics(List.of(new NewTopic(topic, 1, (short) 1))).all());
        waitFor(() -> {
            try {
                return !describe(topic).topicId().equals(id);
            } catch (ExecutionException notYet) {
                return false;
            }
        }, 5, "another id");
        sendNumbers(topic, 5, 6, Map.of());
        expectEqual(values(readAll(topic, 1)), "[5]", "values of the topic made again");
    }
}
