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
        print("other", CoordinatorRecord.record(new ConsumerGroupMetadataKey().setGroupId("g"),
            new ApiMessageAndVersion(new ConsumerGroupMetadataValue().setEpoch(1), (short) 0)));
        for (String id : List.of("", "g", "my-group", "console-consumer-12345", "gruppe-\u00fc\u4e2d",
                "\ud83d\ude00", "polygenelubricants", "AESeOuZ4Q7SIhgeoNSkqmQ")) {
            for (int count : new int[] {1, 50, 100}) {
                System.out.println("partition " + hex(id.getBytes(java.nio.charset.StandardCharsets.UTF_8))
                    + "- " + count + " " + Utils.abs(id.hashCode()) % count);
            }
        }
    }
}
