// Prints records.txt: records of __consumer_offsets as Kafka's own classes write them, and the
// partitions it puts groups on. Run with Kafka's jars on the class path:
//   java -cp 'libs/*' Records.java > records.txt
// Lines: name, key in hex, value in hex or "null"; and "partition", id in hex and a dash, count, partition.

import java.nio.ByteBuffer;
import java.util.List;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.protocol.MessageUtil;
import org.apache.kafka.common.utils.Utils;
import org.apache.kafka.coordinator.common.runtime.CoordinatorRecord;
import org.apache.kafka.coordinator.group.GroupCoordinatorRecordHelpers;
import org.apache.kafka.coordinator.group.GroupCoordinatorRecordSerde;
import org.apache.kafka.coordinator.group.OffsetAndMetadata;
import org.apache.kafka.coordinator.group.generated.*;
import org.apache.kafka.server.common.ApiMessageAndVersion;

public class Records {
    static final GroupCoordinatorRecordSerde SERDE = new GroupCoordinatorRecordSerde();

    static String hex(byte[] bytes) {
        if (bytes == null) return "null";
        StringBuilder out = new StringBuilder();
        for (byte b : bytes) out.append(String.format("%02x", b));
        return out.toString();
    }

    static void print(String name, CoordinatorRecord record) {
        System.out.println(name + " " + hex(SERDE.serializeKey(record)) + " "
            + hex(SERDE.serializeValue(record)));
    }

    static GroupMetadataValue group() {
        return new GroupMetadataValue()
            .setProtocolType("consumer").setGeneration(7).setProtocol("range").setLeader("a-1")
            .setCurrentStateTimestamp(1700000000123L)
            .setMembers(List.of(
                new GroupMetadataValue.MemberMetadata()
                    .setMemberId("a-1").setGroupInstanceId("i").setClientId("a")
                    .setClientHost("/127.0.0.1").setRebalanceTimeout(300000).setSessionTimeout(45000)
                    .setSubscription(new byte[] {0, 1, 2}).setAssignment(new byte[] {9, 8}),
                new GroupMetadataValue.MemberMetadata()
                    .setMemberId("b-2").setClientId("b").setClientHost("/10.0.0.2")
                    .setRebalanceTimeout(60000).setSessionTimeout(10000)
                    .setSubscription(new byte[0]).setAssignment(new byte[0])));
    }

    static OffsetCommitValue offset() {
        return new OffsetCommitValue().setOffset(42).setLeaderEpoch(5).setMetadata("meta")
            .setCommitTimestamp(1700000000456L).setExpireTimestamp(-1);
    }

    static void versions(String name, ApiMessage key, ApiMessage value, int from, int to) {
        for (int version = from; version <= to; version++) {
            print(name + "-v" + version, CoordinatorRecord.record(key,
                new ApiMessageAndVersion(value, (short) version)));
        }
    }

    static void streams(String name, ApiMessage key, ApiMessage value) {
        print("streams-" + name, CoordinatorRecord.record(key,
            new ApiMessageAndVersion(value, (short) 0)));
        print("streams-" + name + "-tombstone", CoordinatorRecord.tombstone(key));
    }

    static void streamsGroups() {
        streams("group", new StreamsGroupMetadataKey().setGroupId("g"),
            new StreamsGroupMetadataValue().setEpoch(3).setMetadataHash(5)
                .setValidatedTopologyEpoch(2).setLastAssignmentConfigs(List.of(
                    new StreamsGroupMetadataValue.LastAssignmentConfig()
                        .setKey("num.standby.replicas").setValue("1"))));
        StreamsGroupMemberMetadataKey member =
            new StreamsGroupMemberMetadataKey().setGroupId("g").setMemberId("m");
        streams("member", member, new StreamsGroupMemberMetadataValue()
            .setInstanceId(null).setRackId("r").setClientId("c").setClientHost("/127.0.0.1")
            .setRebalanceTimeoutMs(7).setTopologyEpoch(2).setProcessId("p")
            .setUserEndpoint(new StreamsGroupMemberMetadataValue.Endpoint()
                .setHost("h").setPort(65535))
            .setClientTags(List.of(new StreamsGroupMemberMetadataValue.KeyValue()
                .setKey("k").setValue("v"))));
        streams("member-plain", member, new StreamsGroupMemberMetadataValue()
            .setInstanceId(null).setRackId(null).setClientId("c").setClientHost("h")
            .setRebalanceTimeoutMs(7).setTopologyEpoch(0).setProcessId("p")
            .setUserEndpoint(null).setClientTags(List.of()));
        streams("target", new StreamsGroupTargetAssignmentMetadataKey().setGroupId("g"),
            new StreamsGroupTargetAssignmentMetadataValue()
                .setAssignmentEpoch(3).setAssignmentTimestamp(9));
        streams("target-member",
            new StreamsGroupTargetAssignmentMemberKey().setGroupId("g").setMemberId("m"),
            new StreamsGroupTargetAssignmentMemberValue()
                .setActiveTasks(List.of(new StreamsGroupTargetAssignmentMemberValue.TaskIds()
                    .setSubtopologyId("0").setPartitions(List.of(0, 2))))
                .setStandbyTasks(List.of(new StreamsGroupTargetAssignmentMemberValue.TaskIds()
                    .setSubtopologyId("1").setPartitions(List.of(1))))
                .setWarmupTasks(List.of()));
        streams("current",
            new StreamsGroupCurrentMemberAssignmentKey().setGroupId("g").setMemberId("m"),
            new StreamsGroupCurrentMemberAssignmentValue()
                .setMemberEpoch(4).setPreviousMemberEpoch(3).setState((byte) 1)
                .setActiveTasks(List.of(new StreamsGroupCurrentMemberAssignmentValue.TaskIds()
                    .setSubtopologyId("0").setPartitions(List.of(0, 2))
                    .setAssignmentEpochs(List.of(3, 4))))
                .setStandbyTasks(List.of(new StreamsGroupCurrentMemberAssignmentValue.TaskIds()
                    .setSubtopologyId("1").setPartitions(List.of(1))))
                .setWarmupTasks(List.of()).setActiveTasksPendingRevocation(List.of())
                .setStandbyTasksPendingRevocation(List.of())
                .setWarmupTasksPendingRevocation(List.of()));
        streams("topology", new StreamsGroupTopologyKey().setGroupId("g"),
            new StreamsGroupTopologyValue().setEpoch(2).setSubtopologies(List.of(
                new StreamsGroupTopologyValue.Subtopology()
                    .setSubtopologyId("0").setSourceTopics(List.of("a"))
                    .setSourceTopicRegex(List.of())
                    .setStateChangelogTopics(List.of(new StreamsGroupTopologyValue.TopicInfo()
                        .setName("l").setPartitions(0).setReplicationFactor((short) 1)
                        .setTopicConfigs(List.of(new StreamsGroupTopologyValue.TopicConfig()
                            .setKey("k").setValue("v")))))
                    .setRepartitionSinkTopics(List.of("r")).setRepartitionSourceTopics(List.of())
                    .setCopartitionGroups(List.of(
                        new StreamsGroupTopologyValue.CopartitionGroup()
                            .setSourceTopics(List.of((short) 0)).setSourceTopicRegex(List.of())
                            .setRepartitionSourceTopics(List.of()))))));
    }

    static void consumer(String name, ApiMessage key, ApiMessage value) {
        print("consumer-" + name, CoordinatorRecord.record(key,
            new ApiMessageAndVersion(value, (short) 0)));
        print("consumer-" + name + "-tombstone", CoordinatorRecord.tombstone(key));
    }

    static void consumerGroups() {
        Uuid topic = new Uuid(0x0102030405060708L, 0x090a0b0c0d0e0f10L);
        consumer("group", new ConsumerGroupMetadataKey().setGroupId("g"),
            new ConsumerGroupMetadataValue().setEpoch(7).setMetadataHash(77));
        ConsumerGroupMemberMetadataKey member =
            new ConsumerGroupMemberMetadataKey().setGroupId("g").setMemberId("m");
        consumer("member", member, new ConsumerGroupMemberMetadataValue()
            .setInstanceId("i").setRackId("r").setClientId("c").setClientHost("/127.0.0.1")
            .setSubscribedTopicNames(List.of("a", "b")).setSubscribedTopicRegex("x.*")
            .setRebalanceTimeoutMs(5000).setServerAssignor("range").setClassicMemberMetadata(
                new ConsumerGroupMemberMetadataValue.ClassicMemberMetadata()
                    .setSessionTimeoutMs(9000).setSupportedProtocols(List.of(
                        new ConsumerGroupMemberMetadataValue.ClassicProtocol()
                            .setName("range").setMetadata(new byte[] {1, 2})))));
        consumer("member-plain", member, new ConsumerGroupMemberMetadataValue()
            .setInstanceId(null).setRackId(null).setClientId("c").setClientHost("/127.0.0.1")
            .setSubscribedTopicNames(List.of()).setSubscribedTopicRegex("")
            .setRebalanceTimeoutMs(5000).setServerAssignor(null).setClassicMemberMetadata(null));
        consumer("target", new ConsumerGroupTargetAssignmentMetadataKey().setGroupId("g"),
            new ConsumerGroupTargetAssignmentMetadataValue()
                .setAssignmentEpoch(7).setAssignmentTimestamp(1700000000456L));
        consumer("target-member",
            new ConsumerGroupTargetAssignmentMemberKey().setGroupId("g").setMemberId("m"),
            new ConsumerGroupTargetAssignmentMemberValue().setTopicPartitions(List.of(
                new ConsumerGroupTargetAssignmentMemberValue.TopicPartition()
                    .setTopicId(topic).setPartitions(List.of(0, 3)))));
        consumer("current",
            new ConsumerGroupCurrentMemberAssignmentKey().setGroupId("g").setMemberId("m"),
            new ConsumerGroupCurrentMemberAssignmentValue()
                .setMemberEpoch(7).setPreviousMemberEpoch(6).setState((byte) 1)
                .setAssignedPartitions(List.of(
                    new ConsumerGroupCurrentMemberAssignmentValue.TopicPartitions()
                        .setTopicId(topic).setPartitions(List.of(0, 3))
                        .setAssignmentEpochs(List.of(5, 7))))
                .setPartitionsPendingRevocation(List.of(
                    new ConsumerGroupCurrentMemberAssignmentValue.TopicPartitions()
                        .setTopicId(topic).setPartitions(List.of(1)).setAssignmentEpochs(null))));
        consumer("regex",
            new ConsumerGroupRegularExpressionKey().setGroupId("g").setRegularExpression("x.*"),
            new ConsumerGroupRegularExpressionValue()
                .setTopics(List.of("x1", "x2")).setVersion(12).setTimestamp(1700000000456L));
    }

    public static void main(String[] args) {
        OffsetCommitKey offsetKey = new OffsetCommitKey().setGroup("g").setTopic("t").setPartition(3);
        GroupMetadataKey groupKey = new GroupMetadataKey().setGroup("g");
        java.util.OptionalInt epoch = java.util.OptionalInt.of(5);
        print("offset", GroupCoordinatorRecordHelpers.newOffsetCommitRecord("g", "t", 3,
            new OffsetAndMetadata(-1L, 42, epoch, "meta", 1700000000456L,
                java.util.OptionalLong.empty(), new Uuid(0x0102030405060708L, 0x090a0b0c0d0e0f10L))));
        print("offset-no-id", GroupCoordinatorRecordHelpers.newOffsetCommitRecord("g", "t", 3,
            new OffsetAndMetadata(-1L, 42, java.util.OptionalInt.empty(), "", 1700000000456L,
                java.util.OptionalLong.empty(), Uuid.ZERO_UUID)));
        print("offset-expiring", GroupCoordinatorRecordHelpers.newOffsetCommitRecord("g", "t", 3,
            new OffsetAndMetadata(-1L, 42, java.util.OptionalInt.empty(), "meta", 1700000000456L,
                java.util.OptionalLong.of(1700000100456L), Uuid.ZERO_UUID)));
        print("offset-tombstone",
            GroupCoordinatorRecordHelpers.newOffsetCommitTombstoneRecord("g", "t", 3));
        print("group-tombstone", GroupCoordinatorRecordHelpers.newGroupMetadataTombstoneRecord("g"));
        print("group", CoordinatorRecord.record(groupKey,
            new ApiMessageAndVersion(group(), (short) 3)));
        print("group-created", CoordinatorRecord.record(groupKey, new ApiMessageAndVersion(
            new GroupMetadataValue().setProtocol(null).setProtocolType("").setGeneration(0)
                .setLeader(null).setCurrentStateTimestamp(1700000000123L).setMembers(List.of()),
            (short) 3)));
        versions("offset", offsetKey, offset(), 0, 4);
        versions("group", groupKey, group(), 0, 4);
        print("legacy-offset", CoordinatorRecord.record(
            new LegacyOffsetCommitKey().setGroup("g").setTopic("t").setPartition(3),
            new ApiMessageAndVersion(new LegacyOffsetCommitValue().setOffset(42).setMetadata("meta")
                .setCommitTimestamp(1700000000456L), (short) 0)));
        print("other", CoordinatorRecord.record(new ShareGroupMetadataKey().setGroupId("g"),
            new ApiMessageAndVersion(new ShareGroupMetadataValue().setEpoch(1), (short) 0)));
        consumerGroups();
        streamsGroups();
        for (String id : List.of("", "g", "my-group", "console-consumer-12345", "gruppe-\u00fc\u4e2d",
                "\ud83d\ude00", "polygenelubricants", "AESeOuZ4Q7SIhgeoNSkqmQ")) {
            for (int count : new int[] {1, 50, 100}) {
                System.out.println("partition " + hex(id.getBytes(java.nio.charset.StandardCharsets.UTF_8))
                    + "- " + count + " " + Utils.abs(id.hashCode()) % count);
            }
        }
    }
}
