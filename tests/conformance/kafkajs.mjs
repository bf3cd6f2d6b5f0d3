// kafkajs against a broker: see checks.mjs for what is printed.

import zlib from 'node:zlib'
import kafkajs from 'kafkajs'
import snappy from 'snappy'
import lz4 from 'lz4-napi'

import { CODECS, argument, expect, expectEqual, rejects, run, sample, unique, waitFor } from './checks.mjs'

const { CompressionCodecs, CompressionTypes, ConfigResourceTypes, Kafka, logLevel } = kafkajs

// kafkajs brings gzip only; the others are plugged in, snappy in the framing that Java writes.
const XERIAL = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0, 0, 0, 0, 1, 0, 0, 0, 1])
CompressionCodecs[CompressionTypes.Snappy] = () => ({
  async compress (encoder) {
    const block = snappy.compressSync(encoder.buffer)
    const length = Buffer.alloc(4)
    length.writeUInt32BE(block.length)
    return Buffer.concat([XERIAL, length, block])
  },
  async decompress (buffer) {
    if (!buffer.subarray(0, 8).equals(XERIAL.subarray(0, 8))) return snappy.uncompressSync(buffer)
    const blocks = []
    for (let at = XERIAL.length; at < buffer.length;) {
      const length = buffer.readUInt32BE(at)
      blocks.push(snappy.uncompressSync(buffer.subarray(at + 4, at + 4 + length)))
      at += 4 + length
    }
    return Buffer.concat(blocks)
  }
})
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: async encoder => lz4.compressFrameSync(encoder.buffer),
  decompress: async buffer => lz4.decompressFrameSync(buffer)
})
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async encoder => zlib.zstdCompressSync(encoder.buffer),
  decompress: async buffer => zlib.zstdDecompressSync(buffer)
})
const COMPRESSION = {
  none: CompressionTypes.None,
  gzip: CompressionTypes.GZIP,
  snappy: CompressionTypes.Snappy,
  lz4: CompressionTypes.LZ4,
  zstd: CompressionTypes.ZSTD
}

const BOOTSTRAP = argument('bootstrap')
const kafka = new Kafka({
  clientId: 'conformance',
  brokers: [BOOTSTRAP],
  logLevel: logLevel.NOTHING,
  retry: { initialRetryTime: 50, maxRetryTime: 500, retries: 8 }
})
const admin = kafka.admin()
const SECONDS = 15_000

async function create (name, numPartitions = 1, config = {}) {
  const configEntries = Object.entries(config).map(([key, value]) => ({ name: key, value }))
  const topics = [{ topic: name, numPartitions, replicationFactor: 1, configEntries }]
  await admin.createTopics({ topics, waitForLeaders: true })
  return name
}

async function send (topic, messages, options = {}, producerOptions = {}) {
  const producer = kafka.producer(producerOptions)
  await producer.connect()
  try {
    return await producer.send({ topic, messages, ...options })
  } finally {
    await producer.disconnect()
  }
}

/** A consumer that collects; `seek` moves partition 0 after the join. */
async function consume (topic, groupId, { seek, handle } = {}) {
  const consumer = kafka.consumer({
    groupId, sessionTimeout: 6000, heartbeatInterval: 200, maxWaitTimeInMs: 200
  })
  const records = []
  const assignment = new Set()
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
    assignment.clear()
    for (const partition of payload.memberAssignment[topic] ?? []) assignment.add(partition)
  })
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  await consumer.run({
    autoCommit: false,
    eachMessage: async ({ partition, message }) => {
      records.push({ partition, ...message })
      if (handle) await handle(consumer, partition, message)
    }
  })
  if (seek !== undefined) consumer.seek({ topic, partition: 0, offset: String(seek) })
  return { consumer, records, assignment }
}

async function read (topic, count, options) {
  const { consumer, records } = await consume(topic, unique('reader'), options)
  try {
    await waitFor(() => records.length >= count, SECONDS, `${count} records`)
    return records
  } finally {
    await consumer.disconnect()
  }
}

const numbers = (from, to) => Array.from({ length: to - from }, (_, n) => String(from + n))

async function createTopics () {
  const names = [unique('kafkajs'), unique('kafkajs')]
  const topics = names.map(topic => ({ topic, numPartitions: 3, replicationFactor: 1 }))
  expectEqual(await admin.createTopics({ topics, waitForLeaders: true }), true, 'created')
  expectEqual(await admin.createTopics({ topics }), false, 'created again')
  const listed = await admin.listTopics()
  expect(names.every(name => listed.includes(name)), 'both are listed')
  const metadata = await admin.fetchTopicMetadata({ topics: names })
  expectEqual(metadata.topics.map(topic => topic.partitions.length), [3, 3], 'partitions')
}

async function createWithErrors () {
  const topics = wrong => [{ topic: unique('wrong'), numPartitions: 1, replicationFactor: 1, ...wrong }]
  for (const [wrong, pattern] of [
    [{ numPartitions: 0 }, /INVALID_PARTITIONS/],
    [{ replicationFactor: 3 }, /INVALID_REPLICATION_FACTOR/],
    [{ configEntries: [{ name: 'no.such.key', value: '1' }] }, /INVALID_CONFIG/],
    [{ topic: 'not a name' }, /INVALID_TOPIC_EXCEPTION/]
  ]) {
    await rejects(() => admin.createTopics({ topics: topics(wrong) }), pattern, String(pattern))
  }
}

function codec (name) {
  return async () => {
    const topic = await create(unique(`codec-${name}`))
    const records = sample(name)
    const messages = records.map(({ key, value, headers }) =>
      ({ key, value, headers: Object.fromEntries(headers) }))
    await send(topic, messages, { compression: COMPRESSION[name] })
    const got = (await read(topic, records.length)).map(({ key, value, headers }) =>
      ({ key, value, headers: Object.entries(headers) }))
    expectEqual(got, records, 'records')
  }
}

async function idempotent () {
  const topic = await create(unique('idempotent'))
  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 })
  await producer.connect()
  for (let batch = 0; batch < 10; batch++) {
    const values = numbers(batch * 20, batch * 20 + 20)
    const [report] = await producer.send({ topic, messages: values.map(value => ({ value })) })
    expectEqual(report.baseOffset, String(batch * 20), 'base offset')
  }
  await producer.disconnect()
  const got = (await read(topic, 200)).map(record => record.value)
  expectEqual(got, numbers(0, 200), 'values')
}

async function acksZeroAndOne () {
  const topic = await create(unique('acks'))
  await send(topic, [{ value: 'one' }], { acks: 1 })
  await send(topic, [{ value: 'zero' }], { acks: 0 })
  expectEqual((await read(topic, 2)).map(record => record.value), ['one', 'zero'], 'values')
}

async function byTime () {
  const topic = await create(unique('time'))
  const start = Date.now() - 100_000
  const messages = numbers(0, 100).map((value, n) => ({ value, timestamp: String(start + n * 1000) }))
  await send(topic, messages)
  for (const [at, wanted] of [[start - 5, '0'], [start + 41_500, '42'], [start + 99_000, '99']]) {
    const [found] = await admin.fetchTopicOffsetsByTimestamp(topic, at)
    expectEqual(found.offset, wanted, `offset at ${at - start}`)
  }
  const [ends] = await admin.fetchTopicOffsets(topic)
  expectEqual([ends.low, ends.high], ['0', '100'], 'ends')
  const { consumer, records } = await consume(topic, unique('time'), { seek: 42 })
  await waitFor(() => records.some(record => record.offset === '99'), SECONDS, 'the last record')
  await consumer.disconnect()
  expectEqual(records.at(-58).value, '42', 'record at the offset')
}

async function groupOfTwo () {
  const topic = await create(unique('group'), 4)
  const group = unique('group')
  const first = await consume(topic, group)
  await waitFor(() => first.assignment.size === 4, SECONDS, 'one member')
  const second = await consume(topic, group)
  await waitFor(() => first.assignment.size === 2 && second.assignment.size === 2, SECONDS, 'halves')
  const all = [...first.assignment, ...second.assignment].sort()
  expectEqual(all, [0, 1, 2, 3], 'partitions of both')
  const { groups: [described] } = await admin.describeGroups([group])
  expectEqual([described.state, described.members.length], ['Stable', 2], 'state')
  await second.consumer.disconnect()
  await waitFor(() => first.assignment.size === 4, SECONDS, 'all after the other left')
  await send(topic, numbers(0, 20).map((value, n) => ({ value, partition: n % 4 })))
  await waitFor(() => first.records.length >= 20, SECONDS, 'all records')
  await first.consumer.disconnect()
}

async function commitAndRestart () {
  const topic = await create(unique('commit'))
  const group = unique('commit')
  await send(topic, numbers(0, 20).map(value => ({ value })))
  const handle = async (consumer, partition, message) => {
    if (message.offset === '7') {
      await consumer.commitOffsets([{ topic, partition, offset: '8', metadata: 'note' }])
    }
  }
  const first = await consume(topic, group, { handle })
  await waitFor(() => first.records.length >= 20, SECONDS, 'the first member reads')
  await first.consumer.disconnect()
  const offsets = async () =>
    (await admin.fetchOffsets({ groupId: group, topics: [topic] }))[0].partitions[0]
  expectEqual([(await offsets()).offset, (await offsets()).metadata], ['8', 'note'], 'committed')
  const second = await consume(topic, group)
  await waitFor(() => second.records.length >= 12, SECONDS, 'the second member reads')
  await second.consumer.disconnect()
  expectEqual(second.records.map(record => record.value), numbers(8, 20), 'records after the restart')
}

async function groupsAdmin () {
  const topic = await create(unique('admin'))
  const group = unique('admin')
  await send(topic, numbers(0, 10).map(value => ({ value })))
  await admin.setOffsets({ groupId: group, topic, partitions: [{ partition: 0, offset: '3' }] })
  const offsets = async () =>
    (await admin.fetchOffsets({ groupId: group, topics: [topic] }))[0].partitions[0].offset
  expectEqual(await offsets(), '3', 'offset that was set')
  const { groups } = await admin.listGroups()
  expect(groups.some(({ groupId }) => groupId === group), 'the group is listed')
  const member = await consume(topic, group)
  await waitFor(() => member.records.length >= 7, SECONDS, 'records from the offset')
  await rejects(() => admin.deleteGroups([group]), /groups/i, 'deletion of a group with a member')
  await member.consumer.disconnect()
  const [deleted] = await admin.deleteGroups([group])
  expectEqual(deleted.errorCode, 0, 'deletion of the empty group')
}

async function configs () {
  const topic = await create(unique('configs'))
  const described = async () => {
    const { resources: [resource] } = await admin.describeConfigs({
      includeSynonyms: false,
      resources: [{ type: ConfigResourceTypes.TOPIC, name: topic, configNames: ['retention.ms'] }]
    })
    return resource.configEntries[0].configValue
  }
  expectEqual(await described(), '604800000', 'default')
  const alter = value => admin.alterConfigs({
    resources: [{
      type: ConfigResourceTypes.TOPIC, name: topic, configEntries: [{ name: 'retention.ms', value }]
    }]
  })
  await alter('1234567')
  await waitFor(async () => await described() === '1234567', 5000, 'the value')
  await rejects(() => alter('never'), /INVALID_CONFIG|configuration is invalid/i, 'invalid value')
}

async function createPartitions () {
  const topic = await create(unique('grow'), 2)
  await admin.createPartitions({ topicPartitions: [{ topic, count: 5 }] })
  await waitFor(async () => (await admin.fetchTopicOffsets(topic)).length === 5, 5000, 'five')
  const fewer = () => admin.createPartitions({ topicPartitions: [{ topic, count: 3 }] })
  await rejects(fewer, /partitions/i, 'fewer partitions')
}

async function deleteRecords () {
  const topic = await create(unique('trim'))
  await send(topic, numbers(0, 10).map(value => ({ value })))
  // The client looks the leader up in metadata it has already; this makes it have them.
  await waitFor(() => admin.fetchTopicOffsets(topic), 5000, 'metadata')
  await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '4' }] })
  const [ends] = await admin.fetchTopicOffsets(topic)
  expectEqual(ends.low, '4', 'first offset')
  expectEqual((await read(topic, 6)).map(record => record.value), numbers(4, 10), 'records')
}

async function tooLargeMessage () {
  const topic = await create(unique('large'), 1, { 'max.message.bytes': '10000' })
  const value = Buffer.alloc(20_000, 'x')
  await rejects(() => send(topic, [{ value }]), /MESSAGE_TOO_LARGE|larger than the max/i, '20 kB')
  await send(topic, [{ value: value.subarray(0, 5000) }])
}

async function unknownTopic () {
  await rejects(
    () => admin.fetchTopicOffsets(unique('nowhere')), /UNKNOWN_TOPIC|does not host/i, 'offsets'
  )
}

async function transactional (transactionalId) {
  const producer = kafka.producer({ transactionalId, idempotent: true, maxInFlightRequests: 1 })
  await producer.connect()
  return producer
}

async function transactions () {
  const topic = await create(unique('txn'))
  const producer = await transactional(unique('txn-id'))
  for (let n = 0; n < 6; n++) {
    const transaction = await producer.transaction()
    await transaction.send({ topic, messages: [{ value: String(n), partition: 0 }] })
    await (n % 2 ? transaction.abort() : transaction.commit())
  }
  await producer.disconnect()
  const values = (await read(topic, 3)).map(record => String(record.value))
  expectEqual(values, ['0', '2', '4'], 'what was committed')
}

async function offsetsInTransactions () {
  const [source, target] = [await create(unique('from')), await create(unique('to'))]
  const consumerGroupId = unique('txn-group')
  const producer = await transactional(unique('txn-id'))
  for (const [from, to, commit] of [[0, 4, true], [4, 10, false], [4, 10, true]]) {
    const transaction = await producer.transaction()
    const messages = numbers(from, to).map(value => ({ value, partition: 0 }))
    await transaction.send({ topic: target, messages })
    await transaction.sendOffsets({
      consumerGroupId,
      topics: [{ topic: source, partitions: [{ partition: 0, offset: String(to) }] }]
    })
    await (commit ? transaction.commit() : transaction.abort())
    const offset = commit ? String(to) : '4'
    await waitFor(async () => {
      const [found] = await admin.fetchOffsets({ groupId: consumerGroupId, topics: [source] })
      return found.partitions[0].offset === offset
    }, SECONDS, `offset ${offset}`)
  }
  await producer.disconnect()
  const values = (await read(target, 10)).map(record => String(record.value))
  expectEqual(values, numbers(0, 10), 'each record once')
}

async function aSecondProducerFencesTheFirst () {
  const [topic, id] = [await create(unique('fenced')), unique('txn-id')]
  const first = await transactional(id)
  const open = await first.transaction()
  await open.send({ topic, messages: [{ value: 'lost', partition: 0 }] })
  const second = await transactional(id)
  const transaction = await second.transaction()
  await transaction.send({ topic, messages: [{ value: 'kept', partition: 0 }] })
  await transaction.commit()
  await rejects(() => open.commit(), /FENCED|EPOCH|newer producer|old epoch/i, 'the first commit')
  await Promise.all([first.disconnect(), second.disconnect()])
  const values = (await read(topic, 1)).map(record => String(record.value))
  expectEqual(values, ['kept'], 'records')
}

async function cluster () {
  const described = await admin.describeCluster()
  expectEqual(described.brokers.map(({ host, port }) => `${host}:${port}`), [BOOTSTRAP], 'brokers')
  expect(described.clusterId, 'a cluster id')
}

async function deleteTopic () {
  const topic = await create(unique('delete'))
  await send(topic, [{ value: 'x' }])
  await admin.deleteTopics({ topics: [topic] })
  await waitFor(async () => !(await admin.listTopics()).includes(topic), 5000, 'the topic is gone')
}

await admin.connect()
await run({
  create_topics: createTopics,
  create_with_errors: createWithErrors,
  ...Object.fromEntries(CODECS.map(name => [`produce_and_consume_${name}`, codec(name)])),
  idempotent,
  acks_zero_and_one: acksZeroAndOne,
  by_time: byTime,
  group_of_two: groupOfTwo,
  commit_and_restart: commitAndRestart,
  groups_admin: groupsAdmin,
  configs,
  create_partitions: createPartitions,
  delete_records: deleteRecords,
  too_large_message: tooLargeMessage,
  unknown_topic: unknownTopic,
  transactions,
  offsets_in_transactions: offsetsInTransactions,
  a_second_producer_fences_the_first: aSecondProducerFencesTheFirst,
  cluster,
  delete_topic: deleteTopic
})
