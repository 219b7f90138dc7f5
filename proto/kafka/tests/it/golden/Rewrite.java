// Kafka's own opinion of our bytes. Reads lines `side key version hex` (examples/samples.rs), lets
// the classes of kafka-clients read each body and write it again, and counts what differs: bytes
// that are not the same, bytes left over, exceptions. Ends with 1 if anything does.
//
//   samples 40 | java -cp kafka-clients-4.4.0.jar:slf4j-api.jar Rewrite.java

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.util.HexFormat;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.ObjectSerializationCache;

public class Rewrite {
    static String rewrite(String side, ApiMessageType type, short version, String hex) {
        ApiMessage message = side.equals("request") ? type.newRequest() : type.newResponse();
        ByteBuffer in = ByteBuffer.wrap(HexFormat.of().parseHex(hex));
        message.read(new ByteBufferAccessor(in), version);
        if (in.hasRemaining()) {
            return in.remaining() + " bytes left over";
        }
        ObjectSerializationCache cache = new ObjectSerializationCache();
        ByteBuffer out = ByteBuffer.allocate(message.size(cache, version));
        message.write(new ByteBufferAccessor(out), cache, version);
        String again = HexFormat.of().formatHex(out.array());
        return again.equals(hex) ? null : "ours " + hex + ", Kafka's " + again;
    }

    public static void main(String[] arguments) throws Exception {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        Map<String, String> differences = new TreeMap<>();
        TreeSet<String> cases = new TreeSet<>();
        long same = 0;
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String[] words = line.split(" ", -1);
            ApiMessageType type = ApiMessageType.fromApiKey(Short.parseShort(words[1]));
            String name = words[0] + " " + type + " " + words[2];
            cases.add(name);
            String wrong;
            try {
                wrong = rewrite(words[0], type, Short.parseShort(words[2]), words[3]);
            } catch (RuntimeException refused) {
                wrong = refused.toString();
            }
            if (wrong == null) {
                same++;
            } else {
                differences.put(name, wrong);
            }
        }
        System.out.println(same + " messages of " + cases.size() + " kinds are the same bytes");
        differences.forEach((name, wrong) -> System.out.println(name + ": " + wrong));
        System.exit(differences.isEmpty() ? 0 : 1);
    }
}
