// The tools that look after groups in use and after the cluster: live members, settings, quotas,
// client metrics, features, the quorum, reassignments. Not a program: `Tools` runs these steps and
// writes down what they print.

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** Steps in their order; topics and their records are those that `Tools` has made. */
final class ClusterTools {
    private static final String PACKAGE = "org.apache.kafka.tools.";
    private static final String GROUPS = PACKAGE + "consumer.group.ConsumerGroupCommand";
    private static final String SHARE_GROUPS = PACKAGE + "consumer.group.ShareGroupCommand";
    private static final String STREAMS_GROUPS = PACKAGE + "streams.StreamsGroupCommand";
    private static final String ALL_GROUPS = PACKAGE + "GroupsCommand";
    private static final String CONFIGS = "kafka.admin.ConfigCommand";
    private static final String METRICS = PACKAGE + "ClientMetricsCommand";
    private static final String FEATURES = PACKAGE + "FeatureCommand";
    private static final String ELECTION = PACKAGE + "LeaderElectionCommand";
    private static final String REASSIGN = PACKAGE + "reassign.ReassignPartitionsCommand";
    private static final String QUORUM = PACKAGE + "MetadataQuorumCommand";
    private static final int JOIN_SECONDS = 40;

    private final Tools tools;
    private final String bootstrap;
    private final Path scratch;

    ClusterTools(Tools tools, String bootstrap, Path scratch) {
        this.tools = tools;
        this.bootstrap = bootstrap;
        this.scratch = scratch;
    }

    void all() throws Exception {
        liveGroup("classic", "tools-live");
        liveGroup("consumer", "tools-new");
        otherGroups();
        configs();
        quotas();
        clientMetrics();
        cluster();
        elections();
        reassignments();
    }

    /** A member of a group that holds tools-b, reads nothing, and has committed 5. */
    private final class Member implements AutoCloseable {
        private final CountDownLatch joined = new CountDownLatch(1);
        private final Thread thread;
        private volatile boolean stopping;

        Member(String protocol, String group) throws InterruptedException {
            Properties settings = new Properties();
            settings.putAll(Map.of("bootstrap.servers", bootstrap, "group.id", group,
                "client.id", group + "-member", "group.protocol", protocol,
                "enable.auto.commit", "false", "auto.offset.reset", "earliest"));
            thread = new Thread(() -> hold(settings));
            thread.setDaemon(true);
            thread.start();
            if (!joined.await(JOIN_SECONDS, TimeUnit.SECONDS)) {
                throw new IllegalStateException("no member of " + group);
            }
        }

        private void hold(Properties settings) {
            ByteArrayDeserializer bytes = new ByteArrayDeserializer();
            try (Consumer<byte[], byte[]> consumer = new KafkaConsumer<>(settings, bytes, bytes)) {
                consumer.subscribe(List.of("tools-b"));
                while (!stopping) {
                    consumer.poll(Duration.ofMillis(100));
                    if (joined.getCount() > 0 && !consumer.assignment().isEmpty()) {
                        consumer.pause(consumer.assignment());
                        consumer.commitSync(Map.of(new TopicPartition("tools-b", 0),
                            new OffsetAndMetadata(5)));
                        joined.countDown();
                    }
                }
            }
        }

        @Override
        public void close() throws InterruptedException {
            stopping = true;
            thread.join(TimeUnit.SECONDS.toMillis(JOIN_SECONDS));
        }
    }

    private void liveGroup(String protocol, String name) throws Exception {
        String prefix = "live_" + protocol + "_";
        String[] group = {"--group", name};
        try (Member member = new Member(protocol, name)) {
            for (String what : List.of("--offsets", "--members", "--state")) {
                step(prefix + "describe" + what, GROUPS, Tools.with(group, "--describe", what));
                step(prefix + "describe" + what + "_verbose", GROUPS,
                    Tools.with(group, "--describe", what, "--verbose"));
            }
            step(prefix + "list_states", GROUPS, "--list", "--state", "--type");
            step(prefix + "list_some", GROUPS, "--list", "--state", "Stable,Empty");
            step(prefix + "all_list", ALL_GROUPS, "--list");
            step(prefix + "delete", GROUPS, Tools.with(group, "--delete"));
            step(prefix + "reset", GROUPS, Tools.with(group, "--reset-offsets", "--topic",
                "tools-b", "--to-earliest", "--execute"));
            step(prefix + "delete_offsets", GROUPS, Tools.with(group, "--delete-offsets",
                "--topic", "tools-b"));
        }
        step(prefix + "left", GROUPS, Tools.with(group, "--describe", "--state", "--verbose"));
        step(prefix + "left_offsets", GROUPS, Tools.with(group, "--describe", "--offsets"));
        step(prefix + "left_reset", GROUPS, Tools.with(group, "--reset-offsets", "--topic",
            "tools-b:0", "--shift-by", "2", "--execute"));
        step(prefix + "left_delete_offsets", GROUPS, Tools.with(group, "--delete-offsets",
            "--topic", "tools-b:0"));
    }

    private void otherGroups() {
        step("groups_two", GROUPS, "--describe", "--group", "tools-live", "--group", "tools-new",
            "--state");
        step("groups_reset_all", GROUPS, "--reset-offsets", "--all-groups", "--topic", "tools-b",
            "--to-offset", "33", "--execute");
        step("groups_share", ALL_GROUPS, "--list", "--share");
        step("groups_streams", ALL_GROUPS, "--list", "--streams");
        step("groups_bad_type", ALL_GROUPS, "--list", "--group-type", "odd");
        step("share_groups_list", SHARE_GROUPS, "--list");
        step("streams_groups_list", STREAMS_GROUPS, "--list");
        step("streams_groups_list_states", STREAMS_GROUPS, "--list", "--state");
        step("streams_groups_describe_none", STREAMS_GROUPS, "--describe", "--all-groups");
        step("streams_groups_describe_missing", STREAMS_GROUPS, "--describe", "--group",
            "tools-none");
        step("streams_groups_describe_other", STREAMS_GROUPS, "--describe", "--group",
            "tools-live");
        step("streams_groups_delete_missing", STREAMS_GROUPS, "--delete", "--group",
            "tools-none");
        step("groups_delete_all", GROUPS, "--delete", "--all-groups");
        step("groups_list_after_delete_all", GROUPS, "--list");
    }

    private void configs() {
        String[] topic = {"--entity-type", "topics", "--entity-name", "tools-c"};
        config("topic_alter", topic, "--alter", "--add-config",
            "retention.ms=777,cleanup.policy=[compact,delete]");
        config("topic_describe", topic, "--describe");
        config("topic_bad_value", topic, "--alter", "--add-config", "retention.ms=soon");
        config("topic_bad_key", topic, "--alter", "--add-config", "no.such.key=1");
        config("topic_delete", topic, "--alter", "--delete-config",
            "retention.ms,cleanup.policy");
        config("topic_delete_again", topic, "--alter", "--delete-config", "retention.ms");
        config("topic_describe_after", topic, "--describe");
        config("topic_missing", new String[] {"--entity-type", "topics", "--entity-name",
            "tools-none"}, "--alter", "--add-config", "retention.ms=1");
        String[] broker = {"--entity-type", "brokers", "--entity-name", "1"};
        config("broker_alter", broker, "--alter", "--add-config",
            "log.cleaner.backoff.ms=14000,max.connections=900");
        config("broker_describe", broker, "--describe");
        config("broker_fixed", broker, "--alter", "--add-config", "num.partitions=9");
        config("broker_no_connection", broker, "--alter", "--add-config", "max.connections=0");
        config("broker_bad_value", broker, "--alter", "--add-config", "log.retention.ms=soon");
        config("broker_delete", broker, "--alter", "--delete-config",
            "log.cleaner.backoff.ms,max.connections");
        String[] all = {"--entity-type", "brokers", "--entity-default"};
        config("brokers_alter", all, "--alter", "--add-config", "log.retention.bytes=88888888");
        config("brokers_describe", all, "--describe");
        config("brokers_delete", all, "--alter", "--delete-config", "log.retention.bytes");
        String[] group = {"--entity-type", "groups", "--entity-name", "tools-settings"};
        config("group_alter", group, "--alter", "--add-config",
            "consumer.session.timeout.ms=50000");
        config("group_bad_value", group, "--alter", "--add-config",
            "consumer.session.timeout.ms=5");
        config("group_describe", group, "--describe");
        config("group_delete", group, "--alter", "--delete-config",
            "consumer.session.timeout.ms");
    }

    private void quotas() {
        String rates = "producer_byte_rate=1048576,consumer_byte_rate=2097152";
        String[] both = {"--entity-type", "users", "--entity-name", "tools-user", "--entity-type",
            "clients", "--entity-name", "tools-client"};
        String[] users = {"--entity-type", "users", "--entity-default"};
        String[] address = {"--entity-type", "ips", "--entity-name", "192.0.2.9"};
        config("quota_both", both, "--alter", "--add-config", rates);
        config("quota_users", users, "--alter", "--add-config", "request_percentage=50.5");
        config("quota_address", address, "--alter", "--add-config", "connection_creation_rate=9");
        config("quota_bad_key", both, "--alter", "--add-config", "no_such_rate=1");
        config("quota_bad_value", both, "--alter", "--add-config", "producer_byte_rate=fast");
        config("quota_bad_address", new String[] {"--entity-type", "ips", "--entity-name",
            "not an address"}, "--alter", "--add-config", "connection_creation_rate=9");
        config("quota_describe_both", both, "--describe");
        config("quota_describe_users", new String[] {"--entity-type", "users"}, "--describe");
        config("quota_describe_address", address, "--describe");
        config("quota_delete", both, "--alter", "--delete-config",
            "producer_byte_rate,consumer_byte_rate");
        config("quota_delete_users", users, "--alter", "--delete-config", "request_percentage");
        config("quota_delete_address", address, "--alter", "--delete-config",
            "connection_creation_rate");
        config("quota_describe_after", both, "--describe");
    }

    private void config(String name, String[] entity, String... arguments) {
        step("config_" + name, CONFIGS, Tools.with(entity, arguments));
    }

    private void clientMetrics() {
        String[] name = {"--name", "tools-metrics"};
        step("metrics_alter", METRICS, Tools.with(name, "--alter", "--metrics",
            "org.apache.kafka.producer.", "--interval", "60000", "--match",
            "client_id=tools.*"));
        step("metrics_list", METRICS, "--list");
        step("metrics_describe", METRICS, Tools.with(name, "--describe"));
        step("metrics_describe_all", METRICS, "--describe");
        step("metrics_bad_interval", METRICS, Tools.with(name, "--alter", "--interval", "5"));
        step("metrics_bad_match", METRICS, Tools.with(name, "--alter", "--match", "odd=1"));
        step("metrics_delete", METRICS, Tools.with(name, "--delete"));
        step("metrics_describe_missing", METRICS, Tools.with(name, "--describe"));
        step("metrics_delete_missing", METRICS, Tools.with(name, "--delete"));
    }

    private void cluster() {
        String endpoints = PACKAGE + "ClusterTool";
        step("cluster_endpoints", endpoints, "list-endpoints");
        step("cluster_unregister", endpoints, "unregister", "--id", "7");
        step("features_describe", FEATURES, "describe");
        step("features_too_high", FEATURES, "upgrade", "--feature", "transaction.version=9");
        step("features_unknown", FEATURES, "upgrade", "--feature", "no.such.feature=1");
        step("features_same", FEATURES, "upgrade", "--feature", "transaction.version=2");
        step("quorum_status", QUORUM, "describe", "--status");
        step("quorum_replication", QUORUM, "describe", "--replication");
        step("log_dirs", PACKAGE + "LogDirsCommand", "--describe", "--topic-list",
            "tools-b,tools-none", "--broker-list", "1");
        step("log_dirs_unknown_broker", PACKAGE + "LogDirsCommand", "--describe",
            "--broker-list", "1,7");
        step("acls_list", PACKAGE + "AclCommand", "--list");
        step("acls_add", PACKAGE + "AclCommand", "--add", "--allow-principal", "User:tools",
            "--operation", "Read", "--topic", "tools-b", "--force");
    }

    private void elections() throws IOException {
        String[] preferred = {"--election-type", "preferred"};
        step("election", ELECTION, Tools.with(preferred, "--topic", "tools-a", "--partition",
            "1"));
        step("election_missing", ELECTION, Tools.with(preferred, "--topic", "tools-none",
            "--partition", "0"));
        step("election_unclean", ELECTION, "--election-type", "unclean", "--topic", "tools-a",
            "--partition", "0");
        String file = file("elect.json", "{\"partitions\":[{\"topic\":\"tools-b\","
            + "\"partition\":0},{\"topic\":\"tools-c\",\"partition\":1}]}");
        step("election_file", ELECTION, Tools.with(preferred, "--path-to-json-file", file));
    }

    private void reassignments() throws IOException {
        String topics = file("topics.json", "{\"topics\":[{\"topic\":\"tools-a\"}],\"version\":1}");
        step("reassign_list", REASSIGN, "--list");
        step("reassign_generate", REASSIGN, "--generate", "--topics-to-move-json-file", topics,
            "--broker-list", "1");
        step("reassign_generate_unknown", REASSIGN, "--generate", "--topics-to-move-json-file",
            topics, "--broker-list", "7");
        for (String replicas : List.of("1", "7", "1,1", "")) {
            String name = replicas.replace(',', '_');
            String plan = file("plan" + name + ".json", "{\"version\":1,\"partitions\":[{"
                + "\"topic\":\"tools-a\",\"partition\":0,\"replicas\":[" + replicas + "]}]}");
            step("reassign_execute_to_" + name, REASSIGN, "--execute",
                "--reassignment-json-file", plan);
            // Of a broker that is none, the tool waits a minute for it.
            if (!replicas.equals("7")) {
                step("reassign_verify_" + name, REASSIGN, "--verify", "--reassignment-json-file",
                    plan);
            }
        }
        String missing = file("missing.json", "{\"version\":1,\"partitions\":[{\"topic\":"
            + "\"tools-none\",\"partition\":0,\"replicas\":[1]}]}");
        step("reassign_execute_missing", REASSIGN, "--execute", "--reassignment-json-file",
            missing);
        step("reassign_cancel", REASSIGN, "--cancel", "--reassignment-json-file",
            scratch.resolve("plan1.json").toString());
    }

    private String file(String name, String text) throws IOException {
        Path file = scratch.resolve(name);
        Files.writeString(file, text);
        return file.toString();
    }

    private void step(String name, String tool, String... arguments) {
        tools.step(name, tool, arguments);
    }
}
