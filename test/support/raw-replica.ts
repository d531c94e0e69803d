/**
 * The raw log folded into tables, by the plainest reading of design §2 and §4: what a perfect sink would show. Guarantee: no code of the
 * reader's, the transformer's or the sink's is used, so none of their mistakes can hide here.
 */
import { type ChunkDeletes, decodeChunkRows, decodeJsonFrame, FRAME, type TableStateFrame } from '#schemas/frame/frame.ts';
import {
  decodeBegin,
  decodeCommit,
  decodeRelation,
  decodeTruncate,
  decodeTuple,
  locateTuples,
  type Relation,
  relationOid,
  TAG,
  type TupleOffsets,
} from '#schemas/pgoutput/message.ts';
import { decodeCopyRows } from '#schemas/value/copy-text.ts';

export type ReplicaRow = Map<string, string | null>;

export interface ReplicaTable {
  readonly schema: string;
  readonly name: string;
  readonly oid: number;
  readonly key: readonly string[];
  /** OIDs of its leaves as they come and go; empty for an ordinary table. */
  leaves: Set<number>;
}

export interface ChunkSeen {
  readonly chunk: string;
  readonly rows: number;
}

export class RawReplica {
  readonly rows = new Map<string, Map<string, ReplicaRow>>();
  readonly chunks: ChunkSeen[] = [];
  readonly states: TableStateFrame[] = [];
  copyCompletes = 0;
  /** Partial changes for rows that are not there, after copy complete. */
  drift = 0;
  readonly #tables: ReplicaTable[];
  readonly #relations = new Map<number, Relation>();
  readonly #tuples: TupleOffsets = { old: 0, oldFull: false, next: 0 };
  #pending: Buffer[] = [];
  #lastCommit = 0n;

  constructor(tables: readonly ReplicaTable[]) {
    this.#tables = [...tables];
    for (const table of tables) this.rows.set(table.name, new Map());
  }

  addTable(table: ReplicaTable): void {
    this.#tables.push(table);
    this.rows.set(table.name, new Map());
  }

  /** Frames in log order. A transaction counts once its commit is there; an epoch voids an unfinished one. */
  take(frame: Buffer): void {
    const tag = frame[0]!;
    if (tag === FRAME.epoch) this.#pending = [];
    else if (tag === TAG.begin) this.#pending = [Buffer.from(frame)];
    else if (tag === TAG.commit) {
      const { commitLsn } = decodeCommit(frame);
      if (this.#pending.length === 0) throw new Error('a commit without its begin');
      if (commitLsn <= this.#lastCommit) throw new Error('a transaction stands in the log twice');
      if (decodeBegin(this.#pending[0]!).commitLsn !== commitLsn) throw new Error('begin and commit do not fit');
      this.#lastCommit = commitLsn;
      for (const one of this.#pending.splice(0)) this.#apply(one);
    } else if (this.#pending.length > 0) this.#pending.push(Buffer.from(frame));
    else this.#apply(frame);
  }

  table(name: string): Map<string, ReplicaRow> {
    return this.rows.get(name)!;
  }

  /** Rows as sorted COPY-like text, for comparing. */
  dump(name: string, columns: readonly string[]): string[] {
    return [...this.table(name).values()].map((row) => JSON.stringify(columns.map((column) => row.get(column)))).toSorted();
  }

  #apply(frame: Buffer): void {
    switch (frame[0]) {
      case TAG.relation:
        return this.#onRelation(decodeRelation(frame));
      case TAG.insert:
      case TAG.update:
      case TAG.delete:
        return this.#onChange(frame);
      case TAG.truncate:
        return this.#onTruncate(decodeTruncate(frame).oids);
      case FRAME.chunkRows:
        return this.#onChunk(frame);
      case FRAME.chunkDeletes:
        return this.#onDeletes(decodeJsonFrame<ChunkDeletes>(frame));
      case FRAME.tableState:
        this.states.push(decodeJsonFrame<TableStateFrame>(frame));
        return;
      case FRAME.copyComplete:
        this.copyCompletes++;
        return;
      default:
    }
  }

  #onRelation(relation: Relation): void {
    this.#relations.set(relation.oid, relation);
  }

  #tableOf(oid: number): ReplicaTable | undefined {
    return this.#tables.find((table) => table.oid === oid || table.leaves.has(oid));
  }

  #named(schema: string, name: string): ReplicaTable {
    const table = this.#tables.find((candidate) => candidate.schema === schema && candidate.name === name);
    if (!table) throw new Error(`no table ${schema}.${name}`);
    return table;
  }

  #onChange(m: Buffer): void {
    const relation = this.#relations.get(relationOid(m))!;
    const table = this.#tableOf(relation.oid);
    if (!table) return;
    const rows = this.table(table.name);
    const tuples = this.#tuples;
    locateTuples(m, tuples);
    const old = tuples.old > 0 ? present(relation, decodeTuple(m, tuples.old)) : undefined;
    const next = tuples.next > 0 ? present(relation, decodeTuple(m, tuples.next)) : undefined;
    if (table.key.length === 0) return this.#onKeyless(rows, old, next);
    const keyOf = (row: ReplicaRow): string => JSON.stringify(table.key.map((column) => row.get(column) ?? old?.get(column)));
    if (!next) {
      rows.delete(keyOf(old!));
      return;
    }
    const key = keyOf(next);
    const oldKey = old ? keyOf(old) : key;
    const isWhole = relation.columns.every((column) => next.has(column.name));
    const before = rows.get(oldKey);
    if (oldKey !== key) rows.delete(oldKey);
    if (isWhole) rows.set(key, next);
    else if (before) rows.set(key, new Map([...before, ...next]));
    else {
      rows.delete(key);
      if (this.copyCompletes > 0) this.drift++;
    }
  }

  #onKeyless(rows: Map<string, ReplicaRow>, old: ReplicaRow | undefined, next: ReplicaRow | undefined): void {
    // Equal rows share a stem and differ by a number: one of them goes.
    if (old) rows.delete(`${stem(old)}#${(this.#equalRows(rows, old) || 1) - 1}`);
    if (next) this.#addKeyless(rows, new Map([...(old ?? []), ...next]));
  }

  #addKeyless(rows: Map<string, ReplicaRow>, row: ReplicaRow): void {
    rows.set(`${stem(row)}#${this.#equalRows(rows, row)}`, row);
  }

  #equalRows(rows: Map<string, ReplicaRow>, row: ReplicaRow): number {
    let n = 0;
    while (rows.has(`${stem(row)}#${n}`)) n++;
    return n;
  }

  #onTruncate(oids: readonly number[]): void {
    const listed = new Set(oids);
    for (const table of this.#tables) {
      const whole = table.leaves.size > 0 ? [...table.leaves].every((oid) => listed.has(oid)) : listed.has(table.oid);
      if (whole) this.table(table.name).clear();
    }
  }

  #onChunk(frame: Buffer): void {
    const { header, rows: text } = decodeChunkRows(frame);
    this.chunks.push({ chunk: header.chunk, rows: header.rows });
    const table = this.#named(header.schema, header.table);
    const rows = this.table(table.name);
    if (header.truncate) rows.clear();
    const decoded = decodeCopyRows(text, header.columns.length);
    if (decoded.length !== header.rows) throw new Error(`chunk ${header.chunk} says ${header.rows} rows and has ${decoded.length}`);
    for (const values of decoded) {
      const row: ReplicaRow = new Map(header.columns.map((column, i) => [column, values[i]!]));
      if (table.key.length === 0) this.#addKeyless(rows, row);
      else rows.set(JSON.stringify(table.key.map((column) => row.get(column))), row);
    }
  }

  #onDeletes(deletes: ChunkDeletes): void {
    const rows = this.table(this.#named(deletes.schema, deletes.table).name);
    for (const key of deletes.keys) rows.delete(JSON.stringify(key));
  }
}

function stem(row: ReplicaRow): string {
  return JSON.stringify([...row].toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

function present(relation: Relation, values: readonly (string | null | undefined)[]): ReplicaRow {
  const row: ReplicaRow = new Map();
  values.forEach((value, i) => {
    if (value !== undefined) row.set(relation.columns[i]!.name, value);
  });
  return row;
}
