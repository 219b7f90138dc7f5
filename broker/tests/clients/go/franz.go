// franz-go: offers every version that it knows, newest first, and is strict about the answers.
package main

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

var franzCodecs = map[string]kgo.CompressionCodec{
	"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
	"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

func franz() {
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap...))
	check(err, "client")
	admin := kadm.NewClient(client)
	defer admin.Close()
	for name, codec := range franzCodecs {
		franzCodec(ctx, admin, name, codec)
		fmt.Println("ok compression-" + name)
	}
	franzAdmin(ctx, admin)
	fmt.Println("ok administration")
}

func franzTopic(ctx context.Context, admin *kadm.Client, name string, partitions int32) string {
	topic := prefix + "-" + name
	_, err := admin.CreateTopic(ctx, partitions, -1, map[string]*string{"retention.ms": &kept}, topic)
	check(err, "create "+topic)
	return topic
}

func franzCodec(ctx context.Context, admin *kadm.Client, name string, codec kgo.CompressionCodec) {
	topic := franzTopic(ctx, admin, name, 1)
	producer, err := kgo.NewClient(kgo.SeedBrokers(bootstrap...), kgo.ProducerBatchCompression(codec),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.UnknownTopicRetries(50))
	check(err, "producer")
	for number := range records {
		one := record(number)
		producer.Produce(ctx, &kgo.Record{Topic: topic, Key: one.key, Value: one.value, Timestamp: one.timestamp,
			Headers: []kgo.RecordHeader{{Key: "number", Value: one.header}}}, func(_ *kgo.Record, err error) { check(err, name) })
	}
	check(producer.Flush(ctx), "flush")
	producer.Close()

	for _, start := range []int64{0, 17} {
		consumer, err := kgo.NewClient(kgo.SeedBrokers(bootstrap...), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{
			topic: {0: kgo.NewOffset().At(start)}}))
		check(err, "consumer")
		for number := start; number < records; {
			fetches := consumer.PollFetches(ctx)
			check(fetches.Err(), "fetch")
			fetches.EachRecord(func(one *kgo.Record) {
				same(number, one.Offset, "offset")
				verify(int(number), one.Key, one.Value, one.Headers[0].Value, one.Timestamp)
				number++
			})
		}
		consumer.Close()
	}
	starts, err := admin.ListStartOffsets(ctx, topic)
	check(err, "start offsets")
	ends, err := admin.ListEndOffsets(ctx, topic)
	check(err, "end offsets")
	times, err := admin.ListOffsetsAfterMilli(ctx, baseTimeMs+17, topic)
	check(err, "offsets by time")
	same([]int64{0, records, 17}, []int64{starts[topic][0].Offset, ends[topic][0].Offset, times[topic][0].Offset}, "offsets")
}

func franzAdmin(ctx context.Context, admin *kadm.Client) {
	topic := franzTopic(ctx, admin, "admin", 2)
	metadata, err := admin.Metadata(ctx, topic)
	check(err, "metadata")
	same(len(bootstrap), len(metadata.Brokers), "brokers")
	size := "70000"
	altered, err := admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Name: "max.message.bytes", Value: &size}}, topic)
	check(err, "alter")
	check(altered[0].Err, "alter")
	// Each broker hears of it in its own time.
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		described, err := admin.DescribeTopicConfigs(ctx, topic)
		check(err, "describe")
		found := map[string]string{}
		for _, config := range described[0].Configs {
			found[config.Key] = config.MaybeValue()
		}
		if found["max.message.bytes"] == "70000" || time.Now().After(deadline) {
			same("70000 -1", found["max.message.bytes"]+" "+found["retention.ms"], "configs")
			break
		}
	}
	grown, err := admin.UpdatePartitions(ctx, 4, topic)
	check(err, "partitions")
	check(grown.Error(), "partitions")
	deleted, err := admin.DeleteTopics(ctx, topic)
	check(err, "delete")
	check(deleted.Error(), "delete")
}
