// kafkajs: a client of its own in JavaScript. Its consumer always joins a group, so records are written here, and what
// the broker knows of them is asked for; reading is for when groups are served.
// Usage: node kafkajs_client.js BOOTSTRAP PREFIX

const { CompressionTypes, Kafka, logLevel } = require('kafkajs')
const assert = require('node:assert')

const [bootstrap, prefix] = process.argv.slice(2)
const kafka = new Kafka({ clientId: 'scenario', brokers: bootstrap.split(','), logLevel: logLevel.ERROR, retry: { retries: 8 } })
const RECORDS = 30
const BASE_TIME_MS = 1700000000000
// Codecs that kafkajs leaves to others are left out; Node has gzip.
const COMPRESSIONS = { none: CompressionTypes.None, gzip: CompressionTypes.GZIP }

const record = number => ({
  key: number % 3 === 0 ? null : `key ${number}`,
  value: number % 7 === 5 ? null : `value ${number} `.repeat(20),
  timestamp: String(BASE_TIME_MS + number),
  headers: { number: String(number), empty: '' },
  partition: 0,
})

async function steps(admin) {
  for (const [name, compression] of Object.entries(COMPRESSIONS)) {
    const topic = `${prefix}-${name}`
    // The records are old: retention by time would delete them.
    const configEntries = [{ name: 'retention.ms', value: '-1' }]
    await admin.createTopics({ topics: [{ topic, numPartitions: 1, replicationFactor: -1, configEntries }], waitForLeaders: true })
    for (const acks of [0, 1, -1]) {
      const producer = kafka.producer({ idempotent: false })
      await producer.connect()
      const sent = await producer.send({ topic, acks, compression, messages: [...Array(RECORDS).keys()].map(record) })
      if (acks !== 0) assert.strictEqual(sent[0].errorCode, 0)
      await producer.disconnect()
    }
    const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 })
    await producer.connect()
    await producer.send({ topic, compression, messages: [...Array(RECORDS).keys()].map(record) })
    await producer.disconnect()
    const [offsets] = await admin.fetchTopicOffsets(topic)
    assert.deepStrictEqual([offsets.low, offsets.high], ['0', String(4 * RECORDS)])
    const [found] = await admin.fetchTopicOffsetsByTimestamp(topic, BASE_TIME_MS + 17)
    assert.strictEqual(found.offset, '17')
    console.log(`ok compression-${name}`)
  }

  const topic = `${prefix}-admin`
  assert.strictEqual(await admin.createTopics({ topics: [{ topic, numPartitions: 1, replicationFactor: -1, configEntries: [{ name: 'retention.ms', value: '86400000' }] }], waitForLeaders: true }), true)
  assert.strictEqual(await admin.createTopics({ topics: [{ topic }] }), false)
  assert((await admin.listTopics()).includes(topic))
  await admin.createPartitions({ topicPartitions: [{ topic, count: 3 }] })
  const { resources } = await admin.describeConfigs({ includeSynonyms: true, resources: [{ type: 2, name: topic, configNames: ['retention.ms'] }] })
  assert.strictEqual(resources[0].configEntries.find(entry => entry.configName === 'retention.ms').configValue, '86400000')
  const cluster = await admin.describeCluster()
  assert.strictEqual(cluster.brokers.length, bootstrap.split(',').length)
  await admin.deleteTopics({ topics: [topic] })
  console.log('ok administration')
}

(async () => {
  const admin = kafka.admin()
  await admin.connect()
  try {
    await steps(admin)
  } finally {
    await admin.disconnect()
  }
})().catch(failure => {
  console.log('FAILED:', failure)
  process.exitCode = 1
})
