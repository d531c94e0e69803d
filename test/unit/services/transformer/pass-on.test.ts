/** What goes on as it stands is what would come of looking at it. */
import { describe, expect, test } from 'vitest';
import type { FetchedRecord } from '#connectors/change-log/kafka/cluster.ts';
import { partitionOf } from '#connectors/change-log/partitioner.ts';
import { RecordsBuilder } from '#connectors/change-log/kafka/record-batch.ts';
import { readRecords, type ViewedRecord } from '#connectors/change-log/kafka/record-reader.ts';
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { EVENT_HEADER, EXACT_HEADER } from '#schemas/order/event-header.ts';
import { mappedShape } from '#schemas/wire/shape.ts';
import type { RowEncoder, WireFormat } from '#schemas/wire/wire.ts';
import { EventMapper } from '#services/transformer/map-event.ts';
import {
  bounded,
  column,
  formatOf,
  memoryRegistry,
  NO_RELATION,
  plainMapping,
  rawShapeOf,
  scatterChange,
  SOURCE_COLUMNS,
  type RawRecord,
  type RowChange,
} from '#test/support/raw-events.ts';

const PARTITIONS = 3;
const PLACE = { partition: 2, offset: 70 };
const AT = { topic: 5, v: 41 };

interface Bench {
  readonly format: WireFormat;
  readonly raw: RowEncoder;
  readonly mapper: EventMapper;
}

async function bench(table: TableMapping, columns = SOURCE_COLUMNS, batchBytesMax = Infinity): Promise<Bench> {
  const format = formatOf(memoryRegistry());
  const encoder = await format.encoder(mappedShape(table, { name: 'm', database: 'db', relation: NO_RELATION }));
  const raw = await format.encoder(rawShapeOf(table, columns));
  const to = bounded(encoder.shape.topic, batchBytesMax);
  await to.ask();
  return { format, raw, mapper: new EventMapper({ table, encoder, format, partitions: PARTITIONS, to }) };
}

function stored(builder: RecordsBuilder, baseOffset: number): ViewedRecord[] {
  const bytes = Buffer.concat(builder.take().parts);
  bytes.writeBigInt64BE(BigInt(baseOffset), 0);
  return readRecords(bytes, baseOffset, { topic: 'm', partition: 0 }).records;
}

function rawRecord({ key, value, headers }: RawRecord): ViewedRecord {
  const builder = new RecordsBuilder();
  builder.add(key, value, headers);
  return stored(builder, PLACE.offset)[0]!;
}

/** What counts of a record; the clocks behind an event's source say when it was written. */
function seen({ key, value }: FetchedRecord, clocks = 30): unknown {
  return [key?.toString('hex'), value?.subarray(0, value.length - clocks).toString('hex')];
}

async function learn({ mapper, format }: Bench, record: FetchedRecord): Promise<void> {
  for (let bytes = mapper.unknown(record); bytes !== undefined; bytes = mapper.unknown(record)) await format.learn(bytes);
}

/** By looking at it, and as it stands; undefined where that is not done. */
async function bothWays(
  on: Bench,
  raw: RawRecord,
): Promise<{ looked: [number, ViewedRecord]; passed: [number, ViewedRecord] | undefined }> {
  const record = rawRecord(raw);
  await learn(on, record);
  const mapped = new RecordsBuilder();
  let partition = -1;
  on.mapper.map(record, PLACE, (one) => {
    partition = one.partition;
    mapped.add(one.key, one.value, one.headers);
  });
  const one = on.mapper.plain?.pass(record, { ...PLACE, mapping: on.mapper.tag });
  const looked: [number, ViewedRecord] = [partition, stored(mapped, 0)[0]!];
  if (one === undefined) return { looked, passed: undefined };
  const builder = new RecordsBuilder();
  builder.addPassed(one);
  return { looked, passed: [on.mapper.plain!.partition(one), stored(builder, 0)[0]!] };
}

const ROW = ['7', 'a', 'body', null] as const;

const CHANGES: readonly (readonly [string, RowChange])[] = [
  ['an insert', { op: 'c', after: ROW }],
  ['a row of a chunk', { op: 'r', after: ROW }],
  ['an update', { op: 'u', after: ROW }],
  ['an update with its old row', { op: 'u', before: ['7', 'b', 'x'.repeat(5000), 'n'], after: ROW }],
  ['a delete', { op: 'd', before: ROW }],
];

describe.each([
  ['with a key', false],
  ['without a key', true],
])('of a table %s', (_, keyless) => {
  test.each(CHANGES)('%s goes on as the record that mapping it gives', async (__, change) => {
    const on = await bench(plainMapping({ keyless }));
    const { looked, passed } = await bothWays(on, scatterChange(on.raw, change, AT)[0]!);
    expect(passed).toBeDefined();
    expect(passed![0]).toBe(looked[0]);
    expect(seen(passed![1])).toEqual(seen(looked[1]));
    for (const name of [EVENT_HEADER, EXACT_HEADER]) expect(passed![1].header(name)).toEqual(looked[1].header(name));
    if (!keyless) expect(passed![0]).toBe(partitionOf(passed![1].key!, PARTITIONS));
  });
});

test('a value whose exact text stands beside it keeps that', async () => {
  const columns = [SOURCE_COLUMNS[0]!, column('spent', 'numeric')];
  const on = await bench(plainMapping({ columns }), columns);
  const { looked, passed } = await bothWays(on, scatterChange(on.raw, { op: 'c', after: ['7', 'NaN'] }, AT)[0]!);
  expect(passed![1].header(EXACT_HEADER)).toEqual(looked[1].header(EXACT_HEADER));
  expect(passed![1].header(EXACT_HEADER)).toBeDefined();
});

const LOOKED_AT: readonly (readonly [string, RowChange, number])[] = [
  ['a row with absent columns', { op: 'u', after: ['7', 'a', undefined, null] }, 0],
  ['each half of a key change', { op: 'move', from: ['6', 'a', 'b', null], after: ROW }, 0],
  ['each half of a key change', { op: 'move', from: ['6', 'a', 'b', null], after: ROW }, 2],
  ['a tombstone', { op: 'd', before: ROW }, 1],
  ['a truncate', { op: 't' }, 0],
];

test.each(LOOKED_AT)('%s is looked at', async (_, change, index) => {
  const on = await bench(plainMapping({}));
  const { passed } = await bothWays(on, scatterChange(on.raw, change, AT)[index]!);
  expect(passed).toBeUndefined();
});

test('a row that the mapped topic may not take is looked at', async () => {
  const on = await bench(plainMapping({}), SOURCE_COLUMNS, 20_000);
  const row = (bytes: number): RawRecord => scatterChange(on.raw, { op: 'c', after: ['7', 'a', 'x'.repeat(bytes), null] }, AT)[0]!;
  expect((await bothWays(on, row(15_000))).passed).toBeDefined();
  expect((await bothWays(on, row(19_000))).passed).toBeUndefined();
});

test('a row in another shape than was mapped is looked at', async () => {
  const on = await bench(plainMapping({}), [...SOURCE_COLUMNS, column('more', 'text')]);
  const { passed } = await bothWays(on, scatterChange(on.raw, { op: 'c', after: [...ROW, 'x'] }, AT)[0]!);
  expect(passed).toBeUndefined();
});
