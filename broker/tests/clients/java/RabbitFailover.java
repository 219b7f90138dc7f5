// RabbitMQ's Java client through the death of a queue's leader: nothing confirmed is lost, nothing comes twice.
//
// Usage: java -cp 'JARS/*' RabbitFailover.java HOST:PORT,HOST:PORT QUEUE
// Publishes at the first broker and consumes at the second one; neither leads the queue, which must be there and
// deduplicate. Prints "sent N" and goes on; whoever reads that line kills the leader and then writes a line to stdin.
// What is nacked is published again under its id, and so is what had no answer at that moment. Prints
// "lost L duplicated D of N"; exit code 0 only when L and D are 0.

import com.rabbitmq.client.*;
import java.nio.charset.StandardCharsets;
import java.util.*;
import java.util.concurrent.*;

public class RabbitFailover {
    static final int BEFORE = 500, AFTER = 500, IN_FLIGHT_MAX = 64;
    static final long PATIENCE_MS = 30_000;
    static final String END = "end";
    /** Messages without an answer, by the number of their publish. */
    static final ConcurrentNavigableMap<Long, Integer> unanswered = new ConcurrentSkipListMap<>();
    static final BlockingQueue<Integer> nacked = new LinkedBlockingQueue<>();
    static final Semaphore room = new Semaphore(IN_FLIGHT_MAX);
    static final Map<Integer, Integer> taken = new ConcurrentHashMap<>();
    static final CountDownLatch ended = new CountDownLatch(1);
    static volatile long confirmedAt, longestGap;
    static Channel channel;
    static String queue;

    public static void main(String[] args) throws Exception {
        String[] brokers = args[0].split(",");
        queue = args[1];
        CountDownLatch killed = new CountDownLatch(1);
        Thread reader = new Thread(() -> { new Scanner(System.in).nextLine(); killed.countDown(); });
        reader.setDaemon(true);
        reader.start();
        int sent = 0;
        try (Connection publishing = connect(brokers[0]); Connection consuming = connect(brokers[1])) {
            consume(consuming.createChannel());
            channel = publishing.createChannel();
            channel.confirmSelect();
            channel.addConfirmListener((tag, multiple) -> answered(tag, multiple, true),
                (tag, multiple) -> answered(tag, multiple, false));
            confirmedAt = System.nanoTime();
            Integer last = null;
            while (last == null || sent < last) {
                publish(sent++);
                if (sent == BEFORE) say("sent " + sent);
                if (last == null && killed.getCount() == 0) {
                    last = sent + AFTER;
                    for (int again : new ArrayList<>(unanswered.values())) publish(again);
                }
            }
            settle();
            channel.basicPublish("", queue, null, END.getBytes(StandardCharsets.UTF_8));
            if (!ended.await(PATIENCE_MS, TimeUnit.MILLISECONDS)) throw new AssertionError("the end does not come");
        }
        int lost = 0, duplicated = 0;
        for (int number = 0; number < sent; number++) if (!taken.containsKey(number)) lost++;
        for (int count : taken.values()) if (count > 1) duplicated++;
        say("lost " + lost + " duplicated " + duplicated + " of " + sent
            + ", longest time without a confirm " + longestGap / 1_000_000 + " ms");
        System.exit(lost + duplicated == 0 ? 0 : 1);
    }

    static void say(String line) {
        System.out.println(line);
        System.out.flush();
    }

    static Connection connect(String broker) throws Exception {
        int colon = broker.lastIndexOf(':');
        ConnectionFactory factory = new ConnectionFactory();
        factory.setHost(broker.substring(0, colon));
        factory.setPort(Integer.parseInt(broker.substring(colon + 1)));
        factory.setAutomaticRecoveryEnabled(false);
        return factory.newConnection("failover");
    }

    static void consume(Channel channel) throws Exception {
        channel.basicQos(100);
        channel.basicConsume(queue, false, (tag, delivery) -> {
            String body = new String(delivery.getBody(), StandardCharsets.UTF_8);
            channel.basicAck(delivery.getEnvelope().getDeliveryTag(), false);
            if (body.equals(END)) ended.countDown();
            else taken.merge(Integer.parseInt(body), 1, Integer::sum);
        }, tag -> { });
    }

    static void publish(int number) throws Exception {
        if (!room.tryAcquire(PATIENCE_MS, TimeUnit.MILLISECONDS)) throw new AssertionError("no confirms come");
        AMQP.BasicProperties id = new AMQP.BasicProperties.Builder().messageId("" + number).deliveryMode(2).build();
        unanswered.put(channel.getNextPublishSeqNo(), number);
        channel.basicPublish("", queue, id, ("" + number).getBytes(StandardCharsets.UTF_8));
    }

    static void answered(long tag, boolean multiple, boolean confirmed) {
        long now = System.nanoTime();
        if (confirmed) {
            longestGap = Math.max(longestGap, now - confirmedAt);
            confirmedAt = now;
        }
        Map<Long, Integer> answered = unanswered.subMap(multiple ? 0 : tag, true, tag, true);
        for (Long one : new ArrayList<>(answered.keySet())) {
            Integer number = unanswered.remove(one);
            if (!confirmed) nacked.add(number);
            room.release();
        }
    }

    /** Publishes again until everything is confirmed. */
    static void settle() throws Exception {
        long deadline = System.nanoTime() + PATIENCE_MS * 1_000_000;
        while (!unanswered.isEmpty() || !nacked.isEmpty()) {
            if (System.nanoTime() > deadline) throw new AssertionError(unanswered.size() + " publishes are not confirmed");
            Integer again = nacked.poll(10, TimeUnit.MILLISECONDS);
            if (again != null) publish(again);
        }
    }
}
