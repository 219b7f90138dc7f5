// amqplib, by promises: RabbitMQ's client in JavaScript.
// Usage: node amqplib_client.js HOST:PORT,... PREFIX

const amqplib = require('amqplib')
const assert = require('node:assert')
const { once } = require('node:events')
const { Inbox, named, run, url, within } = require('./scenario')

// Runs the step with a connection of its own, whose error events are what calls reject with, too.
const connected = (step, query) => async () => {
  const connection = await amqplib.connect(url(query))
  connection.on('error', () => {})
  await step(connection)
  await connection.close()
}

async function open(connection) {
  const channel = await connection.createConfirmChannel()
  channel.on('error', () => {})
  return channel
}

async function consume(channel, queue, options = {}) {
  const inbox = new Inbox()
  inbox.tag = (await channel.consume(queue, message => {
    if (!options.noAck) channel.ack(message)
    inbox.put(message.content.toString())
  }, options)).consumerTag
  return inbox
}

async function simple(connection) {
  const channel = await open(connection)
  const { queue } = await channel.assertQueue(named('simple'))
  for (let number = 0; number < 100; number++) channel.sendToQueue(queue, Buffer.from(`${number}`), { persistent: true })
  await channel.waitForConfirms()
  assert.strictEqual((await channel.checkQueue(queue)).messageCount, 100)
  const inbox = await consume(channel, queue)
  assert.deepStrictEqual(await inbox.take(100), [...Array(100).keys()].map(String))
  await channel.cancel(inbox.tag)
  const large = Buffer.alloc(1000000, 'x')
  await new Promise((resolve, reject) => channel.sendToQueue(queue, large, {}, error => error ? reject(error) : resolve()))
  assert(large.equals((await channel.get(queue, { noAck: true })).content))
  assert.strictEqual((await channel.deleteQueue(queue)).messageCount, 0)
}

async function work(connection) {
  const [channel, busy, quick] = [await open(connection), await open(connection), await open(connection)]
  const { queue } = await channel.assertQueue(named('work'))
  const held = new Inbox()
  await busy.prefetch(1)
  await busy.consume(queue, message => held.put(message))
  await quick.prefetch(3)
  const inbox = await consume(quick, queue)
  for (let number = 0; number < 10; number++) channel.sendToQueue(queue, Buffer.from(`${number}`))
  await inbox.take(9)
  assert.strictEqual(held.items.length, 1)
  const [message] = await held.take()
  busy.nack(message)
  assert.deepStrictEqual(await inbox.take(), [message.content.toString()])
}

async function routing(connection) {
  const channel = await open(connection)
  const { queue } = await channel.assertQueue(named('routing'))
  const inbox = await consume(channel, queue)
  for (const [type, pattern, keys, expected] of [
    ['direct', 'error', ['info', 'error'], ['error']],
    ['fanout', '', ['any'], ['any']],
    ['topic', 'audit.#', ['x.a', 'audit', 'audit.a.b'], ['audit', 'audit.a.b']],
  ]) {
    const { exchange } = await channel.assertExchange(named(type), type)
    await channel.bindQueue(queue, exchange, pattern)
    for (const key of keys) channel.publish(exchange, key, Buffer.from(key))
    assert.deepStrictEqual(await inbox.take(expected.length), expected)
  }
  const { exchange } = await channel.assertExchange(named('headers'), 'headers', { durable: false })
  await channel.bindQueue(queue, exchange, '', { 'x-match': 'any', format: 'pdf', pages: 3 })
  channel.publish(exchange, '', Buffer.from('no'), { headers: { format: 'txt', pages: 4 } })
  channel.publish(exchange, '', Buffer.from('yes'), { headers: { format: 'txt', pages: 3 } })
  assert.deepStrictEqual(await inbox.take(), ['yes'])
  const upstream = named('upstream')
  await channel.assertExchange(upstream, 'fanout', { autoDelete: true, alternateExchange: 'amq.fanout' })
  await channel.bindExchange(exchange, upstream)
  channel.publish(upstream, '', Buffer.from('through'), { headers: { format: 'pdf' } })
  assert.deepStrictEqual(await inbox.take(), ['through'])
  await channel.unbindExchange(exchange, upstream)
  await channel.deleteExchange(exchange)
  assert.deepStrictEqual(inbox.items, [])
}

async function returns(connection) {
  const channel = await open(connection)
  const returned = once(channel, 'return')
  channel.publish('', named('nowhere'), Buffer.from('x'), { mandatory: true })
  const [message] = await returned
  assert.deepStrictEqual([message.fields.replyCode, message.fields.replyText], [312, 'NO_ROUTE'])
  await channel.waitForConfirms()
  const { queue } = await channel.assertQueue(named('full'), { maxLength: 1, arguments: { 'x-overflow': 'reject-publish' } })
  channel.sendToQueue(queue, Buffer.from('1'))
  await channel.waitForConfirms()
  channel.sendToQueue(queue, Buffer.from('2'))
  await assert.rejects(channel.waitForConfirms(), /message nacked/)
}

async function redelivery(connection) {
  const channel = await open(connection)
  const { queue } = await channel.assertQueue(named('redelivery'), { arguments: { 'x-queue-type': 'quorum' } })
  channel.sendToQueue(queue, Buffer.from('again'))
  await channel.waitForConfirms()
  const first = await channel.get(queue)
  assert.deepStrictEqual([first.fields.redelivered, first.fields.messageCount], [false, 0])
  channel.reject(first)
  const second = await channel.get(queue)
  assert.deepStrictEqual([second.fields.redelivered, second.properties.headers['x-delivery-count']], [true, 1])
  channel.nack(second)
  channel.reject(await channel.get(queue), false)
  assert.strictEqual(await channel.get(queue), false)
}

async function deadLetters(connection) {
  const channel = await open(connection)
  const { queue: dead } = await channel.assertQueue(named('dead'))
  const { queue: dying } = await channel.assertQueue(named('dying'), {
    deadLetterExchange: '', deadLetterRoutingKey: dead, messageTtl: 60000, expires: 600000,
  })
  const letters = new Inbox()
  await channel.consume(dead, message => letters.put(message), { noAck: true })
  channel.sendToQueue(dying, Buffer.from('rejected'))
  await channel.waitForConfirms()
  channel.nack(await channel.get(dying), false, false)
  channel.sendToQueue(dying, Buffer.from('expired'), { expiration: '100' })
  for (const reason of ['rejected', 'expired']) {
    const [letter] = await letters.take()
    const [death] = letter.properties.headers['x-death']
    assert.deepStrictEqual([letter.content.toString(), death.reason, death.count, death.queue, death['routing-keys']],
      [reason, reason, 1, dying, [dying]])
    assert.strictEqual(letter.properties.headers['x-first-death-reason'], reason)
  }
}

async function priorities(connection) {
  const channel = await open(connection)
  const { queue } = await channel.assertQueue(named('priorities'), { maxPriority: 10 })
  for (const priority of [1, 9, 5]) channel.sendToQueue(queue, Buffer.from(`${priority}`), { priority })
  await channel.waitForConfirms()
  const inbox = await consume(channel, queue, { noAck: true })
  assert.deepStrictEqual(await inbox.take(3), ['9', '5', '1'])
}

// A queue that is deleted cancels its consumers (consumer_cancel_notify).
async function ownQueues(connection) {
  const channel = await open(connection)
  const { queue: own } = await channel.assertQueue('', { exclusive: true })
  assert.match(own, /^amq\.gen-/)
  const cancelled = new Inbox()
  await channel.consume(own, message => cancelled.put(message), { exclusive: true })
  const other = await open(connection)
  await assert.rejects(other.consume(own, () => {}), { code: 403 })
  await channel.deleteQueue(own)
  assert.deepStrictEqual(await cancelled.take(), [null])
  const { queue: temporary } = await channel.assertQueue(named('temporary'), { autoDelete: true, durable: false })
  await channel.cancel((await consume(channel, temporary)).tag)
  await assert.rejects(channel.checkQueue(temporary), { code: 404 })
}

async function refusals(connection) {
  const { queue } = await (await open(connection)).assertQueue(named('refusals'))
  for (const [code, act] of [
    [404, channel => channel.checkQueue(named('missing'))],
    [404, channel => channel.checkExchange(named('missing'))],
    [403, channel => channel.deleteExchange('amq.direct')],
    [406, channel => channel.assertQueue(queue, { durable: false })],
    [406, channel => channel.assertExchange('amq.topic', 'fanout')],
  ]) {
    const channel = await open(connection)
    const closed = new Promise(resolve => channel.once('close', resolve))
    await assert.rejects(act(channel), { code })
    await within('the end of the channel', closed)
  }
  // The connection goes on.
  await (await open(connection)).checkQueue(queue)
}

async function rpc(connection) {
  const [server, client] = [await open(connection), await open(connection)]
  const { queue } = await server.assertQueue(named('rpc'))
  await server.consume(queue, request => {
    const { replyTo, correlationId } = request.properties
    server.sendToQueue(replyTo, Buffer.from(`${2 * Number(request.content)}`), { correlationId })
    server.ack(request)
  })
  const answers = new Inbox()
  await client.consume('amq.rabbitmq.reply-to', answer => answers.put(`${answer.properties.correlationId}: ${answer.content}`), { noAck: true })
  for (let number = 1; number <= 5; number++) {
    client.sendToQueue(queue, Buffer.from(`${number}`), { correlationId: `${number}`, replyTo: 'amq.rabbitmq.reply-to' })
  }
  assert.deepStrictEqual((await answers.take(5)).sort(), ['1: 2', '2: 4', '3: 6', '4: 8', '5: 10'])
}

// More than two intervals pass with nothing but heartbeats.
async function heartbeats(connection) {
  let isClosed = false
  connection.on('close', () => { isClosed = true })
  await new Promise(resolve => setTimeout(resolve, 4000))
  assert.strictEqual(isClosed, false)
  await (await open(connection)).assertQueue('', { exclusive: true })
}

async function login() {
  const wrong = url().replace('guest:guest', 'guest:wrong')
  await assert.rejects(amqplib.connect(wrong), /ACCESS_REFUSED/)
}

run({
  simple: connected(simple),
  work: connected(work),
  routing: connected(routing),
  returns: connected(returns),
  redelivery: connected(redelivery),
  'dead-letters': connected(deadLetters),
  priorities: connected(priorities),
  'own-queues': connected(ownQueues),
  refusals: connected(refusals),
  rpc: connected(rpc),
  heartbeats: connected(heartbeats, '?heartbeat=1'),
  login,
})
