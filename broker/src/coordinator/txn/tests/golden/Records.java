// Prints records.txt: records of __transaction_state as Kafka's own classes write them. Run with
// Kafka's jars on the class path:
//   java -cp 'libs/*' Records.java > records.txt
// Lines: name, key in hex, value in hex or "null".

import java.util.Set;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.coordinator.transaction.TransactionLog;
import org.apache.kafka.coordinator.transaction.TransactionState;
import org.apache.kafka.coordinator.transaction.TxnTransitMetadata;
import org.apache.kafka.server.common.TransactionVersion;

public class Records {
    static String hex(byte[] bytes) {
        if (bytes == null) return "null";
        StringBuilder out = new StringBuilder();
        for (byte b : bytes) out.append(String.format("%02x", b));
        return out.toString();
    }

    static void print(String name, TransactionState state, long previous, long next, int epoch,
            Set<TopicPartition> partitions, long started, int client, int level) {
        TxnTransitMetadata metadata = new TxnTransitMetadata(4711L, previous, next, (short) epoch,
            (short) -1, 60000, state, new java.util.HashSet<>(partitions), started,
            1700000000456L, TransactionVersion.fromFeatureLevel((short) client));
        System.out.println(name + " " + hex(TransactionLog.keyToBytes("tx")) + " "
            + hex(TransactionLog.valueToBytes(metadata,
                TransactionVersion.fromFeatureLevel((short) level))));
    }

    public static void main(String[] args) {
        Set<TopicPartition> none = Set.of();
        Set<TopicPartition> some = Set.of(new TopicPartition("t", 3));
        print("empty", TransactionState.EMPTY, -1, -1, 0, none, -1, 0, 2);
        print("ongoing-v0-client", TransactionState.ONGOING, 4711, -1, 1, some, 1700000000123L, 0, 2);
        print("ongoing", TransactionState.ONGOING, 4711, -1, 1, some, 1700000000123L, 2, 2);
        print("prepare-commit", TransactionState.PREPARE_COMMIT, 4711, -1, 2, some,
            1700000000123L, 2, 2);
        print("prepare-abort-last-epoch", TransactionState.PREPARE_ABORT, 4711, 4712, 32767, some,
            1700000000123L, 2, 2);
        print("complete-commit", TransactionState.COMPLETE_COMMIT, 4711, -1, 2, none,
            1700000000123L, 2, 2);
        print("complete-abort-rotated", TransactionState.COMPLETE_ABORT, 4710, -1, 0, none,
            1700000000123L, 2, 2);
        print("old-ongoing", TransactionState.ONGOING, -1, -1, 1, some, 1700000000123L, 0, 0);
        System.out.println("tombstone " + hex(TransactionLog.keyToBytes("tx")) + " null");
    }
}
