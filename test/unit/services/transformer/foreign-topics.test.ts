/** Somebody else's topics as input: no header of ours, partitions of their own number. */
import { expect, test } from 'vitest';
import { claimsTopic, mappedTopic, orderTopic } from '#connectors/change-log/kafka/order/topic-names.ts';
import { RecordsBuilder } from '#connectors/change-log/kafka/record-batch.ts';
import { partitionOf } from '#connectors/change-log/partitioner.ts';
import { EVENT_HEADER, NEW_KEY_HEADER, OLD_KEY_HEADER } from '#schemas/order/event-header.ts';
import { decodeForeignHeader, FOREIGN_HEADER } from '#schemas/order/foreign-header.ts';
import { encodeOrderJson, type Claim } from '#schemas/order/order-record.ts';
import { OWN_MARK } from '#schemas/wire/avro-schema.ts';
import type { RowEncoder, SchemaRegistry } from '#schemas/wire/wire.ts';
import { silentLogger } from '#services/runtime/service.ts';
import { Transformer } from '#services/transformer/transformer.ts';
import { MemoryKafka } from '#test/support/memory-cluster.ts';
import { formatOf, memoryRegistry, rawShapeOf, rowOf, scatterChange, tableMapping, type RowChange } from '#test/support/raw-events.ts';
import { turns } from '#test/support/transformer-world.ts';

const INPUT = 'inventory.public.item';
const INPUT_PARTITIONS = 5;
const PARTITIONS = 3;
const DIRECTORY = {
  t: 'topic',
  index: 0,
  topic: INPUT,
  schema: 'public',
  table: 'item',
  partitions: INPUT_PARTITIONS,
  oid: 16_384,
} as const;

/** Without the mark by which our own schemas are known. */
function anothers(registry: SchemaRegistry): SchemaRegistry {
  const unmarked = (schema: string): string => {
    const { [OWN_MARK]: _, ...rest } = JSON.parse(schema) as Record<string, unknown>;
    return JSON.stringify(rest);
  };
  return { ...registry, register: (subject, schema) => registry.register(subject, unmarked(schema)) };
}

/** Fills the input and runs two transformers, one after another, each with all numbers, until all is claimed. */
async function mapForeign(changes: readonly RowChange[]): Promise<{ kafka: MemoryKafka; registry: SchemaRegistry }> {
  const kafka = new MemoryKafka();
  const registry = memoryRegistry();
  const table = tableMapping({ tenants: ['ours'] });
  const raw: RowEncoder = await formatOf(anothers(registry), 'inventory').encoder({ ...rawShapeOf(table), topic: INPUT });
  kafka.ensureTopic(INPUT, { partitions: INPUT_PARTITIONS });
  kafka.ensureTopic(orderTopic('m'), { partitions: 1 });
  const writer = kafka.client();
  const directory = new RecordsBuilder();
  directory.add(undefined, encodeOrderJson(DIRECTORY));
  await writer.produce([{ topic: orderTopic('m'), partition: 0, records: directory.take() }]);
  const ends = Array.from({ length: INPUT_PARTITIONS }, () => 0);
  const claimed = (): boolean => {
    const entries = kafka.records(claimsTopic('m')).flatMap(({ value }) => (JSON.parse(value!.toString('utf8')) as Claim).entries);
    return ends.every((end, partition) => end === 0 || entries.some((one) => one.partition === partition && one.offset === end));
  };
  for (const half of [changes.slice(0, changes.length / 2), changes.slice(changes.length / 2)]) {
    for (const change of half) {
      for (const { key, value, headers } of scatterChange(raw, change, { topic: 0, v: 0 })) {
        const partition = partitionOf(key!, INPUT_PARTITIONS);
        const builder = new RecordsBuilder();
        builder.add(
          key,
          value,
          headers.filter(({ name }) => name !== EVENT_HEADER),
        );
        await writer.produce([{ topic: INPUT, partition, records: builder.take() }]);
        ends[partition]!++;
      }
    }
    const stop = new AbortController();
    const transformer = new Transformer({
      cluster: kafka.client(),
      members: { join: async (onShare) => onShare([0, 1, 2]), leave: async () => undefined },
      mapping: { name: 'm', hash: 'h', tables: [table] },
      database: 'db',
      format: formatOf(registry, 'm'),
      partitions: PARTITIONS,
      compression: 'none',
      logger: silentLogger,
    });
    const ended = transformer.run(stop.signal);
    for (let left = 2000; left > 0 && (!kafka.topics().includes(claimsTopic('m')) || !claimed()); left--) await turns(1);
    stop.abort();
    await ended;
  }
  expect(claimed()).toBe(true);
  return { kafka, registry };
}

test('events of another connector are mapped in the order of each key, and say where they stood', async () => {
  const ids = Array.from({ length: 12 }, (_, i) => String(i));
  const { kafka, registry } = await mapForeign([
    ...ids.map((id): RowChange => ({ op: 'c', after: [id, 'ours', `first ${id}`, null] })),
    ...ids.map((id): RowChange => ({ op: 'u', after: [id, Number(id) % 2 === 0 ? 'ours' : 'theirs', undefined, null] })),
  ]);
  expect(kafka.records(orderTopic('m'))).toHaveLength(1);
  const format = formatOf(registry);
  const seen = new Map<string, string[]>();
  for (let partition = 0; partition < PARTITIONS; partition++) {
    const last = new Map<number, number>();
    for (const record of kafka.records(mappedTopic('m', { schema: 'app', name: 'item_new' }), partition)) {
      const from = decodeForeignHeader(record.header(FOREIGN_HEADER)!);
      expect(from.topic).toBe(0);
      expect(from.offset).toBeGreaterThanOrEqual(last.get(from.partition) ?? 0);
      last.set(from.partition, from.offset);
      await format.learn(record.key!);
      const [id] = rowOf(format.decodeKey(record.key!).row)!;
      if (record.value !== undefined) await format.learn(record.value);
      const event = record.value && format.decode(record.value, { absent: from.absent, exact: undefined });
      const said = event === undefined ? 'tombstone' : `${event.op} ${rowOf(event.after)?.[0]}`;
      seen.set(id!, [...(seen.get(id!) ?? []), said]);
    }
  }
  // What the update did not carry stays absent; a row that leaves the filter is deleted.
  for (const id of ids)
    expect(seen.get(id)).toEqual([`c first ${id}`, ...(Number(id) % 2 === 0 ? ['u undefined'] : ['d undefined', 'tombstone'])]);
});

test('a key change of another connector is a delete and a create, whatever its headers say', async () => {
  const { kafka } = await mapForeign([
    { op: 'c', after: ['1', 'ours', 'text', null] },
    { op: 'move', from: ['1', null, null, null], after: ['2', 'ours', 'text', null] },
  ]);
  const records = Array.from({ length: PARTITIONS }, (_, p) =>
    kafka.records(mappedTopic('m', { schema: 'app', name: 'item_new' }), p),
  ).flat();
  expect(records).toHaveLength(4);
  for (const record of records) for (const name of [OLD_KEY_HEADER, NEW_KEY_HEADER]) expect(record.header(name)).toBeUndefined();
});
