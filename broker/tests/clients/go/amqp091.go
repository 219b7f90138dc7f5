// amqp091-go: RabbitMQ's client in Go.
package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

var amqpTurn = 0

// Steps go round the brokers.
func amqpConnect(config amqp.Config) *amqp.Connection {
	url := fmt.Sprintf("amqp://guest:guest@%s/", bootstrap[amqpTurn%len(bootstrap)])
	amqpTurn++
	connection, err := amqp.DialConfig(url, config)
	check(err, "connect to "+url)
	return connection
}

func amqpChannel(connection *amqp.Connection) *amqp.Channel {
	channel, err := connection.Channel()
	check(err, "channel")
	check(channel.Confirm(false), "confirm.select")
	return channel
}

func amqpQueue(channel *amqp.Channel, name string, arguments amqp.Table) string {
	queue, err := channel.QueueDeclare(prefix+"-"+name, true, false, false, false, arguments)
	check(err, "queue "+name)
	return queue.Name
}

func amqpPublish(channel *amqp.Channel, exchange, key string, message amqp.Publishing) {
	amqpSettled(channel, exchange, key, message, true)
}

// Publishes, waits for the confirm, and compares the outcome.
func amqpSettled(channel *amqp.Channel, exchange, key string, message amqp.Publishing, expected bool) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	confirm, err := channel.PublishWithDeferredConfirmWithContext(ctx, exchange, key, false, false, message)
	check(err, "publish")
	isAcked, err := confirm.WaitContext(ctx)
	check(err, "confirm")
	same(expected, isAcked, "confirm")
}

func amqpText(body string) amqp.Publishing {
	return amqp.Publishing{ContentType: "text/plain", DeliveryMode: amqp.Persistent, Body: []byte(body)}
}

func amqpConsume(channel *amqp.Channel, queue, tag string, isAutoAck bool) <-chan amqp.Delivery {
	deliveries, err := channel.Consume(queue, tag, isAutoAck, false, false, false, nil)
	check(err, "consume "+queue)
	return deliveries
}

func amqpNext[T any](from <-chan T, what string) T {
	select {
	case one, isOpen := <-from:
		if isOpen {
			return one
		}
		check(errors.New("the client's channel was closed"), what)
	case <-time.After(patience):
		check(errors.New("nothing came"), what)
	}
	panic("check returned")
}

func amqpTake(channel *amqp.Channel, queue string, expected ...string) {
	deliveries := amqpConsume(channel, queue, "taker", false)
	for _, body := range expected {
		delivery := amqpNext(deliveries, queue)
		same(body, string(delivery.Body), queue)
		check(delivery.Ack(false), "ack")
	}
	check(channel.Cancel("taker", false), "cancel")
}

func amqpClient() {
	for _, step := range []struct {
		name string
		run  func(*amqp.Connection)
	}{
		{"simple", amqpSimple}, {"work", amqpWork}, {"routing", amqpRouting}, {"confirms", amqpConfirms},
		{"returns", amqpReturns}, {"redelivery", amqpRedelivery}, {"dead-letters", amqpDeadLetters},
		{"priorities", amqpPriorities}, {"own-queues", amqpOwnQueues}, {"refusals", amqpRefusals},
		{"rpc", amqpRpc}, {"heartbeats", amqpHeartbeats},
	} {
		start := time.Now()
		connection := amqpConnect(amqp.Config{Heartbeat: time.Second, Properties: amqp.Table{"connection_name": step.name}})
		step.run(connection)
		check(connection.Close(), "close")
		fmt.Printf("ok %s %d ms\n", step.name, time.Since(start).Milliseconds())
	}
	amqpLogin()
	fmt.Println("ok login")
}

func amqpSimple(connection *amqp.Connection) {
	channel := amqpChannel(connection)
	queue := amqpQueue(channel, "simple", nil)
	var bodies []string
	for number := range 50 {
		bodies = append(bodies, fmt.Sprint(number))
		amqpPublish(channel, "", queue, amqpText(bodies[number]))
	}
	amqpTake(channel, queue, bodies...)
	large := strings.Repeat("x", 1_000_000)
	amqpPublish(channel, "", queue, amqp.Publishing{Body: []byte(large), MessageId: "id", AppId: "app", Type: "type",
		Timestamp: time.Unix(1_700_000_000, 0), Headers: amqp.Table{"int": int64(1), "table": amqp.Table{"array": []any{"a", true}}}})
	delivery, isThere, err := channel.Get(queue, true)
	check(err, "get")
	same([]any{true, large, "id", "app", "type", int64(1_700_000_000), int64(1), "[a true]"}, []any{isThere, string(delivery.Body),
		delivery.MessageId, delivery.AppId, delivery.Type, delivery.Timestamp.Unix(), delivery.Headers["int"],
		fmt.Sprint(delivery.Headers["table"].(amqp.Table)["array"])}, "message")
}

func amqpWork(connection *amqp.Connection) {
	channel, busy := amqpChannel(connection), amqpChannel(connection)
	queue := amqpQueue(channel, "work", nil)
	check(busy.Qos(1, 0, false), "qos")
	held := amqpConsume(busy, queue, "", false)
	var first amqp.Delivery
	for number := range 10 {
		amqpPublish(channel, "", queue, amqpText(fmt.Sprint(number)))
		if number == 0 {
			first = amqpNext(held, "the busy worker")
		}
	}
	amqpTake(channel, queue, "1", "2", "3", "4", "5", "6", "7", "8", "9")
	same(0, len(held), "more messages for the busy worker")
	check(first.Nack(false, true), "nack")
	same(true, amqpNext(held, "the busy worker").Redelivered, "redelivered")
}

func amqpRouting(connection *amqp.Connection) {
	channel := amqpChannel(connection)
	queue := amqpQueue(channel, "routing", nil)
	for _, one := range []struct {
		kind, binding  string
		keys, expected []string
	}{
		{amqp.ExchangeDirect, "error", []string{"info", "error"}, []string{"error"}},
		{amqp.ExchangeFanout, "", []string{"any"}, []string{"any"}},
		{amqp.ExchangeTopic, "audit.#", []string{"x", "audit", "audit.a.b"}, []string{"audit", "audit.a.b"}},
		{amqp.ExchangeTopic, "*.only", []string{"a.only", "a.b.only"}, []string{"a.only"}},
	} {
		exchange := prefix + "-" + one.kind
		check(channel.ExchangeDeclare(exchange, one.kind, true, false, false, false, nil), "exchange")
		check(channel.QueueBind(queue, one.binding, exchange, false, nil), "bind")
		for _, key := range one.keys {
			amqpPublish(channel, exchange, key, amqpText(key))
		}
		amqpTake(channel, queue, one.expected...)
	}
	headers, upstream := prefix+"-headers", prefix+"-upstream"
	check(channel.ExchangeDeclare(headers, amqp.ExchangeHeaders, true, false, true, false, nil), "internal exchange")
	check(channel.QueueBind(queue, "", headers, false, amqp.Table{"x-match": "all", "format": "pdf", "pages": int32(3)}), "bind")
	check(channel.ExchangeDeclare(upstream, amqp.ExchangeFanout, false, true, false, false, nil), "exchange")
	check(channel.ExchangeBind(headers, "", upstream, false, nil), "bind exchanges")
	for body, pages := range map[string]int64{"no": 4, "yes": 3} {
		amqpPublish(channel, upstream, "", amqp.Publishing{Headers: amqp.Table{"format": "pdf", "pages": pages}, Body: []byte(body)})
	}
	amqpTake(channel, queue, "yes")
	check(channel.ExchangeUnbind(headers, "", upstream, false, nil), "unbind exchanges")
	count, err := channel.QueueDelete(queue, false, false, false)
	check(err, "delete")
	same(0, count, "messages left")
}

func amqpConfirms(connection *amqp.Connection) {
	channel := amqpChannel(connection)
	queue := amqpQueue(channel, "confirms", nil)
	confirms := channel.NotifyPublish(make(chan amqp.Confirmation, 500))
	for range 500 {
		check(channel.Publish("", queue, false, false, amqpText("x")), "publish")
	}
	for tag := range 500 {
		confirm := amqpNext(confirms, "confirm")
		same([]any{uint64(tag + 1), true}, []any{confirm.DeliveryTag, confirm.Ack}, "confirm")
	}
	count, err := channel.QueuePurge(queue, false)
	check(err, "purge")
	same(500, count, "messages purged")
}

func amqpReturns(connection *amqp.Connection) {
	channel := amqpChannel(connection)
	returns := channel.NotifyReturn(make(chan amqp.Return, 1))
	check(channel.Publish("", prefix+"-nowhere", true, false, amqpText("x")), "publish")
	returned := amqpNext(returns, "return")
	same([]any{312, "NO_ROUTE", "x"}, []any{returned.ReplyCode, returned.ReplyText, string(returned.Body)}, "return")
	full := amqpQueue(channel, "full", amqp.Table{amqp.QueueMaxLenArg: 1, amqp.QueueOverflowArg: amqp.QueueOverflowRejectPublish})
	amqpSettled(channel, "", full, amqpText("1"), true)
	amqpSettled(channel, "", full, amqpText("2"), false)
}

func amqpRedelivery(connection *amqp.Connection) {
	channel := amqpChannel(connection)
	queue := amqpQueue(channel, "redelivery", amqp.Table{amqp.QueueTypeArg: amqp.QueueTypeQuorum})
	amqpPublish(channel, "", queue, amqpText("again"))
	for try := range 3 {
		delivery, isThere, err := channel.Get(queue, false)
		check(err, "get")
		same([]any{true, try > 0}, []any{isThere, delivery.Redelivered}, "redelivered")
		if try > 0 {
			same(try, delivery.Headers["x-delivery-count"], "delivery count")
		}
		check(delivery.Reject(true), "reject")
	}
	amqpTake(channel, queue, "again")
	_, isThere, err := channel.Get(queue, true)
	check(err, "get")
	same(false, isThere, "message")
}

func amqpDeadLetters(connection *amqp.Connection) {
	channel := amqpChannel(connection)
	exchange, dead := prefix+"-dlx", amqpQueue(channel, "dead", nil)
	check(channel.ExchangeDeclare(exchange, amqp.ExchangeTopic, true, false, false, false, nil), "exchange")
	check(channel.QueueBind(dead, "#", exchange, false, nil), "bind")
	dying := amqpQueue(channel, "dying", amqp.Table{"x-dead-letter-exchange": exchange, amqp.QueueMessageTTLArg: 60_000})
	amqpPublish(channel, "", dying, amqpText("rejected"))
	delivery, _, err := channel.Get(dying, false)
	check(err, "get")
	check(delivery.Nack(false, false), "nack")
	amqpPublish(channel, "", dying, amqp.Publishing{Body: []byte("expired"), Expiration: "100"})
	letters := amqpConsume(channel, dead, "", true)
	for _, reason := range []string{"rejected", "expired"} {
		letter := amqpNext(letters, "dead letter")
		death := letter.Headers["x-death"].([]any)[0].(amqp.Table)
		same([]any{reason, reason, 1, dying, dying, true}, []any{string(letter.Body), death["reason"], death["count"], death["queue"],
			letter.RoutingKey, !death["time"].(time.Time).IsZero()}, "dead letter")
	}
}

func amqpPriorities(connection *amqp.Connection) {
	channel := amqpChannel(connection)
	queue := amqpQueue(channel, "priorities", amqp.Table{"x-max-priority": 10})
	for _, priority := range []uint8{1, 9, 5} {
		amqpPublish(channel, "", queue, amqp.Publishing{Priority: priority, Body: []byte(fmt.Sprint(priority))})
	}
	amqpTake(channel, queue, "9", "5", "1")
}

func amqpOwnQueues(connection *amqp.Connection) {
	channel := amqpChannel(connection)
	own, err := channel.QueueDeclare("", false, true, true, false, nil)
	check(err, "own queue")
	same(true, strings.HasPrefix(own.Name, "amq.gen-"), "name "+own.Name)
	cancels := channel.NotifyCancel(make(chan string, 1))
	amqpConsume(channel, own.Name, "watcher", true)
	other := amqpChannel(connection)
	_, err = other.QueueDelete(own.Name, false, false, false)
	check(err, "delete")
	same("watcher", amqpNext(cancels, "cancel"), "consumer")
	// Without waiting for answers; the next method finds them carried out.
	temporary := prefix + "-temporary"
	_, err = channel.QueueDeclare(temporary, false, true, false, true, nil)
	check(err, "declare")
	_, err = channel.Consume(temporary, "short", false, false, false, true, nil)
	check(err, "consume")
	check(channel.Cancel("short", true), "cancel")
	_, err = channel.QueueDeclarePassive(temporary, false, true, false, false, nil)
	amqpRefused(404, err)
}

func amqpRefused(code int, err error) {
	var refusal *amqp.Error
	if !errors.As(err, &refusal) {
		check(fmt.Errorf("%d was due, got %v", code, err), "refusal")
	}
	same([]any{code, true, true}, []any{refusal.Code, refusal.Server, refusal.Recover}, refusal.Reason)
}

func amqpRefusals(connection *amqp.Connection) {
	queue := amqpQueue(amqpChannel(connection), "refusals", nil)
	for code, act := range map[int]func(*amqp.Channel) error{
		404: func(channel *amqp.Channel) error {
			_, err := channel.QueueDeclarePassive(prefix+"-missing", false, false, false, false, nil)
			return err
		},
		403: func(channel *amqp.Channel) error { return channel.ExchangeDelete("amq.topic", false, false) },
		406: func(channel *amqp.Channel) error {
			_, err := channel.QueueDeclare(queue, false, false, false, false, nil)
			return err
		},
	} {
		channel := amqpChannel(connection)
		closed := channel.NotifyClose(make(chan *amqp.Error, 1))
		amqpRefused(code, act(channel))
		same(code, amqpNext(closed, "close").Code, "close")
		same(true, channel.IsClosed(), "closed")
	}
	// Publishing where nothing is closes the channel behind the call.
	channel := amqpChannel(connection)
	closed := channel.NotifyClose(make(chan *amqp.Error, 1))
	check(channel.Publish(prefix+"-missing", "", false, false, amqpText("x")), "publish")
	same(404, amqpNext(closed, "close").Code, "close")
	_, err := amqpChannel(connection).QueueDeclarePassive(queue, true, false, false, false, nil)
	check(err, "the connection goes on")
}

func amqpRpc(connection *amqp.Connection) {
	server, client := amqpChannel(connection), amqpChannel(connection)
	requests := amqpConsume(server, amqpQueue(server, "rpc", nil), "", true)
	go func() {
		for request := range requests {
			answer := amqp.Publishing{CorrelationId: request.CorrelationId, Body: append(request.Body, request.Body...)}
			check(server.Publish("", request.ReplyTo, false, false, answer), "answer")
		}
	}()
	answers := amqpConsume(client, "amq.rabbitmq.reply-to", "", true)
	for number := range 5 {
		body := fmt.Sprint(number)
		request := amqp.Publishing{CorrelationId: body, ReplyTo: "amq.rabbitmq.reply-to", Body: []byte(body)}
		check(client.Publish("", prefix+"-rpc", false, false, request), "call")
		answer := amqpNext(answers, "answer")
		same([]string{body, body + body}, []string{answer.CorrelationId, string(answer.Body)}, "answer")
	}
	_, err := server.QueueDelete(prefix+"-rpc", false, false, false)
	check(err, "delete")
}

// More than two intervals pass with nothing but heartbeats.
func amqpHeartbeats(connection *amqp.Connection) {
	select {
	case err := <-connection.NotifyClose(make(chan *amqp.Error, 1)):
		check(err, "an idle connection broke")
	case <-time.After(4 * time.Second):
		amqpQueue(amqpChannel(connection), "heartbeats", nil)
	}
}

func amqpLogin() {
	_, err := amqp.Dial(fmt.Sprintf("amqp://guest:wrong@%s/", bootstrap[0]))
	if !errors.Is(err, amqp.ErrCredentials) {
		check(fmt.Errorf("%v", err), "a wrong password")
	}
	_, err = amqp.Dial(fmt.Sprintf("amqp://guest:guest@%s/missing", bootstrap[0]))
	var refusal *amqp.Error
	if !errors.As(err, &refusal) || refusal.Code != amqp.NotAllowed {
		check(fmt.Errorf("%v", err), "a missing virtual host")
	}
}
