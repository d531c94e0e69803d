/**
 * Picks from the stream the row changes that make the difference between the source's snapshot and the target's state. Guarantee: per
 * table (and each of its targets), in commit order, every change of a transaction that `classify` names, or the table is voided with the reason.
 */
import {
  decodeBegin,
  decodeRelation,
  decodeTruncate,
  decodeTuple,
  locateTuples,
  relationOid,
  TAG,
  type Begin,
  type Relation,
  type TupleOffsets,
} from '#schemas/pgoutput/message.ts';
import type { Inconclusive } from '#schemas/reconcile/verify-result.ts';

/** Source texts in the order of the table's source columns; undefined = absent (unchanged TOAST, or not part of the tuple). */
export type Values = readonly (string | null | undefined)[];

export type RowChange =
  | { readonly kind: 'insert'; readonly next: Values }
  /** `old` is the old key, or with `oldFull` the whole old row; undefined when the key did not change. */
  | { readonly kind: 'update'; readonly old: Values | undefined; readonly oldFull: boolean; readonly next: Values }
  | { readonly kind: 'delete'; readonly old: Values; readonly oldFull: boolean };

/** ahead: the target has it, the source's snapshot does not see it. behind: the other way round. */
export type Side = 'ahead' | 'behind';

export interface TableChanges {
  readonly ahead: RowChange[];
  readonly behind: RowChange[];
  voided?: Inconclusive;
}

export interface CollectedTable {
  /** OIDs of the leaves, or of the table itself. */
  readonly relations: readonly number[];
  readonly sourceColumns: readonly string[];
  readonly from: { readonly schema: string; readonly name: string };
  readonly changes: TableChanges;
}

/** More changes than this per table are not compared one by one. */
export interface CollectLimits {
  readonly changesPerTable: number;
  readonly bytes: number;
}

interface Collecting {
  readonly table: CollectedTable;
  /** Tuple column of each source column, -1 = not there. */
  readonly columns: readonly number[];
}

const NONE: readonly CollectedTable[] = [];

export class ChangeCollector {
  readonly #classify: (begin: Begin) => Side | undefined;
  readonly #byOid: ReadonlyMap<number, readonly CollectedTable[]>;
  readonly #byName: ReadonlyMap<string, readonly CollectedTable[]>;
  readonly #relations = new Map<number, readonly Collecting[]>();
  readonly #limits: CollectLimits;
  readonly #tuples: TupleOffsets = { old: 0, oldFull: false, next: 0 };
  #side: Side | undefined;
  #bytes = 0;

  constructor(tables: readonly CollectedTable[], classify: (begin: Begin) => Side | undefined, limits: CollectLimits) {
    this.#classify = classify;
    this.#limits = limits;
    // A table that is not partitioned is its own leaf.
    const relations = tables.flatMap((table) => [...new Set(table.relations)].map((oid) => ({ oid, table })));
    this.#byOid = new Map([...Map.groupBy(relations, ({ oid }) => oid)].map(([oid, group]) => [oid, group.map(({ table }) => table)]));
    this.#byName = Map.groupBy(tables, ({ from }) => nameOf(from));
  }

  feed(message: Buffer): void {
    switch (message[0]) {
      case TAG.begin:
        this.#side = this.#classify(decodeBegin(message));
        return;
      case TAG.relation:
        this.#addRelation(decodeRelation(message));
        return;
      case TAG.insert:
      case TAG.update:
      case TAG.delete:
        if (this.#side) this.#addChange(message, this.#side);
        return;
      case TAG.truncate:
        if (this.#side) for (const oid of decodeTruncate(message).oids) this.#void(oid, 'truncated while it was compared');
        return;
      default:
    }
  }

  #addRelation(relation: Relation): void {
    const tables = this.#byOid.get(relation.oid) ?? this.#byName.get(nameOf(relation)) ?? NONE;
    const columnsOf = ({ sourceColumns }: CollectedTable): number[] =>
      sourceColumns.map((name) => relation.columns.findIndex((column) => column.name === name));
    this.#relations.set(
      relation.oid,
      tables.map((table) => ({ table, columns: columnsOf(table) })),
    );
  }

  #void(oid: number, why: string): void {
    const tables = this.#byOid.get(oid) ?? this.#relations.get(oid)?.map(({ table }) => table) ?? NONE;
    for (const table of tables) voidTable(table, { cause: 'changed', message: `the table was ${why}` });
  }

  #addChange(message: Buffer, side: Side): void {
    const oid = relationOid(message);
    for (const known of this.#relations.get(oid) ?? []) if (!known.table.changes.voided) this.#addTo(known, { message, side, oid });
  }

  #addTo(known: Collecting, { message, side, oid }: { readonly message: Buffer; readonly side: Side; readonly oid: number }): void {
    const { table } = known;
    if (!this.#byOid.has(oid)) return voidTable(table, { cause: 'changed', message: 'the table was made anew while it was compared' });
    if (known.columns.includes(-1)) return voidTable(table, { cause: 'changed', message: 'a mapped column is not in the stream' });
    this.#bytes += message.length;
    const count = table.changes.ahead.length + table.changes.behind.length;
    if (count >= this.#limits.changesPerTable || this.#bytes > this.#limits.bytes) {
      return voidTable(table, { cause: 'volume', message: `more than ${count} rows changed while the table was compared` });
    }
    table.changes[side].push(this.#decode(message, known));
  }

  #decode(message: Buffer, { columns }: Collecting): RowChange {
    const tuples = this.#tuples;
    locateTuples(message, tuples);
    const read = (at: number): Values => {
      const tuple = decodeTuple(message, at);
      return columns.map((index) => tuple[index]);
    };
    if (message[0] === TAG.insert) return { kind: 'insert', next: read(tuples.next) };
    if (message[0] === TAG.delete) return { kind: 'delete', old: read(tuples.old), oldFull: tuples.oldFull };
    return { kind: 'update', old: tuples.old === 0 ? undefined : read(tuples.old), oldFull: tuples.oldFull, next: read(tuples.next) };
  }
}

/** The first reason stays; what was gathered is let go. */
export function voidTable({ changes }: CollectedTable, reason: Inconclusive): void {
  changes.voided ??= reason;
  changes.ahead.length = 0;
  changes.behind.length = 0;
}

function nameOf(table: { readonly schema: string; readonly name: string }): string {
  return `${table.schema}\u0001${table.name}`;
}
