// A Kafka Streams application against a broker: joins, windows, state that is restored, the
// application reset tool, and results under `kill -9` of the broker.
//
// Prints one line per check. The line `please kill-broker` asks whoever started this program to
// kill the broker and to start it again on its folder; the application rides it out.

import static java.util.concurrent.TimeUnit.SECONDS;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.UUID;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.LongDeserializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.CloseOptions;
import org.apache.kafka.streams.CloseOptions.GroupMembershipOperation;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StoreQueryParameters;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.JoinWindows;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.StreamJoined;
import org.apache.kafka.streams.kstream.Suppressed;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.processor.StateRestoreListener;
import org.apache.kafka.streams.state.QueryableStoreTypes;
import org.apache.kafka.streams.state.ReadOnlyKeyValueStore;
import org.apache.kafka.streams.state.WindowStore;
import org.apache.kafka.tools.StreamsResetter;

/** One application with every operator of interest; checks feed it and read what it says. */
public final class Streams {
    private static final int CHECK_SECONDS = 90;
    private static final int PARTITIONS = 2;
    /** Event time: a minute boundary, so that windows start where the checks think. */
    private static final long T0 = 1_700_000_040_000L;
    private static final String[] WORDS = {"lane", "core", "shard", "ring", "frame"};

    private final String bootstrap;
    private final String guarantee;
    private final String stateFolder;
    private final int kills;
    /** Gets a line after each kill, when the broker serves again. */
    private final String killsFile;
    private final String protocol;
    private final String id = "app-" + UUID.randomUUID().toString().substring(0, 8);
    private final Admin admin;
    private final KafkaProducer<String, String> producer;
    /** How often each word has been sent. */
    private final Map<String, Long> sent = new TreeMap<>();
    private final AtomicLong restored = new AtomicLong();
    private KafkaStreams application;

    private Streams(String[] arguments) {
        bootstrap = Checks.option(arguments, "--bootstrap", null);
        guarantee = Checks.option(arguments, "--guarantee", "at_least_once");
        stateFolder = Checks.option(arguments, "--state", null);
        kills = Integer.parseInt(Checks.option(arguments, "--kills", "0"));
        killsFile = Checks.option(arguments, "--kills-file", null);
        protocol = Checks.option(arguments, "--protocol", "classic");
        admin = Admin.create(Map.of("bootstrap.servers", bootstrap));
        producer = new KafkaProducer<>(
            Map.of("bootstrap.servers", bootstrap, "linger.ms", 5, "delivery.timeout.ms", 150_000),
            new StringSerializer(), new StringSerializer());
    }

    public static void main(String[] arguments) {
        Thread.setDefaultUncaughtExceptionHandler(
            (thread, failure) -> System.out.println("  " + thread.getName() + ": " + failure));
        Streams streams = new Streams(arguments);
        streams.all();
        if (streams.application != null) {
            streams.application.close(Duration.ofSeconds(5));
        }
        System.exit(0);
    }

    private void all() {
        // Nothing that follows means anything without a running application.
        if (!Checks.check("application_runs", CHECK_SECONDS, this::start)) {
            return;
        }
        Checks.check("internal_topics", CHECK_SECONDS, this::internalTopics);
        Checks.check("word_count", CHECK_SECONDS, this::wordCount);
        Checks.check("interactive_query", CHECK_SECONDS, this::interactiveQuery);
        Checks.check("windows_suppressed", CHECK_SECONDS, this::windows);
        Checks.check("stream_stream_join", CHECK_SECONDS, this::streamStreamJoin);
        Checks.check("stream_table_join", CHECK_SECONDS, this::streamTableJoin);
        Checks.check("table_table_foreign_key_join", CHECK_SECONDS, this::foreignKeyJoin);
        Checks.check("restart_restores_state", CHECK_SECONDS, this::restart);
        if (kills > 0) {
            Checks.check("broker_killed_" + kills + "_times", 60 + 60 * kills, this::brokerKills);
        }
        Checks.check("application_reset", CHECK_SECONDS, this::applicationReset);
    }

    private String topic(String name) {
        return id + "." + name;
    }

    private boolean exactlyOnce() {
        return guarantee.startsWith("exactly_once");
    }

    private void start() throws Exception {
        List<NewTopic> topics = new ArrayList<>();
        for (String name : List.of("lines", "clicks", "left", "right", "orders", "customers",
                "items", "makers", "words", "windows", "joined", "enriched", "made")) {
            topics.add(new NewTopic(topic(name), PARTITIONS, (short) 1));
        }
        admin.createTopics(topics).all().get(20, SECONDS);
        open();
    }

    private void open() throws Exception {
        Properties config = new Properties();
        config.put(StreamsConfig.APPLICATION_ID_CONFIG, id);
        config.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap);
        config.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, guarantee);
        config.put(StreamsConfig.STATE_DIR_CONFIG, stateFolder);
        config.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 2);
        config.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 100);
        config.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 0);
        // Both sides of a join are looked at before time goes on.
        config.put(StreamsConfig.MAX_TASK_IDLE_MS_CONFIG, 300);
        config.put(StreamsConfig.APPLICATION_SERVER_CONFIG, "127.0.0.1:1");
        config.put(StreamsConfig.GROUP_PROTOCOL_CONFIG, protocol);
        config.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        config.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        config.put(StreamsConfig.consumerPrefix("auto.offset.reset"), "earliest");
        config.put(StreamsConfig.producerPrefix("delivery.timeout.ms"), 150_000);
        config.put(StreamsConfig.producerPrefix("linger.ms"), 5);
        if (protocol.equals("classic")) {
            config.put(StreamsConfig.consumerPrefix("session.timeout.ms"), 10_000);
            config.put(StreamsConfig.consumerPrefix("heartbeat.interval.ms"), 500);
        }
        application = new KafkaStreams(topology(), config);
        application.setGlobalStateRestoreListener(new StateRestoreListener() {
            @Override
            public void onRestoreStart(TopicPartition partition, String store, long from, long to) {
            }

            @Override
            public void onBatchRestored(TopicPartition p, String store, long end, long count) {
            }

            @Override
            public void onRestoreEnd(TopicPartition partition, String store, long count) {
                restored.addAndGet(count);
            }
        });
        application.setUncaughtExceptionHandler(failure -> {
            System.out.println("  a stream thread died and is replaced: " + failure);
            return StreamThreadExceptionResponse.REPLACE_THREAD;
        });
        application.start();
        Checks.waitFor(60, "state RUNNING",
            () -> application.state() == KafkaStreams.State.RUNNING);
    }

    private Topology topology() {
        var strings = Serdes.String();
        var longs = Produced.with(strings, Serdes.Long());
        StreamsBuilder builder = new StreamsBuilder();
        builder.<String, String>stream(topic("lines"))
            .flatMapValues(line -> List.of(line.split(" ")))
            .groupBy((key, word) -> word, Grouped.as("by-word"))
            .count(Materialized.as("words"))
            .toStream().to(topic("words"), longs);
        builder.<String, String>stream(topic("clicks"))
            .groupByKey()
            .windowedBy(TimeWindows.ofSizeAndGrace(Duration.ofSeconds(10), Duration.ofSeconds(2)))
            .count(Materialized.<String, Long, WindowStore<Bytes, byte[]>>as("clicks")
                .withKeySerde(strings))
            .suppress(Suppressed.untilWindowCloses(Suppressed.BufferConfig.unbounded()))
            .toStream((window, count) -> window.key() + "@" + (window.window().start() - T0))
            .to(topic("windows"), longs);
        KStream<String, String> left = builder.stream(topic("left"));
        left.leftJoin(builder.<String, String>stream(topic("right")), (l, r) -> l + "+" + r,
                JoinWindows.ofTimeDifferenceAndGrace(Duration.ofSeconds(5), Duration.ofSeconds(30)),
                StreamJoined.<String, String, String>as("sides"))
            .to(topic("joined"));
        builder.<String, String>stream(topic("orders"))
            .join(builder.<String, String>table(topic("customers"), Materialized.as("customers")),
                (order, customer) -> order + " for " + customer)
            .to(topic("enriched"));
        builder.<String, String>table(topic("items"), Materialized.as("items"))
            .join(builder.<String, String>table(topic("makers"), Materialized.as("makers")),
                item -> item.split("/")[0], (item, maker) -> item + " by " + maker)
            .toStream().to(topic("made"));
        return builder.build();
    }

    private void send(String name, Integer partition, long time, String key, String value)
            throws Exception {
        producer.send(new ProducerRecord<>(topic(name), partition, time, key, value))
            .get(150, SECONDS);
    }

    /** Sends lines of words and counts them; returns when every line is acknowledged. */
    private void sendLines(int from, int to) throws Exception {
        List<Future<RecordMetadata>> waiting = new ArrayList<>();
        for (int n = from; n < to; n++) {
            String first = WORDS[n % WORDS.length];
            String second = WORDS[n * 7 % 3];
            waiting.add(producer.send(
                new ProducerRecord<>(topic("lines"), "line-" + n, first + " " + second)));
            sent.merge(first, 1L, Long::sum);
            sent.merge(second, 1L, Long::sum);
        }
        for (Future<RecordMetadata> one : waiting) {
            one.get(150, SECONDS);
        }
    }

    private <V> KafkaConsumer<String, V> reader(String name, Deserializer<V> values) {
        Map<String, Object> config = new HashMap<>(Map.of("bootstrap.servers", bootstrap,
            "isolation.level", exactlyOnce() ? "read_committed" : "read_uncommitted"));
        KafkaConsumer<String, V> consumer =
            new KafkaConsumer<>(config, new StringDeserializer(), values);
        List<TopicPartition> partitions = new ArrayList<>();
        for (int n = 0; n < PARTITIONS; n++) {
            partitions.add(new TopicPartition(topic(name), n));
        }
        consumer.assign(partitions);
        consumer.seekToBeginning(partitions);
        return consumer;
    }

    /** Every string the output topic holds, once there are `count`. */
    private Set<String> read(String name, int count) throws Exception {
        Set<String> found = new TreeSet<>();
        try (KafkaConsumer<String, String> consumer = reader(name, new StringDeserializer())) {
            Checks.waitFor(60, count + " results in " + name, () -> {
                consumer.poll(Duration.ofMillis(100)).forEach(
                    record -> found.add(record.key() + ":" + record.value()));
                return found.size() >= count;
            });
        }
        return found;
    }

    /** Reads counts until the last of each key is what is wanted. */
    private Map<String, List<Long>> readCounts(String name, Map<String, Long> wanted, int seconds)
            throws Exception {
        Map<String, List<Long>> found = new ConcurrentHashMap<>();
        try (KafkaConsumer<String, Long> consumer = reader(name, new LongDeserializer())) {
            Checks.waitFor(seconds, "counts " + wanted, () -> {
                for (ConsumerRecord<String, Long> record :
                        consumer.poll(Duration.ofMillis(100))) {
                    found.computeIfAbsent(record.key(), key -> new ArrayList<>())
                        .add(record.value());
                }
                return reached(found, wanted);
            });
        } catch (AssertionError failure) {
            Map<String, Long> last = new TreeMap<>();
            found.forEach((key, counts) -> last.put(key, counts.get(counts.size() - 1)));
            throw new AssertionError(failure.getMessage() + "; got " + last);
        }
        return found;
    }

    private static boolean reached(Map<String, List<Long>> found, Map<String, Long> wanted) {
        return wanted.entrySet().stream().allMatch(entry -> {
            List<Long> counts = found.get(entry.getKey());
            return counts != null && counts.get(counts.size() - 1) >= entry.getValue();
        });
    }

    private void internalTopics() throws Exception {
        String changelog = id + "-words-changelog";
        String repartition = id + "-by-word-repartition";
        Checks.expect(admin.listTopics().names().get(20, SECONDS).containsAll(
            List.of(changelog, repartition)), "changelog and repartition topics are listed");
        expectPolicy(changelog, "compact");
        expectPolicy(repartition, "delete");
        expectPolicy(id + "-clicks-changelog", "compact,delete");
    }

    private void expectPolicy(String topic, String policy) throws Exception {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        var config = admin.describeConfigs(List.of(resource)).all().get(20, SECONDS);
        Checks.expectEqual(
            new TreeSet<>(List.of(config.get(resource).get("cleanup.policy").value().split(","))),
            new TreeSet<>(List.of(policy.split(","))), "cleanup.policy of " + topic);
    }

    private void wordCount() throws Exception {
        sendLines(0, 200);
        Map<String, List<Long>> found = readCounts("words", sent, 60);
        for (var word : sent.entrySet()) {
            List<Long> counts = found.get(word.getKey());
            // Without a cache every change is seen, and nothing failed: 1, 2, 3 and so on.
            Checks.expectEqual(counts, upTo(word.getValue()), "counts of " + word.getKey());
        }
    }

    private static List<Long> upTo(long last) {
        List<Long> counts = new ArrayList<>();
        for (long n = 1; n <= last; n++) {
            counts.add(n);
        }
        return counts;
    }

    private ReadOnlyKeyValueStore<String, Long> words() {
        return application.store(StoreQueryParameters.fromNameAndType(
            "words", QueryableStoreTypes.<String, Long>keyValueStore()));
    }

    private void interactiveQuery() throws Exception {
        for (var word : sent.entrySet()) {
            Checks.waitFor(20, "store says " + word,
                () -> word.getValue().equals(words().get(word.getKey())));
            var where = application.queryMetadataForKey(
                "words", word.getKey(), Serdes.String().serializer());
            Checks.expectEqual(where.activeHost().port(), 1, "host of " + word.getKey());
        }
        Map<String, Long> all = new TreeMap<>();
        try (var entries = words().all()) {
            entries.forEachRemaining(entry -> all.put(entry.key, entry.value));
        }
        Checks.expectEqual(all, sent, "the whole store");
        Checks.expect(application.allLocalStorePartitionLags().containsKey("words"), "lags");
    }

    private void windows() throws Exception {
        Map<String, Long> wanted = new TreeMap<>();
        for (int n = 0; n < 60; n++) {
            String user = "user-" + n % 4;
            send("clicks", null, T0 + n * 500L, user, "click");
            wanted.merge(user + "@" + n / 20 * 10_000, 1L, Long::sum);
        }
        // Too late for its window and the grace.
        send("clicks", 0, T0 + 60_000, "closer", "click");
        send("clicks", 1, T0 + 60_000, "closer", "click");
        send("clicks", 0, T0 + 1000, "late", "click");
        Map<String, List<Long>> found = readCounts("windows", wanted, 60);
        for (var window : wanted.entrySet()) {
            Checks.expectEqual(found.get(window.getKey()), List.of(window.getValue()),
                "results of " + window.getKey() + ", suppressed until its window closed");
        }
        Checks.expectEqual(found.keySet().stream().filter(key -> key.startsWith("late")).count(),
            0, "results of what came too late");
    }

    private void streamStreamJoin() throws Exception {
        Set<String> matched = new TreeSet<>();
        Set<String> alone = new TreeSet<>();
        // In order of event time, or Streams says that there is no match before it looked.
        for (int second = 0; second < 30; second++) {
            if (second < 20) {
                send("left", null, T0 + second * 1000L, "key-" + second, "l" + second);
            }
            // Of the right side every third comes too late, every fifth not at all.
            int soon = second - 3;
            if (soon >= 0 && soon < 20 && soon % 5 != 0 && soon % 3 != 0) {
                send("right", null, T0 + second * 1000L, "key-" + soon, "r" + soon);
            }
            int late = second - 9;
            if (late >= 0 && late < 20 && late % 5 != 0 && late % 3 == 0) {
                send("right", null, T0 + second * 1000L, "key-" + late, "r" + late);
            }
        }
        for (int n = 0; n < 20; n++) {
            if (n % 3 != 0 && n % 5 != 0) {
                matched.add("key-" + n + ":l" + n + "+r" + n);
            } else {
                alone.add("key-" + n + ":l" + n + "+null");
            }
        }
        Checks.expectEqual(read("joined", matched.size()), matched, "joined");
        // What has no match shows when its window closes, for which event time has to go on.
        Set<String> wanted = new TreeSet<>(matched);
        wanted.addAll(alone);
        Set<String> found = new TreeSet<>();
        try (KafkaConsumer<String, String> consumer = reader("joined", new StringDeserializer())) {
            AtomicLong time = new AtomicLong(T0 + 100_000);
            Checks.waitFor(60, "what has no match", () -> {
                for (int partition = 0; partition < PARTITIONS; partition++) {
                    send("left", partition, time.get(), "closer", "last");
                    send("right", partition, time.get(), "closer", "last");
                }
                time.addAndGet(1000);
                consumer.poll(Duration.ofMillis(200)).forEach(record -> {
                    if (!record.key().equals("closer")) {
                        found.add(record.key() + ":" + record.value());
                    }
                });
                return found.size() >= wanted.size();
            });
        }
        Checks.expectEqual(found, wanted, "joined, and what has no match");
    }

    private void streamTableJoin() throws Exception {
        Set<String> wanted = new TreeSet<>();
        for (int n = 0; n < 10; n++) {
            send("customers", null, T0, "c" + n, "nobody");
            send("customers", null, T0 + 1, "c" + n, n == 7 ? null : "name-" + n);
        }
        var customers = QueryableStoreTypes.<String, String>keyValueStore();
        Checks.waitFor(60, "the table is whole", () -> {
            ReadOnlyKeyValueStore<String, String> table = application.store(
                StoreQueryParameters.fromNameAndType("customers", customers));
            for (int n = 0; n < 10; n++) {
                if (n != 7 && !("name-" + n).equals(table.get("c" + n))) {
                    return false;
                }
            }
            return table.get("c7") == null;
        });
        for (int n = 0; n < 30; n++) {
            send("orders", null, T0 + 1000 + n, "c" + n % 10, "order-" + n);
            if (n % 10 != 7) {
                wanted.add("c" + n % 10 + ":order-" + n + " for name-" + n % 10);
            }
        }
        Checks.expectEqual(read("enriched", wanted.size()), wanted, "enriched");
    }

    private void foreignKeyJoin() throws Exception {
        Set<String> wanted = new TreeSet<>();
        for (int n = 0; n < 3; n++) {
            send("makers", null, T0, "m" + n, "maker-" + n);
        }
        for (int n = 0; n < 12; n++) {
            send("items", null, T0 + 1, "i" + n, "m" + n % 4 + "/item-" + n);
            if (n % 4 != 3) {
                wanted.add("i" + n + ":m" + n % 4 + "/item-" + n + " by maker-" + n % 4);
            }
        }
        Checks.expectEqual(read("made", wanted.size()), wanted, "items with their makers");
    }

    private void close() {
        // Leaves the group, so that the next start need not wait for this one's session to end.
        application.close(CloseOptions.groupMembershipOperation(GroupMembershipOperation.LEAVE_GROUP)
            .withTimeout(Duration.ofSeconds(30)));
    }

    private void reopen() throws Exception {
        close();
        // What is local goes: the state has to come back from the changelogs.
        application.cleanUp();
        open();
    }

    private void restart() throws Exception {
        restored.set(0);
        reopen();
        Checks.waitFor(60, "state is restored", () -> words().get(WORDS[0]) != null);
        Checks.expect(restored.get() > 0, "nothing was restored from a changelog");
        interactiveQuery();
        sendLines(200, 300);
        Map<String, List<Long>> found = readCounts("words", sent, 60);
        for (var word : sent.entrySet()) {
            Checks.expectEqual(found.get(word.getKey()), upTo(word.getValue()),
                "counts of " + word.getKey() + " across the restart");
        }
    }

    private void brokerKills() throws Exception {
        int line = 300;
        for (int kill = 1; kill <= kills; kill++) {
            System.out.println("please kill-broker");
            // Under load when it dies, and until it is back.
            while (Files.lines(Path.of(killsFile)).count() < kill) {
                sendLines(line, line + 20);
                line += 20;
            }
            sendLines(line, line + 100);
            line += 100;
            // The application has come through when it counted what was sent after the kill.
            readCounts("words", sent, 120);
        }
        Map<String, List<Long>> found = readCounts("words", sent, 120);
        for (var word : sent.entrySet()) {
            List<Long> counts = found.get(word.getKey());
            if (exactlyOnce()) {
                Checks.expectEqual(counts, upTo(word.getValue()), "counts of " + word.getKey());
            } else {
                Checks.expect(new TreeSet<>(counts).containsAll(upTo(word.getValue())),
                    "a count of " + word.getKey() + " is missing among " + counts);
            }
        }
        reopen();
        for (var word : sent.entrySet()) {
            Checks.waitFor(60, "the restored store says " + word, () -> {
                Long count = words().get(word.getKey());
                return exactlyOnce()
                    ? word.getValue().equals(count)
                    : count != null && count >= word.getValue();
            });
        }
    }

    private void applicationReset() throws Exception {
        close();
        application.cleanUp();
        PrintStream standard = System.out;
        ByteArrayOutputStream said = new ByteArrayOutputStream();
        int code;
        try {
            System.setOut(new PrintStream(said, true));
            code = new StreamsResetter().execute(new String[] {
                "--bootstrap-server", bootstrap, "--application-id", id, "--force",
                "--input-topics", topic("lines"),
            }, new Properties());
        } finally {
            System.setOut(standard);
        }
        Checks.expectEqual(code, 0, "exit code; it said " + said);
        Checks.waitFor(20, "internal topics are gone", () ->
            admin.listTopics().names().get(20, SECONDS).stream()
                .noneMatch(name -> name.startsWith(id + "-")));
        Map<TopicPartition, Long> ends = new HashMap<>();
        try (KafkaConsumer<String, Long> at = reader("words", new LongDeserializer())) {
            ends.putAll(at.endOffsets(at.assignment()));
        }
        open();
        Map<String, List<Long>> found = new ConcurrentHashMap<>();
        try (KafkaConsumer<String, Long> consumer = reader("words", new LongDeserializer())) {
            ends.forEach(consumer::seek);
            Checks.waitFor(60, "everything is counted again", () -> {
                consumer.poll(Duration.ofMillis(100)).forEach(record -> found
                    .computeIfAbsent(record.key(), key -> new ArrayList<>()).add(record.value()));
                return reached(found, sent);
            });
        }
        for (var word : sent.entrySet()) {
            Checks.expectEqual(found.get(word.getKey()), upTo(word.getValue()),
                "counts of " + word.getKey() + " after the reset");
        }
    }
}
