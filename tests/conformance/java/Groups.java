// Java consumers with group.protocol=consumer against a broker: one line per check, as checks.py
// says. The checks run beside each other, because most of their time is spent waiting.

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.SubscriptionPattern;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.GroupType;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.InvalidRegularExpression;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

public final class Groups extends Checks {
    private static final int CHECK_SECONDS = 100;
    private static final int SECONDS = 40;

    private final String bootstrap;
    private final Admin admin;

    private Groups(String bootstrap) {
        this.bootstrap = bootstrap;
        this.admin = Admin.create(Map.of("bootstrap.servers", bootstrap));
    }

    public static void main(String[] arguments) throws Exception {
        new Groups(option(arguments, "--bootstrap", "127.0.0.1:9092")).all();
        System.exit(0);
    }

    private void all() throws InterruptedException {
        Map<String, Check> checks = new LinkedHashMap<>();
        checks.put("subscribe_and_commit", this::subscribeAndCommit);
        checks.put("subscription_pattern", this::subscriptionPattern);
        checks.put("static_member", this::staticMember);
        checks.put("topic_grows", this::topicGrows);
        checks.put("rolling_upgrade_and_back", this::rollingUpgradeAndBack);
        ExecutorService executor = Executors.newFixedThreadPool(checks.size(), task -> {
            Thread thread = new Thread(task);
            thread.setDaemon(true);
            return thread;
        });
        checks.forEach((name, check) -> executor.submit(() -> check(name, CHECK_SECONDS, check)));
        executor.shutdown();
        // Each has its own bound.
        executor.awaitTermination(2 * CHECK_SECONDS, TimeUnit.SECONDS);
    }

    private void subscribeAndCommit() throws Exception {
        String topic = create(unique("commit"), 2);
        String group = unique("commit");
        send(topic, 2, 0, 20);
        try (KafkaConsumer<byte[], byte[]> first = consumer(group, "consumer", Map.of())) {
            first.subscribe(List.of(topic));
            Set<String> seen = new TreeSet<>();
            waitFor(() -> poll(first, seen).size() == 20, "twenty records");
            first.commitSync();
            expect(first.groupMetadata().generationId() > 0, "a member has an epoch");
            ConsumerGroupDescription described = describe(group);
            expectEqual(described.type() + " " + described.groupState() + " "
                + described.members().size(), GroupType.CONSUMER + " Stable 1", "described");
        }
        send(topic, 2, 20, 30);
        try (KafkaConsumer<byte[], byte[]> second = consumer(group, "consumer", Map.of())) {
            second.subscribe(List.of(topic));
            Set<String> seen = new TreeSet<>();
            waitFor(() -> poll(second, seen).size() == 10, "what was not committed");
            expect(seen.stream().allMatch(value -> Integer.parseInt(value) >= 20), "and no more");
        }
        waitFor(() -> describe(group).groupState().toString().equals("Empty"), "an empty group");
    }

    private void subscriptionPattern() throws Exception {
        String prefix = unique("pattern");
        create(prefix + "-a", 1);
        create("other-" + prefix, 1);
        send(prefix + "-a", 1, 0, 5);
        send("other-" + prefix, 1, 100, 105);
        try (KafkaConsumer<byte[], byte[]> member =
                consumer(unique("pattern"), "consumer", Map.of())) {
            member.subscribe(new SubscriptionPattern(prefix + "-[a-z]+"));
            Set<String> seen = new TreeSet<>();
            waitFor(() -> poll(member, seen).size() == 5, "the matching topic");
            create(prefix + "-b", 1);
            send(prefix + "-b", 1, 5, 10);
            waitFor(() -> poll(member, seen).size() == 10, "a topic that came later");
            expect(seen.stream().allMatch(value -> Integer.parseInt(value) < 100), "no other one");
        }
        try (KafkaConsumer<byte[], byte[]> member =
                consumer(unique("pattern"), "consumer", Map.of())) {
            member.subscribe(new SubscriptionPattern("("));
            waitFor(() -> {
                try {
                    member.poll(Duration.ofMillis(50));
                    return false;
                } catch (InvalidRegularExpression refused) {
                    return true;
                }
            }, "a wrong pattern is refused");
        }
    }

    private void staticMember() throws Exception {
        String topic = create(unique("static"), 2);
        String group = unique("static");
        Map<String, Object> instance = Map.of("group.instance.id", "one");
        Set<TopicPartition> had;
        int epoch;
        try (KafkaConsumer<byte[], byte[]> first = consumer(group, "consumer", instance)) {
            first.subscribe(List.of(topic));
            waitFor(() -> assigned(first) == 2, "both partitions");
            had = first.assignment();
            epoch = groupEpoch(group);
        }
        expectEqual(describe(group).members().size(), 1, "members while it is away");
        try (KafkaConsumer<byte[], byte[]> back = consumer(group, "consumer", instance)) {
            back.subscribe(List.of(topic));
            waitFor(() -> assigned(back) == 2, "what it had");
            expectEqual(back.assignment(), had, "assignment");
            expectEqual(groupEpoch(group), epoch, "the group's epoch: nothing was rebalanced");
        }
    }

    private void topicGrows() throws Exception {
        String topic = create(unique("grows"), 2);
        String group = unique("grows");
        try (KafkaConsumer<byte[], byte[]> first = consumer(group, "consumer", Map.of());
                KafkaConsumer<byte[], byte[]> second = consumer(group, "consumer", Map.of())) {
            first.subscribe(List.of(topic));
            second.subscribe(List.of(topic));
            waitFor(() -> assigned(first) == 1 & assigned(second) == 1, "one each");
            admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(6))).all()
                .get(SECONDS, TimeUnit.SECONDS);
            waitFor(() -> assigned(first) == 3 & assigned(second) == 3, "three each");
            send(topic, 6, 0, 30);
            Set<String> seen = new TreeSet<>();
            waitFor(() -> {
                poll(first, seen);
                return poll(second, seen).size() == 30;
            }, "records of new partitions");
        }
    }

    /** Two members, replaced one by one: classic, both protocols, consumer, both, classic. */
    private void rollingUpgradeAndBack() throws Exception {
        String topic = create(unique("rolling"), 4);
        String group = unique("rolling");
        Set<String> seen = new TreeSet<>();
        List<KafkaConsumer<byte[], byte[]>> members = new ArrayList<>();
        int sent = 0;
        try {
            for (String protocol : List.of("classic", "classic", "consumer", "consumer", "classic",
                    "classic")) {
                if (members.size() == 2) {
                    KafkaConsumer<byte[], byte[]> leaving = members.remove(0);
                    leaving.commitSync();
                    leaving.close();
                }
                KafkaConsumer<byte[], byte[]> joining = consumer(group, protocol, Map.of());
                joining.subscribe(List.of(topic));
                members.add(joining);
                send(topic, 4, sent, sent + 40);
                sent += 40;
                String wanted = members.size() == 1 ? "[4]" : "[2, 2]";
                waitFor(() -> {
                    for (var member : members) {
                        if (!poll(member, seen).isEmpty()) {
                            member.commitAsync();
                        }
                    }
                    List<Integer> sizes =
                        members.stream().map(member -> member.assignment().size()).toList();
                    Set<TopicPartition> all = new java.util.HashSet<>();
                    members.forEach(member -> all.addAll(member.assignment()));
                    return sizes.toString().equals(wanted) && all.size() == 4;
                }, "the partitions of " + members.size() + " members, the last " + protocol);
                int total = sent;
                waitFor(() -> {
                    members.forEach(member -> poll(member, seen));
                    return seen.size() == total;
                }, total + " records with the last member " + protocol);
            }
            waitFor(() -> {
                members.forEach(member -> poll(member, seen));
                return describe(group).type() == GroupType.CLASSIC;
            }, "a classic group in the end");
        } finally {
            members.forEach(KafkaConsumer::close);
        }
    }

    private KafkaConsumer<byte[], byte[]> consumer(
            String group, String protocol, Map<String, Object> more) {
        Map<String, Object> config = new HashMap<>(Map.of(
            "bootstrap.servers", bootstrap, "group.id", group, "auto.offset.reset", "earliest",
            "enable.auto.commit", false, "group.protocol", protocol,
            "metadata.max.age.ms", 2000));
        if (protocol.equals("classic")) {
            config.put("heartbeat.interval.ms", 300);
        }
        config.putAll(more);
        return new KafkaConsumer<>(
            config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    /** Adds the values of one poll to those seen. */
    private static Set<String> poll(KafkaConsumer<byte[], byte[]> member, Set<String> seen) {
        for (ConsumerRecord<byte[], byte[]> record : member.poll(Duration.ofMillis(50))) {
            seen.add(new String(record.value(), StandardCharsets.UTF_8));
        }
        return seen;
    }

    private static int assigned(KafkaConsumer<byte[], byte[]> member) {
        member.poll(Duration.ofMillis(50));
        return member.assignment().size();
    }

    private ConsumerGroupDescription describe(String group) throws Exception {
        return admin.describeConsumerGroups(List.of(group)).all().get(SECONDS, TimeUnit.SECONDS)
            .get(group);
    }

    private int groupEpoch(String group) throws Exception {
        return describe(group).groupEpoch().orElse(-1);
    }

    private String create(String topic, int partitions) throws Exception {
        admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1))).all()
            .get(SECONDS, TimeUnit.SECONDS);
        waitFor(() -> {
            try {
                return admin.describeTopics(List.of(topic)).allTopicNames()
                    .get(SECONDS, TimeUnit.SECONDS).get(topic).partitions().size() == partitions;
            } catch (ExecutionException notYet) {
                return false;
            }
        }, topic);
        return topic;
    }

    /** Sends numbers as values, in turn to each partition. */
    private void send(String topic, int partitions, int from, int to) throws Exception {
        Map<String, Object> config = new TreeMap<>(Map.of("bootstrap.servers", bootstrap));
        try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(
                config, new ByteArraySerializer(), new ByteArraySerializer())) {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (int n = from; n < to; n++) {
                byte[] value = Integer.toString(n).getBytes(StandardCharsets.UTF_8);
                sent.add(producer.send(new ProducerRecord<>(topic, n % partitions, null, value)));
            }
            for (Future<RecordMetadata> one : sent) {
                one.get(SECONDS, TimeUnit.SECONDS);
            }
        }
    }

    private static void waitFor(Callable<Boolean> condition, String what) throws Exception {
        waitFor(SECONDS, what, condition);
    }
}
