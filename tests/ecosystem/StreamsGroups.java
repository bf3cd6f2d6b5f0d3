// Kafka Streams with the streams rebalance protocol (KIP-1071): word count in two instances that
// are restarted one after the other, and the broker killed once.
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
import java.util.stream.Collectors;
import java.util.stream.LongStream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.StreamsGroupDescription;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.LongDeserializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.common.utils.Exit;
import org.apache.kafka.streams.CloseOptions;
import org.apache.kafka.streams.CloseOptions.GroupMembershipOperation;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.tools.streams.StreamsGroupCommand;

/** One application in two instances, for one guarantee. */
public final class StreamsGroups {
    private static final int PARTITIONS = 4;
    /** Subtopologies: lines to words, words to counts; a task for each partition of each. */
    private static final int TASKS = 2 * PARTITIONS;
    private static final int STEP_SECONDS = 120;
    private static final String[] WORDS = {"lane", "core", "shard", "ring", "frame"};

    private final String bootstrap;
    private final String guarantee;
    private final String stateFolder;
    private final int kills;
    /** Gets a line after each kill, when the broker serves again. */
    private final String killsFile;
    private final String id = "group-" + UUID.randomUUID().toString().substring(0, 8);
    private final Admin admin;
    private final KafkaProducer<String, String> producer;
    /** How often each word has been sent. */
    private final Map<String, Long> sent = new TreeMap<>();
    private final KafkaStreams[] instances = new KafkaStreams[2];
    private int lines;

    private StreamsGroups(String[] arguments) {
        bootstrap = Checks.option(arguments, "--bootstrap", null);
        guarantee = Checks.option(arguments, "--guarantee", "at_least_once");
        stateFolder = Checks.option(arguments, "--state", null);
        kills = Integer.parseInt(Checks.option(arguments, "--kills", "0"));
        killsFile = Checks.option(arguments, "--kills-file", null);
        admin = Admin.create(Map.of("bootstrap.servers", bootstrap));
        producer = new KafkaProducer<>(
            Map.of("bootstrap.servers", bootstrap, "linger.ms", 5, "delivery.timeout.ms", 150_000),
            new StringSerializer(), new StringSerializer());
    }

    public static void main(String[] arguments) {
        StreamsGroups groups = new StreamsGroups(arguments);
        groups.all();
        for (KafkaStreams instance : groups.instances) {
            if (instance != null) {
                instance.close(Duration.ofSeconds(5));
            }
        }
        System.exit(0);
    }

    private void all() {
        if (!Checks.check("two_instances_run", STEP_SECONDS, this::start)) {
            return;
        }
        Checks.check("word_count", STEP_SECONDS, () -> count(100));
        Checks.check("described", STEP_SECONDS, this::described);
        Checks.check("rolling_restart", STEP_SECONDS, this::rollingRestart);
        if (kills > 0) {
            Checks.check("broker_killed", STEP_SECONDS, this::brokerKilled);
        }
        Checks.check("closed_and_deleted", STEP_SECONDS, this::closedAndDeleted);
    }

    private String topic(String name) {
        return id + "." + name;
    }

    private void start() throws Exception {
        admin.createTopics(List.of(
            new NewTopic(topic("lines"), PARTITIONS, (short) 1),
            new NewTopic(topic("words"), PARTITIONS, (short) 1))).all().get(20, SECONDS);
        open(0);
        open(1);
        balanced();
    }

    private void open(int number) {
        Properties config = new Properties();
        config.put(StreamsConfig.APPLICATION_ID_CONFIG, id);
        config.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap);
        config.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, guarantee);
        config.put(StreamsConfig.GROUP_PROTOCOL_CONFIG, "streams");
        config.put(StreamsConfig.STATE_DIR_CONFIG, stateFolder + "/" + number);
        config.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 100);
        config.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 0);
        config.put(StreamsConfig.APPLICATION_SERVER_CONFIG, "127.0.0.1:" + (number + 1));
        config.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        config.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        config.put(StreamsConfig.consumerPrefix("auto.offset.reset"), "earliest");
        config.put(StreamsConfig.producerPrefix("delivery.timeout.ms"), 150_000);
        config.put(StreamsConfig.producerPrefix("linger.ms"), 5);
        instances[number] = new KafkaStreams(topology(), config);
        instances[number].setUncaughtExceptionHandler(failure -> {
            System.out.println("  a stream thread died and is replaced: " + failure);
            return StreamThreadExceptionResponse.REPLACE_THREAD;
        });
        instances[number].start();
    }

    private Topology topology() {
        StreamsBuilder builder = new StreamsBuilder();
        builder.<String, String>stream(topic("lines"))
            .flatMapValues(line -> List.of(line.split(" ")))
            .groupBy((key, word) -> word, Grouped.as("by-word"))
            .count(Materialized.as("words"))
            .toStream().to(topic("words"), Produced.with(Serdes.String(), Serdes.Long()));
        return builder.build();
    }

    private StreamsGroupDescription describe() throws Exception {
        return admin.describeStreamsGroups(List.of(id)).all().get(20, SECONDS).get(id);
    }

    /** Both instances run, and each has half of the tasks. */
    private void balanced() throws Exception {
        Checks.waitFor(STEP_SECONDS, "both instances have half of the tasks", () -> {
            for (KafkaStreams instance : instances) {
                if (instance.state() != KafkaStreams.State.RUNNING) {
                    return false;
                }
            }
            StreamsGroupDescription group = describe();
            return group.groupState() == GroupState.STABLE && group.members().size() == 2
                && group.members().stream().allMatch(member -> member.assignment().activeTasks()
                    .stream().mapToInt(tasks -> tasks.partitions().size()).sum() == TASKS / 2);
        });
    }

    private void send(int count) throws Exception {
        for (int end = lines + count; lines < end; lines++) {
            String first = WORDS[lines % WORDS.length];
            String second = WORDS[lines / WORDS.length % WORDS.length];
            String line = first + " " + second;
            producer.send(new ProducerRecord<>(topic("lines"), "key-" + lines, line));
            sent.merge(first, 1L, Long::sum);
            sent.merge(second, 1L, Long::sum);
        }
        producer.flush();
    }

    /** Sends lines and waits until every count so far has been written as it has to be. */
    private void count(int more) throws Exception {
        send(more);
        Map<String, List<Long>> found = new HashMap<>();
        try (KafkaConsumer<String, Long> consumer = new KafkaConsumer<>(
                Map.of("bootstrap.servers", bootstrap, "isolation.level", "read_committed"),
                new StringDeserializer(), new LongDeserializer())) {
            List<TopicPartition> partitions = new ArrayList<>();
            for (int number = 0; number < PARTITIONS; number++) {
                partitions.add(new TopicPartition(topic("words"), number));
            }
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            Checks.waitFor(STEP_SECONDS, "every word is counted", () -> {
                consumer.poll(Duration.ofMillis(100)).forEach(record -> found
                    .computeIfAbsent(record.key(), key -> new ArrayList<>()).add(record.value()));
                return sent.entrySet().stream().allMatch(word ->
                    found.getOrDefault(word.getKey(), List.of()).contains(word.getValue()));
            });
        }
        for (var word : sent.entrySet()) {
            List<Long> counts = found.get(word.getKey());
            List<Long> wanted = LongStream.rangeClosed(1, word.getValue()).boxed().toList();
            if (guarantee.startsWith("exactly_once")) {
                Checks.expectEqual(counts, wanted, "counts of " + word.getKey());
            } else {
                Checks.expect(new TreeSet<>(counts).containsAll(wanted),
                    "a count of " + word.getKey() + " is missing among " + counts);
            }
        }
    }

    private void described() throws Exception {
        StreamsGroupDescription group = describe();
        Checks.expectEqual(group.subtopologies().size(), 2, "subtopologies");
        Set<String> processes = group.members().stream()
            .map(member -> member.processId()).collect(Collectors.toSet());
        Checks.expectEqual(processes.size(), 2, "processes");
        Set<Integer> ports = group.members().stream()
            .map(member -> member.userEndpoint().orElseThrow().port()).collect(Collectors.toSet());
        Checks.expectEqual(new TreeSet<>(ports), new TreeSet<>(Set.of(1, 2)), "endpoints");
        Set<String> internal = admin.listTopics().names().get(20, SECONDS).stream()
            .filter(name -> name.startsWith(id + "-")).collect(Collectors.toSet());
        Checks.expectEqual(new TreeSet<>(internal), new TreeSet<>(Set.of(
            id + "-by-word-repartition", id + "-words-changelog")), "internal topics");
        Checks.waitFor(30, "the first instance knows where every partition is", () ->
            instances[0].metadataForAllStreamsClients().stream()
                .mapToInt(client -> client.topicPartitions().size()).sum() == TASKS);
        PrintStream standard = System.out;
        ByteArrayOutputStream said = new ByteArrayOutputStream();
        try {
            System.setOut(new PrintStream(said, true));
            // The tool ends its process; here it ends its call.
            Exit.setExitProcedure((code, message) -> {
                throw new IllegalStateException("exit " + code);
            });
            StreamsGroupCommand.main(new String[] {
                "--bootstrap-server", bootstrap, "--describe", "--group", id, "--members"});
        } catch (IllegalStateException exit) {
            said.writeBytes(("\n" + exit.getMessage()).getBytes());
        } finally {
            Exit.resetExitProcedure();
            System.setOut(standard);
        }
        Checks.expect(said.toString().contains("0:[") || said.toString().contains("0: ["),
            "the tool names no task: " + said);
    }

    private void rollingRestart() throws Exception {
        for (int number = 0; number < instances.length; number++) {
            instances[number].close(CloseOptions
                .groupMembershipOperation(GroupMembershipOperation.LEAVE_GROUP)
                .withTimeout(Duration.ofSeconds(30)));
            send(20);
            open(number);
            balanced();
            count(20);
        }
    }

    private void brokerKilled() throws Exception {
        for (int kill = 1; kill <= kills; kill++) {
            System.out.println("please kill-broker");
            // Under load when it dies, and until it is back.
            while (Files.lines(Path.of(killsFile)).count() < kill) {
                send(20);
            }
            count(50);
        }
        balanced();
    }

    private void closedAndDeleted() throws Exception {
        for (KafkaStreams instance : instances) {
            instance.close(CloseOptions
                .groupMembershipOperation(GroupMembershipOperation.LEAVE_GROUP)
                .withTimeout(Duration.ofSeconds(30)));
        }
        Checks.waitFor(30, "the group is empty", () -> describe().groupState() == GroupState.EMPTY);
        admin.deleteStreamsGroups(List.of(id)).all().get(20, SECONDS);
        Checks.waitFor(30, "the group is gone", () -> admin.listGroups().all().get(20, SECONDS)
            .stream().noneMatch(group -> group.groupId().equals(id)));
    }
}
