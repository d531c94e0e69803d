/** Record batches: our encoder against kafkajs's byte for byte, our decoder against our encoder, and what it refuses. */
import { createRequire } from 'node:module';
import { expect, test } from 'vitest';
import type { KafkaHeader } from '#connectors/change-log/kafka/cluster.ts';
import { crc32c } from '#connectors/change-log/kafka/crc32c.ts';
import { RecordsBuilder, stamped } from '#connectors/change-log/kafka/record-batch.ts';
import { readRecords } from '#connectors/change-log/kafka/record-reader.ts';
import { type Random, seeded, seedFromEnvironment } from '#test/support/random.ts';

const place = { topic: 'shop.public.orders', partition: 3 };

interface Given {
  readonly key: Buffer | undefined;
  readonly value: Buffer | undefined;
  readonly headers: readonly KafkaHeader[];
}

function encoded(records: readonly Given[], compression: 'none' | 'gzip' | 'zstd' = 'none'): Buffer {
  const builder = new RecordsBuilder({ compression });
  for (const { key, value, headers } of records) builder.add(key, value, headers);
  const { count, bytes, parts } = builder.take();
  const whole = Buffer.concat(parts);
  expect([count, bytes]).toEqual([records.length, whole.length]);
  return whole;
}

/** As a broker stores it: with its base offset, which the checksum does not cover. */
function at(offset: number, batch: Buffer): Buffer {
  const stored = Buffer.from(batch);
  stored.writeBigInt64BE(BigInt(offset));
  return stored;
}

function randomRecords(random: Random): Given[] {
  const bytes = (max: number): Buffer => Buffer.from(Array.from({ length: random.between(0, max) }, () => random.between(0, 255)));
  const sizes = [0, 63, 64, 300, 9_000];
  return Array.from({ length: random.between(1, 300) }, () => ({
    key: random.chance(0.2) ? undefined : bytes(40),
    value: random.chance(0.1) ? undefined : bytes(sizes[random.between(0, 4)]!),
    headers: random.chance(0.5)
      ? []
      : ['cf', '__debezium.oldkey', 'ü'].slice(0, random.between(1, 3)).map((name) => ({ name, value: bytes(70) })),
  }));
}

test('crc32c gives the published values, in one piece or in several', () => {
  const ascending = Buffer.from(Array.from({ length: 32 }, (_, index) => index));
  expect(crc32c(Buffer.from('123456789'))).toBe(0xe3069283);
  expect(crc32c(Buffer.alloc(32))).toBe(0x8a9136aa);
  expect(crc32c(Buffer.alloc(32, 0xff))).toBe(0x62a8ab43);
  expect(crc32c(ascending)).toBe(0x46dd794e);
  expect(crc32c(Buffer.alloc(0))).toBe(0);
  for (let cut = 0; cut <= 32; cut += 1) expect(crc32c(ascending.subarray(cut), crc32c(ascending.subarray(0, cut)))).toBe(0x46dd794e);
});

test('what is built reads back: keys, values, nulls, headers, offsets, over all codecs', () => {
  const seed = seedFromEnvironment();
  const random = seeded(seed);
  for (let round = 0; round < 60; round += 1) {
    const given = randomRecords(random);
    const compression = (['none', 'gzip', 'zstd'] as const)[round % 3]!;
    const base = random.between(0, 2 ** 40);
    const { records, next } = readRecords(at(base, encoded(given, compression)), base, place);
    expect(next, `seed ${seed}`).toBe(base + given.length);
    expect(records.map(({ offset, key, value }) => ({ offset, key, value }))).toEqual(
      given.map(({ key, value }, index) => ({ offset: base + index, key, value })),
    );
    for (const [index, { headers }] of given.entries()) {
      for (const name of ['cf', '__debezium.oldkey', 'none'])
        expect(records[index]!.header(name)).toEqual(headers.find((header) => header.name === name)?.value);
    }
  }
});

test('builders use memory again that others gave back, and no batch that was handed out changes', () => {
  const seed = seedFromEnvironment();
  const random = seeded(seed);
  const open = (['none', 'gzip', 'zstd', 'none', 'zstd'] as const).map((compression) => new RecordsBuilder({ compression }));
  const given = open.map((): Given[] => []);
  const taken: { readonly batch: readonly Buffer[]; readonly records: readonly Given[] }[] = [];
  for (let step = 0; step < 150; step += 1) {
    const which = random.between(0, open.length - 1);
    for (const record of randomRecords(random).slice(0, 80)) {
      given[which]!.push(record);
      open[which]!.add(record.key, record.value, record.headers);
    }
    if (!random.chance(0.3)) continue;
    taken.push({ batch: open[which]!.take().parts, records: given[which]! });
    given[which] = [];
  }
  for (const { batch, records } of taken) {
    const read = readRecords(at(0, Buffer.concat(batch)), 0, place).records;
    expect(read.map(({ key, value }) => [key, value])).toEqual(records.map(({ key, value }) => [key, value]));
  }
});

test('a small batch is not compressed: setting a compressor up takes longer', () => {
  const codecOf = (bytes: number): number =>
    encoded([{ key: undefined, value: Buffer.alloc(bytes), headers: [] }], 'zstd').readInt16BE(21) & 0x07;
  expect([codecOf(4_000), codecOf(4_200)]).toEqual([0, 4]);
});

interface Reference {
  RecordBatch(batch: Record<string, unknown>): Promise<{ buffer: Buffer }>;
}

test('its bytes are those of kafkajs, whose batches brokers have taken for years', async () => {
  const require = createRequire(import.meta.url);
  const reference = require('kafkajs/src/protocol/recordBatch/v0') as Reference;
  const record = require('kafkajs/src/protocol/recordBatch/record/v0') as (fields: Record<string, unknown>) => unknown;
  const random = seeded(7);
  for (let round = 0; round < 10; round += 1) {
    const given = randomRecords(random).map((each) => ({ ...each, headers: each.headers.filter(({ name }) => name !== 'ü') }));
    const ours = encoded(given);
    const firstTimestamp = ours.readBigInt64BE(27).toString();
    const records = given.map(({ key, value, headers }, offsetDelta) =>
      record({
        offsetDelta,
        timestampDelta: 0,
        key: key ?? null,
        value: value ?? null,
        headers: Object.fromEntries(headers.map((header) => [header.name, header.value])),
      }),
    );
    const last = { lastOffsetDelta: given.length - 1, partitionLeaderEpoch: -1, producerEpoch: -1, firstSequence: -1 };
    const theirs = await reference.RecordBatch({ records, firstTimestamp, maxTimestamp: firstTimestamp, producerId: -1, ...last });
    expect(ours.equals(theirs.buffer)).toBe(true);
  }
});

test('a builder goes on after take with an empty batch, and leaves what it gave away alone', () => {
  const builder = new RecordsBuilder();
  const taken: Buffer[][] = [];
  for (let round = 0; round < 50; round += 1) {
    for (let index = 0; index <= round; index += 1) builder.add(undefined, Buffer.from(`${round}/${index}`));
    taken.push([...builder.take().parts]);
  }
  for (const [round, parts] of taken.entries()) {
    const { records } = readRecords(Buffer.concat(parts), 0, place);
    expect(records.map(({ value }) => String(value))).toEqual(Array.from({ length: round + 1 }, (_, index) => `${round}/${index}`));
  }
});

test('a stamp changes the header alone, and the checksum with it', () => {
  const random = seeded(11);
  for (let round = 0; round < 20; round += 1) {
    const builder = new RecordsBuilder();
    const given = randomRecords(random);
    for (const { key, value, headers } of given) builder.add(key, value, headers);
    const plain = builder.take();
    const batch = Buffer.concat(stamped(plain, { producerId: 2n ** 40n + 7n, epoch: 3, sequence: 123_456 }).parts);
    expect(readRecords(batch, 0, place).records).toHaveLength(given.length);
    expect([batch.readBigInt64BE(43), batch.readInt16BE(51), batch.readInt32BE(53)]).toEqual([2n ** 40n + 7n, 3, 123_456]);
    expect(Buffer.concat(plain.parts).readBigInt64BE(43)).toBe(-1n);
  }
});

test('reading skips what lies below the offset, and stops before a batch that was cut', () => {
  const records = ['a', 'b', 'c'].map((text) => ({ key: undefined, value: Buffer.from(text), headers: [] }));
  const three = Buffer.concat([at(10, encoded(records)), at(13, encoded(records)), at(16, encoded(records))]);
  const texts = (bytes: Buffer, from: number): unknown => {
    const read = readRecords(bytes, from, place);
    return [read.records.map(({ offset, value }) => `${offset}${String(value)}`).join(' '), read.next];
  };
  expect(texts(three, 14)).toEqual(['14b 15c 16a 17b 18c', 19]);
  expect(texts(three.subarray(0, three.length - 1), 10)).toEqual(['10a 11b 12c 13a 14b 15c', 16]);
  expect(texts(three.subarray(0, 70), 10)).toEqual(['', 10]);
  expect(texts(three, 19)).toEqual(['', 19]);
});

test('control batches are passed over; a changed byte, an unknown codec and the old format are refused', () => {
  const batch = at(5, encoded([{ key: undefined, value: Buffer.from('a'), headers: [] }]));
  const withAttributes = (attributes: number): Buffer => {
    const changed = Buffer.from(batch);
    changed.writeInt16BE(attributes, 21);
    changed.writeUInt32BE(crc32c(changed.subarray(21)), 17);
    return changed;
  };
  expect(readRecords(withAttributes(0x30), 5, place)).toEqual({ records: [], next: 6 });
  for (const codec of [2, 3])
    expect(() => readRecords(withAttributes(codec), 5, place)).toThrow(expect.objectContaining({ code: 'CF-3006' }));
  expect(() => readRecords(withAttributes(1), 5, place)).toThrow(expect.objectContaining({ code: 'CF-3002' }));
  for (let byte = 21; byte < batch.length; byte += 1) {
    const changed = Buffer.from(batch);
    changed[byte]! ^= 1;
    expect(() => readRecords(changed, 5, place)).toThrow(expect.objectContaining({ code: 'CF-3002' }));
  }
  const old = Buffer.from(batch);
  old[16] = 1;
  expect(() => readRecords(old, 5, place)).toThrow(/older than Kafka 0.11/);
});
