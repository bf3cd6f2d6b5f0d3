// Kafka's command line tools, one after the other in this JVM, their output written down in a form
// that two brokers can be compared by: ids, addresses, times and speeds are replaced by their names.
//
// `--transcript FILE` gets one block per step: its name, what the tool printed, how it ended.
// `xtask` compares the file with the one Kafka gave.

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.lang.management.ManagementFactory;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.regex.Pattern;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.errors.ProducerFencedException;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.utils.Exit;

/** Steps in their order; a step's name is its line in the comparison. */
public final class Tools {
    private static final int STEP_SECONDS = 60;
    private static final String PACKAGE = "org.apache.kafka.tools.";
    private static final String TOPICS = PACKAGE + "TopicCommand";
    private static final String OFFSETS = PACKAGE + "GetOffsetShell";
    private static final String PRODUCER = PACKAGE + "ConsoleProducer";
    private static final String CONSUMER = PACKAGE + "consumer.ConsoleConsumer";
    private static final String CONSUMER_GROUPS = PACKAGE + "consumer.group.ConsumerGroupCommand";
    private static final String GROUPS = PACKAGE + "GroupsCommand";
    private static final String CLUSTER = PACKAGE + "ClusterTool";
    private static final String TRANSACTIONS = PACKAGE + "TransactionsCommand";

    /** Replaced in this order wherever they occur. */
    private static final List<String[]> RULES = List.of(
        new String[] {"127\\.0\\.0\\.1:\\d+", "HOST:PORT"},
        new String[] {"127\\.0\\.0\\.1", "HOST"},
        new String[] {"\\d{4}[-/]\\d\\d[-/]\\d\\d[ T]\\d\\d:\\d\\d:\\d\\d[:.,]\\d{3}Z?", "TIME"},
        new String[] {"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UUID"},
        new String[] {"(TopicId: |Cluster ID: )[A-Za-z0-9_-]{22}", "$1ID"},
        new String[] {"(\"timestamp\":|CreateTime:)\\d+", "$1TIME"},
        new String[] {"\\d+\\.\\d+ records/sec.*", "SPEED"},
        new String[] {"(Avg latency: |Percentiles: ).*", "$1SPEED"},
        new String[] {"\"(avg_throughput|target_throughput)\":[-0-9.]+", "\"$1\":SPEED"},
        new String[] {"\\d+\\t\\d+\\.\\d+", "N\tSPEED"},
        new String[] {"(console-consumer|test-group)-\\d+", "$1-N"},
        new String[] {"(Deletion of requested consumer groups) \\(.*\\)", "$1 (THESE)"},
        new String[] {"^(1\\s+HOST\\s+)\\d+ ", "$1PORT "},
        // A set printed in the order of its hashes.
        new String[] {"Valid states are: .*", "Valid states are: THESE"},
        // Kafka's eligible leader replicas make it a dynamic default; docs/compatibility.md.
        new String[] {"Configs: min.insync.replicas=1,?", "Configs: "},
        new String[] {"^ *min.insync.replicas=1 .*", ""},
        new String[] {"[ \\t]+", " "},
        // Ids of members, behind which their address stands.
        new String[] {" [A-Za-z0-9_-]{22} /HOST", " MEMBER /HOST"},
        // What is each broker's own: features it does not have, where its metadata log ends, files.
        new String[] {"^Feature: (share|eligible|kraft|metadata).*", ""},
        new String[] {"Epoch: \\d+$", "Epoch: N"},
        new String[] {"^(ClusterId|LeaderEpoch|HighWatermark|CurrentVoters): .*", "$1: OWN"},
        new String[] {"^1 [A-Za-z0-9_-]{22} \\d+ (\\d+) \\d+ \\d+ (Leader|Follower)",
            "1 DIR N $1 N N $2"},
        new String[] {"\"(logDir\":|log_dirs\":\\[)\"/[^\"]*\"", "\"$1\"DIR\""},
        new String[] {"\"size\":\\d+", "\"size\":N"},
        new String[] {"\"(totalBytes|usableBytes)\":\\d+", "\"$1\":N"},
        // What is wrong with one setting, said of all of them.
        new String[] {"Invalid value \\S+ConfigException: (.*) for configuration Invalid dynamic "
            + "configuration", "$1"},
        // Producers' ids, of lists, descriptions and partitions; what they carry of time.
        new String[] {"^(tools-\\S+ 1 )\\d+ ", "$1PRODUCER "},
        new String[] {"^(1 tools-\\S+ )\\d+ ", "$1PRODUCER "},
        new String[] {"((Ongoing|Complete\\w+) \\d+) \\d+ \\d+ ", "$1 TIME TIME "},
        new String[] {"^\\d+ (\\d+ -?\\d+ -?\\d+) \\d+ (\\S+)\\s*$", "PRODUCER $1 TIME $2"},
        // What the copier polled in vain, or again after its group had changed.
        new String[] {".*(\"totalProcessed\":0,|RebalanceComplete).*", ""},
        new String[] {"\"consumed\":\\d+,", ""});

    private final String bootstrap;
    private final Path scratch;
    private final List<String> transcript = new ArrayList<>();
    private boolean whole = true;

    private Tools(String[] arguments) {
        bootstrap = Checks.option(arguments, "--bootstrap", null);
        scratch = Path.of(Checks.option(arguments, "--scratch", "/tmp"));
    }

    /** What the tool that runs ended with; its thread waits for ever, as after a real exit. */
    private static final BlockingQueue<String> ENDINGS = new LinkedBlockingQueue<>();

    private static void exit(int code) {
        ENDINGS.add("exit " + code);
        try {
            new CountDownLatch(1).await();
        } catch (InterruptedException never) {
            throw new IllegalStateException(never);
        }
    }

    public static void main(String[] arguments) throws Exception {
        Exit.setExitProcedure((code, message) -> exit(code));
        Exit.setHaltProcedure((code, message) -> exit(code));
        Tools tools = new Tools(arguments);
        Files.createDirectories(tools.scratch);
        tools.all();
        Files.write(Path.of(Checks.option(arguments, "--transcript", null)), tools.transcript);
        if (tools.whole) {
            System.out.println("ok every_tool_ended");
        }
        Runtime.getRuntime().halt(0);
    }

    private void all() throws Exception {
        topics();
        console();
        offsets();
        consumerGroups();
        others();
        new ClusterTools(this, bootstrap, scratch).all();
        transactions();
        openTransaction();
        step("topic_delete", TOPICS, "--delete", "--topic", "tools-.*");
        step("topic_list_after_delete", TOPICS, "--list", "--exclude-internal");
    }

    private void topics() {
        step("topic_create", TOPICS, "--create", "--topic", "tools-a", "--partitions", "3");
        step("topic_create_with_configs", TOPICS, "--create", "--topic", "tools-b", "--config",
            "cleanup.policy=compact", "--config", "retention.ms=86400000",
            "--replication-factor", "1");
        step("topic_create_assigned", TOPICS, "--create", "--topic", "tools-c",
            "--replica-assignment", "1,1");
        step("topic_create_again", TOPICS, "--create", "--topic", "tools-a");
        step("topic_create_if_not_exists", TOPICS, "--create", "--topic", "tools-a",
            "--if-not-exists");
        step("topic_create_bad_name", TOPICS, "--create", "--topic", "not a name");
        step("topic_create_bad_config", TOPICS, "--create", "--topic", "tools-x", "--config",
            "no.such.key=1");
        step("topic_create_bad_value", TOPICS, "--create", "--topic", "tools-x", "--config",
            "retention.ms=soon");
        step("topic_create_many_replicas", TOPICS, "--create", "--topic", "tools-x",
            "--replication-factor", "3");
        step("topic_create_no_partition", TOPICS, "--create", "--topic", "tools-x",
            "--partitions", "0");
        step("topic_create_unknown_broker", TOPICS, "--create", "--topic", "tools-x",
            "--replica-assignment", "7");
        step("topic_list", TOPICS, "--list", "--exclude-internal");
        step("topic_list_some", TOPICS, "--list", "--topic", "tools-[ab]");
        step("topic_describe", TOPICS, "--describe", "--topic", "tools-a");
        step("topic_describe_regex", TOPICS, "--describe", "--topic", "tools-[bc]");
        step("topic_describe_missing", TOPICS, "--describe", "--topic", "tools-none");
        step("topic_describe_missing_if_exists", TOPICS, "--describe", "--topic", "tools-none",
            "--if-exists");
        step("topic_describe_overrides", TOPICS, "--describe", "--topics-with-overrides");
        for (String which : List.of("--under-replicated-partitions", "--unavailable-partitions",
                "--under-min-isr-partitions", "--at-min-isr-partitions")) {
            step("topic_describe" + which, TOPICS, "--describe", "--topic", "tools-a", which);
        }
        step("topic_alter", TOPICS, "--alter", "--topic", "tools-a", "--partitions", "4");
        step("topic_alter_fewer", TOPICS, "--alter", "--topic", "tools-a", "--partitions", "2");
        step("topic_alter_same", TOPICS, "--alter", "--topic", "tools-a", "--partitions", "4");
        step("topic_alter_missing", TOPICS, "--alter", "--topic", "tools-none", "--partitions",
            "2");
        step("topic_alter_missing_if_exists", TOPICS, "--alter", "--topic", "tools-none",
            "--partitions", "2", "--if-exists");
        step("topic_delete_missing", TOPICS, "--delete", "--topic", "tools-none");
        step("topic_delete_missing_if_exists", TOPICS, "--delete", "--topic", "tools-none",
            "--if-exists");
    }

    private void console() {
        StringBuilder lines = new StringBuilder();
        for (int n = 0; n < 40; n++) {
            lines.append("h1:v").append(n).append(",h2:x|key-").append(n % 5).append("|value ")
                .append(n).append('\n');
        }
        stepWith(lines.toString(), "console_producer", PRODUCER, "--topic", "tools-b",
            "--reader-property", "parse.key=true", "--reader-property", "key.separator=|",
            "--reader-property", "parse.headers=true", "--reader-property",
            "headers.delimiter=|");
        // With keys, because which partition is given none is chance.
        stepWith("a:one\nb:two\nc:three\n", "console_producer_sync", PRODUCER, "--topic",
            "tools-c", "--reader-property", "parse.key=true", "--reader-property",
            "key.separator=:", "--sync", "--compression-codec", "zstd", "--command-property",
            "acks=all");
        stepWith("no key separator\n", "console_producer_bad_line", PRODUCER, "--topic", "tools-b",
            "--reader-property", "parse.key=true", "--reader-property", "key.separator=|");
        String[] all = {"--formatter-property", "print.key=true", "--formatter-property",
            "print.headers=true", "--formatter-property", "print.offset=true",
            "--formatter-property", "print.partition=true", "--formatter-property",
            "print.timestamp=true", "--timeout-ms", "20000"};
        step("console_consumer", CONSUMER, with(all, "--topic", "tools-b", "--from-beginning",
            "--max-messages", "40"));
        step("console_consumer_from_offset", CONSUMER, with(all, "--topic", "tools-b",
            "--partition", "0", "--offset", "35", "--max-messages", "5"));
        step("console_consumer_committed", CONSUMER, with(all, "--topic", "tools-b",
            "--partition", "0", "--offset", "earliest", "--max-messages", "3",
            "--isolation-level", "read_committed"));
        step("console_consumer_group", CONSUMER, "--topic", "tools-b", "--from-beginning",
            "--group", "tools-group", "--max-messages", "30", "--timeout-ms", "20000");
        step("console_consumer_pattern", CONSUMER, with(all, "--include", "tools-b",
            "--from-beginning", "--max-messages", "2"));
        step("console_consumer_missing_partition", CONSUMER, "--topic", "tools-b", "--partition",
            "9", "--offset", "0", "--timeout-ms", "3000");
    }

    private void offsets() {
        for (String time : List.of("latest", "earliest", "-1", "-2", "earliest-local",
                "latest-tiered", "0", "4102444800000", "soon")) {
            step("offsets_" + time, OFFSETS, "--topic", "tools-b", "--time", time);
        }
        // Whose millisecond is the last is chance where there are records.
        step("offsets_max-timestamp", OFFSETS, "--topic", "tools-a", "--time", "max-timestamp");
        step("offsets_of_all", OFFSETS, "--exclude-internal-topics");
        step("offsets_of_pattern", OFFSETS, "--topic", "tools-[ac]");
        step("offsets_of_partitions", OFFSETS, "--topic", "tools-a", "--partitions", "0,2");
        step("offsets_of_ranges", OFFSETS, "--topic-partitions", "tools-a:1-3,tools-b:0,tools-c");
        step("offsets_of_missing", OFFSETS, "--topic", "tools-none");
    }

    private void consumerGroups() throws Exception {
        String[] group = {"--group", "tools-group"};
        groups("list", "--list");
        groups("list_states", "--list", "--state");
        groups("list_empty", "--list", "--state", "Empty");
        groups("list_stable", "--list", "--state", "Stable");
        groups("list_bad_state", "--list", "--state", "Sleepy");
        groups("list_types", "--list", "--type");
        groups("list_classic", "--list", "--type", "classic");
        groups("list_type_consumer", "--list", "--type", "consumer");
        groups("describe", with(group, "--describe"));
        groups("describe_offsets", with(group, "--describe", "--offsets", "--verbose"));
        groups("describe_members", with(group, "--describe", "--members", "--verbose"));
        groups("describe_state", with(group, "--describe", "--state", "--verbose"));
        groups("describe_all", "--describe", "--all-groups");
        groups("describe_missing", "--describe", "--group", "tools-none");
        String[] reset = with(group, "--reset-offsets", "--topic", "tools-b");
        groups("reset_dry_run", with(reset, "--to-earliest", "--dry-run"));
        groups("reset_to_earliest", with(reset, "--to-earliest", "--execute"));
        groups("reset_to_latest", with(reset, "--to-latest", "--execute"));
        groups("reset_to_offset", with(reset, "--to-offset", "17", "--execute"));
        groups("reset_beyond_end", with(reset, "--to-offset", "5000", "--execute"));
        groups("reset_shift_back", with(reset, "--shift-by", "-7", "--execute"));
        groups("reset_shift_far", with(reset, "--shift-by", "900", "--execute"));
        groups("reset_to_current", with(reset, "--to-current", "--execute"));
        groups("reset_to_datetime", with(reset, "--to-datetime", "2020-01-01T00:00:00.000",
            "--execute"));
        groups("reset_to_future", with(reset, "--to-datetime", "2099-01-01T00:00:00.000",
            "--execute"));
        groups("reset_by_duration", with(reset, "--by-duration", "P1D", "--execute"));
        groups("reset_partition", with(group, "--reset-offsets", "--topic", "tools-a:1,2",
            "--to-earliest", "--execute"));
        groups("reset_all_topics", with(group, "--reset-offsets", "--all-topics", "--to-latest",
            "--execute"));
        groups("reset_missing_topic", with(group, "--reset-offsets", "--topic", "tools-none",
            "--to-earliest", "--execute"));
        groups("reset_export", with(reset, "--to-offset", "11", "--export"));
        Path file = scratch.resolve("offsets.csv");
        Files.writeString(file, "\"tools-group\",\"tools-b\",0,13\n");
        groups("reset_from_file", with(group, "--reset-offsets", "--from-file", file.toString(),
            "--execute"));
        groups("reset_new_group", "--reset-offsets", "--group", "tools-fresh", "--topic",
            "tools-b", "--to-earliest", "--execute");
        groups("describe_after_resets", with(group, "--describe"));
        groups("delete_offsets", with(group, "--delete-offsets", "--topic", "tools-a"));
        groups("delete_offsets_missing", with(group, "--delete-offsets", "--topic", "tools-none"));
        groups("describe_after_delete_offsets", with(group, "--describe"));
        groups("delete", with(group, "--delete"));
        groups("delete_missing", "--delete", "--group", "tools-none");
        groups("list_after_delete", "--list");
        step("all_groups_list", GROUPS, "--list");
        step("all_groups_of_type", GROUPS, "--list", "--group-type", "classic");
        step("all_groups_consumer", GROUPS, "--list", "--consumer");
        step("all_groups_of_protocol", GROUPS, "--list", "--protocol", "consumer");
        groups("delete_fresh", "--delete", "--group", "tools-fresh");
    }

    private void groups(String name, String... arguments) {
        step("groups_" + name, CONSUMER_GROUPS, arguments);
    }

    private void others() throws Exception {
        Path file = scratch.resolve("records.json");
        Files.writeString(file, "{\"version\":1,\"partitions\":[{\"topic\":\"tools-c\","
            + "\"partition\":0,\"offset\":0},{\"topic\":\"tools-b\",\"partition\":0,"
            + "\"offset\":30},{\"topic\":\"tools-a\",\"partition\":1,\"offset\":9}]}");
        step("delete_records", PACKAGE + "DeleteRecordsCommand", "--offset-json-file",
            file.toString());
        step("cluster_id", CLUSTER, "cluster-id");
        step("end_to_end_latency", PACKAGE + "EndToEndLatency", "--topic", "tools-c",
            "--num-records", "20", "--producer-acks", "all", "--record-size", "40");
        step("producer_performance", PACKAGE + "ProducerPerformance", "--topic", "tools-c",
            "--num-records", "500", "--record-size", "50", "--throughput", "-1");
    }

    private void transactions() {
        step("transactions_list_none", TRANSACTIONS, "list");
        step("copier", PACKAGE + "TransactionalMessageCopier", "--consumer-group", "tools-copier",
            "--input-topic", "tools-b", "--input-partition", "0", "--output-topic", "tools-copies",
            "--transactional-id", "tools-copy", "--max-messages", "10", "--transaction-size", "4");
        step("copier_group", PACKAGE + "TransactionalMessageCopier", "--consumer-group",
            "tools-copier-group", "--group-mode", "--use-group-metadata", "--input-topic",
            "tools-b", "--input-partition", "0", "--output-topic", "tools-copies",
            "--transactional-id", "tools-copy-group", "--transaction-size", "3");
        step("copied", CONSUMER, "--topic", "tools-copies", "--partition", "0", "--offset",
            "earliest", "--isolation-level", "read_committed", "--max-messages", "20",
            "--timeout-ms", "20000");
        step("transactional_performance", PACKAGE + "ProducerPerformance", "--topic", "tools-a",
            "--num-records", "300", "--record-size", "50", "--throughput", "-1",
            "--transactional-id", "tools-perf", "--transaction-duration-ms", "10000");
        list("list");
        list("list_pattern", "--transactional-id-pattern", "tools-p.*");
        list("list_bad_pattern", "--transactional-id-pattern", "tools-[p");
        list("list_slow", "--duration-filter", "3600000");
        describe("describe", "tools-copy");
        describe("describe_missing", "tools-none");
        hanging("hanging", "--broker-id", "1");
        hanging("hanging_nowhere");
        hanging("hanging_unknown_broker", "--broker-id", "7");
    }

    /** What the tool says of a transaction under way, and how it ends one. */
    private void openTransaction() throws Exception {
        Map<String, Object> settings = Map.of("bootstrap.servers", bootstrap, "transactional.id",
            "tools-open", "transaction.timeout.ms", 600_000, "linger.ms", 0);
        ByteArraySerializer bytes = new ByteArraySerializer();
        try (Producer<byte[], byte[]> producer = new KafkaProducer<>(settings, bytes, bytes)) {
            producer.initTransactions();
            producer.beginTransaction();
            for (int n = 0; n < 3; n++) {
                producer.send(new ProducerRecord<>("tools-open", 0, null, new byte[4])).get();
            }
            list("list_open", "--transactional-id-pattern", "tools-open");
            describe("describe_open", "tools-open");
            describeProducers("describe_producers_open", "tools-open");
            hanging("hanging_open", "--topic", "tools-open", "--max-transaction-timeout", "0");
            String[] abort = {"abort", "--topic", "tools-open", "--partition", "0"};
            step("transactions_abort_missing", TRANSACTIONS, with(abort, "--start-offset", "1"));
            step("transactions_abort", TRANSACTIONS, with(abort, "--start-offset", "0"));
            step("transactions_abort_again", TRANSACTIONS, with(abort, "--start-offset", "0"));
            step("transactions_abort_by_producer", TRANSACTIONS, with(abort, "--producer-id",
                producerId("tools-open"), "--producer-epoch", "0", "--coordinator-epoch", "-5"));
            describeProducers("describe_producers_aborted", "tools-open");
            step("offsets_of_aborted", OFFSETS, "--topic", "tools-open");
            String[] end = {"forceTerminateTransaction", "--transactionalId"};
            step("transactions_terminate", TRANSACTIONS, with(end, "tools-open"));
            describe("describe_terminated", "tools-open");
            step("transactions_terminate_missing", TRANSACTIONS, with(end, "tools-none"));
        } catch (ProducerFencedException fenced) {
            // Closing tries to abort what was terminated.
        }
    }

    private String producerId(String id) throws Exception {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            return String.valueOf(admin.describeTransactions(List.of(id)).description(id).get()
                .producerId());
        }
    }

    private void list(String name, String... arguments) {
        step("transactions_" + name, TRANSACTIONS, with(new String[] {"list"}, arguments));
    }

    private void describe(String name, String id) {
        step("transactions_" + name, TRANSACTIONS, "describe", "--transactional-id", id);
    }

    private void describeProducers(String name, String topic) {
        step("transactions_" + name, TRANSACTIONS, "describe-producers", "--topic", topic,
            "--partition", "0");
    }

    private void hanging(String name, String... arguments) {
        step("transactions_" + name, TRANSACTIONS, with(new String[] {"find-hanging"}, arguments));
    }

    static String[] with(String[] first, String... second) {
        String[] all = Arrays.copyOf(first, first.length + second.length);
        System.arraycopy(second, 0, all, first.length, second.length);
        return all;
    }

    void step(String name, String tool, String... arguments) {
        stepWith("", name, tool, arguments);
    }

    /** Runs a tool with that standard input and writes down what it said. */
    private void stepWith(String input, String name, String tool, String... arguments) {
        PrintStream out = System.out;
        PrintStream err = System.err;
        ByteArrayOutputStream said = new ByteArrayOutputStream();
        PrintStream both = new PrintStream(said, true, StandardCharsets.UTF_8);
        String ending;
        try {
            System.setOut(both);
            System.setErr(both);
            System.setIn(new ByteArrayInputStream(input.getBytes(StandardCharsets.UTF_8)));
            ENDINGS.clear();
            Thread thread = new Thread(() -> ENDINGS.add(run(tool, arguments)));
            thread.setDaemon(true);
            thread.start();
            ending = ENDINGS.poll(STEP_SECONDS, TimeUnit.SECONDS);
        } catch (InterruptedException interrupted) {
            throw new IllegalStateException(interrupted);
        } finally {
            System.setOut(out);
            System.setErr(err);
        }
        if (ending == null) {
            whole = false;
            System.out.println("not ok " + name + ": still running after " + STEP_SECONDS + " s");
        }
        transcript.add("## " + name);
        List<String> lines = new ArrayList<>();
        for (String line : said.toString(StandardCharsets.UTF_8).split("\n")) {
            String shown = normal(line);
            // Where a failed command was in its code says nothing of the broker.
            if (!shown.isEmpty() && !shown.startsWith("at ") && !shown.startsWith("... ")) {
                lines.add(shown);
            }
        }
        // Tools print what they keep in hash maps; the order says nothing.
        Collections.sort(lines);
        if (tool.endsWith("TransactionalMessageCopier")) {
            lines = lines.stream().distinct().toList();
        }
        transcript.addAll(lines);
        transcript.add("=> " + ending);
    }

    private String run(String tool, String[] arguments) {
        String[] all = with(new String[] {"--bootstrap-server", bootstrap}, arguments);
        if (tool.equals(CLUSTER)) {
            all = with(arguments, "--bootstrap-server", bootstrap);
        } else if (tool.endsWith("TransactionalMessageCopier")) {
            all = with(new String[] {"--broker-list", bootstrap}, arguments);
        }
        try {
            if (tool.endsWith("TransactionalMessageCopier")) {
                return runOutside(tool, all);
            }
            Class.forName(tool).getMethod("main", String[].class).invoke(null, (Object) all);
            return "returned";
        } catch (InvocationTargetException thrown) {
            return "threw " + normal(String.valueOf(thrown.getCause()));
        } catch (ReflectiveOperationException | IOException | InterruptedException failed) {
            return "did not run: " + failed;
        }
    }

    /** A tool that ends the JVM in its own way has one of its own. */
    private static String runOutside(String tool, String[] arguments)
            throws IOException, InterruptedException {
        List<String> command = new ArrayList<>(List.of(
            System.getProperty("java.home") + "/bin/java", "-Xmx256m", "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1", "-cp", System.getProperty("java.class.path")));
        ManagementFactory.getRuntimeMXBean().getInputArguments().stream()
            .filter(argument -> argument.startsWith("-D")).forEach(command::add);
        command.add(tool);
        command.addAll(List.of(arguments));
        Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
        process.getInputStream().transferTo(System.out);
        return "exit " + process.waitFor();
    }

    private static String normal(String line) {
        String shown = line;
        for (String[] rule : RULES) {
            shown = Pattern.compile(rule[0]).matcher(shown).replaceAll(rule[1]);
        }
        return shown.strip();
    }
}
