// The small harness of the AMQP clients in JavaScript: named steps, one after another, and waiting with an end.
// Knows no client. Usage of each program: node PROGRAM HOST:PORT,... PREFIX
const [brokers, prefix] = process.argv.slice(2)
const PATIENCE_MS = 30000
const endpoints = brokers.split(',')
let next = 0

// The steps go round the brokers.
const url = (query = '') => `amqp://guest:guest@${endpoints[next++ % endpoints.length]}/${query}`
const urls = () => endpoints.map(() => url())
const named = name => `${prefix}-${name}`

function within(what, promise) {
  let timer
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error(`${what}: it did not happen`)), PATIENCE_MS) })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

// What arrives, in order; `take(n)` waits for the next ones.
class Inbox {
  constructor() {
    this.items = []
    this.wake = () => {}
  }

  put(item) {
    this.items.push(item)
    this.wake()
  }

  async take(count = 1) {
    while (this.items.length < count) {
      await within(`${count} items, ${this.items.length} came`, new Promise(resolve => { this.wake = resolve }))
    }
    return this.items.splice(0, count)
  }
}

async function run(steps) {
  for (const [name, step] of Object.entries(steps)) {
    const start = Date.now()
    try {
      await within(name, step())
    } catch (failure) {
      console.log(`FAILED: ${name}:`, failure)
      process.exit(1)
    }
    console.log(`ok ${name} ${Date.now() - start} ms`)
  }
  process.exit(0)
}

module.exports = { Inbox, named, run, url, urls, within }
