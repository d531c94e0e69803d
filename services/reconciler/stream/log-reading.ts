/**
 * Reads the raw log into the tables' mirrors. Guarantee: a table has exactly the changes of the transactions that count (transaction-scan.ts)
 * and that its first snapshot did not see; what a transaction that is cut off has done is undone, or its tables are void.
 */
import {
  decodeChunkRows,
  decodeJsonFrame,
  decodeOurMessage,
  FRAME,
  MESSAGE_PREFIX,
  type ChunkDeletes,
  type TableStateFrame,
} from '#schemas/frame/frame.ts';
import { tableId } from '#schemas/mapping/compiled-mapping.ts';
import { decodeMessage, decodeRelation, decodeTruncate, relationOid, TAG, type Relation } from '#schemas/pgoutput/message.ts';
import type { ChangeRing } from './change-ring.ts';
import type { TableMirror } from './table-mirror.ts';
import { TransactionScan, type ScanHandler, type ScannedTransaction } from './transaction-scan.ts';

type Named = { readonly schema: string; readonly name: string };

export class LogReading implements ScanHandler {
  readonly scan: TransactionScan;
  readonly #name: string;
  readonly #tables: ReadonlyMap<string, readonly TableMirror[]>;
  readonly #ring: ChangeRing<TableMirror>;
  readonly #onMarker: (id: string) => void;
  readonly #relations = new Map<number, Relation>();
  readonly #routes = new Map<number, readonly TableMirror[]>();
  #transaction: ScannedTransaction | undefined;
  /** Those that the open transaction counts for. */
  readonly #counts = new Map<TableMirror, boolean>();

  constructor(parts: {
    readonly name: string;
    readonly tables: ReadonlyMap<string, readonly TableMirror[]>;
    readonly ring: ChangeRing<TableMirror>;
    readonly onMarker: (id: string) => void;
  }) {
    this.#name = parts.name;
    this.#tables = parts.tables;
    this.#ring = parts.ring;
    this.#onMarker = parts.onMarker;
    this.scan = new TransactionScan(this);
  }

  onRelation(frame: Buffer): void {
    const relation = decodeRelation(frame);
    this.#relations.set(relation.oid, relation);
    for (const table of this.#tables.get(tableId(relation)) ?? []) if (table.reason === undefined) learn(table, relation);
    this.#routes.delete(relation.oid);
  }

  /** A table was filled: what describes its rows is told to it. */
  introduce(table: TableMirror): void {
    for (const relation of this.#relations.values()) if (table.oids.has(relation.oid)) table.learn(relation);
  }

  onBegin(transaction: ScannedTransaction): void {
    this.#transaction = transaction;
    this.#counts.clear();
    this.#ring.begin(transaction);
  }

  onCommit(): void {
    this.#ring.commit();
  }

  onVoid(): void {
    const open = this.#ring.takeOpen();
    if (open === undefined) return;
    for (const table of open.lost) table.void('changed', 'a transaction that does not count had more changes than can be taken back');
    for (const { table, key, before } of open.changes.toReversed()) table.undo(key, before);
  }

  onTableState(frame: Buffer): void {
    const { schema, table, state } = decodeJsonFrame<TableStateFrame>(frame);
    if (state === 'following') return;
    for (const one of this.#named({ schema, name: table })) one.void(state === 'held' ? 'held' : 'copying', `the table is ${state}`);
  }

  onFrame(frame: Buffer): void {
    const transaction = this.#transaction!;
    switch (frame[0]) {
      case TAG.insert:
      case TAG.update:
      case TAG.delete: {
        const oid = relationOid(frame);
        for (const table of this.#route(oid)) if (this.#isCounted(table)) table.change(oid, frame);
        return;
      }
      case TAG.truncate:
        for (const oid of decodeTruncate(frame).oids)
          for (const table of this.#route(oid)) if (this.#isCounted(table)) table.truncate(transaction);
        return;
      case TAG.message:
        this.#message(frame);
        return;
      case FRAME.chunkRows: {
        const { header, rows } = decodeChunkRows(frame);
        for (const table of this.#named({ schema: header.schema, name: header.table }))
          if (this.#isCounted(table)) table.copied(header, rows, transaction);
        return;
      }
      case FRAME.chunkDeletes: {
        const deletes = decodeJsonFrame<ChunkDeletes>(frame);
        for (const table of this.#named({ schema: deletes.schema, name: deletes.table }))
          if (this.#isCounted(table)) table.removed(deletes, transaction);
        return;
      }
      default:
    }
  }

  #message(frame: Buffer): void {
    const { prefix, content } = decodeMessage(frame);
    if (prefix !== MESSAGE_PREFIX) return;
    const our = decodeOurMessage(content, this.#name);
    if (our?.kind === 'marker') this.#onMarker(our.id);
  }

  /** By name: a table is no partitioned one, so the name is its own. */
  #route(oid: number): readonly TableMirror[] {
    let route = this.#routes.get(oid);
    if (route === undefined) {
      const relation = this.#relations.get(oid);
      route = relation === undefined ? [] : this.#named(relation);
      this.#routes.set(oid, route);
    }
    return route;
  }

  #named(table: Named): readonly TableMirror[] {
    return this.#tables.get(tableId(table)) ?? [];
  }

  #isCounted(table: TableMirror): boolean {
    let counts = this.#counts.get(table);
    if (counts === undefined) this.#counts.set(table, (counts = table.counts(this.#transaction!)));
    return counts;
  }
}

function learn(table: TableMirror, relation: Relation): void {
  if (!table.oids.has(relation.oid)) table.void('changed', 'the table was made anew');
  else table.learn(relation);
}
