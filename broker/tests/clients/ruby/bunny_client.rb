# Bunny: RabbitMQ's client in Ruby, as Debian has it.
# Usage: ruby bunny_client.rb HOST:PORT,... PREFIX

require "bunny"
require "logger"
require "timeout"

BROKERS, PREFIX = ARGV
PATIENCE_SECONDS = 30
ENDPOINTS = BROKERS.split(",").cycle

# Steps go round the brokers.
def connect(**options)
  host, port = ENDPOINTS.next.split(":")
  connection = Bunny.new(host: host, port: port.to_i, logger: Logger.new(IO::NULL), **options)
  connection.start
  connection
end

def same(expected, actual, what)
  raise "#{what}: expected #{expected.inspect}, got #{actual.inspect}" unless expected == actual
end

def named(name)
  "#{PREFIX}-#{name}"
end

def confirming(connection)
  channel = connection.create_channel
  channel.confirm_select
  channel
end

# Bodies of the next messages, acknowledged.
def take(channel, queue, count)
  bodies = Queue.new
  consumer = queue.subscribe(manual_ack: true) do |delivery, _properties, body|
    channel.ack(delivery.delivery_tag)
    bodies << body
  end
  found = Timeout.timeout(PATIENCE_SECONDS) { Array.new(count) { bodies.pop } }
  consumer.cancel
  found
end

def simple(connection)
  channel = confirming(connection)
  queue = channel.queue(named("simple"), durable: true)
  50.times { |number| queue.publish(number.to_s, persistent: true) }
  same(true, channel.wait_for_confirms, "confirms")
  same(50, queue.message_count, "messages")
  same((0...50).map(&:to_s), take(channel, queue, 50), "messages")
  queue.delete
end

def work(connection)
  channel, busy = confirming(connection), connection.create_channel
  queue = channel.queue(named("work"), durable: true)
  busy.prefetch(1)
  held = Queue.new
  busy.queue(queue.name, durable: true).subscribe(manual_ack: true) { |delivery, _, _| held << delivery.delivery_tag }
  10.times { |number| queue.publish(number.to_s) }
  same(9, take(channel, queue, 9).size, "messages of the quick worker")
  same(1, held.size, "messages that the busy worker holds")
  busy.close
  same(1, take(channel, queue, 1).size, "messages that come back")
end

def routing(connection)
  channel = confirming(connection)
  queue = channel.queue(named("routing"), durable: true)
  {
    channel.direct(named("direct"), durable: true) => ["error", %w[info error], %w[error]],
    channel.fanout(named("fanout")) => ["", %w[any], %w[any]],
    channel.topic(named("topic"), durable: true) => ["audit.#", %w[x.a audit audit.a.b], %w[audit audit.a.b]],
  }.each do |exchange, (pattern, keys, expected)|
    queue.bind(exchange, routing_key: pattern)
    keys.each { |key| exchange.publish(key, routing_key: key) }
    same(expected, take(channel, queue, expected.size), exchange.type)
  end
  headers = channel.headers(named("headers"), auto_delete: true)
  queue.bind(headers, arguments: { "x-match" => "all", "format" => "pdf", "pages" => 3 })
  upstream = channel.fanout(named("upstream"), auto_delete: true)
  headers.bind(upstream)
  upstream.publish("no", headers: { "format" => "pdf", "pages" => 4 })
  upstream.publish("yes", headers: { "format" => "pdf", "pages" => 3 })
  same(%w[yes], take(channel, queue, 1), "headers, from exchange to exchange")
end

def returns(connection)
  channel = confirming(connection)
  returned = Queue.new
  default = channel.default_exchange
  default.on_return { |info, _, body| returned << [info.reply_code, info.reply_text, body] }
  default.publish("x", routing_key: named("nowhere"), mandatory: true)
  same([312, "NO_ROUTE", "x"], Timeout.timeout(PATIENCE_SECONDS) { returned.pop }, "return")
  full = channel.queue(named("full"), durable: true, arguments: { "x-max-length" => 1, "x-overflow" => "reject-publish" })
  2.times { full.publish("x") }
  same(false, channel.wait_for_confirms, "confirms")
  same(1, channel.nacked_set.size, "nacks")
end

def redelivery(connection)
  channel = confirming(connection)
  queue = channel.queue(named("redelivery"), durable: true, arguments: { "x-queue-type" => "quorum" })
  queue.publish("again")
  channel.wait_for_confirms
  delivery, properties, = queue.pop(manual_ack: true)
  same([false, nil], [delivery.redelivered?, (properties.headers || {})["x-delivery-count"]], "first delivery")
  channel.reject(delivery.delivery_tag, true)
  delivery, properties, = queue.pop(manual_ack: true)
  same([true, 1], [delivery.redelivered?, properties.headers["x-delivery-count"]], "second delivery")
  channel.nack(delivery.delivery_tag, false, false)
  same([nil, nil, nil], queue.pop, "message")
end

def dead_letters(connection)
  channel = confirming(connection)
  dead = channel.queue(named("dead"), durable: true)
  dying = channel.queue(named("dying"), durable: true, arguments: {
    "x-dead-letter-exchange" => "", "x-dead-letter-routing-key" => dead.name, "x-message-ttl" => 100
  })
  letters = Queue.new
  dead.subscribe { |_, properties, body| letters << [body, properties.headers["x-death"].first] }
  dying.publish("late")
  body, death = Timeout.timeout(PATIENCE_SECONDS) { letters.pop }
  same(["late", "expired", 1, dying.name], [body, death["reason"], death["count"], death["queue"]], "dead letter")
end

def own_queues(connection)
  channel = connection.create_channel
  own = channel.temporary_queue
  same(true, own.name.start_with?("amq.gen-"), "name #{own.name}")
  other = connect
  begin
    other.create_channel.queue_declare(own.name, passive: true)
    raise "a queue of another connection was declared"
  rescue Bunny::ResourceLocked
    other.close
  end
  temporary = channel.queue(named("temporary"), auto_delete: true)
  temporary.subscribe { |*| }.cancel
  same(false, connection.queue_exists?(temporary.name), "the queue outlives its last consumer")
end

def refusals(connection)
  queue = connection.create_channel.queue(named("refusals"), durable: true)
  {
    Bunny::NotFound => ->(channel) { channel.queue_declare(named("missing"), passive: true) },
    Bunny::AccessRefused => ->(channel) { channel.queue_declare("amq.mine") },
    Bunny::PreconditionFailed => ->(channel) { channel.queue_declare(queue.name, durable: false) },
  }.each do |refusal, act|
    channel = connection.create_channel
    begin
      act.call(channel)
      raise "allowed, #{refusal} was due"
    rescue refusal
      same(false, channel.open?, "open")
    end
  end
  same(true, connection.queue_exists?(queue.name), "the connection goes on")
end

def rpc(connection)
  server, client = connection.create_channel, connection.create_channel
  requests = server.queue(named("rpc"), durable: true)
  requests.subscribe do |_, properties, body|
    server.default_exchange.publish((2 * body.to_i).to_s, routing_key: properties.reply_to, correlation_id: properties.correlation_id)
  end
  answers = Queue.new
  client.basic_consume("amq.rabbitmq.reply-to", "", true) { |_, properties, body| answers << [properties.correlation_id, body] }
  (1..5).each do |number|
    client.default_exchange.publish(number.to_s, routing_key: requests.name, reply_to: "amq.rabbitmq.reply-to", correlation_id: number.to_s)
  end
  found = Timeout.timeout(PATIENCE_SECONDS) { Array.new(5) { answers.pop } }
  same((1..5).map { |number| [number.to_s, (2 * number).to_s] }, found, "answers")
end

# The socket breaks: the client recovers connection, channel, queue, binding and consumer.
def recovery(_connection)
  connection = connect(network_recovery_interval: 0.2, heartbeat: 2)
  channel = connection.create_channel
  news = channel.fanout(named("news"), durable: true)
  own = channel.queue("", exclusive: true).bind(news)
  bodies = Queue.new
  own.subscribe { |_, _, body| bodies << body }
  news.publish("before")
  same("before", Timeout.timeout(PATIENCE_SECONDS) { bodies.pop }, "message")
  old = own.name
  connection.transport.socket.shutdown(Socket::SHUT_RDWR)
  Timeout.timeout(PATIENCE_SECONDS) { sleep 0.05 until connection.open? && own.name != old }
  # The binding comes back last.
  Timeout.timeout(PATIENCE_SECONDS) do
    while bodies.empty?
      news.publish("after")
      sleep 0.1
    end
  end
  same("after", bodies.pop, "message")
  connection.close
end

# More than two intervals pass with nothing but heartbeats.
def heartbeats(_connection)
  connection = connect(heartbeat: 1, automatically_recover: false)
  sleep 4
  connection.create_channel.queue("", exclusive: true)
  connection.close
end

def login(_connection)
  connect(pass: "wrong")
  raise "let in with a wrong password"
rescue Bunny::AuthenticationFailureError
  nil
end

%i[simple work routing returns redelivery dead_letters own_queues refusals rpc recovery heartbeats login].each do |step|
  start = Process.clock_gettime(Process::CLOCK_MONOTONIC)
  connection = connect
  send(step, connection)
  connection.close
  puts "ok #{step} #{((Process.clock_gettime(Process::CLOCK_MONOTONIC) - start) * 1000).to_i} ms"
  $stdout.flush
end
