// sarama: pins the versions of one Kafka release instead of asking for the newest.
package main

import (
	"fmt"
	"time"

	"github.com/IBM/sarama"
)

var saramaCodecs = map[string]sarama.CompressionCodec{
	"none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP, "snappy": sarama.CompressionSnappy,
	"lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD,
}

func saramaClient() {
	for _, version := range []sarama.KafkaVersion{sarama.V2_1_0_0, sarama.MaxVersion} {
		config := sarama.NewConfig()
		config.Version = version
		config.Producer.Return.Successes = true
		config.Producer.Partitioner = sarama.NewManualPartitioner
		config.Metadata.Retry.Max = 20
		admin, err := sarama.NewClusterAdmin(bootstrap, config)
		check(err, "admin")
		for name, codec := range saramaCodecs {
			config.Producer.Compression = codec
			saramaCodec(admin, config, fmt.Sprintf("%s-%s", name, version))
			fmt.Printf("ok compression-%s version %s\n", name, version)
		}
		check(admin.Close(), "close")
	}
}

func saramaCodec(admin sarama.ClusterAdmin, config *sarama.Config, name string) {
	topic := prefix + "-" + name
	check(admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: int16(min(3, len(bootstrap))),
		ConfigEntries: map[string]*string{"retention.ms": &kept}}, false), "create "+topic)
	saramaAwait(config, topic)
	producer, err := sarama.NewSyncProducer(bootstrap, config)
	check(err, "producer")
	messages := make([]*sarama.ProducerMessage, records)
	for number := range records {
		one := record(number)
		messages[number] = &sarama.ProducerMessage{Topic: topic, Timestamp: one.timestamp,
			Headers: []sarama.RecordHeader{{Key: []byte("number"), Value: one.header}}}
		if one.key != nil {
			messages[number].Key = sarama.ByteEncoder(one.key)
		}
		if one.value != nil {
			messages[number].Value = sarama.ByteEncoder(one.value)
		}
	}
	check(producer.SendMessages(messages), "send")
	check(producer.Close(), "close")

	consumer, err := sarama.NewConsumer(bootstrap, config)
	check(err, "consumer")
	for _, start := range []int64{sarama.OffsetOldest, 17} {
		partition, err := consumer.ConsumePartition(topic, 0, start)
		check(err, "partition")
		for number := max(start, 0); number < records; number++ {
			select {
			case one := <-partition.Messages():
				same(number, one.Offset, "offset")
				verify(int(number), one.Key, one.Value, one.Headers[0].Value, one.Timestamp)
			case <-time.After(patience):
				check(fmt.Errorf("record %d did not come", number), name)
			}
		}
		check(partition.Close(), "close")
	}
	check(consumer.Close(), "close")
	client, err := sarama.NewClient(bootstrap, config)
	check(err, "client")
	end, err := client.GetOffset(topic, 0, sarama.OffsetNewest)
	check(err, "end offset")
	at, err := client.GetOffset(topic, 0, baseTimeMs+17)
	check(err, "offset by time")
	same([]int64{records, 17}, []int64{end, at}, "offsets")
	check(client.Close(), "close")
	check(admin.DeleteTopic(topic), "delete")
}

func saramaAwait(config *sarama.Config, topic string) {
	client, err := sarama.NewClient(bootstrap, config)
	check(err, "client")
	defer client.Close()
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		_ = client.RefreshMetadata(topic)
		if _, err = client.Leader(topic, 0); err == nil {
			return
		}
		if time.Now().After(deadline) {
			check(err, "leader of "+topic)
		}
	}
}
