// Kafka's own Java client against any broker: each step is a promise that a broker keeps.
//
// Usage: java -cp 'JARS/*' Scenario.java BOOTSTRAP PREFIX [STEP]...
// Prints "ok STEP" for each step; the first step that fails ends it with its stack trace and exit code 1.
// Needs no groups and no transactions. Knows nothing of whose broker it is.

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.*;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.*;

public class Scenario {
    static final Duration PATIENCE = Duration.ofSeconds(30);
    static final int RECORDS = 50;
    static final long BASE_TIME = 1_700_000_000_000L;
    static String bootstrap;
    static String prefix;
    static Admin admin;

    interface Step { void run() throws Exception; }

    public static void main(String[] args) throws Exception {
        bootstrap = args[0];
        prefix = args[1];
        Map<String, Step> steps = new LinkedHashMap<>();
        steps.put("cluster", Scenario::cluster);
        steps.put("topics", Scenario::topics);
        steps.put("configs", Scenario::configs);
        steps.put("refusals", Scenario::refusals);
        steps.put("codecs", Scenario::codecs);
        steps.put("acks", Scenario::acks);
        steps.put("offsets", Scenario::offsets);
        steps.put("delete-records", Scenario::deleteRecords);
        steps.put("long-poll", Scenario::longPoll);
        steps.put("big-records", Scenario::bigRecords);
        steps.put("producers", Scenario::producers);
        steps.put("auto-creation", Scenario::autoCreation);
        steps.put("quotas", Scenario::quotas);
        List<String> chosen = args.length > 2
            ? Arrays.asList(args).subList(2, args.length) : new ArrayList<>(steps.keySet());
        int code = 0;
        try (Admin opened = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            admin = opened;
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
        System.out.flush();
        System.exit(code);
    }

    // ---- helpers

    static void check(boolean holds, Object what) {
        if (!holds) throw new AssertionError(what);
    }

    static void same(Object expected, Object actual, String what) {
        check(Objects.equals(expected, actual), what + ": expected " + expected + ", got " + actual);
    }

    /** The error with which the broker answered. */
    static <E extends Throwable> E refused(Class<E> kind, Future<?> future) throws Exception {
        try {
            future.get(30, TimeUnit.SECONDS);
        } catch (ExecutionException failed) {
            if (kind.isInstance(failed.getCause())) return kind.cast(failed.getCause());
            throw new AssertionError("expected " + kind.getSimpleName() + ", got " + failed.getCause(), failed);
        }
        throw new AssertionError("expected " + kind.getSimpleName() + ", but it succeeded");
    }

    static <T> T done(KafkaFuture<T> future) throws Exception {
        return future.get(30, TimeUnit.SECONDS);
    }

    /** A new topic; waits until every partition shows a leader. */
    static String topic(String name, int partitions, Map<String, String> configs) throws Exception {
        String topic = prefix + "-" + name;
        // The records are old: retention by time would delete them.
        Map<String, String> kept = new HashMap<>(Map.of("retention.ms", "-1"));
        kept.putAll(configs);
        done(admin.createTopics(List.of(
            new NewTopic(topic, Optional.of(partitions), Optional.empty()).configs(kept))).all());
        awaitLeaders(topic, partitions);
        return topic;
    }

    static void awaitLeaders(String topic, int partitions) throws Exception {
        long deadline = System.nanoTime() + PATIENCE.toNanos();
        while (true) {
            try {
                TopicDescription description = done(admin.describeTopics(List.of(topic)).allTopicNames()).get(topic);
                boolean led = description.partitions().stream().allMatch(p -> p.leader() != null && p.leader().id() >= 0);
                if (led && description.partitions().size() == partitions) return;
            } catch (ExecutionException early) {
                if (!(early.getCause() instanceof UnknownTopicOrPartitionException)) throw early;
            }
            check(System.nanoTime() < deadline, "no leaders for " + topic);
            Thread.sleep(20);
        }
    }

    static KafkaProducer<byte[], byte[]> producer(Map<String, Object> more) {
        Map<String, Object> settings = new HashMap<>(Map.of("bootstrap.servers", bootstrap, "client.id", "scenario",
            "delivery.timeout.ms", 30_000, "request.timeout.ms", 20_000, "linger.ms", 5));
        settings.putAll(more);
        return new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer());
    }

    static KafkaConsumer<byte[], byte[]> consumer(Map<String, Object> more) {
        Map<String, Object> settings = new HashMap<>(Map.of("bootstrap.servers", bootstrap, "client.id", "scenario",
            "auto.offset.reset", "none", "fetch.max.wait.ms", 100));
        settings.putAll(more);
        return new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    static List<ConsumerRecord<byte[], byte[]>> read(KafkaConsumer<byte[], byte[]> consumer, int count) {
        List<ConsumerRecord<byte[], byte[]>> records = new ArrayList<>();
        long deadline = System.nanoTime() + PATIENCE.toNanos();
        while (records.size() < count) {
            consumer.poll(Duration.ofMillis(500)).forEach(records::add);
            check(System.nanoTime() < deadline, records.size() + " of " + count + " records came");
        }
        return records;
    }

    static byte[] bytes(String text) { return text.getBytes(StandardCharsets.UTF_8); }

    static ProducerRecord<byte[], byte[]> record(String topic, int partition, int index) {
        ProducerRecord<byte[], byte[]> record = new ProducerRecord<>(topic, partition, BASE_TIME + index,
            index % 3 == 0 ? null : bytes("key " + index), index % 7 == 5 ? null : bytes("value " + index + " ".repeat(200)));
        record.headers().add("index", bytes("" + index)).add("empty", new byte[0]).add("null", null).add("index", bytes("again"));
        return record;
    }

    static void verify(ConsumerRecord<byte[], byte[]> read, int index) {
        ProducerRecord<byte[], byte[]> sent = record("t", 0, index);
        same(Arrays.toString(sent.key()), Arrays.toString(read.key()), "key " + index);
        same(Arrays.toString(sent.value()), Arrays.toString(read.value()), "value " + index);
        same(sent.timestamp(), read.timestamp(), "timestamp " + index);
        List<String> expected = new ArrayList<>(), actual = new ArrayList<>();
        for (Header header : sent.headers()) expected.add(header.key() + "=" + Arrays.toString(header.value()));
        for (Header header : read.headers()) actual.add(header.key() + "=" + Arrays.toString(header.value()));
        same(expected, actual, "headers " + index);
    }

    static void produce(String topic, Map<String, Object> settings, int from, int to) throws Exception {
        try (KafkaProducer<byte[], byte[]> producer = producer(settings)) {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (int i = from; i < to; i++) sent.add(producer.send(record(topic, 0, i)));
            producer.flush();
            for (Future<RecordMetadata> future : sent) future.get();
        }
    }

    // ---- steps

    static void cluster() throws Exception {
        DescribeClusterResult cluster = admin.describeCluster();
        int expected = bootstrap.split(",").length;
        same(expected, done(cluster.nodes()).size(), "brokers");
        check(done(cluster.controller()) != null, "no controller");
        check(!done(cluster.clusterId()).isEmpty(), "no cluster id");
        done(admin.describeFeatures().featureMetadata());
        for (Node node : done(cluster.nodes())) {
            Config config = done(admin.describeConfigs(List.of(
                new ConfigResource(ConfigResource.Type.BROKER, node.idString()))).all()).values().iterator().next();
            for (String key : List.of("num.partitions", "default.replication.factor", "auto.create.topics.enable",
                    "message.max.bytes", "log.retention.ms", "min.insync.replicas"))
                check(config.get(key) != null, "broker config " + key + " is not described");
        }
    }

    static void topics() throws Exception {
        String topic = topic("topics", 3, Map.of("cleanup.policy", "compact", "min.insync.replicas", "1"));
        TopicDescription description = done(admin.describeTopics(List.of(topic)).allTopicNames()).get(topic);
        check(!description.topicId().equals(Uuid.ZERO_UUID), "no topic id");
        check(!description.isInternal(), "internal");
        TopicDescription byId = done(admin.describeTopics(TopicCollection.ofTopicIds(List.of(description.topicId())))
            .allTopicIds()).get(description.topicId());
        same(topic, byId.name(), "name of the topic with this id");
        same(3, byId.partitions().size(), "partitions of the topic with this id");
        check(done(admin.listTopics().names()).contains(topic), "not listed");
        refused(TopicExistsException.class, admin.createTopics(List.of(
            new NewTopic(topic, Optional.empty(), Optional.empty()))).all());
        done(admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(5))).all());
        awaitLeaders(topic, 5);
        refused(InvalidPartitionsException.class, admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(4))).all());

        done(admin.createTopics(List.of(new NewTopic(topic + "-checked", 1, (short) 1)),
            new CreateTopicsOptions().validateOnly(true)).all());
        check(!done(admin.listTopics().names()).contains(topic + "-checked"), "validateOnly created a topic");

        done(admin.deleteTopics(List.of(topic)).all());
        awaitGone(topic);
        String second = topic("topics", 1, Map.of());
        Uuid id = done(admin.describeTopics(List.of(second)).allTopicNames()).get(second).topicId();
        check(!id.equals(description.topicId()), "a topic made again has its former id");
        done(admin.deleteTopics(TopicCollection.ofTopicIds(List.of(id))).all());
        awaitGone(topic);
        refused(UnknownTopicOrPartitionException.class, admin.deleteTopics(List.of(topic)).all());
        refused(UnknownTopicIdException.class, admin.deleteTopics(TopicCollection.ofTopicIds(List.of(id))).all());
        refused(UnknownTopicOrPartitionException.class, admin.describeTopics(List.of(topic)).allTopicNames());
    }

    static void awaitGone(String topic) throws Exception {
        long deadline = System.nanoTime() + PATIENCE.toNanos();
        while (done(admin.listTopics().names()).contains(topic)) {
            check(System.nanoTime() < deadline, topic + " is still listed");
            Thread.sleep(20);
        }
    }

    static Config describe(ConfigResource resource) throws Exception {
        return done(admin.describeConfigs(List.of(resource),
            new DescribeConfigsOptions().includeSynonyms(true).includeDocumentation(true)).all()).get(resource);
    }

    static void alter(ConfigResource resource, String key, String value, AlterConfigOp.OpType op) throws Exception {
        done(admin.incrementalAlterConfigs(Map.of(resource, List.of(
            new AlterConfigOp(new ConfigEntry(key, value), op)))).all());
    }

    static void configs() throws Exception {
        String topic = topic("configs", 1, Map.of("retention.ms", "86400000"));
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        Config config = describe(resource);
        for (String key : List.of("cleanup.policy", "compression.type", "delete.retention.ms", "max.message.bytes",
                "message.timestamp.type", "min.insync.replicas", "retention.bytes", "retention.ms", "segment.bytes"))
            check(config.get(key) != null, "topic config " + key + " is not described");
        ConfigEntry retention = config.get("retention.ms");
        same("86400000", retention.value(), "retention.ms");
        same(ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG, retention.source(), "source of retention.ms");
        same(ConfigEntry.ConfigType.LONG, retention.type(), "type of retention.ms");
        check(retention.documentation() != null && !retention.documentation().isEmpty(), "no documentation");
        check(!retention.isReadOnly() && !retention.isSensitive() && !retention.isDefault(), "flags of retention.ms");
        same(ConfigEntry.ConfigSource.DEFAULT_CONFIG, config.get("cleanup.policy").source(), "source of cleanup.policy");
        same("delete", config.get("cleanup.policy").value(), "cleanup.policy");
        same(ConfigEntry.ConfigType.LIST, config.get("cleanup.policy").type(), "type of cleanup.policy");

        alter(resource, "cleanup.policy", "compact", AlterConfigOp.OpType.APPEND);
        awaitConfig(resource, "cleanup.policy", "delete,compact");
        alter(resource, "cleanup.policy", "delete", AlterConfigOp.OpType.SUBTRACT);
        awaitConfig(resource, "cleanup.policy", "compact");
        alter(resource, "retention.ms", null, AlterConfigOp.OpType.DELETE);
        awaitConfig(resource, "retention.ms", "604800000");
        same(ConfigEntry.ConfigSource.DEFAULT_CONFIG, describe(resource).get("retention.ms").source(), "source after delete");
        refused(InvalidConfigurationException.class, admin.incrementalAlterConfigs(Map.of(resource, List.of(
            new AlterConfigOp(new ConfigEntry("no.such.key", "1"), AlterConfigOp.OpType.SET)))).all());
        refused(InvalidConfigurationException.class, admin.incrementalAlterConfigs(Map.of(resource, List.of(
            new AlterConfigOp(new ConfigEntry("retention.ms", "soon"), AlterConfigOp.OpType.SET)))).all());
    }

    static void awaitConfig(ConfigResource resource, String key, String value) throws Exception {
        long deadline = System.nanoTime() + PATIENCE.toNanos();
        while (!describe(resource).get(key).value().equals(value)) {
            check(System.nanoTime() < deadline, key + " is " + describe(resource).get(key).value() + ", not " + value);
            Thread.sleep(20);
        }
    }

    static void refusals() throws Exception {
        for (String name : List.of("..", "a b", "x".repeat(250), "täst"))
            refused(InvalidTopicException.class, admin.createTopics(List.of(new NewTopic(name, 1, (short) 1))).all());
        refused(InvalidReplicationFactorException.class, admin.createTopics(List.of(
            new NewTopic(prefix + "-wide", 1, (short) 30))).all());
        refused(InvalidPartitionsException.class, admin.createTopics(List.of(
            new NewTopic(prefix + "-none", 0, (short) 1))).all());
        refused(InvalidConfigurationException.class, admin.createTopics(List.of(
            new NewTopic(prefix + "-odd", 1, (short) 1).configs(Map.of("no.such.key", "1")))).all());
        refused(UnknownTopicOrPartitionException.class, admin.describeConfigs(List.of(
            new ConfigResource(ConfigResource.Type.TOPIC, prefix + "-nowhere"))).all());
    }

    static void codecs() throws Exception {
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            String topic = topic("codec-" + codec, 1, Map.of());
            produce(topic, Map.of("compression.type", codec), 0, RECORDS);
            TopicPartition partition = new TopicPartition(topic, 0);
            try (KafkaConsumer<byte[], byte[]> consumer = consumer(Map.of())) {
                consumer.assign(List.of(partition));
                consumer.seekToBeginning(List.of(partition));
                List<ConsumerRecord<byte[], byte[]>> records = read(consumer, RECORDS);
                for (int i = 0; i < RECORDS; i++) {
                    same((long) i, records.get(i).offset(), codec + ": offset");
                    verify(records.get(i), i);
                }
                // Rewinding, also into the middle of a batch.
                consumer.seek(partition, 17);
                same(17L, read(consumer, 1).get(0).offset(), codec + ": offset after seek");
            }
        }
    }

    static void acks() throws Exception {
        String topic = topic("acks", 1, Map.of());
        int from = 0;
        for (String acks : List.of("0", "1", "all")) {
            produce(topic, Map.of("acks", acks, "enable.idempotence", false), from, from + 10);
            from += 10;
        }
        TopicPartition partition = new TopicPartition(topic, 0);
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(Map.of())) {
            consumer.assign(List.of(partition));
            consumer.seekToBeginning(List.of(partition));
            List<ConsumerRecord<byte[], byte[]>> records = read(consumer, from);
            for (int i = 0; i < from; i++) verify(records.get(i), i);
        }
    }

    static long offset(TopicPartition partition, OffsetSpec spec) throws Exception {
        return done(admin.listOffsets(Map.of(partition, spec)).partitionResult(partition)).offset();
    }

    static void offsets() throws Exception {
        String topic = topic("offsets", 1, Map.of());
        TopicPartition partition = new TopicPartition(topic, 0);
        same(0L, offset(partition, OffsetSpec.latest()), "latest of an empty partition");
        produce(topic, Map.of(), 0, 30);
        produce(topic, Map.of("compression.type", "zstd"), 30, RECORDS);
        same(0L, offset(partition, OffsetSpec.earliest()), "earliest");
        same((long) RECORDS, offset(partition, OffsetSpec.latest()), "latest");
        same(23L, offset(partition, OffsetSpec.forTimestamp(BASE_TIME + 23)), "offset for a time");
        same(41L, offset(partition, OffsetSpec.forTimestamp(BASE_TIME + 41)), "offset for a time in a compressed batch");
        same(0L, offset(partition, OffsetSpec.forTimestamp(5)), "offset for an early time");
        same(-1L, offset(partition, OffsetSpec.forTimestamp(BASE_TIME + RECORDS)), "offset for a late time");
        same((long) RECORDS - 1, offset(partition, OffsetSpec.maxTimestamp()), "offset of the newest time");
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(Map.of())) {
            same((long) RECORDS, consumer.endOffsets(List.of(partition)).get(partition), "consumer's end");
            same(0L, consumer.beginningOffsets(List.of(partition)).get(partition), "consumer's beginning");
            OffsetAndTimestamp found = consumer.offsetsForTimes(Map.of(partition, BASE_TIME + 23)).get(partition);
            same(23L, found.offset(), "consumer's offset for a time");
            same(BASE_TIME + 23, found.timestamp(), "its time");
            same(RECORDS, consumer.partitionsFor(topic).size() * RECORDS, "partitions");
            consumer.assign(List.of(partition));
            consumer.seek(partition, RECORDS + 100);
            try {
                for (int i = 0; i < 20; i++) consumer.poll(Duration.ofMillis(500));
                throw new AssertionError("an offset beyond the end is not refused");
            } catch (org.apache.kafka.clients.consumer.OffsetOutOfRangeException expected) {
                same(Set.of(partition), expected.partitions(), "partition out of range");
            }
        }
    }

    static void deleteRecords() throws Exception {
        String topic = topic("delete-records", 1, Map.of());
        TopicPartition partition = new TopicPartition(topic, 0);
        produce(topic, Map.of(), 0, RECORDS);
        DeletedRecords deleted = done(admin.deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(20)))
            .lowWatermarks().get(partition));
        same(20L, deleted.lowWatermark(), "low watermark");
        same(20L, offset(partition, OffsetSpec.earliest()), "earliest");
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(Map.of())) {
            consumer.assign(List.of(partition));
            consumer.seekToBeginning(List.of(partition));
            verify(read(consumer, 1).get(0), 20);
        }
        refused(org.apache.kafka.common.errors.OffsetOutOfRangeException.class, admin.deleteRecords(
            Map.of(partition, RecordsToDelete.beforeOffset(RECORDS + 1))).all());
        done(admin.deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(-1))).all());
        same((long) RECORDS, offset(partition, OffsetSpec.earliest()), "earliest after deleting all");
    }

    static void longPoll() throws Exception {
        String topic = topic("long-poll", 1, Map.of());
        TopicPartition partition = new TopicPartition(topic, 0);
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(Map.of("fetch.max.wait.ms", 4_000))) {
            consumer.assign(List.of(partition));
            consumer.seekToBeginning(List.of(partition));
            consumer.poll(Duration.ofMillis(300)); // a fetch now waits at the broker
            Thread late = new Thread(() -> {
                try {
                    Thread.sleep(500);
                    produce(topic, Map.of(), 0, 1);
                } catch (Exception failure) {
                    failure.printStackTrace();
                }
            });
            late.start();
            long start = System.nanoTime();
            verify(read(consumer, 1).get(0), 0);
            long waited = (System.nanoTime() - start) / 1_000_000;
            check(waited < 3_500, "a waiting fetch was answered after " + waited + " ms");
            late.join();
        }
    }

    static void bigRecords() throws Exception {
        int limit = 2 * 1024 * 1024;
        String topic = topic("big", 1, Map.of("max.message.bytes", "" + limit));
        TopicPartition partition = new TopicPartition(topic, 0);
        Random random = new Random(1);
        byte[] fits = new byte[limit - 100], tooBig = new byte[limit + 1];
        random.nextBytes(fits);
        random.nextBytes(tooBig);
        try (KafkaProducer<byte[], byte[]> producer = producer(Map.of("max.request.size", 8 * 1024 * 1024))) {
            for (int i = 0; i < 3; i++) producer.send(new ProducerRecord<>(topic, fits)).get(30, TimeUnit.SECONDS);
            refused(RecordTooLargeException.class, producer.send(new ProducerRecord<>(topic, tooBig)));
        }
        // Progress although every batch is larger than what the consumer asks for.
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(Map.of("max.partition.fetch.bytes", 1000, "fetch.max.bytes", 1000))) {
            consumer.assign(List.of(partition));
            consumer.seekToBeginning(List.of(partition));
            for (ConsumerRecord<byte[], byte[]> record : read(consumer, 3))
                check(Arrays.equals(fits, record.value()), "a big record changed");
        }
    }

    static void producers() throws Exception {
        String topic = topic("producers", 1, Map.of());
        TopicPartition partition = new TopicPartition(topic, 0);
        produce(topic, Map.of("enable.idempotence", true), 0, 10);
        List<ProducerState> active = done(admin.describeProducers(List.of(partition)).partitionResult(partition)).activeProducers();
        same(1, active.size(), "active producers");
        check(active.get(0).producerId() >= 0, "producer id");
        same(9, active.get(0).lastSequence(), "last sequence");
    }

    static void autoCreation() throws Exception {
        ConfigResource any = new ConfigResource(ConfigResource.Type.BROKER, done(admin.describeCluster().nodes()).iterator().next().idString());
        if (describe(any).get("auto.create.topics.enable").value().equals("false")) return;
        String topic = prefix + "-auto-created";
        produce(topic, Map.of(), 0, 3);
        check(done(admin.listTopics().names()).contains(topic), "not created");
    }

    static void quotas() throws Exception {
        org.apache.kafka.common.quota.ClientQuotaEntity entity =
            new org.apache.kafka.common.quota.ClientQuotaEntity(Map.of("client-id", prefix + "-slow"));
        done(admin.alterClientQuotas(List.of(new org.apache.kafka.common.quota.ClientQuotaAlteration(entity, List.of(
            new org.apache.kafka.common.quota.ClientQuotaAlteration.Op("producer_byte_rate", 20_000.0))))).all());
        var filter = org.apache.kafka.common.quota.ClientQuotaFilter.contains(List.of(
            org.apache.kafka.common.quota.ClientQuotaFilterComponent.ofEntity("client-id", prefix + "-slow")));
        long deadline = System.nanoTime() + PATIENCE.toNanos();
        while (!done(admin.describeClientQuotas(filter).entities()).equals(Map.of(entity, Map.of("producer_byte_rate", 20_000.0)))) {
            check(System.nanoTime() < deadline, "quota is " + done(admin.describeClientQuotas(filter).entities()));
            Thread.sleep(20);
        }
        String topic = topic("quota", 1, Map.of());
        Random random = new Random(1);
        byte[] value = new byte[10_000];
        random.nextBytes(value);
        try (KafkaProducer<byte[], byte[]> producer = producer(Map.of("client.id", prefix + "-slow", "batch.size", 1))) {
            // Kafka lets ten seconds' worth pass at once.
            for (int i = 0; i < 23; i++) producer.send(new ProducerRecord<>(topic, value)).get(30, TimeUnit.SECONDS);
            double throttled = 0;
            for (Map.Entry<MetricName, ? extends Metric> metric : producer.metrics().entrySet())
                if (metric.getKey().name().equals("produce-throttle-time-max"))
                    throttled = Math.max(throttled, (Double) metric.getValue().metricValue());
            check(throttled > 0, "23 records of 10 kB at 20 kB/s were not throttled");
        }
        done(admin.alterClientQuotas(List.of(new org.apache.kafka.common.quota.ClientQuotaAlteration(entity, List.of(
            new org.apache.kafka.common.quota.ClientQuotaAlteration.Op("producer_byte_rate", null))))).all());
    }
}
