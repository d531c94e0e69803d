/**
 * Walks the records of a unit and hands changes to their tables' folds. Guarantee: records are taken in log order; a transaction whose
 * commit LSN lies below what is applied is dropped (guard `duplicate`); tables that are held, waiting or not mapped are passed over.
 */
import type { Offset } from '#connectors/change-log/change-log.ts';
import { invariant, PipelineError } from '#schemas/errors.ts';
import {
  decodeChunkRows,
  decodeOurMessage,
  decodeJsonFrame,
  decodeUnmapped,
  FRAME,
  MESSAGE_PREFIX,
  partsOf,
  type ChunkDeletes,
} from '#schemas/frame/frame.ts';
import { toLsn, type Lsn } from '#schemas/lsn.ts';
import { keepsUnmarked } from '#schemas/mapping/kept-rows.ts';
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import type { DescribeRows } from '#schemas/mapping/mapped-side.ts';
import { decodeMessage, decodeRelation, decodeTruncate, relationOid, TAG, toUnixMs, type Relation } from '#schemas/pgoutput/message.ts';
import { guarded } from '#schemas/test-hooks.ts';
import type { PgMicros, Place, Position } from '#connectors/target/target.ts';
import { bindRelation, type BoundRelation, type RelationResolver } from './bind-relation.ts';
import type { RowsUnit, Span } from './frame-scanner.ts';
import { projectChunk } from './project-chunk.ts';
import { TableFold, type CommitClock } from './table-fold.ts';
import type { SinkTable } from './sink-table.ts';

interface Route {
  readonly bound: BoundRelation;
  readonly table: SinkTable;
  /** The same rows on their way to another target. */
  readonly next: Route | undefined;
}

export interface DecoderOptions {
  readonly name: string;
  readonly resolver: RelationResolver;
  /** One for each target of the source table. */
  readonly tablesOf: (name: { readonly schema: string; readonly name: string }) => readonly SinkTable[];
  /** By its place in the mapping's list. */
  readonly tableAt: (pair: number) => SinkTable | undefined;
  /** Exclusive end of what the target shows at the start. */
  readonly applied: Lsn;
  readonly offset: Offset;
  readonly commitTimeMs: number;
  /** Undefined: rows stand in the log as the stream describes them. */
  readonly describeRows: DescribeRows | undefined;
  /** The source's shape no longer fits the file: the table is held. */
  readonly onMisfit: (table: SinkTable, error: PipelineError) => void;
  readonly onMarker: (id: string) => void;
}

export class Decoder {
  readonly #options: DecoderOptions;
  readonly #routes = new Map<number, Route | undefined>();
  readonly #relations = new Map<number, Relation>();
  #endHigh: number;
  #endLow: number;
  #timeAt: { buffer: Buffer; at: number } | undefined;
  #offset: Offset;
  readonly #clock = new Clock();
  /** Commit LSN of the transaction under way, and how many row messages of it were seen. */
  #commitHigh: number;
  #commitLow: number;
  #rows = 0;
  #skipping = false;
  #inParts = false;
  /** Bytes and changes of the last unit. */
  changes = 0;

  constructor(options: DecoderOptions) {
    this.#options = options;
    this.#endHigh = Number(options.applied >> 32n);
    this.#endLow = Number(options.applied & 0xffffffffn);
    this.#offset = options.offset;
    this.#commitHigh = this.#endHigh;
    this.#commitLow = this.#endLow;
  }

  /** Undefined within a transaction that comes in parts. */
  position(): Position | undefined {
    if (this.#inParts) return undefined;
    return {
      offset: this.#offset,
      lsn: this.lsn,
      commitTimeMs: this.#timeAt === undefined ? this.#options.commitTimeMs : toUnixMs(this.#timeAt.buffer.readBigInt64BE(this.#timeAt.at)),
    };
  }

  /** Even: work that stands between two row messages has room. */
  place(): Place {
    return { lsn: toLsn((BigInt(this.#commitHigh) << 32n) | BigInt(this.#commitLow)), ordinal: 2 * this.#rows };
  }

  get offset(): Offset {
    return this.#offset;
  }

  get lsn(): Lsn {
    return toLsn((BigInt(this.#endHigh) << 32n) | BigInt(this.#endLow));
  }

  /** The description of a relation that stands below the offset where reading begins. */
  learn(relation: Relation): void {
    this.#relations.set(relation.oid, relation);
    this.#routes.delete(relation.oid);
  }

  take(unit: RowsUnit): void {
    this.changes = 0;
    if (!unit.last) this.#inParts = true;
    for (const span of unit.spans) this.#walk(span);
    if (unit.last) this.#inParts = false;
  }

  /** Tables have moved to other lanes. */
  forgetRoutes(): void {
    this.#routes.clear();
  }

  /** A record between transactions was handled. */
  passed(offset: Offset): void {
    if (offset >= this.#offset) this.#offset = offset + 1;
  }

  void(): void {
    this.#inParts = false;
  }

  #counted(table: SinkTable): void {
    table.newChanges++;
    table.changesApplied++;
    this.changes++;
  }

  /** The hot loop: nothing in it allocates. */
  #walk(span: Span): void {
    const b = span.buffer;
    let offset = span.offset;
    let lastOid = -1;
    let route: Route | undefined;
    for (let p = span.from; p < span.to; offset++) {
      const m = p + 4;
      p = m + ((b[p]! << 24) | (b[p + 1]! << 16) | (b[p + 2]! << 8) | b[p + 3]!);
      const tag = b[m]!;
      if (tag === TAG.update || tag === TAG.insert || tag === TAG.delete) {
        if (this.#skipping) continue;
        this.#rows++;
        const oid = ((b[m + 1]! << 24) | (b[m + 2]! << 16) | (b[m + 3]! << 8) | b[m + 4]!) >>> 0;
        if (oid !== lastOid) {
          route = this.#route(oid);
          lastOid = oid;
        }
        for (let to = route; to !== undefined; to = to.next) {
          const { table, bound } = to;
          if (offset < table.skipBelow || (table.state !== 'following' && table.state !== 'copying')) continue;
          (table.fold ?? this.#openFold(to)).add(bound, b, m);
          this.#counted(table);
        }
      } else if (tag === TAG.begin) {
        this.#begin(b, m);
      } else if (tag === TAG.commit) {
        if (!this.#skipping) this.#commit(b, m, offset);
        this.#skipping = false;
      } else {
        this.#other(b.subarray(m, p), offset);
        lastOid = -1;
      }
    }
  }

  /** What a restart reads again lies below what is applied: the LSN says so, not the offset. */
  #begin(b: Buffer, m: number): void {
    const high = b.readUInt32BE(m + 1);
    const below = high < this.#endHigh || (high === this.#endHigh && b.readUInt32BE(m + 5) < this.#endLow);
    this.#skipping = below && guarded('duplicate');
    if (this.#skipping) return;
    this.#commitHigh = high;
    this.#commitLow = b.readUInt32BE(m + 5);
    this.#clock.high = b.readInt32BE(m + 9);
    this.#clock.low = b.readUInt32BE(m + 13);
    this.#rows = 0;
  }

  /** Never moves back: reading begins a little below what is applied. */
  #commit(b: Buffer, m: number, offset: Offset): void {
    if (offset < this.#offset) return;
    this.#offset = offset + 1;
    this.#endHigh = b.readUInt32BE(m + 10);
    this.#endLow = b.readUInt32BE(m + 14);
    this.#timeAt = { buffer: b, at: m + 18 };
  }

  #route(oid: number): Route | undefined {
    if (this.#routes.has(oid)) return this.#routes.get(oid);
    const route = this.#bind(oid);
    this.#routes.set(oid, route);
    return route;
  }

  #bind(oid: number): Route | undefined {
    const relation = this.#relations.get(oid);
    if (relation === undefined)
      throw new PipelineError('CF-3002', `a change of relation ${oid} stands in the log without the relation's description`);
    let first: Route | undefined;
    for (const mapping of this.#options.resolver.resolve(relation).toReversed()) first = this.#bindTo(relation, mapping, first) ?? first;
    return first;
  }

  #bindTo(relation: Relation, mapping: TableMapping, next: Route | undefined): Route | undefined {
    const table = this.#options.tablesOf(mapping.from).find((one) => one.mapping === mapping);
    if (table === undefined) return undefined;
    try {
      const rows = this.#options.describeRows?.(relation, mapping) ?? relation;
      return { bound: bindRelation(rows, mapping), table, next };
    } catch (error) {
      if (!(error instanceof PipelineError)) throw error;
      this.#options.onMisfit(table, error);
      return undefined;
    }
  }

  #other(frame: Buffer, offset: Offset): void {
    switch (frame[0]) {
      case TAG.relation:
        this.learn(decodeRelation(frame));
        return;
      case TAG.truncate:
        this.#rows++;
        if (!this.#skipping) this.#truncate(decodeTruncate(frame).oids, offset);
        return;
      case TAG.message:
        if (!this.#skipping) this.#message(frame);
        return;
      case FRAME.unmapped:
        this.#rows++;
        if (!this.#skipping) this.#unmapped(frame, offset);
        return;
      case FRAME.parts:
        this.#rows++;
        if (!this.#skipping) for (const { pair, part } of partsOf(frame)) this.#part(part, offset, this.#options.tableAt(pair));
        return;
      case FRAME.chunkParts:
        this.#rows++;
        if (!this.#skipping) for (const { pair, part } of partsOf(frame)) this.#chunkRows(part, offset, this.#options.tableAt(pair));
        return;
      case FRAME.chunkRows:
        this.#rows++;
        if (!this.#skipping) this.#chunkRows(frame, offset);
        return;
      case FRAME.chunkDeletes:
        this.#rows++;
        if (!this.#skipping) this.#chunkDeletes(frame, offset);
        return;
      default:
    }
  }

  #truncate(oids: readonly number[], offset: Offset): void {
    const emptied = new Set<SinkTable>();
    for (const oid of oids) {
      for (let route = this.#route(oid); route !== undefined; route = route.next) {
        const { table } = route;
        if (offset < table.skipBelow || emptied.has(table) || table.state === 'held' || table.state === 'waiting') continue;
        if (table.mapping.truncates !== undefined) {
          emptied.add(table);
          this.#counted(table);
          if (table.mapping.truncates === 'halt') this.#halt(table);
          continue;
        }
        // Some leaves only: their rows cannot be told apart on the target; the reader has them copied again.
        if (!this.#options.resolver.emptiesAll(table.mapping, oids)) continue;
        emptied.add(table);
        // Rows that stay reach the target before they are marked.
        const fold = table.mapping.deletes === undefined ? (table.fold ?? this.#openFold(route)) : this.#nextFold(route);
        fold.clear(this.place());
        this.#counted(table);
      }
    }
  }

  /** A change on its way to one target. */
  #part(frame: Buffer, offset: Offset, only: SinkTable | undefined): void {
    if (frame[0] === FRAME.unmapped) {
      this.#unmapped(frame, offset, only);
      return;
    }
    for (const route of this.#routesTo(relationOid(frame), offset, only)) {
      (route.table.fold ?? this.#openFold(route)).add(route.bound, frame, 0);
      this.#counted(route.table);
    }
  }

  /** Behind what the mapping says of it stands the row's message, which says which row it is. */
  #unmapped(frame: Buffer, offset: Offset, only?: SinkTable): void {
    const { fault, at } = decodeUnmapped(frame);
    for (const route of this.#routesTo(frame.readUInt32BE(at + 1), offset, only)) {
      (route.table.fold ?? this.#openFold(route)).refuse(route.bound, frame, at, fault);
      this.#counted(route.table);
    }
  }

  /** Those whose changes count; `only`: the one to this table. */
  *#routesTo(oid: number, offset: Offset, only: SinkTable | undefined): Generator<Route> {
    for (let route = this.#route(oid); route !== undefined; route = route.next) {
      const { table } = route;
      if (only !== undefined && table !== only) continue;
      if (offset >= table.skipBelow && (table.state === 'following' || table.state === 'copying')) yield route;
    }
  }

  /** Held as for a row that the target refuses, so that only a resume ends it. */
  #halt(table: SinkTable): void {
    const fault = { code: 'CF-4004', message: 'the source truncated the table, and the file says `truncates: halt`' } as const;
    const nothing = { columns: [], rows: [], rowCount: 0, truncate: false, mayExist: true, time: this.#clock.time };
    table.lane.push({ kind: 'chunk', table: table.mapping, ...nothing, unmapped: [{ fault, values: {} }] }, 0);
  }

  #openFold({ table, bound }: Route): TableFold {
    const fold = (table.fold = new TableFold(bound, table.state === 'following', this.#clock));
    table.lane.opened(table);
    return fold;
  }

  #nextFold(route: Route): TableFold {
    if (route.table.fold !== undefined) route.table.lane.cut();
    return this.#openFold(route);
  }

  #message(frame: Buffer): void {
    const { prefix, content } = decodeMessage(frame);
    if (prefix !== MESSAGE_PREFIX) return;
    const our = decodeOurMessage(content, this.#options.name);
    if (our?.kind === 'marker') this.#options.onMarker(our.id);
  }

  #chunkRows(frame: Buffer, offset: Offset, only?: SinkTable): void {
    const { header, rows } = decodeChunkRows(frame);
    for (const table of this.#options.tablesOf({ schema: header.schema, name: header.table })) {
      if ((only !== undefined && table !== only) || table.state === 'held' || offset < table.skipBelow) continue;
      if (table.awaitsChunk && header.truncate) table.state = 'copying';
      // Else its rows would come and its changes be passed over.
      invariant(
        table.state !== 'waiting' || table.awaitsChunk,
        `the copy of ${header.schema}.${header.table} was announced before its rows`,
      );
      const { leftOut, ...chunk } = projectChunk(table.mapping, header, rows);
      table.lane.push(
        {
          kind: 'chunk',
          table: table.mapping,
          ...chunk,
          truncate: header.truncate && !keepsUnmarked(table.mapping),
          mayExist: table.expectsRows(header.recopy),
          asked: header.asked === true,
          time: this.#clock.time,
        },
        rows.length,
      );
      // The target may have them all the same: whoever asked for these keys means that.
      if (leftOut.length > 0) this.#deleteKeys(table, leftOut);
      table.newRows += chunk.rowCount;
      table.rowsCopied += chunk.rowCount;
    }
  }

  #chunkDeletes(frame: Buffer, offset: Offset): void {
    const { schema, table: name, keyColumns, keys } = decodeJsonFrame<ChunkDeletes>(frame);
    if (keys.length === 0) return;
    for (const table of this.#options.tablesOf({ schema, name })) {
      if (table.state === 'held' || offset < table.skipBelow) continue;
      const order = table.mapping.sourceKey.map((column) => keyColumns.indexOf(column));
      this.#deleteKeys(
        table,
        keys.map((key) => order.map((i) => key[i]!)),
      );
    }
  }

  #deleteKeys({ lane, mapping }: SinkTable, keys: readonly (readonly string[])[]): void {
    lane.push({ kind: 'keys', table: mapping, keys, time: this.#clock.time }, 64 * keys.length);
  }
}

/** Two numbers for each transaction, so that the hot loop allocates nothing. */
class Clock implements CommitClock {
  high = 0;
  low = 0;

  get time(): PgMicros {
    return (BigInt(this.high) << 32n) | BigInt(this.low);
  }
}
