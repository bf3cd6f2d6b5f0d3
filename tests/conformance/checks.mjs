// What the JavaScript programs of this folder share: one line per check, as in checks.py.

import { randomUUID } from 'node:crypto'

export const CODECS = ['none', 'gzip', 'snappy', 'lz4', 'zstd']
const CHECK_MS = 40_000

/** The value of `--name` on the command line. */
export function argument (name) {
  const at = process.argv.indexOf(`--${name}`)
  if (at < 0) throw new Error(`--${name} is missing`)
  return process.argv[at + 1]
}

/** A name that no earlier run on the same broker has used. */
export function unique (name) {
  return `${name}-${randomUUID().slice(0, 8)}`
}

export function expect (condition, message) {
  if (!condition) throw new Error(message)
}

export function expectEqual (got, wanted, what) {
  const [left, right] = [show(got), show(wanted)]
  expect(left === right, `${what}: got ${left.slice(0, 300)}, wanted ${right.slice(0, 300)}`)
}

/** A text that two equal values share; buffers and strings of the same bytes are equal. */
function show (value) {
  return JSON.stringify(value, (_, inner) => {
    if (typeof inner === 'bigint') return Number(inner)
    if (inner?.type === 'Buffer') return Buffer.from(inner.data).toString('latin1')
    return inner
  })
}

/** Tries until `condition` is true; a failure on the way (metadata not there yet) is no verdict. */
export async function waitFor (condition, ms, what) {
  const deadline = Date.now() + ms
  let last = ''
  while (Date.now() < deadline) {
    try {
      const found = await condition()
      if (found) return found
    } catch (error) {
      last = `; last: ${error.message}`
    }
    await sleep(30)
  }
  throw new Error(`${what} not within ${ms} ms${last}`)
}

export function sleep (ms) {
  return new Promise(resolve => setTimeout(resolve, ms))
}

/** Expects a rejection whose text, or that of an inner error, matches. */
export async function rejects (call, pattern, what) {
  try {
    await call()
  } catch (error) {
    const texts = []
    const pending = [error]
    while (pending.length > 0) {
      const inner = pending.pop()
      texts.push(`${inner.type ?? inner.apiId ?? ''} ${inner.message}`)
      pending.push(...(inner.errors ?? []), ...(inner.cause ? [inner.cause] : []))
    }
    expect(pattern.test(texts.join(' ')), `${what}: failed otherwise: ${texts.join(' | ')}`)
    return
  }
  throw new Error(`${what}: did not fail`)
}

/** Runs {name: function} in order and ends the process. */
export async function run (checks) {
  for (const [name, check] of Object.entries(checks)) {
    let timer
    const tooSlow = new Promise((_resolve, reject) => {
      timer = setTimeout(() => reject(new Error(`still running after ${CHECK_MS} ms`)), CHECK_MS)
    })
    try {
      await Promise.race([check(), tooSlow])
      console.log(`ok ${name}`)
    } catch (error) {
      const inner = [error.cause, ...(error.errors ?? [])].map(e => e?.message ?? '').join(' ')
      console.log(`not ok ${name}: ${`${error.message} ${inner}`.replace(/\s+/g, ' ').slice(0, 600)}`)
    } finally {
      clearTimeout(timer)
    }
  }
  process.exit(0)
}

/** Records of many shapes: {key, value, headers}, without what a client's API cannot say. */
export function sample (codec, count = 120) {
  const records = []
  for (let n = 0; n < count; n++) {
    const key = n % 7 === 0 ? null : Buffer.from(`key-${n % 10}`)
    let value = Buffer.from(`${codec} record ${n} `.repeat(1 + n % 40))
    if (n % 11 === 5 && key !== null) value = null
    else if (n % 13 === 6) value = Buffer.alloc(0)
    const headers = n % 3 === 0 ? [['codec', codec], ['n', String(n)], ['empty', '']] : []
    records.push({ key, value, headers })
  }
  return records
}
