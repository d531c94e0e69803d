/**
 * Joins a table's mapping with a relation as the stream describes it. Guarantee: a BoundTable is only made when the relation is the
 * one that was mapped (every mapped column there with the same type, the same key, no column that the file does not know); whatever
 * is read through its indices is then the mapped value. All per-row look-ups are array reads.
 */
import type { Relation, RelationColumn } from '../pgoutput/message.ts';
import { isComputed, sourceColumns, type TableMapping } from './compiled-mapping.ts';
import type { CatalogColumn } from '../table.ts';
import { compileRowPredicate, type RowPredicate } from './row-filter.ts';
import { numericSize } from './type-modifier.ts';

export interface BoundTable {
  readonly kind: 'bound';
  readonly table: TableMapping;
  readonly relation: Relation;
  /** Field of the relation for each mapped column; -1 for one that is computed. */
  readonly columnFields: Int32Array;
  /** Mapped column for each field of the relation; -1 for a field that is left out. */
  readonly fieldColumns: Int32Array;
  /** Field for each key column, in the order of `sourceKey`. */
  readonly keyFields: Int32Array;
  /** Mapped column (index in `table.columns`) for each key column. */
  readonly keyColumns: Int32Array;
  /** Field for each input of the table's steps, in their order. */
  readonly inputFields: Int32Array;
  /** Field for each condition of the filter, in its order. */
  readonly filterFields: Int32Array;
  /** Undefined: every row passes. */
  readonly accepts?: RowPredicate;
  /** True when every field is mapped in its own place, without cast or filter: a row's fields are the target's as they stand. */
  readonly transparent: boolean;
}

export interface BindMismatch {
  readonly kind: 'mismatch';
  /**
   * missing: a mapped column was dropped or renamed. type: its type changed, so values may have been rewritten without a message.
   * added: a column that the file does not know. key: the stream identifies rows otherwise.
   */
  readonly reason: 'missing' | 'type' | 'added' | 'key';
  readonly column: string;
  readonly message: string;
}

export function bindRelation(table: TableMapping, relation: Relation): BoundTable | BindMismatch {
  const fields = new Map(relation.columns.map((column, i) => [column.name, i]));
  const mismatch = findMissing(table, relation, fields) ?? findAdded(table, relation) ?? findOtherKey(table, relation);
  if (mismatch !== undefined) return mismatch;
  const columnFields = Int32Array.from(table.columns, (column, i) => (isComputed(table.steps, i) ? -1 : fields.get(column.source.name)!));
  const fieldColumns = new Int32Array(relation.columns.length).fill(-1);
  columnFields.forEach((field, column) => field >= 0 && (fieldColumns[field] = column));
  const { filter } = table;
  return {
    kind: 'bound',
    table,
    relation,
    columnFields,
    fieldColumns,
    keyFields: Int32Array.from(table.sourceKey, (name) => fields.get(name)!),
    keyColumns: Int32Array.from(table.sourceKey, (name) => table.columns.findIndex((column) => column.source.name === name)),
    inputFields: Int32Array.from(table.steps?.inputs ?? [], (column) => fields.get(column.name)!),
    filterFields: Int32Array.from(filter?.conditions ?? [], (condition) => fields.get(condition.column)!),
    ...(filter !== undefined && { accepts: compileRowPredicate(filter) }),
    transparent: filter === undefined && isTransparent(table, columnFields, relation),
  };
}

function isTransparent(table: TableMapping, columnFields: Int32Array, relation: Relation): boolean {
  return (
    columnFields.length === relation.columns.length &&
    columnFields.every((field, i) => field === i) &&
    table.columns.every((column) => column.cast === undefined)
  );
}

function refuse(reason: BindMismatch['reason'], column: string, message: string): BindMismatch {
  return { kind: 'mismatch', reason, column, message };
}

function findMissing(table: TableMapping, relation: Relation, fields: ReadonlyMap<string, number>): BindMismatch | undefined {
  const name = nameOf(relation);
  for (const column of sourceColumns(table)) {
    const field = fields.get(column.name);
    if (field === undefined)
      return refuse('missing', column.name, `column "${column.name}" of ${name} is gone or renamed, but the file maps it`);
    const now = relation.columns[field]!;
    if (typeChanged(column, now)) return refuse('type', now.name, `column "${now.name}" of ${name} is no longer ${column.type}`);
  }
  for (const condition of table.filter?.conditions ?? []) {
    if (!fields.has(condition.column))
      return refuse('missing', condition.column, `column "${condition.column}" of ${name} is gone or renamed, but the file filters by it`);
  }
  return undefined;
}

const OID = { varchar: 1043, numeric: 1700, time: 1083, timestamp: 1114, timestamptz: 1184, timetz: 1266, varbit: 1562 } as const;

/** A wider modifier that leaves the values alone (PostgreSQL rewrites nothing then) is no change. */
function typeChanged(source: CatalogColumn, now: RelationColumn): boolean {
  if (now.typeOid !== source.typeOid) return true;
  if (now.typmod === source.typmod) return false;
  if (source.typmod < 0) return true;
  switch (now.typeOid) {
    case OID.varchar:
    case OID.varbit:
    case OID.time:
    case OID.timetz:
    case OID.timestamp:
    case OID.timestamptz:
      return now.typmod >= 0 && now.typmod < source.typmod;
    case OID.numeric: {
      const [before, after] = [numericSize(source.typmod), numericSize(now.typmod)];
      return after !== undefined && (after.scale !== before?.scale || after.precision < before.precision);
    }
    default:
      return true;
  }
}

function findAdded(table: TableMapping, relation: Relation): BindMismatch | undefined {
  if (table.unmapped === 'ignore') return undefined;
  const known = new Set([...table.dropped, ...sourceColumns(table).map((column) => column.name)]);
  const added = relation.columns.find((column) => !known.has(column.name));
  if (added === undefined) return undefined;
  return refuse('added', added.name, `column "${added.name}" was added to ${nameOf(relation)}, and the file neither maps nor drops it`);
}

function findOtherKey(table: TableMapping, relation: Relation): BindMismatch | undefined {
  // With FULL every column is marked, and any key can be read from the old row.
  if (relation.replicaIdentity === 'f') return undefined;
  const flagged = relation.columns.filter((column) => column.isKey).map((column) => column.name);
  const expected = new Set(table.sourceKey);
  if (expected.size > 0 && flagged.length === expected.size && flagged.every((name) => expected.has(name))) return undefined;
  const other = flagged.find((name) => !expected.has(name)) ?? table.sourceKey.find((name) => !flagged.includes(name)) ?? '';
  const now = flagged.length === 0 ? 'nothing' : `(${flagged.join(', ')})`;
  return refuse(
    'key',
    other,
    `the stream identifies rows of ${nameOf(relation)} by ${now}, the mapping by (${table.sourceKey.join(', ')})`,
  );
}

function nameOf(relation: Relation): string {
  return `${relation.schema}.${relation.name}`;
}
