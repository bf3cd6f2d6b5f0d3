// Writes the files in kafka-4.3.1/ with Apache Kafka's own classes, for storage/tests/golden.rs.
//
//   javac -cp "$KAFKA/libs/*" Goldens.java && java -cp "$KAFKA/libs/*:." Goldens kafka-4.3.1
//   java -cp "$KAFKA/libs/*" org.apache.kafka.tools.DumpLogSegments \
//       --files kafka-4.3.1/00000000000000001000.log > kafka-4.3.1/dump.txt
//
// The segment holds what a log can hold: every codec, both timestamp types, timestamps that go back,
// idempotent and transactional batches, markers, a producer whose sequences wrap, three leader epochs.

import java.io.File;
import java.nio.ByteBuffer;
import java.util.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.record.internal.*;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.storage.internals.checkpoint.LeaderEpochCheckpointFile;
import org.apache.kafka.storage.internals.log.*;

public class Goldens {
    static final long BASE = 1000;
    static LogSegment segment;
    static ProducerStateManager producers;
    static long offset = BASE;
    static List<EpochEntry> epochs = new ArrayList<>();

    public static void main(String[] args) throws Exception {
        File dir = new File(args[0]).getAbsoluteFile();
        dir.mkdirs();
        Map<String, Object> settings = new HashMap<>();
        settings.put("index.interval.bytes", 256);
        settings.put("segment.index.bytes", 4096);
        settings.put("segment.bytes", 1 << 20);
        segment = LogSegment.open(dir, BASE, new LogConfig(settings), Time.SYSTEM, 0, false);
        producers = new ProducerStateManager(new TopicPartition("golden", 0), dir, 900000,
            new ProducerStateManagerConfig(86400000, false), Time.SYSTEM);

        int[] sequences = new int[4];
        for (int i = 0; i < 8; i++) {
            plain(Compression.NONE, 0, 1_700_000_000_000L + i * 10, 1 + i % 3, 40 + i * 30);
        }
        plain(Compression.gzip().build(), 0, 1_700_000_000_500L, 5, 100);
        plain(Compression.snappy().build(), 0, 1_700_000_000_400L, 5, 100);
        plain(Compression.lz4().build(), 0, 1_700_000_000_300L, 5, 100);
        plain(Compression.zstd().build(), 0, 1_700_000_000_600L, 5, 100);
        logAppendTime(1, 1_700_000_001_000L);
        for (int i = 0; i < 9; i++) {
            int producer = i % 2;
            produce(7000 + producer, (short) 0, sequences[producer], 1, 1 + i, 1_700_000_002_000L + i, false);
            sequences[producer] += 1 + i;
        }
        produce(7002, (short) 3, Integer.MAX_VALUE - 1, 1, 2, 1_700_000_003_000L, false);
        produce(7002, (short) 3, 0, 1, 2, 1_700_000_003_001L, false);
        produce(7003, (short) 0, 0, 1, 3, 1_700_000_004_000L, true);
        produce(7003, (short) 0, 3, 1, 2, 1_700_000_004_001L, true);
        marker(7003, (short) 0, ControlRecordType.COMMIT, 12, 1_700_000_004_100L);
        produce(7003, (short) 1, 0, 2, 1, 1_700_000_004_200L, true);
        marker(7003, (short) 2, ControlRecordType.ABORT, 13, 1_700_000_004_300L);
        produce(7004, (short) 0, 0, 2, 4, 1_700_000_005_000L, true);
        plain(Compression.NONE, 5, 1_700_000_000_000L, 1, 700);
        plain(Compression.NONE, 5, 1_700_000_000_000L, 1, 10);

        segment.close();
        producers.updateMapEndOffset(offset);
        producers.takeSnapshot();
        new LeaderEpochCheckpointFile(LeaderEpochCheckpointFile.newFile(dir),
            new LogDirFailureChannel(1)).write(epochs);
    }

    static void append(MemoryRecords records) throws Exception {
        for (RecordBatch batch : records.batches()) {
            if (epochs.isEmpty() || epochs.get(epochs.size() - 1).epoch() != batch.partitionLeaderEpoch()) {
                epochs.add(new EpochEntry(batch.partitionLeaderEpoch(), batch.baseOffset()));
            }
            if (batch.hasProducerId()) {
                AppendOrigin origin = batch.isControlBatch() ? AppendOrigin.COORDINATOR : AppendOrigin.CLIENT;
                ProducerAppendInfo info = producers.prepareUpdate(batch.producerId(), origin);
                Optional<CompletedTxn> completed = info.append(batch, Optional.empty(), (short) 1);
                producers.update(info);
                completed.ifPresent(producers::completeTxn);
            }
            offset = batch.lastOffset() + 1;
        }
        segment.append(offset - 1, records);
    }

    static SimpleRecord[] records(int count, int bytes, long timestamp) {
        SimpleRecord[] records = new SimpleRecord[count];
        for (int i = 0; i < count; i++) {
            byte[] value = new byte[bytes];
            Arrays.fill(value, (byte) ('a' + i));
            // The first record of a batch is its youngest.
            records[i] = new SimpleRecord(timestamp - i, ("key" + i).getBytes(), value);
        }
        return records;
    }

    static void plain(Compression codec, int epoch, long timestamp, int count, int bytes) throws Exception {
        append(MemoryRecords.withRecords(offset, codec, epoch, records(count, bytes, timestamp)));
    }

    static void logAppendTime(int epoch, long timestamp) throws Exception {
        MemoryRecordsBuilder builder = MemoryRecords.builder(ByteBuffer.allocate(1024), RecordBatch.CURRENT_MAGIC_VALUE,
            Compression.NONE, TimestampType.LOG_APPEND_TIME, offset, timestamp, epoch);
        builder.append(5L, "key".getBytes(), "value".getBytes());
        append(builder.build());
    }

    static void produce(long id, short producerEpoch, int sequence, int epoch, int count, long timestamp, boolean txn)
            throws Exception {
        SimpleRecord[] records = records(count, 20, timestamp);
        append(txn
            ? MemoryRecords.withTransactionalRecords(offset, Compression.NONE, id, producerEpoch, sequence, epoch, records)
            : MemoryRecords.withIdempotentRecords(offset, Compression.NONE, id, producerEpoch, sequence, epoch, records));
    }

    static void marker(long id, short producerEpoch, ControlRecordType type, int coordinatorEpoch, long timestamp)
            throws Exception {
        append(MemoryRecords.withEndTransactionMarker(offset, timestamp, 2, id, producerEpoch,
            new EndTransactionMarker(type, coordinatorEpoch)));
    }
}
