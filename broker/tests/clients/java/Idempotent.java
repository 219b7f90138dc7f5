// The idempotent Java producer through a killed leader: nothing lost, nothing doubled, order kept.
//
// Usage: java -cp 'JARS/*' Idempotent.java BOOTSTRAP TOPIC COUNT_BEFORE COUNT_AFTER
// Sends records to partition 0 (which must exist), prints "sent COUNT_BEFORE" and goes on; whoever reads that line kills
// the leader and then writes a line to stdin. After COUNT_AFTER more acknowledgements it reads everything back and prints
// "lost L duplicated D reordered R of N"; exit code 0 only when L, D and R are 0.

import java.time.Duration;
import java.util.*;
import java.util.concurrent.atomic.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.*;

public class Idempotent {
    public static void main(String[] args) throws Exception {
        String bootstrap = args[0], topic = args[1];
        int before = Integer.parseInt(args[2]), after = Integer.parseInt(args[3]);
        AtomicInteger acked = new AtomicInteger();
        AtomicReference<Exception> failure = new AtomicReference<>();
        AtomicBoolean killed = new AtomicBoolean();
        Thread reader = new Thread(() -> { new Scanner(System.in).nextLine(); killed.set(true); });
        reader.setDaemon(true);
        reader.start();

        int sent = 0;
        try (KafkaProducer<Integer, byte[]> producer = new KafkaProducer<>(Map.of("bootstrap.servers", bootstrap,
                "enable.idempotence", true, "linger.ms", 2, "batch.size", 2_000, "request.timeout.ms", 5_000, "delivery.timeout.ms", 60_000),
                new IntegerSerializer(), new ByteArraySerializer())) {
            boolean said = false;
            int ackedAtKill = -1;
            while (ackedAtKill < 0 || acked.get() < ackedAtKill + after) {
                producer.send(new ProducerRecord<>(topic, 0, sent++, new byte[100]), (metadata, error) -> {
                    if (error == null) acked.incrementAndGet();
                    else failure.compareAndSet(null, error);
                });
                if (failure.get() != null) throw failure.get();
                if (!said && acked.get() >= before) {
                    System.out.println("sent " + acked.get());
                    System.out.flush();
                    said = true;
                }
                if (ackedAtKill < 0 && killed.get()) ackedAtKill = acked.get();
                if (sent % 20 == 0) Thread.sleep(5);
            }
            producer.flush();
        }
        if (failure.get() != null) throw failure.get();
        check(bootstrap, topic, sent);
    }

    static void check(String bootstrap, String topic, int sent) {
        int duplicated = 0, reordered = 0, last = -1;
        BitSet seen = new BitSet();
        TopicPartition partition = new TopicPartition(topic, 0);
        try (KafkaConsumer<Integer, byte[]> consumer = new KafkaConsumer<>(Map.of("bootstrap.servers", bootstrap),
                new IntegerDeserializer(), new ByteArrayDeserializer())) {
            consumer.assign(List.of(partition));
            consumer.seekToBeginning(List.of(partition));
            long end = consumer.endOffsets(List.of(partition)).get(partition);
            while (consumer.position(partition) < end) {
                for (ConsumerRecord<Integer, byte[]> record : consumer.poll(Duration.ofMillis(500))) {
                    if (seen.get(record.key())) duplicated++;
                    else if (record.key() < last) reordered++;
                    seen.set(record.key());
                    last = Math.max(last, record.key());
                }
            }
        }
        int lost = sent - seen.cardinality();
        System.out.printf("lost %d duplicated %d reordered %d of %d%n", lost, duplicated, reordered, sent);
        System.out.flush();
        System.exit(lost + duplicated + reordered == 0 ? 0 : 1);
    }
}
