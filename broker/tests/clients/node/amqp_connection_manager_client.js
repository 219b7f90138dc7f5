// amqp-connection-manager: amqplib that connects again, to the next broker, and keeps what is published meanwhile.
// Usage: node amqp_connection_manager_client.js HOST:PORT,... PREFIX

const manager = require('amqp-connection-manager')
const assert = require('node:assert')
const { Inbox, named, run, urls, within } = require('./scenario')

const connect = () => manager.connect(urls(), { heartbeatIntervalInSeconds: 2, reconnectTimeInSeconds: 0.1 })

async function jobs() {
  const connection = connect()
  const inbox = new Inbox()
  const wrapper = connection.createChannel({
    json: true,
    setup: async channel => {
      await channel.assertQueue(named('jobs'), { durable: true })
      await channel.prefetch(1)
      await channel.consume(named('jobs'), message => {
        inbox.put(JSON.parse(message.content).number)
        channel.ack(message)
      })
    },
  })
  // Published before there is a connection.
  const sent = [0, 1, 2].map(number => wrapper.sendToQueue(named('jobs'), { number }, { persistent: true }))
  assert.deepStrictEqual(await Promise.all(sent), [true, true, true])
  assert.deepStrictEqual(await inbox.take(3), [0, 1, 2])
  await connection.close()
}

// The socket breaks twice, so that each broker's turn comes; exclusive queues are another one's then.
async function recovery() {
  const connection = connect()
  const inbox = new Inbox()
  const wrapper = connection.createChannel({
    setup: async channel => {
      await channel.assertExchange(named('news'), 'fanout', { durable: true })
      const { queue } = await channel.assertQueue('', { exclusive: true, autoDelete: true })
      await channel.bindQueue(queue, named('news'), '')
      await channel.consume(queue, message => inbox.put(message.content.toString()), { noAck: true })
    },
  })
  for (const text of ['one', 'two', 'three']) {
    await wrapper.waitForConnect()
    await wrapper.publish(named('news'), '', Buffer.from(text))
    assert.deepStrictEqual(await inbox.take(), [text])
    const away = new Promise(resolve => wrapper.once('connect', resolve))
    connection.connection.connection.stream.destroy(new Error('broken'))
    await within('a new connection', away)
  }
  await connection.close()
}

async function refusals() {
  const connection = connect()
  const wrapper = connection.createChannel()
  await wrapper.waitForConnect()
  await assert.rejects(wrapper.checkQueue(named('missing')), { code: 404 })
  await connection.close()
}

run({ jobs, recovery, refusals })
