// amqplib, by callbacks: the oldest of its interfaces, as RabbitMQ's tutorials use it; and its recovery.
// Usage: node amqplib_callbacks.js HOST:PORT,... PREFIX

const amqplib = require('amqplib/callback_api')
const assert = require('node:assert')
const { promisify } = require('node:util')
const { Inbox, named, run, url } = require('./scenario')

const connect = promisify(amqplib.connect.bind(amqplib))

// An object whose methods end in a promise: `ask(channel, 'assertQueue', ...)`.
const ask = (target, method, ...rest) => new Promise((resolve, reject) =>
  target[method](...rest, (error, answer) => error ? reject(error) : resolve(answer)))

async function tasks() {
  const connection = await connect(url())
  const channel = await ask(connection, 'createConfirmChannel')
  const { queue } = await ask(channel, 'assertQueue', named('callback-tasks'), { durable: true })
  channel.prefetch(1)
  const inbox = new Inbox()
  const { consumerTag } = await ask(channel, 'consume', queue, message => {
    inbox.put(message.content.toString())
    channel.ack(message)
  }, {})
  for (let number = 0; number < 20; number++) channel.sendToQueue(queue, Buffer.from(`${number}`), { persistent: true })
  await ask(channel, 'waitForConfirms')
  assert.deepStrictEqual(await inbox.take(20), [...Array(20).keys()].map(String))
  await ask(channel, 'cancel', consumerTag)
  assert.strictEqual(await ask(channel, 'get', queue, {}), false)
  await ask(channel, 'close')
  await ask(connection, 'close')
}

async function logs() {
  const connection = await connect(url())
  const channel = await ask(connection, 'createChannel')
  const exchange = named('callback-logs')
  await ask(channel, 'assertExchange', exchange, 'topic', { durable: false })
  const { queue } = await ask(channel, 'assertQueue', '', { exclusive: true })
  await ask(channel, 'bindQueue', queue, exchange, '*.critical', {})
  const inbox = new Inbox()
  await ask(channel, 'consume', queue, message => inbox.put(message.fields.routingKey), { noAck: true })
  for (const key of ['kern.info', 'kern.critical', 'a.b.critical']) channel.publish(exchange, key, Buffer.from(key))
  channel.publish(exchange, 'end.critical', Buffer.from(''))
  assert.deepStrictEqual(await inbox.take(2), ['kern.critical', 'end.critical'])
  await ask(connection, 'close')
}

async function refusals() {
  const connection = await connect(url())
  const channel = await ask(connection, 'createChannel')
  const errors = new Inbox()
  channel.on('error', error => errors.put(error.code))
  await assert.rejects(ask(channel, 'checkQueue', named('missing')), { code: 404 })
  assert.deepStrictEqual(await errors.take(), [404])
  const again = await ask(connection, 'createChannel')
  await ask(again, 'assertQueue', '', { exclusive: true })
  await ask(connection, 'close')
}

// The socket breaks; the client connects again and runs its set-up anew.
async function recovery() {
  const inbox = new Inbox()
  const channels = new Inbox()
  const connection = await require('amqplib').connect(url(), { recovery: {
    initialDelay: 50,
    setup: async model => {
      const channel = await model.createConfirmChannel()
      const { queue } = await channel.assertQueue(named('recovery'), { exclusive: true })
      await channel.consume(queue, message => inbox.put(message.content.toString()), { noAck: true })
      channels.put(channel)
    },
  } })
  connection.on('error', () => {})
  const [before] = await channels.take()
  before.on('error', () => {})
  before.sendToQueue(named('recovery'), Buffer.from('before'))
  assert.deepStrictEqual(await inbox.take(), ['before'])
  before.connection.stream.destroy(new Error('broken'))
  const [after] = await channels.take()
  after.sendToQueue(named('recovery'), Buffer.from('after'))
  assert.deepStrictEqual(await inbox.take(), ['after'])
  await connection.close()
}

run({ tasks, logs, refusals, recovery })
