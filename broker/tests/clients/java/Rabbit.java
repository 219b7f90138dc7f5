// RabbitMQ's own Java client against any broker: each step is a promise that a broker keeps.
//
// Usage: java -cp 'JARS/*' Rabbit.java HOST:PORT,... PREFIX [STEP]...
// Steps go round the brokers, each on a connection of its own; some use two.
// Prints "ok STEP" for each step; the first step that fails ends it with its stack trace and exit code 1.
// Knows nothing of whose broker it is. The step "rpc-call" calls the queue PREFIX-rpc, which somebody
// else must serve by answering each number with its double.

import com.rabbitmq.client.*;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.*;
import java.util.concurrent.*;
import java.util.concurrent.atomic.AtomicInteger;

public class Rabbit {
    static final long PATIENCE_MS = 30_000;
    static String prefix;
    static String[] brokers;
    static int turn;
    static ConnectionFactory factory;
    static Connection connection;

    interface Step { void run() throws Exception; }

    public static void main(String[] args) throws Exception {
        prefix = args[1];
        brokers = args[0].split(",");
        factory = new ConnectionFactory();
        factory.setAutomaticRecoveryEnabled(false);
        factory.setRequestedHeartbeat(5);
        Map<String, Step> steps = new LinkedHashMap<>();
        steps.put("simple", Rabbit::simple);
        steps.put("round-robin", Rabbit::roundRobin);
        steps.put("work", Rabbit::work);
        steps.put("fanout", Rabbit::fanout);
        steps.put("direct", Rabbit::direct);
        steps.put("topic", Rabbit::topic);
        steps.put("headers", Rabbit::headers);
        steps.put("exchange-to-exchange", Rabbit::exchangeToExchange);
        steps.put("alternate-exchange", Rabbit::alternateExchange);
        steps.put("copies", Rabbit::copies);
        steps.put("delays", Rabbit::delays);
        steps.put("rpc", Rabbit::rpc);
        steps.put("confirms", Rabbit::confirms);
        steps.put("returns", Rabbit::returns);
        steps.put("requeue", Rabbit::requeue);
        steps.put("ack-multiple", Rabbit::ackMultiple);
        steps.put("dead-letters", Rabbit::deadLetters);
        steps.put("expiry", Rabbit::expiry);
        steps.put("length-limit", Rabbit::lengthLimit);
        steps.put("priorities", Rabbit::priorities);
        steps.put("single-active-consumer", Rabbit::singleActiveConsumer);
        steps.put("deduplication", Rabbit::deduplication);
        steps.put("refusals", Rabbit::refusals);
        steps.put("login", Rabbit::login);
        steps.put("rpc-call", Rabbit::rpcCall);
        List<String> chosen = args.length > 2
            ? Arrays.asList(args).subList(2, args.length) : new ArrayList<>(steps.keySet());
        try {
            for (String name : chosen) {
                long start = System.nanoTime();
                try (Connection opened = nextBroker()) {
                    connection = opened;
                    steps.get(name).run();
                }
                System.out.printf("ok %s %d ms%n", name, (System.nanoTime() - start) / 1_000_000);
            }
        } catch (Throwable failure) {
            System.out.println("FAILED: " + failure);
            failure.printStackTrace();
            System.exit(1);
        }
        System.exit(0);
    }

    /** A connection to the broker whose turn it is. */
    static Connection nextBroker() throws Exception {
        String broker = brokers[turn++ % brokers.length];
        int colon = broker.lastIndexOf(':');
        factory.setHost(broker.substring(0, colon));
        factory.setPort(Integer.parseInt(broker.substring(colon + 1)));
        return factory.newConnection("scenario");
    }

    static String queue(Channel channel, String name) throws IOException {
        return queue(channel, name, null);
    }

    static String queue(Channel channel, String name, Map<String, Object> arguments) throws IOException {
        return channel.queueDeclare(prefix + "-" + name, true, false, false, arguments).getQueue();
    }

    static Map<String, Object> deadLettersTo(String queue, Object... more) {
        Map<String, Object> arguments = new HashMap<>(Map.of("x-dead-letter-exchange", "", "x-dead-letter-routing-key", queue));
        for (int i = 0; i < more.length; i += 2) arguments.put((String) more[i], more[i + 1]);
        return arguments;
    }

    static byte[] bytes(String text) { return text.getBytes(StandardCharsets.UTF_8); }

    static String text(byte[] bytes) { return new String(bytes, StandardCharsets.UTF_8); }

    static void same(Object expected, Object actual, String what) {
        if (!Objects.equals(expected, actual)) {
            throw new AssertionError(what + ": expected " + expected + ", got " + actual);
        }
    }

    /** A consumer that acknowledges what it gets and keeps the bodies. */
    static BlockingQueue<String> take(Channel channel, String queue) throws IOException {
        BlockingQueue<String> bodies = new LinkedBlockingQueue<>();
        channel.basicConsume(queue, false, (tag, delivery) -> {
            channel.basicAck(delivery.getEnvelope().getDeliveryTag(), false);
            bodies.add(text(delivery.getBody()));
        }, tag -> { });
        return bodies;
    }

    static String next(BlockingQueue<String> bodies) throws InterruptedException {
        String body = bodies.poll(PATIENCE_MS, TimeUnit.MILLISECONDS);
        if (body == null) throw new AssertionError("nothing came");
        return body;
    }

    static void publish(Channel channel, String exchange, String key, String body) throws Exception {
        channel.basicPublish(exchange, key, MessageProperties.PERSISTENT_TEXT_PLAIN, bytes(body));
        channel.waitForConfirmsOrDie(PATIENCE_MS);
    }

    static void publish(Channel channel, String exchange, String key, String body, AMQP.BasicProperties.Builder with)
            throws Exception {
        channel.basicPublish(exchange, key, with.build(), bytes(body));
        channel.waitForConfirmsOrDie(PATIENCE_MS);
    }

    static AMQP.BasicProperties.Builder with() { return new AMQP.BasicProperties.Builder(); }

    static List<String> next(BlockingQueue<String> bodies, int count) throws InterruptedException {
        List<String> taken = new ArrayList<>();
        while (taken.size() < count) taken.add(next(bodies));
        return taken;
    }

    /** Checks what comes next, in this order. */
    static void bring(BlockingQueue<String> bodies, String what, String... expected) throws InterruptedException {
        same(List.of(expected), next(bodies, expected.length), what);
    }

    static Channel confirming() throws IOException {
        Channel channel = connection.createChannel();
        channel.confirmSelect();
        return channel;
    }

    static void simple() throws Exception {
        try (Channel channel = confirming()) {
            String queue = queue(channel, "simple");
            for (int i = 0; i < 100; i++) publish(channel, "", queue, "m" + i);
            List<String> bodies = next(take(channel, queue), 100);
            for (int i = 0; i < 100; i++) same("m" + i, bodies.get(i), "message");
        }
    }

    static void roundRobin() throws Exception {
        try (Channel channel = confirming(); Channel one = connection.createChannel(); Channel two = connection.createChannel()) {
            String queue = queue(channel, "round-robin");
            BlockingQueue<String> first = take(one, queue), second = take(two, queue);
            for (int i = 0; i < 10; i++) publish(channel, "", queue, "" + i);
            Set<List<String>> turns = Set.of(next(first, 5), next(second, 5));
            same(Set.of(List.of("0", "2", "4", "6", "8"), List.of("1", "3", "5", "7", "9")), turns, "turns");
        }
    }

    static void work() throws Exception {
        try (Channel channel = confirming(); Channel one = connection.createChannel(); Channel two = connection.createChannel()) {
            String queue = queue(channel, "work");
            one.basicQos(1);
            two.basicQos(1);
            AtomicInteger slow = new AtomicInteger();
            one.basicConsume(queue, false, (tag, delivery) -> slow.incrementAndGet(), tag -> { });
            BlockingQueue<String> quick = take(two, queue);
            for (int i = 0; i < 20; i++) publish(channel, "", queue, "m" + i);
            for (int i = 0; i < 19; i++) next(quick);
            same(1, slow.get(), "messages that the busy worker holds");
        }
    }

    static void fanout() throws Exception {
        try (Channel channel = confirming()) {
            String exchange = prefix + "-fanout";
            channel.exchangeDeclare(exchange, BuiltinExchangeType.FANOUT, true);
            List<BlockingQueue<String>> subscribers = new ArrayList<>();
            for (int i = 0; i < 3; i++) {
                String own = channel.queueDeclare().getQueue();
                channel.queueBind(own, exchange, "");
                subscribers.add(take(channel, own));
            }
            publish(channel, exchange, "", "to all");
            for (BlockingQueue<String> subscriber : subscribers) bring(subscriber, "message", "to all");
        }
    }

    /** Messages by their type: some subscribers want one, others want all. */
    static void direct() throws Exception {
        try (Channel channel = confirming()) {
            String exchange = prefix + "-direct";
            channel.exchangeDeclare(exchange, BuiltinExchangeType.DIRECT, true);
            String errors = queue(channel, "errors"), everything = queue(channel, "everything");
            channel.queueBind(errors, exchange, "error");
            for (String kind : List.of("info", "warning", "error")) channel.queueBind(everything, exchange, kind);
            for (String kind : List.of("info", "error", "debug", "warning", "error")) publish(channel, exchange, kind, kind);
            bring(take(channel, errors), "errors", "error", "error");
            bring(take(channel, everything), "everything", "info", "error", "warning", "error");
        }
    }

    static void topic() throws Exception {
        try (Channel channel = confirming()) {
            String exchange = prefix + "-topic";
            channel.exchangeDeclare(exchange, BuiltinExchangeType.TOPIC, true);
            String many = queue(channel, "many"), one = queue(channel, "one");
            channel.queueBind(many, exchange, "audit.#");
            channel.queueBind(one, exchange, "audit.*");
            for (String key : List.of("audit", "audit.a", "audit.a.b", "x.a")) publish(channel, exchange, key, key);
            bring(take(channel, many), "many words", "audit", "audit.a", "audit.a.b");
            bring(take(channel, one), "one word", "audit.a");
        }
    }

    static void headers() throws Exception {
        try (Channel channel = confirming()) {
            for (String mode : List.of("all", "any", "all-with-x", "any-with-x"))
                channel.queueBind(queue(channel, mode), "amq.headers", "", Map.of("x-match", mode, "x-kind", prefix, prefix, 1));
            publish(channel, "amq.headers", "", "kind", with().headers(Map.of("x-kind", prefix)));
            publish(channel, "amq.headers", "", "plain", with().headers(Map.of(prefix, 1L)));
            publish(channel, "amq.headers", "", "both", with().headers(Map.of("x-kind", prefix, prefix, 1)));
            bring(take(channel, prefix + "-all"), "all", "plain", "both");
            bring(take(channel, prefix + "-any"), "any", "plain", "both");
            bring(take(channel, prefix + "-all-with-x"), "all-with-x", "both");
            bring(take(channel, prefix + "-any-with-x"), "any-with-x", "kind", "plain", "both");
        }
    }

    static void exchangeToExchange() throws Exception {
        try (Channel channel = confirming()) {
            String outer = prefix + "-outer", inner = prefix + "-inner", queue = queue(channel, "innermost");
            channel.exchangeDeclare(outer, BuiltinExchangeType.TOPIC, true);
            channel.exchangeDeclare(inner, BuiltinExchangeType.FANOUT, true);
            channel.exchangeBind(inner, outer, "a.*");
            channel.queueBind(queue, inner, "");
            publish(channel, outer, "a.b", "1");
            publish(channel, outer, "b.b", "2");
            channel.exchangeUnbind(inner, outer, "a.*");
            publish(channel, outer, "a.b", "3");
            publish(channel, inner, "", "4");
            bring(take(channel, queue), "message", "1", "4");
        }
    }

    static void alternateExchange() throws Exception {
        try (Channel channel = confirming()) {
            String strays = queue(channel, "strays"), unmatched = prefix + "-unmatched", matched = prefix + "-matched";
            channel.exchangeDeclare(unmatched, BuiltinExchangeType.FANOUT, true);
            channel.exchangeDeclare(matched, BuiltinExchangeType.DIRECT, true, false, Map.of("alternate-exchange", unmatched));
            channel.queueBind(strays, unmatched, "");
            publish(channel, matched, "unknown", "stray");
            bring(take(channel, strays), "message", "stray");
        }
    }

    /** CC and BCC; BCC is not seen. */
    static void copies() throws Exception {
        try (Channel channel = confirming()) {
            for (String name : List.of("to", "cc", "bcc")) queue(channel, name);
            Map<String, Object> headers = Map.of("CC", List.of(prefix + "-cc"), "BCC", List.of(prefix + "-bcc"));
            publish(channel, "", prefix + "-to", "hello", with().headers(headers));
            for (String name : List.of("to", "cc", "bcc")) {
                GetResponse copy = channel.basicGet(prefix + "-" + name, true);
                same("hello", text(copy.getBody()), name);
                same(true, copy.getProps().getHeaders().containsKey("CC"), "CC");
                same(false, copy.getProps().getHeaders().containsKey("BCC"), "BCC");
            }
        }
    }

    static void delays() throws Exception {
        try (Channel channel = confirming()) {
            String exchange = prefix + "-delaying", queue = queue(channel, "delayed");
            channel.exchangeDeclare(exchange, "x-delayed-message", true, false, Map.of("x-delayed-type", "direct"));
            channel.queueBind(queue, exchange, "k");
            long start = System.nanoTime();
            publish(channel, exchange, "k", "later", with().headers(Map.of("x-delay", 300)));
            publish(channel, exchange, "k", "now");
            bring(take(channel, queue), "message", "now", "later");
            same(true, System.nanoTime() - start >= 300_000_000L, "delayed");
        }
    }

    /** The server and the caller are on different brokers. */
    static void rpc() throws Exception {
        try (Connection other = nextBroker(); Channel server = other.createChannel();
             Channel client = connection.createChannel()) {
            String queue = queue(server, "java-rpc");
            server.basicConsume(queue, true, (tag, request) -> {
                AMQP.BasicProperties properties = new AMQP.BasicProperties.Builder()
                    .correlationId(request.getProperties().getCorrelationId()).build();
                int number = Integer.parseInt(text(request.getBody()));
                server.basicPublish("", request.getProperties().getReplyTo(), properties, bytes("" + 2 * number));
            }, tag -> { });
            // What one broker was told, another one knows a moment later: declaring waits for that.
            queue(client, "java-rpc");
            call(client, queue);
        }
    }

    static void rpcCall() throws Exception {
        try (Channel channel = connection.createChannel()) {
            call(channel, prefix + "-rpc");
        }
    }

    /** Calls with direct reply-to, as the client's own helper does. */
    static void call(Channel channel, String queue) throws Exception {
        RpcClient caller = new RpcClient(new RpcClientParams().channel(channel).exchange("")
            .routingKey(queue).timeout((int) PATIENCE_MS));
        for (int number = 1; number <= 5; number++) {
            same("" + 2 * number, caller.stringCall("" + number), "answer");
        }
    }

    static void confirms() throws Exception {
        try (Channel channel = confirming()) {
            String queue = queue(channel, "confirms");
            Set<Long> missing = ConcurrentHashMap.newKeySet();
            CountDownLatch all = new CountDownLatch(1);
            ConfirmCallback settle = (tag, multiple) -> {
                missing.removeIf(one -> multiple ? one <= tag : one == tag);
                if (missing.isEmpty()) all.countDown();
            };
            channel.addConfirmListener(settle, (tag, multiple) -> { });
            for (int i = 0; i < 1000; i++) missing.add(channel.getNextPublishSeqNo() + i);
            for (int i = 0; i < 1000; i++) channel.basicPublish("", queue, null, bytes("" + i));
            if (!all.await(PATIENCE_MS, TimeUnit.MILLISECONDS)) {
                throw new AssertionError(missing.size() + " publishes are not confirmed");
            }
            same(1000, (int) channel.messageCount(queue), "messages");
            same(1000, channel.queuePurge(queue).getMessageCount(), "messages purged");
        }
    }

    static void returns() throws Exception {
        try (Channel channel = confirming()) {
            BlockingQueue<String> returned = new LinkedBlockingQueue<>();
            channel.addReturnListener(one -> returned.add(one.getReplyCode() + " " + one.getReplyText()));
            channel.basicPublish("", prefix + "-nowhere", true, null, bytes("x"));
            channel.waitForConfirmsOrDie(PATIENCE_MS);
            same("312 NO_ROUTE", next(returned), "return");
        }
    }

    static void requeue() throws Exception {
        try (Channel channel = confirming()) {
            String queue = queue(channel, "requeue");
            publish(channel, "", queue, "again");
            GetResponse first = channel.basicGet(queue, false);
            same(false, first.getEnvelope().isRedeliver(), "redelivered");
            channel.basicReject(first.getEnvelope().getDeliveryTag(), true);
            GetResponse again = channel.basicGet(queue, false);
            same(true, again.getEnvelope().isRedeliver(), "redelivered");
            channel.basicNack(again.getEnvelope().getDeliveryTag(), false, false);
            same(null, channel.basicGet(queue, false), "message");
        }
    }

    static void ackMultiple() throws Exception {
        try (Channel channel = confirming()) {
            Channel reading = connection.createChannel();
            String queue = queue(channel, "multiple");
            for (int i = 0; i < 5; i++) publish(channel, "", queue, "" + i);
            List<GetResponse> held = new ArrayList<>();
            for (int i = 0; i < 5; i++) held.add(reading.basicGet(queue, false));
            reading.basicAck(held.get(2).getEnvelope().getDeliveryTag(), true);
            reading.close();
            bring(take(channel, queue), "what was not acknowledged", "3", "4");
        }
    }

    static void deadLetters() throws Exception {
        try (Channel channel = confirming()) {
            String dead = queue(channel, "dead");
            String dying = queue(channel, "dying", deadLettersTo(dead, "x-queue-type", "quorum"));
            publish(channel, "", dying, "bad");
            GetResponse bad = channel.basicGet(dying, false);
            channel.basicReject(bad.getEnvelope().getDeliveryTag(), false);
            BlockingQueue<Delivery> deliveries = new LinkedBlockingQueue<>();
            channel.basicConsume(dead, true, (tag, delivery) -> deliveries.add(delivery), tag -> { });
            Delivery letter = deliveries.poll(PATIENCE_MS, TimeUnit.MILLISECONDS);
            same("bad", text(letter.getBody()), "dead letter");
            Map<?, ?> death = (Map<?, ?>) ((List<?>) letter.getProperties().getHeaders().get("x-death")).get(0);
            same("rejected", death.get("reason").toString(), "reason");
            same(1L, death.get("count"), "count");
        }
    }

    /** By the queue, and by the message itself; the dead letter comes back to where the work is. */
    static void expiry() throws Exception {
        try (Channel channel = confirming()) {
            String work = queue(channel, "expired");
            BlockingQueue<String> bodies = take(channel, work);
            publish(channel, "", queue(channel, "wait", deadLettersTo(work, "x-message-ttl", 100)), "by queue");
            bring(bodies, "expired", "by queue");
            String slow = queue(channel, "slow-wait", deadLettersTo(work, "x-message-ttl", 600_000));
            publish(channel, "", slow, "by message", with().expiration("100"));
            bring(bodies, "expired", "by message");
        }
    }

    static void lengthLimit() throws Exception {
        try (Channel channel = confirming()) {
            String gone = queue(channel, "overflown");
            String full = queue(channel, "short", deadLettersTo(gone, "x-max-length", 2, "x-overflow", "drop-head"));
            for (String body : List.of("1", "2", "3", "4")) publish(channel, "", full, body);
            bring(take(channel, gone), "dropped", "1", "2");
            bring(take(channel, full), "kept", "3", "4");
        }
    }

    static void priorities() throws Exception {
        try (Channel channel = confirming()) {
            String queue = queue(channel, "priorities", Map.of("x-max-priority", 5));
            publish(channel, "", queue, "low", with().priority(1));
            publish(channel, "", queue, "high", with().priority(5));
            publish(channel, "", queue, "none", with());
            publish(channel, "", queue, "middle", with().priority(3));
            bring(take(channel, queue), "order", "high", "middle", "low", "none");
        }
    }

    /** The second consumer, on another broker, gets its turn when the first one leaves. */
    static void singleActiveConsumer() throws Exception {
        Map<String, Object> arguments = Map.of("x-single-active-consumer", true);
        try (Channel channel = confirming(); Connection other = nextBroker(); Channel two = other.createChannel()) {
            Channel one = connection.createChannel();
            String queue = queue(channel, "single-active", arguments);
            BlockingQueue<String> first = take(one, queue);
            queue(two, "single-active", arguments);
            BlockingQueue<String> second = take(two, queue);
            for (String body : List.of("1", "2", "3")) publish(channel, "", queue, body);
            bring(first, "messages of the active one", "1", "2", "3");
            one.close();
            publish(channel, "", queue, "4");
            bring(second, "messages of the second", "4");
        }
    }

    static void deduplication() throws Exception {
        try (Channel channel = confirming()) {
            String queue = queue(channel, "once", Map.of("x-message-deduplication", true));
            for (String id : List.of("a", "b", "a", "c")) publish(channel, "", queue, id, with().messageId(id));
            same(3, (int) channel.messageCount(queue), "messages");
            bring(take(channel, queue), "messages", "a", "b", "c");
        }
    }

    static void refused(int code, Step step) throws Exception {
        try {
            step.run();
        } catch (IOException | AlreadyClosedException failure) {
            Throwable cause = failure instanceof AlreadyClosedException ? failure : failure.getCause();
            Method reason = ((ShutdownSignalException) cause).getReason();
            int found = reason instanceof AMQP.Channel.Close
                ? ((AMQP.Channel.Close) reason).getReplyCode() : ((AMQP.Connection.Close) reason).getReplyCode();
            same(code, found, "reply code");
            return;
        }
        throw new AssertionError("allowed, " + code + " was due");
    }

    static void refusals() throws Exception {
        queue(connection.createChannel(), "refusals");
        String queue = prefix + "-refusals";
        refused(404, () -> connection.createChannel().queueDeclarePassive(prefix + "-missing"));
        refused(406, () -> connection.createChannel().queueDeclare(queue, false, false, false, null));
        refused(403, () -> connection.createChannel().exchangeDelete("amq.topic"));
        refused(404, () -> connection.createChannel().queueBind(queue, prefix + "-missing", ""));
        String own = connection.createChannel().queueDeclare().getQueue();
        try (Connection other = factory.newConnection()) {
            refused(405, () -> other.createChannel().basicGet(own, true));
        }
    }

    static void login() throws Exception {
        ConnectionFactory wrong = factory.clone();
        wrong.setPassword("wrong");
        try (Connection opened = wrong.newConnection()) {
            throw new AssertionError("let in with a wrong password: " + opened);
        } catch (AuthenticationFailureException expected) { }
    }
}
