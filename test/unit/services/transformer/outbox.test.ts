/** What claims say, whoever reads only some of them. */
import { expect, test } from 'vitest';
import type { Claim } from '#schemas/order/order-record.ts';
import { LIMITS } from '#services/transformer/limits.ts';
import { Outbox, type RawPartition } from '#services/transformer/outbox.ts';
import { MemoryKafka } from '#test/support/memory-cluster.ts';
import { boundless } from '#test/support/raw-events.ts';
import { seeded, seedFromEnvironment, type Random } from '#test/support/random.ts';

const MAPPED = 'm.mapped.public.a';
const CLAIMS = 'm.mapped.progress';
const RAWS: readonly RawPartition[] = [0, 1, 2].map((partition) => ({ topic: 0, partition, mapping: 7 }));
const PARTITIONS = 3;

/** Maps random slices of three raw partitions; what a group and a batch may hold is less than a slice. */
async function mapped(random: Random): Promise<MemoryKafka> {
  const kafka = new MemoryKafka();
  const cluster = kafka.client();
  await cluster.ensureTopics(new Map([[MAPPED, { partitions: PARTITIONS }], [CLAIMS, { partitions: 1 }]])); // prettier-ignore
  const failures: unknown[] = [];
  const outbox = new Outbox({
    cluster,
    claimsTopic: CLAIMS,
    claims: { end: () => 0 },
    compression: 'none',
    limits: { ...LIMITS, batchBytes: random.between(100, 600), groupBytes: random.between(100, 900) },
    onFailure: (error) => failures.push(error),
    finish: (claim) => claim,
    onClaimed: () => undefined,
  });
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
