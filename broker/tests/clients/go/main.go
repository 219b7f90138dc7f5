// Go's clients: franz-go and sarama for Kafka, amqp091-go for AMQP.
//
// Usage: clients franz|sarama|amqp091 BOOTSTRAP PREFIX, BOOTSTRAP the Kafka or AMQP brokers. Prints "ok STEP" for each promise kept.
package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"time"
)

const (
	records    = 30
	baseTimeMs = 1_700_000_000_000
	patience   = 30 * time.Second
)

var (
	bootstrap []string
	prefix    string
	// The records are old: retention by time would delete them.
	kept = "-1"
)

type sent struct {
	key, value []byte
	timestamp  time.Time
	header     []byte
}

func record(number int) sent {
	one := sent{timestamp: time.UnixMilli(baseTimeMs + int64(number)), header: []byte(fmt.Sprint(number))}
	if number%3 != 0 {
		one.key = []byte(fmt.Sprintf("key %d", number))
	}
	if number%7 != 5 {
		one.value = bytes.Repeat([]byte(fmt.Sprintf("value %d ", number)), 20)
	}
	return one
}

func check(err error, what string) {
	if err != nil {
		fmt.Printf("FAILED: %s: %v\n", what, err)
		os.Exit(1)
	}
}

func same(expected, actual any, what string) {
	if fmt.Sprint(expected) != fmt.Sprint(actual) {
		check(fmt.Errorf("expected %v, got %v", expected, actual), what)
	}
}

func verify(number int, key, value, header []byte, timestamp time.Time) {
	expected := record(number)
	what := fmt.Sprintf("record %d", number)
	if !bytes.Equal(expected.key, key) || !bytes.Equal(expected.value, value) || !bytes.Equal(expected.header, header) {
		check(fmt.Errorf("got %q %q %q", key, value, header), what)
	}
	same(expected.timestamp.UnixMilli(), timestamp.UnixMilli(), what)
}

func main() {
	bootstrap, prefix = strings.Split(os.Args[2], ","), os.Args[3]
	switch os.Args[1] {
	case "franz":
		franz()
	case "sarama":
		saramaClient()
	case "amqp091":
		amqpClient()
	default:
		check(fmt.Errorf("%q", os.Args[1]), "no such client")
	}
}
