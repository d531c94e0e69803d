/** What becomes of each kind of raw record, with and without a filter: the table in words. */
import { expect, test } from 'vitest';
import { partitionOf } from '#connectors/change-log/partitioner.ts';
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import {
  decodeEventHeader,
  decodePlace,
  EVENT,
  EVENT_HEADER,
  EXACT_HEADER,
  decodeOtherKey,
  NEW_KEY_HEADER,
  OLD_KEY_HEADER,
} from '#schemas/order/event-header.ts';
import { decodeFault, FAULT_HEADER } from '#schemas/order/fault-header.ts';
import { mappedShape } from '#schemas/wire/shape.ts';
import type { RowEncoder, WireFormat } from '#schemas/wire/wire.ts';
import { EventMapper, type MappedRecord, type MapOutcome } from '#services/transformer/map-event.ts';
import {
  boundless,
  fetched,
  formatOf,
  memoryRegistry,
  NO_RELATION,
  rawShapeOf,
  rowOf,
  scatterChange,
  SOURCE_COLUMNS,
  tableMapping,
  type RawRecord,
  type Row,
  type RowChange,
} from '#test/support/raw-events.ts';

const PARTITIONS = 3;
const PLACE = { partition: 2, offset: 70 };
const V = 41;

interface Bench {
  readonly format: WireFormat;
  readonly raw: RowEncoder;
  readonly mapper: EventMapper;
}

async function bench(table: TableMapping, columns = SOURCE_COLUMNS): Promise<Bench> {
  const format = formatOf(memoryRegistry());
  const encoder = await format.encoder(mappedShape(table, { name: 'm', database: 'db', relation: NO_RELATION }));
  const raw = await format.encoder(rawShapeOf(table, columns));
  return { format, raw, mapper: new EventMapper({ table, encoder, format, partitions: PARTITIONS, to: boundless(encoder.shape.topic) }) };
}

/** What is to be seen of a mapped record, in the mapped columns' order: content, item_id. */
interface Seen {
  readonly op: string;
  readonly key?: Row;
  readonly before?: Row;
  readonly after?: Row;
  readonly flags?: number;
}

async function learnt({ mapper, format }: Bench, record: RawRecord): Promise<ReturnType<typeof fetched>> {
  const one = fetched(record, PLACE.offset);
  for (let bytes = mapper.unknown(one); bytes !== undefined; bytes = mapper.unknown(one)) await format.learn(bytes);
  return one;
}

async function mapAll(on: Bench, records: readonly RawRecord[]): Promise<{ outcomes: MapOutcome[]; mapped: MappedRecord[] }> {
  const mapped: MappedRecord[] = [];
  const outcomes: MapOutcome[] = [];
  for (const record of records) outcomes.push(on.mapper.map(await learnt(on, record), PLACE, (one) => mapped.push(one)));
  return { outcomes, mapped };
}

function headerOf(record: MappedRecord, name: string): Buffer | undefined {
  return record.headers.find((header) => header.name === name)?.value;
}

async function see({ format }: Bench, record: MappedRecord): Promise<Seen> {
  const cf = headerOf(record, EVENT_HEADER)!;
  expect(decodePlace(cf)).toMatchObject(PLACE);
  const { flags, absent, v, topic, epoch, oid } = decodeEventHeader(cf);
  expect({ v, topic, epoch, oid }).toEqual({ v: V, topic: 5, epoch: 1, oid: 16384 });
  const shared = flags === 0 ? {} : { flags };
  if (record.key !== undefined) {
    expect(record.partition).toBe(partitionOf(record.key, PARTITIONS));
    if (!format.knows(record.key)) await format.learn(record.key);
  }
  const key = record.key && { key: rowOf(format.decodeKey(record.key).row) };
  if (record.value === undefined) return { op: record.key === undefined ? 'misfit' : 'tombstone', ...key, ...shared } as Seen;
  if (!format.knows(record.value)) await format.learn(record.value);
  const event = format.decode(record.value, { absent, exact: headerOf(record, EXACT_HEADER) });
  if (event.op !== 't') expect(event.columns).toEqual(['content', 'item_id']);
  const [before, after] = [rowOf(event.before), rowOf(event.after)];
  return { op: event.op, ...key, ...(before && { before }), ...(after && { after }), ...shared } as Seen;
}

async function whatComesOf(table: TableMapping, change: RowChange, columns = SOURCE_COLUMNS): Promise<readonly Seen[]> {
  const on = await bench(table, columns);
  const all = await mapAll(on, scatterChange(on.raw, change, { topic: 5, v: V }));
  const seen: Seen[] = [];
  for (const record of all.mapped) seen.push(await see(on, record));
  return seen;
}

/** Of the last record, which cannot be mapped. */
async function faultOf(table: TableMapping, change: RowChange): Promise<unknown> {
  const on = await bench(table);
  const { outcomes, mapped } = await mapAll(on, scatterChange(on.raw, change, { topic: 5, v: V }));
  expect(outcomes.at(-1)).toBe('unmapped');
  const record = mapped.at(-1)!;
  expect(record).toMatchObject({ key: undefined, value: undefined });
  expect(decodePlace(headerOf(record, EVENT_HEADER)!)).toMatchObject(PLACE);
  if (change.op === 'move') expect(headerOf(record, OLD_KEY_HEADER)).toBeDefined();
  return decodeFault(headerOf(record, FAULT_HEADER)!);
}

const IN: Row = ['1', 'ours', 'text', 'n'];
const OUT: Row = ['1', 'theirs', 'text', 'n'];
const KEY_ONLY: Row = ['1', null, null, null];
const tombstone: Seen = { op: 'tombstone', key: ['1'], flags: EVENT.tombstone };

test('columns are projected, renamed and put in the order of the mapping, under the mapped key', async () => {
  const table = tableMapping();
  expect(await whatComesOf(table, { op: 'c', after: IN })).toEqual([{ op: 'c', key: ['1'], after: ['text', '1'] }]);
  expect(await whatComesOf(table, { op: 'r', after: ['1', null, null, 'n'] })).toEqual([
    { op: 'r', key: ['1'], after: [null, '1'], flags: EVENT.chunk },
  ]);
  expect(await whatComesOf(table, { op: 'u', after: IN })).toEqual([{ op: 'u', key: ['1'], after: ['text', '1'] }]);
  expect(await whatComesOf(table, { op: 'u', before: OUT, after: IN })).toEqual([
    { op: 'u', key: ['1'], before: ['text', '1'], after: ['text', '1'] },
  ]);
  expect(await whatComesOf(table, { op: 'd', before: KEY_ONLY })).toEqual([{ op: 'd', key: ['1'], before: [null, '1'] }, tombstone]);
});

test('an absent column stays absent, told by the mapped column; one that the old row knows is filled in', async () => {
  const table = tableMapping();
  expect(await whatComesOf(table, { op: 'u', after: ['1', 'ours', undefined, 'n'] })).toEqual([
    { op: 'u', key: ['1'], after: [undefined, '1'] },
  ]);
  expect(await whatComesOf(table, { op: 'u', after: ['1', 'ours', 'text', undefined] })).toEqual([
    { op: 'u', key: ['1'], after: ['text', '1'] },
  ]);
  expect(await whatComesOf(table, { op: 'u', before: ['1', 'ours', 'old', 'n'], after: ['1', 'ours', undefined, 'n'] })).toEqual([
    { op: 'u', key: ['1'], before: ['old', '1'], after: ['old', '1'] },
  ]);
});

test('a row outside the filter is left out where it is created or copied', async () => {
  const table = tableMapping({ tenants: ['ours'] });
  expect(await whatComesOf(table, { op: 'c', after: IN })).toHaveLength(1);
  expect(await whatComesOf(table, { op: 'c', after: OUT })).toEqual([]);
  expect(await whatComesOf(table, { op: 'r', after: OUT })).toEqual([]);
  expect(await whatComesOf(table, { op: 'c', after: ['1', null, 'text', 'n'] })).toEqual([]);
});

test('an update that enters the filter stays an update, one that leaves it becomes a delete with its tombstone', async () => {
  const table = tableMapping({ tenants: ['ours'] });
  const gone = (before: Row): Seen[] => [{ op: 'd', key: ['1'], before }, tombstone];
  expect(await whatComesOf(table, { op: 'u', after: IN })).toEqual([{ op: 'u', key: ['1'], after: ['text', '1'] }]);
  expect(await whatComesOf(table, { op: 'u', before: OUT, after: IN })).toEqual([
    { op: 'u', key: ['1'], before: ['text', '1'], after: ['text', '1'] },
  ]);
  expect(await whatComesOf(table, { op: 'u', after: OUT })).toEqual(gone([null, '1']));
  expect(await whatComesOf(table, { op: 'u', before: IN, after: OUT })).toEqual(gone(['text', '1']));
  expect(await whatComesOf(table, { op: 'u', before: OUT, after: OUT })).toEqual(gone(['text', '1']));
});

test('a delete passes whatever the filter says, for its old row may be no more than the key', async () => {
  const table = tableMapping({ tenants: ['ours'] });
  expect(await whatComesOf(table, { op: 'd', before: KEY_ONLY })).toEqual([{ op: 'd', key: ['1'], before: [null, '1'] }, tombstone]);
  expect(await whatComesOf(table, { op: 'd', before: OUT })).toEqual([{ op: 'd', key: ['1'], before: ['text', '1'] }, tombstone]);
});

test('a filter on a column that is absent looks at the old row, and refuses when there is none', async () => {
  const table = tableMapping({ tenants: ['ours'] });
  const after: Row = ['1', undefined, 'text', 'n'];
  expect(await whatComesOf(table, { op: 'u', before: IN, after })).toHaveLength(1);
  expect(await whatComesOf(table, { op: 'u', before: OUT, after })).toEqual([{ op: 'd', key: ['1'], before: ['text', '1'] }, tombstone]);
  expect(await faultOf(table, { op: 'u', after })).toMatchObject({ code: 'CF-4002' });
});

test('a row that cannot be mapped becomes a record without key and value that says which row it is, and why', async () => {
  const table = tableMapping({ tenants: ['ours'] });
  const why = { code: 'CF-4002', message: expect.stringContaining('filter column') as string };
  expect(await faultOf(table, { op: 'u', after: ['1', undefined, undefined, 'n'] })).toEqual({ ...why, op: 'u', row: { item_id: '1' } });
  expect(await faultOf(table, { op: 'u', after: ['1', undefined, null, 'n'] })).toEqual({
    ...why,
    op: 'u',
    row: { item_id: '1', content: null },
  });
  // Too large for a header: the key alone.
  const large = 'ä'.repeat(40_000);
  expect(await faultOf(table, { op: 'u', after: ['1', undefined, large, 'n'] })).toEqual({ ...why, op: 'u', row: { item_id: '1' } });
  const moved = await faultOf(table, { op: 'move', from: KEY_ONLY, after: ['2', undefined, 'text', 'n'] });
  expect(moved).toEqual({ ...why, op: 'c', row: { item_id: '2', content: 'text' } });
});

test('a key change is two halves; the filter takes the new one, and the old one deletes', async () => {
  const from = KEY_ONLY;
  const away: Seen[] = [
    { op: 'd', key: ['1'], before: [null, '1'], flags: EVENT.movedAway },
    { op: 'tombstone', key: ['1'], flags: EVENT.movedAway | EVENT.tombstone },
  ];
  const here: Seen = { op: 'c', key: ['2'], after: ['text', '2'], flags: EVENT.movedHere };
  const table = tableMapping({ tenants: ['ours'] });
  expect(await whatComesOf(tableMapping(), { op: 'move', from, after: ['2', 'theirs', 'text', 'n'] })).toEqual([...away, here]);
  expect(await whatComesOf(table, { op: 'move', from, after: ['2', 'ours', 'text', 'n'] })).toEqual([...away, here]);
  expect(await whatComesOf(table, { op: 'move', from, after: ['2', 'theirs', 'text', 'n'] })).toEqual(away);
});

test('the keys in the headers of a key change are mapped keys', async () => {
  const on = await bench(tableMapping());
  const records = scatterChange(on.raw, { op: 'move', from: KEY_ONLY, after: ['2', 'ours', 'text', 'n'] }, { topic: 5, v: V });
  const [away, , here] = (await mapAll(on, records)).mapped;
  expect(decodeOtherKey(headerOf(here!, OLD_KEY_HEADER)!)).toEqual(away!.key);
  expect(decodeOtherKey(headerOf(away!, NEW_KEY_HEADER)!)).toEqual(here!.key);
  // For other readers, as the connector's worker writes it.
  expect(Object.values(JSON.parse(headerOf(here!, '__debezium.oldkey')!.toString()) as object)).toHaveLength(1);
  expect(decodeOtherKey(headerOf(here!, OLD_KEY_HEADER)!)).not.toEqual(records[0]!.key);
});

test('without a key the old and the new row count separately, and all goes to partition 0', async () => {
  const table = tableMapping({ keyless: true, tenants: ['ours'] });
  const row: Row = ['text', '1'];
  expect(await whatComesOf(table, { op: 'u', before: IN, after: IN })).toEqual([{ op: 'u', before: row, after: row }]);
  expect(await whatComesOf(table, { op: 'u', before: IN, after: OUT })).toEqual([{ op: 'd', before: row }]);
  expect(await whatComesOf(table, { op: 'u', before: OUT, after: IN })).toEqual([{ op: 'c', after: row }]);
  expect(await whatComesOf(table, { op: 'u', before: OUT, after: OUT })).toEqual([]);
  expect(await whatComesOf(table, { op: 'u', before: OUT, after: ['1', 'ours', undefined, 'n'] })).toEqual([{ op: 'c', after: row }]);
  expect(await whatComesOf(table, { op: 'd', before: IN })).toEqual([{ op: 'd', before: row }]);
  expect(await whatComesOf(table, { op: 'd', before: OUT })).toEqual([]);
  const on = await bench(table);
  const {
    mapped: [one],
  } = await mapAll(on, scatterChange(on.raw, { op: 'c', after: IN }, { topic: 5, v: V }));
  expect(one!.partition).toBe(0);
});

test('a truncate goes to the partition of its own number', async () => {
  const on = await bench(tableMapping({ tenants: ['ours'] }));
  const { mapped: all } = await mapAll(on, scatterChange(on.raw, { op: 't' }, { topic: 5, v: V }));
  expect(all.map(({ partition, key }) => [partition, key])).toEqual([[PLACE.partition, undefined]]);
  expect(await see(on, all[0]!)).toEqual({ op: 't', flags: EVENT.truncate });
});

test('columns in another order or beside the mapped ones are found by name; a missing one leaves a record that stands for the row', async () => {
  const [id, tenant, body, note] = SOURCE_COLUMNS;
  const shuffled = [note!, { ...note!, name: 'added' }, body!, tenant!, id!];
  expect(await whatComesOf(tableMapping(), { op: 'c', after: ['n', 'x', 'text', 'ours', '1'] }, shuffled)).toEqual([
    { op: 'c', key: ['1'], after: ['text', '1'] },
  ]);
  expect(await whatComesOf(tableMapping(), { op: 'c', after: ['1', 'ours', 'n'] }, [id!, tenant!, note!])).toEqual([{ op: 'misfit' }]);
  const table = tableMapping({ tenants: ['ours'] });
  expect(await whatComesOf(table, { op: 'c', after: ['1', 'text', 'n'] }, [id!, body!, note!])).toEqual([{ op: 'misfit' }]);
});

test('a value that its wire type cannot carry passes by the exact text', async () => {
  const [id, tenant, body, note] = SOURCE_COLUMNS;
  const dated = { ...body!, typeOid: 1082, type: 'date', baseType: 'date', typeName: 'date' };
  const plain = tableMapping();
  const table = { ...plain, columns: [{ ...plain.columns[0]!, source: dated }, plain.columns[1]!] };
  const columns = [id!, tenant!, dated, note!];
  expect(await whatComesOf(table, { op: 'c', after: ['1', 'ours', 'infinity', 'n'] }, columns)).toEqual([
    { op: 'c', key: ['1'], after: ['infinity', '1'] },
  ]);
});

test('what is not of this migration is left alone', async () => {
  const on = await bench(tableMapping());
  const { outcomes, mapped: all } = await mapAll(on, [{ key: Buffer.from('k'), value: Buffer.from('{}'), headers: [] }]);
  expect(outcomes).toEqual(['foreign']);
  expect(all).toEqual([]);
});
