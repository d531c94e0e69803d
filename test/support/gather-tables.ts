/**
 * Tables for the gather simulation, and a model of what mapping does to their rows. Guarantee: `expected` is written against the design
 * and the sink of one process (table-fold.ts), not against the code that it judges.
 */
import type { ColumnMapping, TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import type { WireColumn } from '#schemas/wire/wire.ts';
import type { Random } from '#test/support/random.ts';
import { insert, relation, remove, update } from '#test/support/frames.ts';

/** A row by column; undefined: absent. */
export type Row = Readonly<Record<string, string | null | undefined>>;

export type Change =
  | { readonly kind: 'insert'; readonly row: Row }
  | { readonly kind: 'update'; readonly row: Row; readonly old?: { readonly kind: 'K' | 'O'; readonly row: Row } }
  | { readonly kind: 'delete'; readonly old: { readonly kind: 'K' | 'O'; readonly row: Row } };

export interface SimulatedTable {
  readonly oids: readonly number[];
  readonly identity: 'd' | 'f';
  readonly key: readonly string[];
  /** Columns of each shape that the source's table has had; leaves take them in another order. */
  readonly shapes: readonly (readonly string[])[];
  readonly mapping: TableMapping;
}

const TEXT = 25;

function column(name: string, target: string): ColumnMapping {
  return {
    target,
    targetType: 'text',
    targetBaseType: 'text',
    source: {
      name,
      typeOid: TEXT,
      typmod: -1,
      type: 'text',
      baseType: 'text',
      typtype: 'b',
      builtin: true,
      elementOid: 0,
      notNull: false,
      generated: '',
      identity: '',
      hasDefault: false,
      typeLength: -1,
    },
  };
}

interface TableOf {
  readonly name: string;
  readonly to: string;
  readonly oids: readonly number[];
  readonly identity: 'd' | 'f';
  readonly key: readonly string[];
  readonly columns: Readonly<Record<string, string>>;
  readonly shapes: readonly (readonly string[])[];
  readonly filter?: string;
}

function table(of: TableOf): SimulatedTable {
  return {
    oids: of.oids,
    identity: of.identity,
    key: of.key,
    shapes: of.shapes,
    mapping: {
      from: { schema: 'public', name: of.name },
      to: { schema: 'new', name: of.to },
      columns: Object.entries(of.columns).map(([name, target]) => column(name, target)),
      sourceKey: of.key,
      targetKey: of.key.map((name) => of.columns[name]!),
      overridesIdentity: false,
      existing: 'refuse',
      dropped: [],
      unmapped: 'ignore',
      ...(of.filter !== undefined && { filter: { conditions: [{ column: of.filter, op: 'in' as const, values: ['in', null] }] } }),
    },
  };
}

export const TABLES: readonly SimulatedTable[] = [
  table({
    name: 'plain',
    to: 'plain',
    oids: [101],
    identity: 'd',
    key: ['id'],
    columns: { id: 'id', note: 'note', big: 'big' },
    shapes: [
      ['id', 'note', 'big'],
      ['big', 'id', 'added', 'note'],
    ],
  }),
  table({
    name: 'renamed',
    to: 'people',
    oids: [201, 202],
    identity: 'd',
    key: ['y', 'x'],
    // Names that are swapped: a column is found by what it is mapped to, never by chance.
    columns: { x: 'y', v: 'v', y: 'x' },
    shapes: [
      ['x', 'y', 'v', 'dropped'],
      ['dropped', 'v', 'x', 'y'],
    ],
  }),
  table({
    name: 'filtered',
    to: 'filtered',
    oids: [301],
    identity: 'f',
    key: ['id'],
    columns: { id: 'pk', big: 'big' },
    shapes: [['id', 'kind', 'big']],
    filter: 'kind',
  }),
  table({
    name: 'bag',
    to: 'bag',
    oids: [401],
    identity: 'f',
    key: [],
    columns: { a: 'a', kind: 'kind' },
    shapes: [['a', 'kind']],
    filter: 'kind',
  }),
];

/** What the copier reads: the mapped columns, and those of the filter. */
export function chunkColumns({ mapping }: SimulatedTable): readonly string[] {
  const mapped = mapping.columns.map(({ source }) => source.name);
  return [...mapped, ...(mapping.filter?.conditions ?? []).map(({ column: name }) => name).filter((name) => !mapped.includes(name))];
}

/** Which columns key, identity and shape give. */
export function wireColumns(of: SimulatedTable, shape: readonly string[]): readonly WireColumn[] {
  return shape.map((name) => ({ name, typeOid: TEXT, typmod: -1, isKey: of.key.includes(name), isNullable: !of.key.includes(name) }));
}

export function mappedColumns({ mapping }: SimulatedTable): readonly WireColumn[] {
  return mapping.columns.map(({ target }) => {
    const isKey = mapping.targetKey.includes(target);
    return { name: target, typeOid: TEXT, typmod: -1, isKey, isNullable: !isKey };
  });
}

export function relationOf(of: SimulatedTable, oid: number, shape: readonly string[]): Buffer {
  const columns = shape.map((name) => ({ name, key: of.identity === 'f' || of.key.includes(name) }));
  const leaf = of.oids.indexOf(oid) > 0 ? `${of.mapping.from.name}_leaf` : of.mapping.from.name;
  return relation({ oid, name: leaf, identity: of.identity, columns });
}

export function frameOf(oid: number, change: Change, columns: readonly string[]): Buffer {
  const values = (row: Row): (string | null | undefined)[] => columns.map((name) => row[name]);
  switch (change.kind) {
    case 'insert':
      return insert(oid, values(change.row));
    case 'update':
      return update(oid, values(change.row), change.old && { kind: change.old.kind, values: values(change.old.row) });
    case 'delete':
      return remove(oid, values(change.old.row), change.old.kind);
    default:
      return change satisfies never;
  }
}

const LETTERS = ['a', 'b', 'ü', '\t', '\\', '\n', '', 'x'.repeat(30)];

export function randomRow(random: Random, of: SimulatedTable): Row {
  const names = new Set(of.shapes.flat());
  const row: Record<string, string | null> = {};
  for (const name of names) {
    if (of.key.includes(name)) row[name] = String(random.between(0, 9));
    else if (name === 'kind') row[name] = random.chance(0.1) ? null : random.chance(0.5) ? 'in' : 'out';
    else row[name] = random.chance(0.2) ? null : `${LETTERS[random.between(0, LETTERS.length - 1)]}${random.between(0, 99)}`;
  }
  return row;
}

export function randomChange(random: Random, of: SimulatedTable): Change {
  const [before, row] = [randomRow(random, of), randomRow(random, of)];
  const keyOnly = (whole: Row): Row =>
    Object.fromEntries(Object.keys(whole).map((name) => [name, of.key.includes(name) ? whole[name] : null]));
  const kind = of.identity === 'f' ? 'O' : 'K';
  const old = { kind, row: kind === 'O' ? before : keyOnly(before) } as const;
  const draw = random.between(0, 9);
  if (draw < 4) return { kind: 'insert', row };
  if (draw < 6) return { kind: 'delete', old };
  const moves = of.key.length > 0 && random.chance(0.4) && of.key.some((name) => before[name] !== row[name]);
  const sameKey = moves ? row : { ...row, ...Object.fromEntries(of.key.map((name) => [name, before[name]])) };
  const absent = 'big' in row && random.chance(0.3);
  const next = absent ? { ...sameKey, big: undefined } : sameKey;
  return { kind: 'update', row: next, ...((moves || kind === 'O') && { old }) };
}

export function isMove(of: SimulatedTable, change: Change): boolean {
  return change.kind === 'update' && change.old !== undefined && of.key.some((name) => change.old!.row[name] !== change.row[name]);
}

/** The new row of an update; what it does not carry is what the whole old row had. */
export function completed({ row, old }: Extract<Change, { kind: 'update' }>): Row {
  if (old?.kind !== 'O') return row;
  return Object.fromEntries(Object.entries(row).map(([name, value]) => [name, value === undefined ? old.row[name] : value]));
}

export function passes({ mapping }: SimulatedTable, row: Row): boolean {
  return (mapping.filter?.conditions ?? []).every(({ column: name, values }) => values.includes(row[name] ?? null));
}

/** The frame that the sink should see; undefined when the filter takes the change. Columns in the mapping's order. */
export function expected(of: SimulatedTable, oid: number, change: Change): Buffer | undefined {
  const mapped = mappedChange(of, change);
  return (
    mapped &&
    frameOf(
      oid,
      mapped,
      of.mapping.columns.map(({ source }) => source.name),
    )
  );
}

function mappedChange(of: SimulatedTable, change: Change): Change | undefined {
  const keyless = of.key.length === 0;
  const keyOf = (row: Row): Row =>
    Object.fromEntries(of.mapping.columns.map(({ source: { name } }) => [name, of.key.includes(name) ? row[name] : null]));
  const gone = (row: Row): Change => ({ kind: 'delete', old: keyless ? { kind: 'O', row } : { kind: 'K', row: keyOf(row) } });
  switch (change.kind) {
    case 'insert':
      return passes(of, change.row) ? change : undefined;
    case 'delete':
      return keyless && !passes(of, change.old.row) ? undefined : gone(change.old.row);
    case 'update': {
      const { old } = change;
      const row = completed(change);
      if (isMove(of, change)) return passes(of, row) ? { ...change, row } : gone(old!.row);
      const left = !keyless || passes(of, old!.row);
      if (passes(of, row)) return left ? { ...change, row } : { kind: 'insert', row };
      return left ? gone(old?.row ?? row) : undefined;
    }
    default:
      return change satisfies never;
  }
}
