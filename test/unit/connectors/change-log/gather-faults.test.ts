/** Records of rows that could not be mapped, as the sink meets them again. */
import { expect, test } from 'vitest';
import { rawKey } from '#connectors/change-log/kafka/order/bookmark.ts';
import { Branches } from '#connectors/change-log/kafka/order/branches.ts';
import { Reassembler } from '#connectors/change-log/kafka/order/reassemble.ts';
import type { MappedRow } from '#connectors/change-log/kafka/order/row-buffer.ts';
import { decodeChunkRows, decodeUnmapped, encodeChunkHeader } from '#schemas/frame/frame.ts';
import { encodeFault, type FaultEvent } from '#schemas/order/fault-header.ts';
import { decodeTuple } from '#schemas/pgoutput/message.ts';
import { mappedShape } from '#schemas/wire/shape.ts';
import { fields, formatOf, memoryRegistry, NO_RELATION, tableMapping } from '#test/support/raw-events.ts';
import { recordsOf } from '#test/support/log-records.ts';

const TOPIC = { t: 'topic', index: 0, topic: 'm.public.item', schema: 'public', table: 'item', partitions: 1 } as const;
const WHY = { code: 'CF-4002', message: 'no such zone' } as const;
const table = tableMapping();
const format = formatOf(memoryRegistry());

function faultRow(event: Omit<FaultEvent, 'code' | 'message'>, at: Partial<MappedRow>): MappedRow {
  const nothing = { flags: 0, absent: Buffer.alloc(0), value: undefined, exact: undefined, oldKey: undefined };
  const place = { raw: rawKey(0, 0), rawOffset: 0, place: 0, at: 0, epoch: 1, v: 10, sub: 0, oid: 77 };
  return { ...place, ...nothing, fault: encodeFault({ ...WHY, ...event }), ...at };
}

async function framesFrom(skeleton: readonly Buffer[], rows: MappedRow[], count = 1): Promise<readonly Buffer[]> {
  const reassembler = new Reassembler({ format, branches: new Branches({ name: 'm', hash: '', tables: [table] }), topic: () => TOPIC });
  const frames = skeleton.map((frame) => ({ v: 10, frame }));
  const batches = await reassembler.frames({ epoch: 1, base: 10, count, ranges: [], skeleton: frames }, rows);
  return batches.flatMap(recordsOf);
}

test('a row of a chunk is taken out of its lines and told in its header, by the names of the source', async () => {
  const encoder = await format.encoder(mappedShape(table, { name: 'm', database: 'd', relation: NO_RELATION }));
  const source = { commitLsn: 1n, commitTimeMicros: 0n, xid: 1, snapshot: true };
  const { value, absent, exact } = encoder.encode({ op: 'r', before: undefined, after: fields(['text', '1']), source });
  const header = {
    chunk: 'c',
    schema: 'public',
    table: 'item',
    columns: ['id', 'body'],
    rows: 2,
    truncate: false,
    recopy: false,
    last: true,
  };
  const fault = faultRow({ op: 'r', row: { item_id: '2', content: null } }, { sub: 1 });
  const [frame] = await framesFrom([encodeChunkHeader(header)], [{ ...fault, sub: 0, fault: undefined, value, absent, exact }, fault]);
  const told = decodeChunkRows(frame!);
  expect(told.header).toMatchObject({ columns: ['body', 'id'], rows: 1, unmapped: [{ fault: WHY, values: { id: '2', body: null } }] });
  expect(told.rows.toString()).toBe('text\t1\n');
});

test.each([
  ['c', 'I', undefined],
  ['u', 'U', undefined],
  ['u', 'U', { item_id: '2', content: 'old' }],
  ['d', 'D', undefined],
] as const)('a change with op %s is a frame around its message %s', async (op, tag, old) => {
  const [frame] = await framesFrom([], [faultRow({ op, row: { item_id: '2' }, ...(old !== undefined && { old }) }, {})]);
  const { fault, at } = decodeUnmapped(frame!);
  expect(fault).toEqual(WHY);
  expect(frame!.toString('latin1', at, at + 1)).toBe(tag);
  expect(frame!.readUInt32BE(at + 1)).toBe(77);
  expect(decodeTuple(frame!, at + 6)).toEqual(old === undefined ? [undefined, '2'] : ['old', '2']);
});

test('of a table with two targets a record without a row for each, or for one that has no filter, is refused', async () => {
  const second = { ...table, to: { schema: 'new', name: 'second' } };
  const branches = new Branches({ name: 'm', hash: '', tables: [table, second] });
  const reassembler = new Reassembler({ format, branches, topic: () => TOPIC });
  const ofBranch = (branch: number): MappedRow => faultRow({ op: 'c', row: { item_id: '2' } }, { raw: rawKey(0, 0, branch) });
  const read = (...rows: MappedRow[]): Promise<unknown> =>
    reassembler.frames({ epoch: 1, base: 10, count: 1, ranges: [], skeleton: [] }, rows);
  await expect(read(ofBranch(1), ofBranch(0))).resolves.toHaveLength(1);
  await expect(read(ofBranch(0))).rejects.toThrow('record 10 has no row for new.second');
  await expect(read(ofBranch(0), ofBranch(1), ofBranch(1))).rejects.toThrow('record 10 came twice');
});
