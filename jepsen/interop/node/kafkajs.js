// The program of kafkajs for jepsen/interop: BROKERS ID [member GROUP TOPIC].
'use strict'

const readline = require('readline')
const { Kafka, CompressionTypes, CompressionCodecs, ConfigResourceTypes, Partitioners, logLevel } = require('kafkajs')
const version = require('kafkajs/package.json').version

// kafkajs has gzip; the others are given to it, as its documentation says.
CompressionCodecs[CompressionTypes.Snappy] = require('kafkajs-snappy')
CompressionCodecs[CompressionTypes.LZ4] = () => {
  const lz4 = require('lz4-napi')
  return { compress: (encoder) => lz4.compressFrame(encoder.buffer), decompress: (buffer) => lz4.decompressFrame(buffer) }
}
CompressionCodecs[CompressionTypes.ZSTD] = () => {
  const zstd = require('@mongodb-js/zstd')
  return { compress: (encoder) => zstd.compress(encoder.buffer), decompress: (buffer) => zstd.decompress(buffer) }
}
const codecs = {
  none: CompressionTypes.None, gzip: CompressionTypes.GZIP, snappy: CompressionTypes.Snappy, lz4: CompressionTypes.LZ4, zstd: CompressionTypes.ZSTD,
}

const patience = 50000
const [brokers, clientId, mode, group, topic] = process.argv.slice(2)
const kafka = new Kafka({ clientId, brokers: brokers.split(','), logLevel: logLevel.NOTHING, retry: { retries: 5 } })

const say = (message) => process.stdout.write(JSON.stringify(message) + '\n')
const toBytes = (text) => (text === null ? null : Buffer.from(text, 'base64'))
const toText = (bytes) => (bytes === null || bytes === undefined ? null : Buffer.from(bytes).toString('base64'))

// Headers are an object in kafkajs; several of one name are an array.
function headersOf (list) {
  const headers = {}
  for (const { n, v } of list || []) {
    const value = toBytes(v)
    if (n in headers) headers[n] = [].concat(headers[n], [value])
    else headers[n] = value
  }
  return headers
}

function headerList (headers) {
  const list = []
  for (const [n, v] of Object.entries(headers || {})) {
    for (const value of Array.isArray(v) ? v : [v]) list.push({ n, v: toText(value) })
  }
  return list
}

async function using (client, f) {
  await client.connect()
  try {
    return await f(client)
  } finally {
    await client.disconnect()
  }
}

const withAdmin = (f) => using(kafka.admin(), f)

const answers = {
  hello: async () => ({ version, language: 'Node.js ' + process.versions.node }),
  create_topic: (r) => withAdmin(async (admin) => {
    const configEntries = Object.entries(r.configs).map(([name, value]) => ({ name, value }))
    const made = await admin.createTopics({ waitForLeaders: true, topics: [{ topic: r.topic, numPartitions: r.partitions, replicationFactor: 1, configEntries }] })
    if (!made) throw new Error('the topic exists already: createTopics said false')
    return {}
  }),
  list_topics: () => withAdmin(async (admin) => ({ topics: await admin.listTopics() })),
  describe_topic: (r) => withAdmin(async (admin) => {
    const found = await admin.fetchTopicMetadata({ topics: [r.topic] })
    return { partitions: found.topics[0].partitions.length }
  }),
  delete_topic: (r) => withAdmin(async (admin) => { await admin.deleteTopics({ topics: [r.topic] }); return {} }),
  create_partitions: (r) => withAdmin(async (admin) => {
    await admin.createPartitions({ topicPartitions: [{ topic: r.topic, count: r.count }] })
    return {}
  }),
  describe_cluster: () => withAdmin(async (admin) => {
    const found = await admin.describeCluster()
    return { brokers: found.brokers.length, controller: found.controller }
  }),
  describe_configs: (r) => withAdmin(async (admin) => {
    const found = await admin.describeConfigs({ includeSynonyms: false, resources: [{ type: ConfigResourceTypes.TOPIC, name: r.topic }] })
    return { configs: Object.fromEntries(found.resources[0].configEntries.map((c) => [c.configName, c.configValue])) }
  }),
  alter_configs: (r) => withAdmin(async (admin) => {
    const configEntries = Object.entries(r.configs).map(([name, value]) => ({ name, value }))
    await admin.alterConfigs({ resources: [{ type: ConfigResourceTypes.TOPIC, name: r.topic, configEntries }] })
    return {}
  }),
  delete_records: (r) => withAdmin(async (admin) => {
    await admin.fetchTopicOffsets(r.topic) // deleteTopicRecords fails with "metadata not loaded" otherwise
    await admin.deleteTopicRecords({ topic: r.topic, partitions: [{ partition: r.partition, offset: String(r.offset) }] })
    return {}
  }),
  committed: (r) => withAdmin(async (admin) => {
    const found = await admin.fetchOffsets({ groupId: r.group, topics: [r.topic] })
    const at = Object.fromEntries(found[0].partitions.map((p) => [p.partition, Number(p.offset)]))
    return { offsets: r.partitions.map((p) => at[p]) }
  }),
  list_groups: () => withAdmin(async (admin) => ({ groups: (await admin.listGroups()).groups.map((g) => g.groupId) })),
  describe_group: (r) => withAdmin(async (admin) => {
    const found = (await admin.describeGroups([r.group])).groups[0]
    return { state: found.state, members: found.members.length }
  }),
  delete_group: (r) => withAdmin(async (admin) => { await admin.deleteGroups([r.group]); return {} }),
  offsets: (r) => withAdmin(async (admin) => {
    const ends = (await admin.fetchTopicOffsets(r.topic)).find((p) => p.partition === r.partition)
    const at = []
    for (const ms of r.times || []) {
      const found = await admin.fetchTopicOffsetsByTimestamp(r.topic, ms)
      at.push(Number(found.find((p) => p.partition === r.partition).offset))
    }
    return { begin: Number(ends.low), end: Number(ends.high), at }
  }),
  produce: (r) => {
    const producer = kafka.producer({ idempotent: r.idempotent, createPartitioner: Partitioners.DefaultPartitioner })
    return using(producer, async () => {
      const messages = r.records.map((rec) => ({
        key: toBytes(rec.k), value: toBytes(rec.v), headers: headersOf(rec.h), timestamp: String(rec.t), ...(rec.p < 0 ? {} : { partition: rec.p }),
      }))
      // In stretches, because kafkajs makes one batch of what one call sends, and a batch has a limit.
      for (let from = 0; from < messages.length;) {
        let to = from
        for (let size = 0; to < messages.length && (to === from || (size < 500000 && to - from < 400)); to++) size += (messages[to].value || '').length
        await producer.send({ topic: r.topic, acks: -1, compression: codecs[r.codec], messages: messages.slice(from, to) })
        from = to
      }
      return {}
    })
  },
  // kafkajs reads in groups only: a group of its own, from the place asked for.
  consume: async (r) => {
    const consumer = kafka.consumer({
      groupId: `${clientId}-reads-${r.topic}-${Date.now()}`, maxBytesPerPartition: r.max_bytes, maxWaitTimeInMs: 200, sessionTimeout: 10000,
    })
    let offset = r.from.offset
    if (r.from.time !== undefined) {
      offset = await withAdmin(async (admin) => Number((await admin.fetchTopicOffsetsByTimestamp(r.topic, r.from.time)).find((p) => p.partition === r.partition).offset))
    }
    return using(consumer, async () => {
      const records = []
      await consumer.subscribe({ topics: [r.topic], fromBeginning: true })
      await new Promise((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error(`only ${records.length} records arrived`)), patience)
        consumer.on(consumer.events.CRASH, (e) => reject(e.payload.error))
        consumer.run({
          autoCommit: false,
          eachMessage: async ({ partition, message: m }) => {
            if (partition !== r.partition || records.length >= r.count || (offset !== undefined && Number(m.offset) < offset)) return
            records.push({ p: partition, o: Number(m.offset), k: toText(m.key), v: toText(m.value), h: headerList(m.headers), t: Number(m.timestamp) })
            if (records.length >= r.count) {
              clearTimeout(timer)
              resolve()
            }
          },
        }).catch(reject)
        if (offset !== undefined) consumer.seek({ topic: r.topic, partition: r.partition, offset: String(offset) })
      })
      return { records }
    })
  },
}

async function member () {
  const consumer = kafka.consumer({ groupId: group, sessionTimeout: 6000, heartbeatInterval: 500, rebalanceTimeout: 10000, maxWaitTimeInMs: 200 })
  await consumer.connect()
  await consumer.subscribe({ topics: [topic], fromBeginning: true })
  process.stdin.resume()
  process.stdin.on('end', () => consumer.disconnect().then(() => process.exit(0)))
  await consumer.run({
    autoCommit: false,
    eachBatchAutoResolve: false,
    eachBatch: async ({ batch, resolveOffset, heartbeat, isRunning, isStale }) => {
      for (const m of batch.messages) {
        if (!isRunning() || isStale()) break
        say({ event: 'record', p: batch.partition, o: Number(m.offset), v: m.value.toString() })
        resolveOffset(m.offset)
      }
      const next = Number(batch.lastOffset()) + 1
      if (isRunning() && !isStale()) {
        await consumer.commitOffsets([{ topic, partition: batch.partition, offset: String(next) }])
        say({ event: 'committed', p: batch.partition, o: next })
      }
      await heartbeat()
    },
  })
}

async function serve () {
  for await (const line of readline.createInterface({ input: process.stdin, crlfDelay: Infinity })) {
    const request = JSON.parse(line)
    try {
      say({ ok: await answers[request.op](request) })
    } catch (e) {
      say({ error: `${e.name}: ${e.message}` })
    }
  }
  process.exit(0)
}

(mode === 'member' ? member() : serve()).catch((e) => {
  process.stderr.write(`${e.stack}\n`)
  process.exit(1)
})
