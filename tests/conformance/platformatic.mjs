// @platformatic/kafka against a broker: see checks.mjs for what is printed.

import {
  Admin, ConfigResourceTypes, Consumer, IncrementalAlterConfigOperationTypes, ListOffsetTimestamps,
  MessagesStreamModes, ProduceAcks, Producer, stringDeserializers
} from '@platformatic/kafka'

import { CODECS, argument, expect, expectEqual, rejects, run, sample, unique, waitFor } from './checks.mjs'

const BOOTSTRAP = argument('bootstrap')
const BASE = { clientId: 'conformance', bootstrapBrokers: [BOOTSTRAP], retries: 5, retryDelay: 50 }
const admin = new Admin(BASE)
const SECONDS = 15_000

async function create (name, partitions = 1, config = {}) {
  const configs = Object.entries(config).map(([key, value]) => ({ name: key, value }))
  await admin.createTopics({ topics: [name], partitions, replicas: 1, configs })
  await waitFor(async () => {
    const metadata = await admin.metadata({ topics: [name], forceUpdate: true })
    return metadata.topics.get(name).partitions.every(partition => partition.leader >= 0)
  }, 5000, `leaders of ${name}`)
  return name
}

async function send (messages, options = {}) {
  const producer = new Producer({ ...BASE, autocreateTopics: false })
  try {
    return await producer.send({ messages, acks: ProduceAcks.ALL, ...options })
  } finally {
    await producer.close()
  }
}

/** A consumer that collects, from `mode` on; without `join` nothing is committed. */
async function consume (topic, groupId, { mode = MessagesStreamModes.EARLIEST, offsets, strings } = {}) {
  const consumer = new Consumer({
    ...BASE, groupId, autocommit: false, sessionTimeout: 6000, heartbeatInterval: 200,
    maxWaitTime: 200, ...(strings ? { deserializers: stringDeserializers } : {})
  })
  const records = []
  const fallbackMode = mode === MessagesStreamModes.COMMITTED ? 'earliest' : undefined
  const stream = await consumer.consume({ topics: [topic], mode, offsets, fallbackMode })
  stream.on('data', message => records.push(message))
  const assignment = () => (consumer.assignments ?? []).flatMap(part => part.partitions).sort()
  const close = () => consumer.close(true)
  return { consumer, records, assignment, close }
}

async function read (topic, count, options) {
  const reader = await consume(topic, unique('reader'), options)
  try {
    await waitFor(() => reader.records.length >= count, SECONDS, `${count} records`)
    return reader.records
  } finally {
    await reader.close()
  }
}

const numbers = (from, to) => Array.from({ length: to - from }, (_, n) => String(from + n))
const values = (topic, from, to) =>
  numbers(from, to).map(value => ({ topic, value: Buffer.from(value), partition: 0 }))

async function createTopics () {
  const names = [unique('platformatic'), unique('platformatic')]
  const created = await admin.createTopics({ topics: names, partitions: 3, replicas: 1 })
  expectEqual(created.map(topic => topic.partitions), [3, 3], 'partitions')
  await waitFor(async () => {
    const listed = await admin.listTopics()
    return names.every(name => listed.includes(name))
  }, 5000, 'both are listed')
}

async function createWithErrors () {
  const topic = await create(unique('errors'))
  const wrong = options => () => admin.createTopics({ topics: [unique('wrong')], replicas: 1, ...options })
  await rejects(() => admin.createTopics({ topics: [topic] }), /TOPIC_ALREADY_EXISTS/, 'existing')
  await rejects(wrong({ replicas: 3 }), /INVALID_REPLICATION_FACTOR/, 'replicas')
  const configs = [{ name: 'no.such.key', value: '1' }]
  await rejects(wrong({ configs }), /INVALID_CONFIG/, 'configuration')
  await rejects(() => admin.createTopics({ topics: ['not a name'] }), /INVALID_TOPIC/, 'name')
}

function codec (name) {
  return async () => {
    const topic = await create(unique(`codec-${name}`))
    const records = sample(name)
    const messages = records.map(({ key, value, headers }) => ({
      topic,
      partition: 0,
      key: key ?? undefined,
      value: value ?? undefined,
      headers: new Map(headers.map(([header, text]) => [Buffer.from(header), Buffer.from(text)]))
    }))
    await send(messages, { compression: name })
    const got = (await read(topic, records.length)).map(({ key, value, headers }) => ({
      key: key ?? null, value: value ?? null, headers: [...headers.entries()]
    }))
    expectEqual(got.map(bytes), records.map(bytes), 'records')
  }
}

/** Nothing and no bytes are the same to this client's reader of keys and values. */
function bytes ({ key, value, headers }) {
  return { key: key ?? '', value: value ?? '', headers }
}

async function idempotent () {
  const topic = await create(unique('idempotent'))
  const producer = new Producer({ ...BASE, idempotent: true })
  for (let batch = 0; batch < 10; batch++) {
    const sent = await producer.send({ messages: values(topic, batch * 20, batch * 20 + 20) })
    expectEqual(sent.offsets[0].offset, batch * 20, 'base offset')
  }
  await producer.close()
  const got = (await read(topic, 200, { strings: true })).map(record => record.value)
  expectEqual(got, numbers(0, 200), 'values')
}

async function acksZeroAndOne () {
  const topic = await create(unique('acks'))
  await send(values(topic, 1, 2), { acks: ProduceAcks.LEADER })
  await send(values(topic, 0, 1), { acks: ProduceAcks.NO_RESPONSE })
  const got = (await read(topic, 2, { strings: true })).map(record => record.value)
  expectEqual(got, ['1', '0'], 'values')
}

async function byTime () {
  const topic = await create(unique('time'))
  const start = Date.now() - 100_000
  await send(values(topic, 0, 100).map((message, n) => ({ ...message, timestamp: BigInt(start + n * 1000) })))
  const offset = async timestamp => {
    const partitions = [{ partitionIndex: 0, timestamp: BigInt(timestamp) }]
    const [{ partitions: [found] }] = await admin.listOffsets({ topics: [{ name: topic, partitions }] })
    return Number(found.offset)
  }
  expectEqual(await offset(start - 5), 0, 'before')
  expectEqual(await offset(start + 41_500), 42, 'between')
  expectEqual(await offset(start + 99_000), 99, 'last')
  expectEqual(await offset(start + 200_000), -1, 'after')
  expectEqual(await offset(ListOffsetTimestamps.LATEST), 100, 'latest')
  expectEqual(await offset(ListOffsetTimestamps.EARLIEST), 0, 'earliest')
  const offsets = [{ topic, partition: 0, offset: 42n }]
  const got = await read(topic, 58, { mode: MessagesStreamModes.MANUAL, offsets, strings: true })
  expectEqual(got.map(record => record.value), numbers(42, 100), 'from the offset')
}

async function groupOfTwo () {
  const topic = await create(unique('group'), 4)
  const group = unique('group')
  const first = await consume(topic, group)
  await waitFor(() => first.assignment().length === 4, SECONDS, 'one member')
  const second = await consume(topic, group)
  await waitFor(() => first.assignment().length === 2 && second.assignment().length === 2,
    SECONDS, 'two halves')
  expectEqual([...first.assignment(), ...second.assignment()].sort(), [0, 1, 2, 3], 'of both')
  await waitFor(async () => {
    const described = (await admin.describeGroups({ groups: [group] })).get(group)
    return described.state.toUpperCase() === 'STABLE' && described.members.size === 2
  }, 5000, 'a stable group of two')
  await second.close()
  await waitFor(() => first.assignment().length === 4, SECONDS, 'all after the other left')
  await send(numbers(0, 20).map((value, n) =>
    ({ topic, value: Buffer.from(value), partition: n % 4 })))
  await waitFor(() => first.records.length >= 20, SECONDS, 'all records')
  await first.close()
}

async function commitAndRestart () {
  const topic = await create(unique('commit'))
  const group = unique('commit')
  await send(values(topic, 0, 20))
  const first = await consume(topic, group)
  await waitFor(() => first.records.length >= 20, SECONDS, 'the first member reads')
  const offsets = [{ topic, partition: 0, offset: 8n, leaderEpoch: 0 }]
  await first.consumer.commit({ offsets })
  await first.close()
  const [committed] = await admin.listConsumerGroupOffsets({ groups: [group] })
  expectEqual(committed.topics[0].partitions[0].committedOffset, 8, 'committed')
  const second = await consume(topic, group, { mode: MessagesStreamModes.COMMITTED, strings: true })
  await waitFor(() => second.records.length >= 12, SECONDS, 'the second member reads')
  await second.close()
  expectEqual(second.records.map(record => record.value), numbers(8, 20), 'after the restart')
}

async function groupsAdmin () {
  const topic = await create(unique('admin'))
  const group = unique('admin')
  await send(values(topic, 0, 10))
  const member = await consume(topic, group)
  await waitFor(() => member.records.length >= 10, SECONDS, 'records')
  await rejects(() => admin.deleteGroups({ groups: [group] }), /NON_EMPTY_GROUP/, 'with a member')
  await member.close()
  expect((await admin.listGroups()).has(group), 'the group is listed')
  await admin.alterConsumerGroupOffsets({
    groupId: group, topics: [{ name: topic, partitionOffsets: [{ partition: 0, offset: 3n }] }]
  })
  const [altered] = await admin.listConsumerGroupOffsets({ groups: [group] })
  expectEqual(altered.topics[0].partitions[0].committedOffset, 3, 'offset after the change')
  await admin.deleteGroups({ groups: [group] })
  await rejects(() => admin.deleteGroups({ groups: [group] }), /GROUP_ID_NOT_FOUND/, 'again')
}

async function configs () {
  const topic = await create(unique('configs'))
  const resource = { resourceType: ConfigResourceTypes.TOPIC, resourceName: topic }
  const described = async () => {
    const [found] = await admin.describeConfigs({
      resources: [{ ...resource, configurationKeys: ['retention.ms'] }]
    })
    return found.configs[0].value
  }
  const alter = value => admin.incrementalAlterConfigs({
    resources: [{
      ...resource,
      configs: [{
        name: 'retention.ms', configOperation: IncrementalAlterConfigOperationTypes.SET, value
      }]
    }]
  })
  expectEqual(await described(), '604800000', 'default')
  await alter('1234567')
  await waitFor(async () => await described() === '1234567', 5000, 'the value')
  await rejects(() => alter('never'), /INVALID_CONFIG/, 'an invalid value')
}

async function createPartitions () {
  const topic = await create(unique('grow'), 2)
  const grow = count => admin.createPartitions({ topics: [{ name: topic, count, assignments: null }] })
  await grow(5)
  await waitFor(async () => {
    const metadata = await admin.metadata({ topics: [topic], forceUpdate: true })
    return metadata.topics.get(topic).partitionsCount === 5
  }, 5000, 'five partitions')
  await rejects(() => grow(3), /INVALID_PARTITIONS/, 'fewer')
}

async function deleteRecords () {
  const topic = await create(unique('trim'))
  await send(values(topic, 0, 10))
  const trim = offset => admin.deleteRecords({
    topics: [{ name: topic, partitions: [{ partition: 0, offset }] }]
  })
  const [{ partitions: [trimmed] }] = await trim(4n)
  expectEqual(trimmed.lowWatermark, 4, 'low watermark')
  const got = await read(topic, 6, { strings: true })
  expectEqual(got.map(record => record.value), numbers(4, 10), 'records')
  await rejects(() => trim(11n), /OFFSET_OUT_OF_RANGE/, 'beyond the end')
}

async function tooLargeMessage () {
  const topic = await create(unique('large'), 1, { 'max.message.bytes': '10000' })
  const message = size => [{ topic, partition: 0, value: Buffer.alloc(size, 'x') }]
  await rejects(() => send(message(20_000)), /MESSAGE_TOO_LARGE/, '20 kB')
  await send(message(5000))
}

async function unknownTopic () {
  const messages = [{ topic: unique('nowhere'), value: Buffer.from('x') }]
  await rejects(() => send(messages), /UNKNOWN_TOPIC|Unknown topic/, 'produce without auto-creation')
}

async function cluster () {
  const metadata = await admin.metadata({ topics: [], forceUpdate: true })
  const brokers = [...metadata.brokers.values()].map(({ host, port }) => `${host}:${port}`)
  expectEqual(brokers, [BOOTSTRAP], 'brokers')
  expect(metadata.id, 'a cluster id')
  const directories = await admin.describeLogDirs({ topics: [] })
  expectEqual(directories.length, 1, 'brokers with log directories')
}

async function deleteTopic () {
  const topic = await create(unique('delete'))
  await send(values(topic, 0, 1))
  await admin.deleteTopics({ topics: [topic] })
  await waitFor(async () => !(await admin.listTopics()).includes(topic), 5000, 'the topic is gone')
  await rejects(() => admin.deleteTopics({ topics: [topic] }), /UNKNOWN_TOPIC/, 'again')
}

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
  cluster,
  delete_topic: deleteTopic
})
