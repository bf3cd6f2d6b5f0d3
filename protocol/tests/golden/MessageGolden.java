// Prints one line per message and version, `<Name> <version> <hex>`, written by Kafka's own
// classes with every field set. A value follows from its field's name alone, so that a reader can
// tell what must stand where: see `value` below and its twin in `tests/messages/golden.rs`.
//
// Run with the kafka-clients jar and slf4j-api on the class path: java -cp ... MessageGolden.java

import java.lang.reflect.Method;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.Type;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.ObjectSerializationCache;
import org.apache.kafka.common.protocol.types.BoundField;
import org.apache.kafka.common.protocol.types.Field;
import org.apache.kafka.common.protocol.types.Schema;
import org.apache.kafka.common.protocol.types.TaggedFields;
import org.apache.kafka.common.record.internal.MemoryRecords;

public class MessageGolden {
    static final String PACKAGE = "org.apache.kafka.common.message.";

    public static void main(String[] args) throws Exception {
        List<String> names = new ArrayList<>();
        for (ApiKeys key : ApiKeys.values()) {
            if (!key.hasValidVersion()) continue;
            names.add(key.name + "Request");
            names.add(key.name + "Response");
        }
        for (String name : names) print(name, Class.forName(PACKAGE + name + "Data"));
        for (String part : new String[] {"Subscription", "Assignment"}) {
            String name = "ConsumerProtocol" + part;
            print(name, Class.forName(PACKAGE + name));
        }
    }

    static void print(String name, Class<?> type) throws Exception {
        Schema[] schemas = (Schema[]) type.getField("SCHEMAS").get(null);
        for (short version = 0; version < schemas.length; version++) {
            if (schemas[version] == null) continue;
            Message message = (Message) type.getConstructor().newInstance();
            fill(message, schemas[version]);
            ObjectSerializationCache cache = new ObjectSerializationCache();
            ByteBuffer buffer = ByteBuffer.allocate(message.size(cache, version));
            message.write(new ByteBufferAccessor(buffer), cache, version);
            StringBuilder hex = new StringBuilder();
            for (byte b : buffer.array()) hex.append(String.format("%02x", b));
            System.out.println(name + " " + version + " " + hex);
        }
    }

    /** Sets exactly the fields that this version's schema carries. */
    static void fill(Object message, Schema schema) throws Exception {
        for (BoundField bound : schema.fields()) {
            if (bound.def.type instanceof TaggedFields tagged) {
                for (Map.Entry<Integer, Field> entry : tagged.fields().entrySet())
                    set(message, entry.getValue());
            } else {
                set(message, bound.def);
            }
        }
    }

    static void set(Object message, Field field) throws Exception {
        String wanted = "set" + field.name.replace("_", "").toLowerCase();
        for (Method method : message.getClass().getMethods()) {
            if (method.getParameterCount() == 1
                    && method.getReturnType() == message.getClass()
                    && method.getName().toLowerCase().equals(wanted)) {
                Type generic = method.getGenericParameterTypes()[0];
                org.apache.kafka.common.protocol.types.Type wire = field.type;
                Class<?> type = method.getParameterTypes()[0];
                method.invoke(message, value(field.name, type, generic, wire));
                return;
            }
        }
        throw new IllegalStateException(message.getClass() + " has no " + field.name);
    }

    @SuppressWarnings({"unchecked", "rawtypes"})
    static Object value(
            String name,
            Class<?> type,
            Type generic,
            org.apache.kafka.common.protocol.types.Type wire)
            throws Exception {
        int hash = name.hashCode();
        if (type == boolean.class) return true;
        if (type == byte.class || type == Byte.class) return (byte) hash;
        if (type == short.class || type == Short.class) return (short) hash;
        if (type == int.class || type == Integer.class)
            return wire.toString().equals("UINT16") ? (Object) (hash & 0xffff) : (Object) hash;
        if (type == long.class || type == Long.class) return (long) hash;
        if (type == double.class) return (double) hash;
        if (type == String.class) return name;
        if (type == Uuid.class) return new Uuid(hash, ~hash);
        byte[] bytes = name.getBytes(StandardCharsets.UTF_8);
        if (type == byte[].class) return bytes;
        if (type == ByteBuffer.class) return ByteBuffer.wrap(bytes);
        if (type.getSimpleName().equals("BaseRecords"))
            return MemoryRecords.readableRecords(ByteBuffer.wrap(bytes));
        if (Collection.class.isAssignableFrom(type)) {
            Collection all = type == List.class
                    ? new ArrayList<>()
                    : (Collection) type.getConstructor().newInstance();
            ParameterizedType of = (ParameterizedType)
                    (type == List.class ? generic : type.getGenericSuperclass());
            Class<?> element = (Class<?>) of.getActualTypeArguments()[0];
            all.add(value(name, element, element, wire.arrayElementType().get()));
            return all;
        }
        Object struct = type.getConstructor().newInstance();
        fill(struct, (Schema) wire);
        return struct;
    }
}
