/**
 * Takes batches of frames apart. Guarantee: each frame has its v, in order; row frames of mapped tables become records, and every other
 * frame stands in the skeleton byte for byte (of a chunk of rows its header), so that all of it can be put together again.
 */
import { invariant, PipelineError } from '#schemas/errors.ts';
import { decodeChunkRows, FRAME, type ChunkRowsHeader } from '#schemas/frame/frame.ts';
import { decodeBegin, decodeRelation, decodeTruncate, TAG } from '#schemas/pgoutput/message.ts';
import type { WireSource } from '#schemas/wire/wire.ts';
import type { Offset, RecordBatch } from '#connectors/change-log/change-log.ts';
import type { Compression } from '../record-batch.ts';
import { Parcel } from './parcel.ts';
import type { RawRows, RawTables } from './raw-tables.ts';
import { RowScatter, type RowPlace } from './scatter-rows.ts';

/** A parcel whose skeleton has grown to this is closed: a segment has to fit into what a broker takes, 1 MiB by default. */
const SKELETON_BYTES_MAX = 512 * 1024;
const POSTGRES_EPOCH_MICROS = 946_684_800_000_000n;
const NO_SOURCE: WireSource = { commitLsn: 0n, commitTimeMicros: 0n, xid: 0, snapshot: false };

export interface ScatterOptions {
  readonly tables: RawTables;
  readonly epoch: number;
  /** Number of the first frame. */
  readonly base: Offset;
  readonly compression: Compression;
  /** The last description of a relation in the log before that. */
  readonly relation: (oid: number) => Buffer | undefined;
}

/** A batch on its way: which frame is next. */
interface Walk {
  readonly bytes: Buffer;
  at: number;
  readonly parcels: Parcel[];
}

/** What has to be known before the walk goes on. */
type Need = () => Promise<void>;

export class Scatter {
  readonly #options: ScatterOptions;
  readonly #rows: RowScatter;
  /** By relation; undefined: not mapped. */
  readonly #relations = new Map<number, RawRows | undefined>();
  /** Descriptions of relations that are not mapped, in case they turn out to be leaves of a mapped table. */
  readonly #unmapped = new Map<number, Buffer>();
  readonly #place: RowPlace;
  #snapshotSource: WireSource = NO_SOURCE;

  constructor(options: ScatterOptions) {
    this.#options = options;
    this.#rows = new RowScatter(options.compression);
    this.#place = { parcel: this.#newParcel(options.base), epoch: options.epoch, v: options.base, source: NO_SOURCE };
  }

  /** The batch's parcels, one or more. One call at a time. */
  async take(batch: RecordBatch): Promise<readonly Parcel[]> {
    const bytes = batch.parts.length === 1 ? batch.parts[0]! : Buffer.concat(batch.parts);
    const parcel = this.#newParcel(this.#place.v);
    const walk: Walk = { bytes, at: 0, parcels: [parcel] };
    const end = this.#place.v + batch.count;
    this.#place.parcel = parcel;
    for (let need = this.#walk(walk); need !== undefined; need = this.#walk(walk)) await need();
    invariant(this.#place.v === end, 'a batch holds as many frames as it says');
    return walk.parcels;
  }

  #newParcel(base: Offset): Parcel {
    return new Parcel(base, this.#options.compression);
  }

  /** To the end of the batch, or to the next frame that needs something. */
  #walk(walk: Walk): Need | undefined {
    const b = walk.bytes;
    const place = this.#place;
    let lastOid = -1;
    let rows: RawRows | undefined;
    while (walk.at < b.length) {
      const m = walk.at + 4;
      const next = m + b.readUInt32BE(walk.at);
      const tag = b[m]!;
      if (tag === TAG.insert || tag === TAG.update || tag === TAG.delete) {
        const oid = b.readUInt32BE(m + 1);
        if (oid !== lastOid) {
          if (!this.#relations.has(oid)) return () => this.#recall(oid);
          rows = this.#relations.get(oid);
          lastOid = oid;
        }
        if (rows === undefined) place.parcel.addSkeleton(place.v, b.subarray(m, next));
        else this.#rows.change(rows, b, m, place);
      } else {
        const need = this.#other(walk, m, next);
        if (need !== undefined) return need;
        lastOid = -1;
      }
      this.#passed(walk, next);
    }
    return undefined;
  }

  #passed(walk: Walk, next: number): void {
    const place = this.#place;
    const { parcel } = place;
    walk.at = next;
    place.v++;
    parcel.count++;
    if (parcel.skeletonBytes < SKELETON_BYTES_MAX || next === walk.bytes.length) return;
    place.parcel = this.#newParcel(place.v);
    walk.parcels.push(place.parcel);
  }

  #other(walk: Walk, m: number, next: number): Need | undefined {
    const frame = walk.bytes.subarray(m, next);
    switch (frame[0]) {
      case TAG.begin:
        this.#begin(frame);
        break;
      case TAG.relation:
        return this.#relation(walk, frame);
      case TAG.truncate:
        return this.#truncate(frame);
      case FRAME.chunkRows:
        return this.#chunk(walk, frame);
      default:
    }
    this.#keep(frame);
    return undefined;
  }

  #keep(frame: Buffer): void {
    this.#place.parcel.addSkeleton(this.#place.v, frame);
  }

  #begin(frame: Buffer): void {
    const { commitLsn, commitTime, xid } = decodeBegin(frame);
    this.#place.source = { commitLsn, commitTimeMicros: commitTime + POSTGRES_EPOCH_MICROS, xid, snapshot: false };
    this.#snapshotSource = { ...this.#place.source, snapshot: true };
  }

  /** The encoder is made before the frame is passed, so what is behind it waits. */
  #relation(walk: Walk, frame: Buffer): Need {
    return async () => {
      await this.#describe(frame);
      this.#keep(frame);
      this.#passed(walk, walk.at + 4 + frame.length);
    };
  }

  async #describe(frame: Buffer): Promise<void> {
    const relation = decodeRelation(frame);
    const rows = await this.#options.tables.relation(relation);
    this.#relations.set(relation.oid, rows);
    if (rows === undefined) this.#unmapped.set(relation.oid, Buffer.from(frame));
    else this.#unmapped.delete(relation.oid);
  }

  /** Of a relation that is not mapped. */
  unmappedName(oid: number): string | undefined {
    const frame = this.#unmapped.get(oid);
    if (frame === undefined) return undefined;
    const { schema, name } = decodeRelation(frame);
    return `${schema}.${name}`;
  }

  /** These relations are leaves of a mapped table from here on. */
  learn(oids: readonly number[]): void {
    for (const oid of oids) if (this.#unmapped.has(oid)) this.#relations.delete(oid);
  }

  /** Described by a session before this one, in a transaction that is in the log already. */
  async #recall(oid: number): Promise<void> {
    const frame = this.#unmapped.get(oid) ?? this.#options.relation(oid);
    if (frame === undefined) {
      throw new PipelineError('CF-3002', `a change of relation ${oid} came, and the log does not hold the relation's description`);
    }
    await this.#describe(frame);
  }

  #truncate(frame: Buffer): Need | undefined {
    const { oids } = decodeTruncate(frame);
    const unknown = oids.find((oid) => !this.#relations.has(oid));
    if (unknown !== undefined) return () => this.#recall(unknown);
    const emptied = new Map(oids.map((oid) => this.#relations.get(oid)).map((rows) => [rows?.table.topic.name, rows]));
    for (const rows of emptied.values()) {
      if (rows === undefined) continue;
      const { oid, leaves } = rows.table.catalog;
      // Of some leaves only: the table is not empty; the reader has what is gone deleted row by row.
      if (leaves.length === 0 || oids.includes(oid) || leaves.every((leaf) => oids.includes(leaf.oid)))
        this.#rows.truncate(rows, this.#place);
    }
    this.#keep(frame);
    return undefined;
  }

  /** Its columns may be new here, so it is taken when its encoder is there. */
  #chunk(walk: Walk, frame: Buffer): Need {
    return async () => {
      const { header, rows: lines } = decodeChunkRows(frame);
      const rows = await this.#options.tables.chunk(header);
      if (rows === undefined) this.#keep(frame);
      else {
        this.#chunkRows(rows, header, lines);
        this.#keep(frame.subarray(0, frame.length - lines.length));
      }
      this.#passed(walk, walk.at + 4 + frame.length);
    };
  }

  #chunkRows(rows: RawRows, header: ChunkRowsHeader, lines: Buffer): void {
    const place = this.#place;
    const { source } = place;
    place.source = this.#snapshotSource;
    let sub = 0;
    for (let at = 0; at < lines.length; sub++) at = this.#rows.chunkRow(rows, lines, at, sub, place);
    place.source = source;
    invariant(sub === header.rows, 'a chunk holds as many rows as it says');
  }
}
