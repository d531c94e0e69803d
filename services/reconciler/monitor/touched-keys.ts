/**
 * Which rows the log has changes of, as a hint when to look. Guarantee: a change that is in the log is told by the drain after it was read: by its key's
 * first column, or, where there were too many or they are not to be had, as its whole table. No verdict rests on it.
 *
 * A reader of its own: transactions that an epoch record cuts off, and repeats, only make a part be looked at once more.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Offset, Topic } from '#connectors/change-log/change-log.ts';
import { messageOf } from '#schemas/errors.ts';
import { decodeChunkRows, decodeJsonFrame, type ChunkDeletes, FRAME } from '#schemas/frame/frame.ts';
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { rangeable } from '#schemas/reconcile/key-range.ts';
import { decodeRelation, decodeTruncate, KIND, locateTuples, relationOid, TAG, type TupleOffsets } from '#schemas/pgoutput/message.ts';
import type { Logger } from '#services/runtime/service.ts';
import { tableName } from './table-name.ts';

/** Texts of the key's first column, or that all of the table may have changed. */
export type Touched = ReadonlySet<string> | 'all';

interface Watched {
  readonly name: string;
  /** Place of the key's first column in the tuples; -1: there is none. */
  readonly place: number;
}

const KEYS_MAX = 50_000;
const RETRY_MS = 1_000;

export class TouchedKeys {
  readonly #raw: Topic;
  readonly #logger: Logger;
  /** Source tables, by name: the first column of the key; empty where they are compared whole. */
  readonly #tables: ReadonlyMap<string, string>;
  readonly #relations = new Map<number, Watched>();
  /** Partitions, by their OID: the table that they are of. */
  readonly #leaves = new Map<number, string>();
  readonly #unknown = new Map<number, Buffer>();
  readonly #offsets: TupleOffsets = { old: 0, oldFull: false, next: 0 };
  #touched = new Map<string, Set<string> | 'all'>();
  #next: Offset;

  /** To be made before the reader begins: a table is described once in a stream, in front of its first change. Of several tables with one name, as of several targets, the keys are the same. */
  constructor(raw: Topic, tables: readonly TableMapping[], logger: Logger) {
    this.#raw = raw;
    this.#next = raw.end(0);
    this.#logger = logger;
    // Texts of any length are not kept: they are of no table that is compared in ranges.
    const firstOf = (table: TableMapping): string => (rangeable(table) === undefined ? '' : table.sourceKey[0]!);
    const named = tables.map((table) => [tableName(table.from), firstOf(table)] as const);
    // Of one source table's targets, one that is cut needs the keys.
    this.#tables = new Map(named.toSorted(([, one], [, other]) => one.length - other.length));
  }

  /** Leaves of a partitioned table. */
  learn(table: { readonly schema: string; readonly name: string }, leaves: readonly number[]): void {
    for (const oid of leaves) {
      this.#leaves.set(oid, tableName(table));
      const relation = this.#unknown.get(oid);
      if (relation === undefined) continue;
      this.#relation(relation);
      // What it has brought before it was known whose it is.
      this.#all(tableName(table));
    }
  }

  /** What was changed since the last call. */
  drain(): ReadonlyMap<string, Touched> {
    const touched = this.#touched;
    this.#touched = new Map();
    return touched;
  }

  /** From where the log ended when this was made, until the signal. Never rejects: what could not be read may have changed anything. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const cursor = this.#raw.read(0, Math.max(this.#next, this.#raw.start(0)));
      try {
        for (let batch = await cursor.next(signal); batch !== undefined; batch = await cursor.next(signal)) {
          this.#read(batch.bytes);
          this.#next = batch.baseOffset + batch.count;
        }
        if (!signal.aborted) return; // the log is closed
      } catch (error) {
        this.#logger.warn({ error: messageOf(error) }, 'the log cannot be read on: every table is compared again');
        for (const name of this.#tables.keys()) this.#touched.set(name, 'all');
        await delay(RETRY_MS, undefined, { signal }).catch(() => undefined);
      } finally {
        await cursor.close();
      }
    }
  }

  #read(bytes: Buffer): void {
    for (let at = 0; at < bytes.length;) {
      const end = at + 4 + bytes.readUInt32BE(at);
      this.#frame(bytes.subarray(at + 4, end));
      at = end;
    }
  }

  #frame(frame: Buffer): void {
    switch (frame[0]) {
      case TAG.insert:
      case TAG.update:
      case TAG.delete:
        return this.#row(frame);
      case TAG.relation:
        return this.#relation(frame);
      case TAG.truncate:
        for (const oid of decodeTruncate(frame).oids) this.#all(this.#relations.get(oid)?.name);
        return;
      case FRAME.chunkRows:
        return this.#all(nameOf(decodeChunkRows(frame).header));
      case FRAME.chunkDeletes:
        return this.#all(nameOf(decodeJsonFrame<ChunkDeletes>(frame)));
      default:
    }
  }

  #relation(frame: Buffer): void {
    const { oid, schema, name, columns } = decodeRelation(frame);
    const table = this.#leaves.get(oid) ?? tableName({ schema, name });
    const first = this.#tables.get(table);
    this.#unknown.delete(oid);
    if (first === undefined) this.#unknown.set(oid, Buffer.from(frame));
    else this.#relations.set(oid, { name: table, place: columns.findIndex((column) => column.name === first) });
  }

  #row(frame: Buffer): void {
    const oid = relationOid(frame);
    const watched = this.#relations.get(oid);
    if (watched === undefined) {
      // Its description was missed: it may be any table's.
      if (!this.#unknown.has(oid)) for (const name of this.#tables.keys()) this.#all(name);
      return;
    }
    const offsets = this.#offsets;
    locateTuples(frame, offsets);
    for (const at of [offsets.old, offsets.next]) {
      if (at === 0) continue;
      const key = watched.place < 0 ? undefined : textAt(frame, at, watched.place);
      if (key === undefined) this.#all(watched.name);
      else this.#one(watched.name, key);
    }
  }

  #one(name: string, key: string): void {
    const keys = this.#touched.get(name);
    if (keys === 'all') return;
    if (keys === undefined) this.#touched.set(name, new Set([key]));
    else if (keys.size < KEYS_MAX) keys.add(key);
    else this.#touched.set(name, 'all');
  }

  #all(name: string | undefined): void {
    if (name !== undefined && this.#tables.has(name)) this.#touched.set(name, 'all');
  }
}

function nameOf({ schema, table }: { readonly schema: string; readonly table: string }): string {
  return tableName({ schema, name: table });
}

/** Undefined: null, or left out. */
function textAt(frame: Buffer, at: number, place: number): string | undefined {
  let p = at + 2;
  for (let i = 0; ; i++) {
    const kind = frame[p++];
    if (kind !== KIND.text) {
      if (i === place) return undefined;
      continue;
    }
    const length = frame.readUInt32BE(p);
    p += 4;
    if (i === place) return frame.toString('latin1', p, p + length);
    p += length;
  }
}
