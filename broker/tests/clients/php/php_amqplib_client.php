<?php
// php-amqplib: RabbitMQ's client in PHP, as Debian has it.
// Usage: php php_amqplib_client.php HOST:PORT,... PREFIX

require_once 'PhpAmqpLib/autoload.php';

use PhpAmqpLib\Channel\AMQPChannel;
use PhpAmqpLib\Connection\AMQPStreamConnection;
use PhpAmqpLib\Exception\AMQPConnectionClosedException;
use PhpAmqpLib\Exception\AMQPProtocolChannelException;
use PhpAmqpLib\Message\AMQPMessage;
use PhpAmqpLib\Wire\AMQPTable;

const PATIENCE_SECONDS = 30;
[, $brokers, $prefix] = $argv;
$endpoints = explode(',', $brokers);
$turn = 0;

// Steps go round the brokers.
function connect(string $password = 'guest', int $heartbeat = 0): AMQPStreamConnection
{
    global $endpoints, $turn;
    [$host, $port] = explode(':', $endpoints[$turn++ % count($endpoints)]);
    return new AMQPStreamConnection($host, $port, 'guest', $password, heartbeat: $heartbeat,
        read_write_timeout: max(3, 3 * $heartbeat));
}

function same($expected, $actual, string $what): void
{
    if ($expected !== $actual) {
        throw new Exception("$what: expected " . json_encode($expected) . ', got ' . json_encode($actual));
    }
}

function named(string $name): string
{
    global $prefix;
    return "$prefix-$name";
}

function confirming(AMQPStreamConnection $connection): AMQPChannel
{
    $channel = $connection->channel();
    $channel->confirm_select();
    return $channel;
}

function queue(AMQPChannel $channel, string $name, array $arguments = []): string
{
    return $channel->queue_declare(named($name), false, true, false, false, false, new AMQPTable($arguments))[0];
}

function publish(AMQPChannel $channel, string $exchange, string $key, string $body, array $properties = []): void
{
    $channel->basic_publish(new AMQPMessage($body, $properties), $exchange, $key);
    $channel->wait_for_pending_acks(PATIENCE_SECONDS);
}

// Bodies of the next messages, acknowledged.
function take(AMQPChannel $channel, string $queue, int $count): array
{
    $bodies = [];
    $tag = $channel->basic_consume($queue, '', false, false, false, false, function (AMQPMessage $message) use (&$bodies) {
        $bodies[] = $message->getBody();
        $message->ack();
    });
    while (count($bodies) < $count) {
        $channel->wait(null, false, PATIENCE_SECONDS);
    }
    $channel->basic_cancel($tag);
    return $bodies;
}

function simple(AMQPStreamConnection $connection): void
{
    $channel = confirming($connection);
    $queue = queue($channel, 'simple');
    $persistent = ['delivery_mode' => AMQPMessage::DELIVERY_MODE_PERSISTENT];
    for ($number = 0; $number < 50; $number++) {
        $channel->batch_basic_publish(new AMQPMessage("$number", $persistent), '', $queue);
    }
    $channel->publish_batch();
    $channel->wait_for_pending_acks(PATIENCE_SECONDS);
    same(array_map('strval', range(0, 49)), take($channel, $queue, 50), 'messages');
}

function work(AMQPStreamConnection $connection): void
{
    $channel = confirming($connection);
    $busy = $connection->channel();
    $queue = queue($channel, 'work');
    $busy->basic_qos(0, 1, false);
    $held = 0;
    $busy->basic_consume($queue, '', false, false, false, false, function () use (&$held) { $held++; });
    for ($number = 0; $number < 10; $number++) {
        publish($channel, '', $queue, "$number");
    }
    same(9, count(take($channel, $queue, 9)), 'messages of the quick worker');
    $busy->wait(null, true);
    same(1, $held, 'messages that the busy worker holds');
}

function routing(AMQPStreamConnection $connection): void
{
    $channel = confirming($connection);
    $queue = queue($channel, 'routing');
    foreach ([['direct', 'error', ['info', 'error'], ['error']], ['fanout', '', ['any'], ['any']],
        ['topic', 'audit.#', ['x.a', 'audit', 'audit.a.b'], ['audit', 'audit.a.b']]] as [$type, $pattern, $keys, $expected]) {
        $channel->exchange_declare(named($type), $type, false, true, false);
        $channel->queue_bind($queue, named($type), $pattern);
        foreach ($keys as $key) {
            publish($channel, named($type), $key, $key);
        }
        same($expected, take($channel, $queue, count($expected)), $type);
    }
    $channel->exchange_declare(named('headers'), 'headers', false, false, true);
    $channel->queue_bind($queue, named('headers'), '', false, new AMQPTable(['x-match' => 'all', 'format' => 'pdf', 'pages' => 3]));
    foreach (['no' => 4, 'yes' => 3] as $body => $pages) {
        publish($channel, named('headers'), '', $body, ['application_headers' => new AMQPTable(['format' => 'pdf', 'pages' => $pages])]);
    }
    same(['yes'], take($channel, $queue, 1), 'headers');
}

function returns(AMQPStreamConnection $connection): void
{
    $channel = confirming($connection);
    $returned = null;
    $channel->set_return_listener(function ($code, $text) use (&$returned) { $returned = [$code, $text]; });
    $channel->basic_publish(new AMQPMessage('x'), '', named('nowhere'), true);
    $channel->wait_for_pending_acks_returns(PATIENCE_SECONDS);
    same([312, 'NO_ROUTE'], $returned, 'return');
    $full = queue($channel, 'full', ['x-max-length' => 1, 'x-overflow' => 'reject-publish']);
    $nacks = 0;
    $channel->set_nack_handler(function () use (&$nacks) { $nacks++; });
    publish($channel, '', $full, '1');
    publish($channel, '', $full, '2');
    same(1, $nacks, 'nacks');
}

function redelivery(AMQPStreamConnection $connection): void
{
    $channel = confirming($connection);
    $queue = queue($channel, 'redelivery', ['x-queue-type' => 'quorum']);
    publish($channel, '', $queue, 'again');
    $message = $channel->basic_get($queue);
    same(false, $message->isRedelivered(), 'redelivered');
    $message->reject(true);
    $message = $channel->basic_get($queue);
    same([true, 1], [$message->isRedelivered(), $message->get('application_headers')->getNativeData()['x-delivery-count']], 'redelivered');
    $message->nack(false);
    same(null, $channel->basic_get($queue), 'message');
}

function dead_letters(AMQPStreamConnection $connection): void
{
    $channel = confirming($connection);
    $dead = queue($channel, 'dead');
    $dying = queue($channel, 'dying', ['x-dead-letter-exchange' => '', 'x-dead-letter-routing-key' => $dead]);
    $channel->basic_consume($dead, '', false, true, false, false, function (AMQPMessage $message) use (&$letter) { $letter = $message; });
    publish($channel, '', $dying, 'late', ['expiration' => '100']);
    while ($letter === null) {
        $channel->wait(null, false, PATIENCE_SECONDS);
    }
    $death = $letter->get('application_headers')->getNativeData()['x-death'][0];
    same(['late', 'expired', 1, $dying, '100'],
        [$letter->getBody(), $death['reason'], $death['count'], $death['queue'], $death['original-expiration']], 'dead letter');
}

function refusals(AMQPStreamConnection $connection): void
{
    queue($connection->channel(), 'refusals');
    foreach ([
        404 => fn ($channel) => $channel->queue_declare(named('missing'), true),
        403 => fn ($channel) => $channel->exchange_delete('amq.topic'),
        406 => fn ($channel) => $channel->queue_declare(named('refusals'), false, false, false, false),
    ] as $code => $act) {
        try {
            $act($connection->channel());
        } catch (AMQPProtocolChannelException $refusal) {
            same($code, $refusal->amqp_reply_code, 'reply code');
            continue;
        }
        throw new Exception("allowed, $code was due");
    }
    $connection->channel()->queue_declare(named('refusals'), true);
    [$own] = $connection->channel()->queue_declare('', false, false, true);
    same(0, strpos($own, 'amq.gen-'), "name $own");
}

function rpc(AMQPStreamConnection $connection): void
{
    $client = $connection->channel();
    $server = $connection->channel();
    $queue = queue($server, 'rpc');
    $server->basic_consume($queue, '', false, true, false, false, function (AMQPMessage $request) use ($server) {
        $answer = new AMQPMessage(2 * (int) $request->getBody(), ['correlation_id' => $request->get('correlation_id')]);
        $server->basic_publish($answer, '', $request->get('reply_to'));
    });
    $answers = [];
    $client->basic_consume('amq.rabbitmq.reply-to', '', false, true, false, false, function (AMQPMessage $answer) use (&$answers) {
        $answers[$answer->get('correlation_id')] = $answer->getBody();
    });
    for ($number = 1; $number <= 3; $number++) {
        $client->basic_publish(new AMQPMessage($number, ['correlation_id' => "id-$number", 'reply_to' => 'amq.rabbitmq.reply-to']), '', $queue);
        $server->wait(null, false, PATIENCE_SECONDS);
        $client->wait(null, false, PATIENCE_SECONDS);
    }
    same(['id-1' => '2', 'id-2' => '4', 'id-3' => '6'], $answers, 'answers');
}

// More than two intervals pass with nothing but heartbeats, which this client sends when it is asked to.
function heartbeats(): void
{
    $connection = connect(heartbeat: 1);
    for ($beat = 0; $beat < 8; $beat++) {
        usleep(500_000);
        $connection->checkHeartBeat();
    }
    $connection->channel()->queue_declare('', false, false, true);
    $connection->close();
}

function login(): void
{
    try {
        connect('wrong');
    } catch (AMQPConnectionClosedException $refusal) {
        same(403, $refusal->getCode(), 'reply code');
        return;
    }
    throw new Exception('let in with a wrong password');
}

foreach (['simple', 'work', 'routing', 'returns', 'redelivery', 'dead_letters', 'refusals', 'rpc', 'heartbeats', 'login'] as $step) {
    $start = hrtime(true);
    $connection = connect();
    try {
        $step($connection);
    } catch (Throwable $failure) {
        echo "FAILED: $step: $failure\n";
        exit(1);
    }
    $connection->close();
    printf("ok %s %d ms\n", $step, (hrtime(true) - $start) / 1e6);
}
