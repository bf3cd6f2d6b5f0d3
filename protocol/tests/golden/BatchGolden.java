// Prints one line per record batch, `<case> <codec> <hex>`, written by Kafka's own classes; the
// values have their twin in `tests/batch_golden.rs`. With the argument `read` it does the opposite:
// reads such lines from standard input and prints what Kafka's classes find in each batch.
//
// Run with the kafka-clients jar, its codecs and slf4j-api on the class path:
// java -cp ... BatchGolden.java [read]

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.record.internal.ControlRecordType;
import org.apache.kafka.common.record.internal.EndTransactionMarker;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.MemoryRecordsBuilder;
import org.apache.kafka.common.record.internal.Record;
import org.apache.kafka.common.record.internal.RecordBatch;

public class BatchGolden {
    static final String[] CODECS = {"none", "gzip", "snappy", "lz4", "zstd"};
    static final Header[] NO_HEADERS = {};

    public static void main(String[] args) throws Exception {
        if (args.length == 1 && args[0].equals("read")) {
            read();
            return;
        }
        for (String codec : CODECS) {
            print("small", codec, small(builder(codec, TimestampType.CREATE_TIME, false)));
            print("append-time", codec, small(builder(codec, TimestampType.LOG_APPEND_TIME, true)));
            if (!codec.equals("none")) print("large", codec, large(codec));
        }
        for (ControlRecordType type :
                new ControlRecordType[] {ControlRecordType.ABORT, ControlRecordType.COMMIT}) {
            MemoryRecords marker = MemoryRecords.withEndTransactionMarker(
                1234, 1_700_000_000_123L, 6, 9000, (short) 3, new EndTransactionMarker(type, 21));
            print("marker-" + type.name().toLowerCase(), "none", marker);
        }
    }

    static MemoryRecordsBuilder builder(String codec, TimestampType type, boolean transactional) {
        return MemoryRecords.builder(ByteBuffer.allocate(1 << 20), RecordBatch.CURRENT_MAGIC_VALUE,
            Compression.of(codec).build(), type, 42L, 1_700_000_009_999L, 9000L, (short) 3, 17,
            transactional, 7);
    }

    static MemoryRecords small(MemoryRecordsBuilder builder) {
        Header[] headers = {
            new RecordHeader("trace", bytes("on")), new RecordHeader("", (byte[]) null),
            new RecordHeader("empty", new byte[0]),
        };
        builder.append(1_700_000_000_000L, bytes("key"), bytes("value"), headers);
        builder.append(1_699_999_999_000L, null, bytes("x".repeat(200)), NO_HEADERS);
        builder.append(1_700_000_000_500L, new byte[0], (byte[]) null, NO_HEADERS);
        builder.append(1_700_000_000_500L, bytes("k"), new byte[0], NO_HEADERS);
        return builder.build();
    }

    // Above the block sizes of snappy (32 KiB) and lz4 (64 KiB).
    static MemoryRecords large(String codec) {
        MemoryRecordsBuilder builder = builder(codec, TimestampType.CREATE_TIME, false);
        for (int index = 0; index < 1000; index++) {
            builder.append(1_700_000_000_000L + index, bytes("key-" + index),
                bytes("0123456789abcdef".repeat(10)), NO_HEADERS);
        }
        return builder.build();
    }

    static void print(String name, String codec, MemoryRecords records) {
        byte[] bytes = new byte[records.sizeInBytes()];
        records.buffer().duplicate().get(bytes);
        System.out.println(name + " " + codec + " " + HexFormat.of().formatHex(bytes));
    }

    static void read() throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] parts = line.split(" ");
            ByteBuffer buffer = ByteBuffer.wrap(HexFormat.of().parseHex(parts[2]));
            for (RecordBatch batch : MemoryRecords.readableRecords(buffer).batches()) {
                batch.ensureValid();
                int count = 0;
                long bytes = 0;
                for (Record record : batch) {
                    record.ensureValid();
                    count++;
                    bytes += Math.max(record.keySize(), 0) + Math.max(record.valueSize(), 0)
                        + record.headers().length;
                }
                System.out.println(parts[0] + " " + parts[1] + " " + batch.compressionType()
                    + " " + batch.baseOffset() + ".." + batch.lastOffset() + " records " + count
                    + " of " + batch.countOrNull() + " bytes " + bytes
                    + " control " + batch.isControlBatch()
                    + " transactional " + batch.isTransactional()
                    + " time " + batch.timestampType() + " " + batch.maxTimestamp());
            }
        }
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }
}
