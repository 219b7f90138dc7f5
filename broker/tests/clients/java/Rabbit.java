// RabbitMQ's own Java client against any broker: each step is a promise that a broker keeps.
//
// Usage: java -cp 'JARS/*' Rabbit.java HOST:PORT PREFIX [STEP]...
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
    static ConnectionFactory factory;
    static Connection connection;

    interface Step { void run() throws Exception; }

    public static void main(String[] args) throws Exception {
        prefix = args[1];
        factory = new ConnectionFactory();
        int colon = args[0].lastIndexOf(':');
        factory.setHost(args[0].substring(0, colon));
        factory.setPort(Integer.parseInt(args[0].substring(colon + 1)));
        factory.setAutomaticRecoveryEnabled(false);
        factory.setRequestedHeartbeat(5);
        Map<String, Step> steps = new LinkedHashMap<>();
        steps.put("simple", Rabbit::simple);
        steps.put("work", Rabbit::work);
        steps.put("fanout", Rabbit::fanout);
        steps.put("direct", Rabbit::direct);
        steps.put("topic", Rabbit::topic);
        steps.put("rpc", Rabbit::rpc);
        steps.put("confirms", Rabbit::confirms);
        steps.put("returns", Rabbit::returns);
        steps.put("requeue", Rabbit::requeue);
        steps.put("dead-letters", Rabbit::deadLetters);
        steps.put("refusals", Rabbit::refusals);
        steps.put("login", Rabbit::login);
        steps.put("rpc-call", Rabbit::rpcCall);
        List<String> chosen = args.length > 2
            ? Arrays.asList(args).subList(2, args.length) : new ArrayList<>(steps.keySet());
        int code = 0;
        try (Connection opened = factory.newConnection("scenario")) {
            connection = opened;
            for (String name : chosen) {
                long start = System.nanoTime();
                steps.get(name).run();
                System.out.printf("ok %s %d ms%n", name, (System.nanoTime() - start) / 1_000_000);
            }
        } catch (Throwable failure) {
            System.out.println("FAILED: " + failure);
            failure.printStackTrace();
            code = 1;
        }
        System.exit(code);
    }

    static String queue(Channel channel, String name) throws IOException {
        return channel.queueDeclare(prefix + "-" + name, true, false, false, null).getQueue();
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

    static Channel confirming() throws IOException {
        Channel channel = connection.createChannel();
        channel.confirmSelect();
        return channel;
    }

    static void simple() throws Exception {
        try (Channel channel = confirming()) {
            String queue = queue(channel, "simple");
            for (int i = 0; i < 100; i++) publish(channel, "", queue, "m" + i);
            BlockingQueue<String> bodies = take(channel, queue);
            for (int i = 0; i < 100; i++) same("m" + i, next(bodies), "message");
        }
    }

    static void work() throws Exception {
        try (Channel channel = confirming(); Channel one = connection.createChannel();
             Channel two = connection.createChannel()) {
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
            for (BlockingQueue<String> subscriber : subscribers) same("to all", next(subscriber), "message");
        }
    }

    static void direct() throws Exception {
        try (Channel channel = confirming()) {
            String exchange = prefix + "-direct";
            channel.exchangeDeclare(exchange, BuiltinExchangeType.DIRECT, true);
            String errors = queue(channel, "errors");
            channel.queueBind(errors, exchange, "error");
            for (String key : List.of("info", "error", "info")) publish(channel, exchange, key, key);
            BlockingQueue<String> bodies = take(channel, errors);
            same("error", next(bodies), "message");
            publish(channel, exchange, "error", "end");
            same("end", next(bodies), "nothing else was routed there");
        }
    }

    static void topic() throws Exception {
        try (Channel channel = confirming()) {
            String exchange = prefix + "-topic";
            channel.exchangeDeclare(exchange, BuiltinExchangeType.TOPIC, true);
            String many = queue(channel, "many"), one = queue(channel, "one");
            channel.queueBind(many, exchange, "audit.#");
            channel.queueBind(one, exchange, "audit.*");
            for (String key : List.of("audit", "audit.a", "audit.a.b", "x.a")) {
                publish(channel, exchange, key, key);
            }
            BlockingQueue<String> all = take(channel, many), single = take(channel, one);
            for (String key : List.of("audit", "audit.a", "audit.a.b")) same(key, next(all), "many words");
            same("audit.a", next(single), "one word");
        }
    }

    static void rpc() throws Exception {
        try (Channel server = connection.createChannel(); Channel client = connection.createChannel()) {
            String queue = queue(server, "java-rpc");
            server.basicConsume(queue, true, (tag, request) -> {
                AMQP.BasicProperties properties = new AMQP.BasicProperties.Builder()
                    .correlationId(request.getProperties().getCorrelationId()).build();
                int number = Integer.parseInt(text(request.getBody()));
                server.basicPublish("", request.getProperties().getReplyTo(), properties, bytes("" + 2 * number));
            }, tag -> { });
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

    static void deadLetters() throws Exception {
        try (Channel channel = confirming()) {
            String dead = queue(channel, "dead");
            Map<String, Object> arguments = new HashMap<>();
            arguments.put("x-queue-type", "quorum");
            arguments.put("x-dead-letter-exchange", "");
            arguments.put("x-dead-letter-routing-key", dead);
            String dying = channel.queueDeclare(prefix + "-dying", true, false, false, arguments).getQueue();
            publish(channel, "", dying, "bad");
            GetResponse bad = channel.basicGet(dying, false);
            channel.basicReject(bad.getEnvelope().getDeliveryTag(), false);
            BlockingQueue<Delivery> deliveries = new LinkedBlockingQueue<>();
            channel.basicConsume(dead, true, (tag, delivery) -> deliveries.add(delivery), tag -> { });
            Delivery letter = deliveries.poll(PATIENCE_MS, TimeUnit.MILLISECONDS);
            same("bad", text(letter.getBody()), "dead letter");
            List<?> deaths = (List<?>) letter.getProperties().getHeaders().get("x-death");
            Map<?, ?> death = (Map<?, ?>) deaths.get(0);
            same("rejected", death.get("reason").toString(), "reason");
            same(1L, death.get("count"), "count");
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
        } catch (AuthenticationFailureException expected) {
            return;
        }
    }
}
