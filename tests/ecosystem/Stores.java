// Two kinds of program that live on the broker's topics: one that reads `__consumer_offsets` to say
// how far groups are behind, and one whose store is a compacted topic, as a schema registry's is.
//
// Prints one line per check, and `please kill-broker`, see README.md.

import static java.util.concurrent.TimeUnit.SECONDS;

import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.UUID;
import java.util.concurrent.ConcurrentSkipListMap;
import java.util.concurrent.Future;
import java.util.function.Consumer;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.coordinator.common.runtime.CoordinatorRecord;
import org.apache.kafka.coordinator.group.GroupCoordinatorRecordSerde;
import org.apache.kafka.coordinator.group.generated.GroupMetadataKey;
import org.apache.kafka.coordinator.group.generated.GroupMetadataValue;
import org.apache.kafka.coordinator.group.generated.OffsetCommitKey;
import org.apache.kafka.coordinator.group.generated.OffsetCommitValue;

/** Checks of both programs against one broker. */
public final class Stores {
    private static final int CHECK_SECONDS = 90;
    private static final String OFFSETS = "__consumer_offsets";

    private final String bootstrap;
    private final String killsFile;
    private final int kills;
    private final String id = UUID.randomUUID().toString().substring(0, 8);
    private final Admin admin;
    private final KafkaProducer<String, String> producer;

    private Stores(String[] arguments) {
        bootstrap = Checks.option(arguments, "--bootstrap", null);
        killsFile = Checks.option(arguments, "--kills-file", null);
        kills = Integer.parseInt(Checks.option(arguments, "--kills", "1"));
        admin = Admin.create(Map.of("bootstrap.servers", bootstrap));
        producer = new KafkaProducer<>(
            Map.of("bootstrap.servers", bootstrap, "delivery.timeout.ms", 150_000,
                "enable.idempotence", true),
            new StringSerializer(), new StringSerializer());
    }

    public static void main(String[] arguments) {
        Stores stores = new Stores(arguments);
        Checks.check("lag_from_the_offsets_topic", CHECK_SECONDS, stores::lags);
        Checks.check("live_group_in_the_offsets_topic", CHECK_SECONDS, stores::liveGroup);
        Checks.check("deleted_group_leaves_tombstones", CHECK_SECONDS, stores::deletedGroup);
        Checks.check("store_reads_its_writes", CHECK_SECONDS, stores::readsItsWrites);
        Checks.check("store_survives_kills", 60 + 60 * stores.kills, stores::survivesKills);
        Checks.check("store_is_compacted", CHECK_SECONDS, stores::isCompacted);
        System.exit(0);
    }

    private String create(String name, int partitions, Map<String, String> configs)
            throws Exception {
        String topic = name + "-" + id;
        admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1).configs(configs)))
            .all().get(20, SECONDS);
        return topic;
    }

    // What a lag exporter does.

    /** What the offsets topic says in the end: its last value of each key, without tombstones. */
    private static final class OffsetsTopic {
        final Map<String, Map<TopicPartition, Long>> offsets = new TreeMap<>();
        final Map<String, GroupMetadataValue> groups = new TreeMap<>();
        int tombstones;

        void apply(CoordinatorRecord record, String wanted) {
            if (record.key() instanceof OffsetCommitKey key && key.group().equals(wanted)) {
                Map<TopicPartition, Long> group =
                    offsets.computeIfAbsent(key.group(), name -> new HashMap<>());
                TopicPartition partition = new TopicPartition(key.topic(), key.partition());
                if (record.value() == null) {
                    tombstones++;
                    group.remove(partition);
                } else {
                    group.put(partition, ((OffsetCommitValue) record.value().message()).offset());
                }
            } else if (record.key() instanceof GroupMetadataKey key && key.group().equals(wanted)) {
                if (record.value() == null) {
                    tombstones++;
                    groups.remove(key.group());
                } else {
                    groups.put(key.group(), (GroupMetadataValue) record.value().message());
                }
            }
        }
    }

    /** Reads the whole offsets topic with Kafka's own decoder of its records. */
    private OffsetsTopic readOffsets(String group) throws Exception {
        OffsetsTopic said = new OffsetsTopic();
        GroupCoordinatorRecordSerde serde = new GroupCoordinatorRecordSerde();
        int partitions = admin.describeTopics(List.of(OFFSETS)).allTopicNames().get(20, SECONDS)
            .get(OFFSETS).partitions().size();
        readToEnd(OFFSETS, partitions, record -> said.apply(serde.deserialize(
            ByteBuffer.wrap(record.key()),
            record.value() == null ? null : ByteBuffer.wrap(record.value())), group));
        return said;
    }

    private void readToEnd(String topic, int partitions,
            Consumer<ConsumerRecord<byte[], byte[]>> each) throws Exception {
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(
                Map.of("bootstrap.servers", bootstrap, "isolation.level", "read_committed"),
                new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            List<TopicPartition> all = new ArrayList<>();
            for (int n = 0; n < partitions; n++) {
                all.add(new TopicPartition(topic, n));
            }
            consumer.assign(all);
            consumer.seekToBeginning(all);
            Map<TopicPartition, Long> ends = consumer.endOffsets(all);
            Checks.waitFor(60, "the end of " + topic, () -> {
                consumer.poll(Duration.ofMillis(100)).forEach(each);
                return all.stream().allMatch(p -> consumer.position(p) >= ends.get(p));
            });
        }
    }

    private void lags() throws Exception {
        String topic = create("lag", 3, Map.of());
        String group = "lag-group-" + id;
        for (int n = 0; n < 300; n++) {
            producer.send(new ProducerRecord<>(topic, n % 3, "key", "value " + n));
        }
        producer.flush();
        try (KafkaConsumer<String, String> consumer = member(group)) {
            consumer.subscribe(List.of(topic));
            int[] seen = new int[1];
            Checks.waitFor(60, "150 records", () -> {
                seen[0] += consumer.poll(Duration.ofMillis(100)).count();
                return seen[0] >= 150;
            });
            Map<TopicPartition, OffsetAndMetadata> commit = new HashMap<>();
            consumer.assignment().forEach(partition ->
                commit.put(partition, new OffsetAndMetadata(40 + partition.partition(), "here")));
            consumer.commitSync(commit);
        }
        Map<TopicPartition, Long> asked = new HashMap<>();
        admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get(20, SECONDS)
            .forEach((partition, offset) -> asked.put(partition, offset.offset()));
        Map<TopicPartition, Long> read = readOffsets(group).offsets.get(group);
        Checks.expectEqual(new TreeMap<>(named(read)), new TreeMap<>(named(asked)), "offsets");
        Map<TopicPartition, OffsetSpec> latest = new HashMap<>();
        read.keySet().forEach(partition -> latest.put(partition, OffsetSpec.latest()));
        Map<String, Long> lag = new TreeMap<>();
        admin.listOffsets(latest).all().get(20, SECONDS).forEach((partition, end) ->
            lag.put("partition " + partition.partition(), end.offset() - read.get(partition)));
        Checks.expectEqual(lag, "{partition 0=60, partition 1=59, partition 2=58}", "lag");
    }

    private static Map<String, Long> named(Map<TopicPartition, Long> offsets) {
        Map<String, Long> named = new HashMap<>();
        offsets.forEach((partition, offset) -> named.put(partition.toString(), offset));
        return named;
    }

    private KafkaConsumer<String, String> member(String group) {
        return new KafkaConsumer<>(
            Map.of("bootstrap.servers", bootstrap, "group.id", group,
                "auto.offset.reset", "earliest", "enable.auto.commit", false,
                "session.timeout.ms", 10_000, "client.id", "stores-member"),
            new StringDeserializer(), new StringDeserializer());
    }

    private void liveGroup() throws Exception {
        String topic = create("live", 2, Map.of());
        String group = "live-group-" + id;
        try (KafkaConsumer<String, String> consumer = member(group)) {
            consumer.subscribe(List.of(topic));
            Checks.waitFor(60, "an assignment", () -> {
                consumer.poll(Duration.ofMillis(100));
                return consumer.assignment().size() == 2;
            });
            GroupMetadataValue value = readOffsets(group).groups.get(group);
            Checks.expect(value != null, "the group's metadata is in the topic");
            Checks.expectEqual(value.protocolType(), "consumer", "protocol type");
            Checks.expectEqual(value.members().size(), 1, "members");
            Checks.expectEqual(value.members().get(0).clientId(), "stores-member", "client id");
            Checks.expectEqual(value.members().get(0).memberId(),
                consumer.groupMetadata().memberId(), "member id");
            Checks.expectEqual(value.generation(), consumer.groupMetadata().generationId(),
                "generation");
        }
    }

    private void deletedGroup() throws Exception {
        String group = "lag-group-" + id;
        admin.deleteConsumerGroups(List.of(group)).all().get(20, SECONDS);
        OffsetsTopic said = readOffsets(group);
        Checks.expect(said.groups.get(group) == null, "the group's metadata has no tombstone");
        Checks.expectEqual(said.offsets.getOrDefault(group, Map.of()), Map.of(), "offsets left");
        Checks.expect(said.tombstones >= 4, said.tombstones + " tombstones");
    }

    // What a schema registry does.

    /** A map whose every change is a record of a compacted topic with one partition. */
    private final class Store {
        final String topic;
        final Map<String, String> values = new ConcurrentSkipListMap<>();
        private final KafkaConsumer<String, String> reader;
        private final TopicPartition partition;

        Store(String topic) {
            this.topic = topic;
            partition = new TopicPartition(topic, 0);
            reader = new KafkaConsumer<>(Map.of("bootstrap.servers", bootstrap),
                new StringDeserializer(), new StringDeserializer());
            reader.assign(List.of(partition));
            reader.seekToBeginning(List.of(partition));
        }

        /** Reads until what was just written has been seen, by writing one more record. */
        void catchUp() throws Exception {
            long end = put("noop", "").get(150, SECONDS).offset();
            Checks.waitFor(150, "offset " + end, () -> {
                for (ConsumerRecord<String, String> record :
                        reader.poll(Duration.ofMillis(100))) {
                    if (record.value() == null) {
                        values.remove(record.key());
                    } else if (!record.key().equals("noop")) {
                        values.put(record.key(), record.value());
                    }
                }
                return reader.position(partition) > end;
            });
        }

        Future<RecordMetadata> put(String key, String value) {
            return producer.send(new ProducerRecord<>(topic, 0, key, value));
        }
    }

    private final Map<String, String> wanted = new TreeMap<>();
    private Store store;

    private void change(int from, int to) throws Exception {
        List<Future<RecordMetadata>> waiting = new ArrayList<>();
        for (int n = from; n < to; n++) {
            String key = "subject-" + n % 37;
            String value = n % 11 == 3 ? null : "schema " + n + " of " + key;
            if (value == null) {
                wanted.remove(key);
            } else {
                wanted.put(key, value);
            }
            waiting.add(store.put(key, value));
        }
        for (Future<RecordMetadata> one : waiting) {
            one.get(150, SECONDS);
        }
    }

    private void readsItsWrites() throws Exception {
        store = new Store(create("_schemas", 1, Map.of("cleanup.policy", "compact",
            "min.cleanable.dirty.ratio", "0.01", "segment.ms", "1000",
            "delete.retention.ms", "100")));
        change(0, 500);
        store.catchUp();
        Checks.expectEqual(store.values, wanted, "the store");
        Store again = new Store(store.topic);
        again.catchUp();
        Checks.expectEqual(again.values, wanted, "the store read from the beginning");
    }

    private void survivesKills() throws Exception {
        int next = 500;
        for (int kill = 1; kill <= kills; kill++) {
            System.out.println("please kill-broker");
            while (Files.lines(Path.of(killsFile)).count() < kill) {
                change(next, next + 20);
                next += 20;
            }
            change(next, next + 100);
            next += 100;
            store.catchUp();
            Checks.expectEqual(store.values, wanted, "the store after kill " + kill);
        }
        Store again = new Store(store.topic);
        again.catchUp();
        Checks.expectEqual(again.values, wanted, "the store read from the beginning");
    }

    private void isCompacted() throws Exception {
        int[] next = {10_000};
        Checks.waitFor(75, "fewer records than offsets", () -> {
            // The segment that grows is never compacted, so that something has to make it roll.
            change(next[0], next[0] + 50);
            next[0] += 50;
            Thread.sleep(300);
            int[] records = new int[1];
            readToEnd(store.topic, 1, record -> records[0]++);
            long end = admin.listOffsets(Map.of(store.partition, OffsetSpec.latest()))
                .all().get(20, SECONDS).get(store.partition).offset();
            return records[0] < end / 2;
        });
        store.catchUp();
        Checks.expectEqual(store.values, wanted, "the store that saw everything");
        Store again = new Store(store.topic);
        again.catchUp();
        Checks.expectEqual(again.values, wanted, "the store read from what compaction left");
    }
}
