/**
 * Reads from a slot's messages which rows of which tables were changed. Guarantee: every row that a transaction of the stream wrote is touched under its
 * old and its new key; what has no key, or none that can be told, touches its table whole. Values are not kept.
 */
import { decodeOurMessage, MESSAGE_PREFIX } from '#schemas/frame/frame.ts';
import {
  decodeBegin,
  decodeMessage,
  decodeRelation,
  decodeTruncate,
  decodeTuple,
  locateTuples,
  relationOid,
  TAG,
  type Relation,
  type TupleOffsets,
} from '#schemas/pgoutput/message.ts';
import { invariant } from '#schemas/errors.ts';
import type { Touch, Touches } from './touches.ts';

export interface TrackedTable {
  /** OIDs of the leaves, and of the table itself. */
  readonly relations: readonly number[];
  readonly name: { readonly schema: string; readonly name: string };
  /** Columns of the key; empty: the table has none. */
  readonly key: readonly string[];
  readonly touches: Touches;
}

interface Reading {
  readonly table: TrackedTable;
  /** Place of each key column in the tuples, -1 = not there. */
  readonly places: readonly number[];
}

const NONE: readonly TrackedTable[] = [];

export class TouchTracker {
  readonly #name: string;
  readonly #tables: readonly TrackedTable[];
  readonly #byOid: ReadonlyMap<number, readonly TrackedTable[]>;
  readonly #byName: ReadonlyMap<string, readonly TrackedTable[]>;
  readonly #relations = new Map<number, readonly Reading[]>();
  readonly #tuples: TupleOffsets = { old: 0, oldFull: false, next: 0 };
  #touch: Touch | undefined;

  /** @param name Of the migration: its own messages tell of rows that are copied again. */
  constructor(name: string, tables: readonly TrackedTable[]) {
    this.#name = name;
    this.#tables = tables;
    const relations = tables.flatMap((table) => [...new Set(table.relations)].map((oid) => ({ oid, table })));
    this.#byOid = new Map([...Map.groupBy(relations, ({ oid }) => oid)].map(([oid, group]) => [oid, group.map(({ table }) => table)]));
    this.#byName = Map.groupBy(tables, ({ name: table }) => nameOf(table));
  }

  feed(message: Buffer): void {
    switch (message[0]) {
      case TAG.begin: {
        const { xid, commitLsn } = decodeBegin(message);
        this.#touch = { xid, lsn: commitLsn };
        return;
      }
      case TAG.relation:
        return this.#relation(decodeRelation(message));
      case TAG.insert:
      case TAG.update:
      case TAG.delete:
        return this.#row(message);
      case TAG.truncate:
        for (const oid of decodeTruncate(message).oids)
          for (const { touches } of this.#tablesOf(oid)) touches.touchWhole('it was truncated', this.#by());
        return;
      case TAG.message:
        return this.#message(message);
      default:
    }
  }

  #by(): Touch {
    invariant(this.#touch, 'a change is within a transaction');
    return this.#touch;
  }

  #tablesOf(oid: number): readonly TrackedTable[] {
    return this.#byOid.get(oid) ?? this.#relations.get(oid)?.map(({ table }) => table) ?? NONE;
  }

  #relation(relation: Relation): void {
    const tables = this.#byOid.get(relation.oid) ?? this.#byName.get(nameOf(relation)) ?? NONE;
    this.#relations.set(
      relation.oid,
      tables.map((table) => ({ table, places: table.key.map((name) => relation.columns.findIndex((column) => column.name === name)) })),
    );
  }

  #row(message: Buffer): void {
    const readings = this.#relations.get(relationOid(message)) ?? [];
    if (readings.length === 0) return;
    const tuples = this.#tuples;
    locateTuples(message, tuples);
    const [old, next] = [tuples.old, tuples.next].map((at) => (at === 0 ? undefined : decodeTuple(message, at)));
    for (const { table, places } of readings) {
      const by = this.#by();
      if (places.length === 0) table.touches.touchWhole('rows of it have changed, and it has no key', by);
      for (const tuple of places.length === 0 ? [] : [old, next]) {
        if (tuple === undefined) continue;
        const key = places.map((place) => tuple[place]);
        if (key.every((text) => typeof text === 'string')) table.touches.touch(JSON.stringify(key), by);
        else table.touches.touchWhole('the key of a changed row is not whole in the stream', by);
      }
    }
  }

  /** Which table a chunk is of its watermarks do not say. */
  #message(message: Buffer): void {
    const { transactional, lsn, prefix, content } = decodeMessage(message);
    if (prefix !== MESSAGE_PREFIX) return;
    const kind = decodeOurMessage(content, this.#name)?.kind;
    if (kind !== 'low' && kind !== 'high') return;
    const by = transactional ? this.#by() : { xid: undefined, lsn };
    for (const { touches } of this.#tables) touches.touchWhole('rows were copied again', by);
  }
}

function nameOf(table: { readonly schema: string; readonly name: string }): string {
  return `${table.schema}\u0001${table.name}`;
}
