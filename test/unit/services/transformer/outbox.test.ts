/** What claims say, whoever reads only some of them. */
import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { RecordsBuilder } from '#connectors/change-log/kafka/record-batch.ts';
import { readRecords } from '#connectors/change-log/kafka/record-reader.ts';
import type { Claim } from '#schemas/order/order-record.ts';
import { LIMITS, type MappingLimits } from '#services/transformer/limits.ts';
import type { MappedRecord } from '#services/transformer/map-event.ts';
import { Outbox, type RawPartition } from '#services/transformer/outbox.ts';
import { MemoryKafka } from '#test/support/memory-cluster.ts';
import { boundless } from '#test/support/raw-events.ts';
import { seeded, seedFromEnvironment, type Random } from '#test/support/random.ts';

const MAPPED = 'm.mapped.public.a';
const CLAIMS = 'm.mapped.progress';
const RAWS: readonly RawPartition[] = [0, 1, 2].map((partition) => ({ topic: 0, partition, mapping: 7 }));
const PARTITIONS = 3;
const NOTHING = Buffer.alloc(0);

async function outboxOf(kafka: MemoryKafka, limits: MappingLimits): Promise<{ readonly outbox: Outbox; readonly failures: unknown[] }> {
  const cluster = kafka.client();
  await cluster.ensureTopics(new Map([[MAPPED, { partitions: PARTITIONS }], [CLAIMS, { partitions: 1 }]])); // prettier-ignore
  const failures: unknown[] = [];
  const outbox = new Outbox({
    cluster,
    claimsTopic: CLAIMS,
    claims: { end: () => 0 },
    compression: 'none',
    limits,
    onFailure: (error) => failures.push(error),
    finish: (claim) => claim,
    onClaimed: () => undefined,
  });
  return { outbox, failures };
}

/** Maps random slices of three raw partitions; what a group and a batch may hold is less than a slice. */
async function mapped(random: Random): Promise<MemoryKafka> {
  const kafka = new MemoryKafka();
  const limits = { ...LIMITS, batchBytes: random.between(100, 600), groupBytes: random.between(100, 900) };
  const { outbox, failures } = await outboxOf(kafka, limits);
  const next = RAWS.map(() => 0);
  for (let slice = 0; slice < 60; slice++) {
    const at = random.between(0, RAWS.length - 1);
    const raw = RAWS[at]!;
    for (let left = random.between(0, 9); left > 0; left--) {
      const offset = next[at]!++;
      // A filter takes some.
      if (random.chance(0.2)) continue;
      const value = Buffer.from(JSON.stringify({ raw: raw.partition, offset }));
      outbox.add(raw, boundless(MAPPED), { partition: random.between(0, PARTITIONS - 1), key: undefined, value, headers: [] });
    }
    outbox.moved(raw, next[at]!);
    if (random.chance(0.3)) outbox.flush();
    if (random.chance(0.5)) await new Promise((resolve) => setImmediate(resolve));
  }
  await outbox.idle();
  expect(failures).toEqual([]);
  return kafka;
}

test('each claim names every output of the raw records that it covers, by itself', async () => {
  const seed = seedFromEnvironment();
  for (let round = 0; round < 30; round++) {
    const kafka = await mapped(seeded(seed + round));
    const claims = kafka.records(CLAIMS).flatMap(({ value }) => (JSON.parse(String(value)) as Claim).entries);
    const outputs = Array.from({ length: PARTITIONS }, (_, partition) => kafka.records(MAPPED, partition));
    const covered = RAWS.map(() => 0);
    for (const { partition: raw, from = 0, offset, ends } of claims) {
      expect(from, `seed ${seed + round}`).toBe(covered[raw]);
      covered[raw] = offset;
      outputs.forEach((records, partition) => {
        const [, end = 0, begin = 0] = ends[MAPPED]?.find(([number]) => number === partition) ?? [];
        for (const record of records) {
          const told = JSON.parse(String(record.value)) as { raw: number; offset: number };
          if (told.raw !== raw || told.offset < from || told.offset >= offset) continue;
          expect([record.offset >= begin, record.offset < end], `seed ${seed + round}`).toEqual([true, true]);
        }
      });
    }
    expect(covered.reduce((sum, offset) => sum + offset, 0)).toBeGreaterThan(0);
  }
});

const LARGE_BYTES = 600 * 1024;
const TAKEN_BYTES = 1024 * 1024;

/** Each is most of a batch. */
const LARGE: readonly (readonly [string, Pick<MappedRecord, 'key' | 'value' | 'headers'>])[] = [
  ['its value', { key: undefined, value: randomBytes(LARGE_BYTES), headers: [] }],
  ['its key', { key: randomBytes(LARGE_BYTES), value: undefined, headers: [] }],
  ['a header', { key: undefined, value: undefined, headers: [{ name: 'cfe', value: randomBytes(LARGE_BYTES) }] }],
];

test.each(LARGE)('a record that is large by %s goes in a batch of its own, looked at or passed on', async (_, large) => {
  const kafka = new MemoryKafka({ batchBytesMax: () => TAKEN_BYTES });
  const { outbox, failures } = await outboxOf(kafka, LIMITS);
  const builder = new RecordsBuilder();
  builder.add(large.key, large.value ?? NOTHING, large.headers);
  const bytes = Buffer.concat(builder.take().parts);
  const [record] = readRecords(bytes, 0, { topic: 'm.public.a', partition: 0 }).records;
  const { keyBytes, headersAt } = record!;
  const headers = record!.bytes.subarray(headersAt, headersAt + 1);
  const key = record!.key ?? NOTHING;
  for (let offset = 0; offset < 3; offset++) {
    outbox.add(RAWS[0]!, boundless(MAPPED), { partition: 0, ...large });
    outbox.pass(RAWS[0]!, boundless(MAPPED), 0, {
      record: record!,
      key,
      keyBytes,
      head: NOTHING,
      headers,
      headersBytes: 1,
      restAt: headersAt + 1,
    });
    outbox.moved(RAWS[0]!, offset + 1);
  }
  await outbox.idle();
  expect(failures).toEqual([]);
  expect(kafka.records(MAPPED)).toHaveLength(6);
});
