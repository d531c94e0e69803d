import { ZERO_LSN } from '#schemas/lsn.ts';
import { describe, expect, test } from 'vitest';
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { decodeTuple } from '#schemas/pgoutput/message.ts';
import { OP, type Layout } from '#connectors/target/target.ts';
import type { BoundRelation } from '#services/sink/bind-relation.ts';
import { TableFold } from '#services/sink/table-fold.ts';
import { deleteFrame, insertFrame, updateFrame, type Value } from '#test/support/sink-frames.ts';
import { randomOf } from '#test/support/random.ts';

const SEEDS = 400;
const OID = 7;

/** id, name, big; or in a leaf's own order. */
function bound(keys: readonly number[], columns: readonly number[]): BoundRelation {
  const layout: Layout = { columns: Int32Array.from(columns), key: Int32Array.from(keys) };
  return { relation: undefined as never, table: {} as TableMapping, layout, passes: undefined, image: undefined };
}

type Row = (string | null)[];

/** What a target does with a batch, in the order in which the sink does it. */
function apply(
  batch: TableFold,
  before: ReadonlyMap<string, Row>,
  keyOf: (row: readonly (string | null | undefined)[]) => string,
): Map<string, Row> {
  const after = batch.truncate ? new Map<string, Row>() : new Map(before);
  const entries = Array.from({ length: batch.size }, (_, i) => ({
    op: batch.ops[i]!,
    row: decodeTuple(batch.buffers[i]!, batch.at[i]!),
    carry: batch.carries.get(i),
  }));
  const whole = entries.map(({ op, row, carry }) => {
    if ((op & OP.kind) !== OP.patch) return row as Row;
    const from = carry === undefined ? keyOf(row) : keyOf(decodeTuple(carry.buffer, carry.at));
    const base = before.get(from);
    if (base === undefined) throw new Error(`no row ${from} to complete from`);
    return row.map((value, i) => (value === undefined ? base[i]! : value));
  });
  for (const { op, row } of entries) if ((op & OP.kind) === OP.delete || (op & OP.recreate) !== 0) after.delete(keyOf(row));
  entries.forEach(({ op }, i) => {
    if ((op & OP.kind) === OP.delete) return;
    const key = keyOf(whole[i]!);
    if ((op & OP.fresh) !== 0 && after.has(key)) throw new Error(`fresh row ${key} is there already`);
    after.set(key, whole[i]!);
  });
  return after;
}

const KEYS = ['0', '7', '-3', '007', 'a', 'b', '12345678901234567890', ''];

function play(seed: number, keyColumns: readonly number[]): void {
  const random = randomOf(seed);
  const table = bound(keyColumns, [0, 1, 2]);
  const turned = bound(
    keyColumns.map((i) => 2 - i),
    [2, 1, 0],
  );
  const keyOf = (row: readonly (string | null | undefined)[]): string => keyColumns.map((i) => row[i]).join('|');
  const keyRow = (row: Row): Row => row.map((value, i) => (keyColumns.includes(i) ? value : null));
  const some = (): string | null => (random(5) === 0 ? null : `v${random(20)}\t\\`);
  const target = new Map<string, Row>();
  for (let i = 0; i < 4; i++) {
    const row: Row = [KEYS[random(KEYS.length)]!, keyColumns.includes(1) ? `k${random(2)}` : some(), some()];
    target.set(keyOf(row), row);
  }
  const source = new Map(target);
  const batch = new TableFold(table, true, { time: 0n });
  for (let step = 0; step < 1 + random(30); step++) {
    const leaf = random(4) === 0 ? turned : table;
    const order = (row: readonly Value[]): readonly Value[] => (leaf === turned ? row.toReversed() : row);
    const present = [...source.keys()];
    const old = source.get(present[random(present.length)] ?? '');
    const fresh: Row = [KEYS[random(KEYS.length)]!, keyColumns.includes(1) ? `k${random(2)}` : some(), some()];
    const kind = random(10);
    if (random(60) === 0) {
      batch.clear({ lsn: ZERO_LSN, ordinal: 0 });
      source.clear();
    } else if (old === undefined || kind < 3) {
      if (source.has(keyOf(fresh))) continue;
      source.set(keyOf(fresh), fresh);
      add(batch, leaf, insertFrame(OID, order(fresh)));
    } else if (kind < 5) {
      source.delete(keyOf(old));
      add(batch, leaf, deleteFrame(OID, order(keyRow(old))));
    } else {
      const moves = kind === 9 && !source.has(keyOf(fresh));
      const next: Row = moves ? [...fresh] : old.map((value, i) => (keyColumns.includes(i) ? value : fresh[i]!));
      const sent: Value[] = next.slice();
      if (random(2) === 0) {
        next[2] = old[2]!;
        sent[2] = undefined;
      }
      source.delete(keyOf(old));
      source.set(keyOf(next), next);
      const full = random(3) === 0;
      const before = full ? { kind: 'O' as const, row: order(old) } : moves ? { kind: 'K' as const, row: order(keyRow(old)) } : undefined;
      add(batch, leaf, updateFrame(OID, order(sent), before));
    }
  }
  expect(sorted(apply(batch, target, keyOf))).toEqual(sorted(source));
}

/** At an odd place of a larger buffer, as in the log. */
function add(batch: TableFold, relation: BoundRelation, frame: Buffer): void {
  const buffer = Buffer.concat([Buffer.alloc(5, 0x4e), frame, Buffer.alloc(3, 0x74)]);
  batch.add(relation, buffer, 5);
}

function sorted(rows: ReadonlyMap<string, Row>): Row[] {
  return [...rows.entries()].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, row]) => row);
}

describe('a fold', () => {
  test.each([
    ['one key column', [0]],
    ['two key columns', [0, 1]],
    ['two key columns, the second first', [1, 0]],
  ] as const)('leaves the target as the changes one after another would: %s', (_name, keys) => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      try {
        play(seed, keys);
      } catch (error) {
        throw new Error(`seed ${seed}: ${String(error)}`, { cause: error });
      }
    }
  });

  test('counts equal rows of a keyless table', () => {
    const table = bound([], [0, 1, 2]);
    const batch = new TableFold(table, true, { time: 0n });
    add(batch, table, insertFrame(OID, ['1', 'x', null]));
    add(batch, table, insertFrame(OID, ['1', 'x', null]));
    add(batch, table, deleteFrame(OID, ['1', 'x', null], 'O'));
    add(batch, table, deleteFrame(OID, ['2', 'y', null], 'O'));
    add(batch, table, updateFrame(OID, ['3', 'z', undefined], { kind: 'O', row: ['4', 'w', 'big'] }));
    const counted = Array.from({ length: batch.size }, (_, i) => [decodeTuple(batch.buffers[i]!, batch.at[i]!).join(), batch.counts[i]]);
    expect(counted).toEqual([
      ['1,x,', 1],
      ['2,y,', -1],
      ['4,w,big', -1],
      ['3,z,big', 1],
    ]);
  });
});
