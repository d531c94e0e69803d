import { expect, test } from 'vitest';
import { encodeJsonFrame, FRAME } from '#schemas/frame/frame.ts';
import { toLsn } from '#schemas/lsn.ts';
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { DecimalSum } from '#schemas/reconcile/decimal-sum.ts';
import { digestSecrets, SECRET_BYTES } from '#schemas/reconcile/digest-secrets.ts';
import { RowDigester } from '#schemas/reconcile/row-digester.ts';
import type { CatalogColumn } from '#schemas/table.ts';
import { tableId } from '#schemas/mapping/compiled-mapping.ts';
import { tableProbe } from '#connectors/probe/postgres/table-scan.ts';
import { ChangeRing } from '#services/reconciler/stream/change-ring.ts';
import { LogReading } from '#services/reconciler/stream/log-reading.ts';
import { NotAligned } from '#services/reconciler/stream/mirror-verdict.ts';
import { type MirrorState, TableMirror } from '#services/reconciler/stream/table-mirror.ts';
import { parseVisibility } from '#services/reconciler/visibility.ts';
import { begin, commit, insert, ourMessage, relation, remove, truncate, update } from '#test/support/frames.ts';

const EPOCH = encodeJsonFrame(FRAME.epoch, { epoch: 2, systemId: '1', timeline: 1 });
const NAMES = ['id', 'a', 'b'];
const TABLE = { schema: 'public', name: 't' };
const OID = 7;
const SHAPE = relation({ oid: OID, ...TABLE, columns: NAMES.map((name, i) => ({ name, key: i === 0 })) });
/** Above every LSN of these tests. */
const END = toLsn(1_000_000n);

function column(name: string): CatalogColumn {
  const type = { typeOid: 25, typmod: -1, type: 'text', baseType: 'text', typtype: 'b', builtin: true, elementOid: 0 };
  return { name, ...type, notNull: true, generated: '', identity: '', hasDefault: false, typeLength: -1 };
}

const MAPPING: TableMapping = {
  from: TABLE,
  to: TABLE,
  columns: NAMES.map((name) => ({ target: name, targetType: 'text', targetBaseType: 'text', source: column(name) })),
  sourceKey: ['id'],
  targetKey: ['id'],
  overridesIdentity: false,
  existing: 'refuse',
  dropped: [],
};

interface World {
  readonly table: TableMirror;
  readonly markers: string[];
  readonly take: (...frames: Buffer[]) => void;
  /** The rows of a state by `id`: which of the values that were ever given it is. */
  readonly rows: (state: MirrorState) => string[];
}

/** Where `summed` names column b, it holds numbers. The table is filled with rows 1 and 2 by a snapshot that sees transactions below 100, at LSN 50. */
function world({ changesMax = 100, rowsMax = 100, notesMax = 100, summed = [] as readonly number[] } = {}): World {
  const ring = new ChangeRing<TableMirror>(changesMax, (table, transaction) => table.cannotGoBackOver(transaction));
  const digester = new RowDigester(digestSecrets(new Uint8Array(SECRET_BYTES).map((_, i) => 7 * i)));
  const probe = tableProbe(MAPPING, () => true);
  const table = new TableMirror({ probe, forms: NAMES.map(() => 'exact'), digester, summed }, ring);
  const markers: string[] = [];
  const reading = new LogReading({
    name: 'm',
    ring,
    tables: new Map([[tableId(TABLE), [table]]]),
    onMarker: (id) => void markers.push(id),
  });
  const fill = table.beginFill({ buckets: 4, declared: table.summed.length, rowsMax, notesMax });
  for (const id of ['1', '2']) fill.put([id, 'a', summed.length > 0 ? '2.5' : 'b']);
  table.oids.add(OID);
  fill.done({ visibility: parseVisibility('100:100:'), lsn: toLsn(50n) });
  reading.onRelation(SHAPE);
  return {
    table,
    markers,
    take: (...frames) => {
      for (const frame of frames) reading.scan.take(frame);
    },
    rows: (state) =>
      ['1', '2', '3'].flatMap((id) => {
        const found = state.at(table.texts.key([id]));
        if (found === undefined) return [];
        if ('open' in found) return [`${id} open`];
        const value = ['a', 'x', 'y', 'z'].find((a) => {
          const row = table.texts.row([id, a, 'b'], [id]);
          return 'lanes' in row && row.lanes.every((word, i) => word === found.lanes[i]);
        });
        return [`${id} ${value}`];
      }),
  };
}

function committed(xid: number, lsn: bigint, ...frames: Buffer[]): Buffer[] {
  return [begin(lsn, xid), ...frames, commit(lsn, lsn + 5n)];
}

function sumOf(state: MirrorState): number {
  return [0, 1, 2, 3].reduce((sum, bucket) => sum + state.bucket(bucket).rows, 0);
}

test('what a transaction did that is cut off is undone, and done when it comes again', () => {
  const { table, take, rows } = world();
  const changes = [update(OID, ['1', 'x', 'b']), remove(OID, ['2', null, null]), insert(OID, ['3', 'x', 'b'])];
  take(begin(100n, 101), ...changes, EPOCH);
  expect(rows(table.stateAt(END))).toEqual(['1 a', '2 a']);
  expect(sumOf(table.stateAt(END))).toBe(2);
  take(...committed(101, 100n, ...changes));
  expect(rows(table.stateAt(END))).toEqual(['1 x', '3 x']);
  expect(rows(table.stateAt(toLsn(100n)))).toEqual(['1 a', '2 a']);
});

test('the target’s state is that of its LSN, the source’s that of what its snapshot sees', () => {
  const { table, take, rows } = world();
  take(...committed(110, 100n, update(OID, ['1', 'x', 'b'])), ...committed(105, 200n, update(OID, ['2', 'y', 'b'])));
  take(begin(300n, 120), insert(OID, ['3', 'z', 'b']));
  expect(rows(table.stateAt(toLsn(105n)))).toEqual(['1 x', '2 a']);
  expect(rows(table.stateAt(toLsn(300n)))).toEqual(['1 x', '2 y']);
  expect(rows(table.stateSeenBy(parseVisibility('105:111:105')))).toEqual(['1 x', '2 a']);
  expect(rows(table.stateSeenBy(parseVisibility('110:111:110')))).toEqual(['1 a', '2 y']);
  expect(sumOf(table.stateSeenBy(parseVisibility('130:130:')))).toBe(3);
  expect(() => table.stateAt(toLsn(49n))).toThrow(NotAligned);
});

test('sums are those of the state asked for; with more rows than they are kept of the table begins anew without them', () => {
  const { table, take } = world({ summed: [2], notesMax: 3 });
  const totalOf = (state: MirrorState): string | null => {
    const total = new DecimalSum();
    for (const bucket of [0, 1, 2, 3]) for (const sum of state.declaredOf(bucket)) total.addAll(sum);
    return total.value;
  };
  expect(totalOf(table.stateAt(END))).toBe('5');
  take(...committed(110, 100n, update(OID, ['1', 'x', 'NaN'])), ...committed(105, 200n, update(OID, ['2', 'y', '-1e-07'])));
  take(...committed(120, 300n, remove(OID, ['1', null, null])));
  expect(totalOf(table.stateAt(END))).toBe('-0.0000001');
  expect(totalOf(table.stateAt(toLsn(300n)))).toBe('NaN');
  expect(totalOf(table.stateAt(toLsn(100n)))).toBe('5');
  expect(totalOf(table.stateSeenBy(parseVisibility('110:111:110')))).toBe('2.4999999');
  // A value that was left out is in no sum, and its row is open.
  take(...committed(130, 400n, update(OID, ['2', 'y', undefined])));
  expect(totalOf(table.stateAt(END))).toBeNull();
  take(...committed(131, 500n, ...['3', '4', '5'].map((id) => insert(OID, [id, 'a', '1']))));
  expect([table.reason?.cause, table.isWanted, table.summed]).toEqual(['volume', true, []]);
});

test('what the first snapshot saw is not done again', () => {
  const { table, take, rows } = world();
  take(...committed(99, 100n, update(OID, ['1', 'x', 'b'])), ...committed(100, 200n, update(OID, ['2', 'x', 'b'])));
  expect(rows(table.stateAt(END))).toEqual(['1 a', '2 x']);
});

test('behind a truncate there is no way back, and a truncate that is cut off voids the table', () => {
  const { table, take, rows } = world();
  take(...committed(110, 100n, insert(OID, ['3', 'a', 'b'])), ...committed(111, 200n, truncate([OID]), insert(OID, ['1', 'y', 'b'])));
  expect(() => table.stateAt(toLsn(200n))).toThrow(NotAligned);
  expect(rows(table.stateAt(toLsn(205n)))).toEqual(['1 y']);
  expect(() => table.stateSeenBy(parseVisibility('111:112:111'))).toThrow(NotAligned);
  expect(rows(table.stateSeenBy(parseVisibility('112:112:')))).toEqual(['1 y']);
  take(begin(300n, 113), truncate([OID]), EPOCH);
  expect(table.reason).toMatchObject({ cause: 'changed' });
});

test('beyond its limits a table says so: never equal, and no difference', () => {
  const many = Array.from({ length: 20 }, (_, i) => insert(OID, [`n${i}`, 'a', 'b']));
  const small = world({ rowsMax: 10 });
  small.take(...committed(110, 100n, ...many));
  expect(small.table.reason).toMatchObject({ cause: 'volume' });
  expect(small.table.isWanted).toBe(false);

  const narrow = world({ changesMax: 10 });
  narrow.take(...committed(110, 100n, ...many));
  expect(() => narrow.table.stateAt(toLsn(100n))).toThrow(NotAligned);
  expect(sumOf(narrow.table.stateAt(END))).toBe(22);
  narrow.take(begin(200n, 111), ...many.map((_, i) => remove(OID, [`n${i}`, null, null])), EPOCH);
  expect(narrow.table.reason).toMatchObject({ cause: 'changed' });
});

test('a row of which a value is left out is open until it comes whole; a key that changes is two rows', () => {
  const { table, take, rows } = world();
  take(...committed(110, 100n, update(OID, ['1', 'x', undefined]), update(OID, ['3', 'y', 'b'], { kind: 'K', values: ['2', null, null] })));
  expect(rows(table.stateAt(END))).toEqual(['1 open', '3 y']);
  expect(sumOf(table.stateAt(END))).toBe(1);
  take(...committed(111, 200n, update(OID, ['1', 'z', 'b'])));
  expect(rows(table.stateAt(END))).toEqual(['1 z', '3 y']);
  expect(rows(table.stateAt(toLsn(150n)))).toEqual(['1 open', '3 y']);
});

test('a table that is copied again, or described otherwise, is void; markers are told', () => {
  const { table, take, markers } = world();
  take(
    ...committed(110, 100n, ourMessage({ kind: 'marker', name: 'm', id: 'here' }), ourMessage({ kind: 'marker', name: 'other', id: 'no' })),
  );
  expect(markers).toEqual(['here']);
  take(encodeJsonFrame(FRAME.tableState, { schema: 'public', table: 't', state: 'following' }));
  expect(table.reason).toBeUndefined();
  take(encodeJsonFrame(FRAME.tableState, { schema: 'public', table: 't', state: 'copying' }));
  expect(table.reason).toMatchObject({ cause: 'copying' });
  expect(table.isWanted).toBe(true);

  const other = world();
  other.take(relation({ oid: OID, ...TABLE, columns: [{ name: 'id', key: true, typeOid: 23 }, { name: 'a' }, { name: 'b' }] }));
  expect(other.table.reason).toMatchObject({ cause: 'changed' });
  const renewed = world();
  renewed.take(relation({ oid: OID + 1, ...TABLE, columns: NAMES.map((name, i) => ({ name, key: i === 0 })) }));
  expect(renewed.table.reason).toMatchObject({ message: 'the table was made anew' });
});
