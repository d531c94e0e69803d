/** Where the raw record of a row stands, found again afterwards. */
import { expect, test } from 'vitest';
import { findRawRecord } from '#connectors/change-log/kafka/order/raw-record-place.ts';
import { ScatterTopic } from '#connectors/change-log/kafka/order/scatter-topic.ts';
import { orderTopic } from '#connectors/change-log/kafka/order/topic-names.ts';
import { recordsIn } from '#connectors/change-log/kafka/record-reader.ts';
import { decodeEventHeader, EVENT_HEADER } from '#schemas/order/event-header.ts';
import { jsonFormat } from '#schemas/wire/json-format.ts';
import { begin, commit, insert, relation, update } from '#test/support/frames.ts';
import { batchOf } from '#test/support/log-records.ts';
import { MemoryKafka } from '#test/support/memory-cluster.ts';
import { catalogTable } from '#test/support/scattered-log.ts';

const TABLE = { oid: 101, name: 'plain', columns: ['id', 'note'], key: ['id'] };
const RELATION = relation({ oid: 101, name: 'plain', columns: TABLE.columns.map((name) => ({ name, key: name === 'id' })) });
const TOPIC = { t: 'topic', index: 0, topic: 'm.public.plain', schema: 'public', table: 'plain', partitions: 2 } as const;

function reader(kafka: MemoryKafka): ScatterTopic {
  const common = { cluster: kafka.client(), name: 'm', format: jsonFormat({ name: 'm' }), partitions: 2 };
  return new ScatterTopic({ ...common, database: 'd', tableOf: () => catalogTable(TABLE) });
}

function write(to: ScatterTopic, lsn: bigint, ...rows: readonly Buffer[]): Promise<unknown> {
  return to.append(0, batchOf(begin(lsn), RELATION, ...rows, commit(lsn, lsn + 1n)));
}

const row = (id: string, note: string): Buffer => insert(101, [id, note]);
const change = (id: string, note: string): Buffer => update(101, [id, note]);

/** The note that the record found carries. */
async function noteOf(kafka: MemoryKafka, id: string, before: number): Promise<unknown> {
  const cluster = kafka.client();
  const places = { cluster, order: orderTopic('m'), format: jsonFormat({ name: 'm' }) };
  const found = await findRawRecord(places, { topic: TOPIC, key: new Map([['id', id]]), before });
  if (found === undefined) return undefined;
  const fetcher = await cluster.fetcher();
  fetcher.seek(found, found.offset);
  const [fetched] = (await fetcher.next(AbortSignal.timeout(5_000)))!;
  await fetcher.close();
  const record = recordsIn(fetched!).find(({ offset }) => offset === found.offset)!;
  expect(decodeEventHeader(record.header(EVENT_HEADER)!).v).toBeLessThan(before);
  const { payload } = JSON.parse(record.value!.toString()) as { payload: { after: { note: string } } };
  return payload.after.note;
}

test('it is the last one of the key below the frame asked for', async () => {
  const kafka = new MemoryKafka();
  const raw = reader(kafka);
  await raw.begin(0);
  await write(raw, 10n, row('1', 'a'), row('2', 'b'), change('1', 'aa'));
  const middle = raw.end();
  await write(raw, 20n, change('1', 'aaa'), change('2', 'bb'));
  expect(await noteOf(kafka, '1', middle)).toBe('aa');
  expect(await noteOf(kafka, '2', middle)).toBe('b');
  expect(await noteOf(kafka, '1', raw.end())).toBe('aaa');
  // In the middle of a segment.
  expect(await noteOf(kafka, '1', 3)).toBe('a');
  expect(await noteOf(kafka, '3', raw.end())).toBeUndefined();
});

test('what a replaced reader wrote is not found, whatever it named', async () => {
  const kafka = new MemoryKafka();
  const [zombie, successor] = [reader(kafka), reader(kafka)];
  await zombie.begin(0);
  await write(zombie, 10n, row('1', 'a'));
  await successor.begin(1);
  await write(successor, 20n, change('2', 'b'), change('2', 'bb'));
  await write(zombie, 20n, change('1', 'stale'), change('1', 'stale')).catch(() => undefined);
  expect(await noteOf(kafka, '1', successor.end())).toBe('a');
  expect(await noteOf(kafka, '2', successor.end())).toBe('bb');
});
