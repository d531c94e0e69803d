/**
 * Mapped records that wait for their segment. Guarantee: a raw record counts once, however often and in whatever order transformers
 * wrote its mapped record; one that no segment names, or that carries another epoch than the segment that names it, never gets out.
 */
import type { Range } from '#schemas/order/order-record.ts';
import { guarded } from '#schemas/test-hooks.ts';
import type { Offset } from '#connectors/change-log/change-log.ts';
import type { RawKey } from './bookmark.ts';

/** No epoch of ours. */
export const FOREIGN = -1;

/** One mapped record, with what gathering needs of its header. */
export interface MappedRow {
  readonly raw: RawKey;
  readonly rawOffset: Offset;
  /** Number of the mapped partition, and the record's place there. */
  readonly place: number;
  readonly at: Offset;
  /** FOREIGN: of somebody else's event, which got its place in the order by the segment alone; `v` is not known before. */
  readonly epoch: number;
  readonly v: Offset;
  readonly sub: number;
  readonly flags: number;
  readonly oid: number;
  readonly absent: Buffer;
  /** Undefined (and no fault): the transformer found that the source's table is no longer the one that was mapped. */
  readonly value: Buffer | undefined;
  readonly exact: Buffer | undefined;
  /** Set (and no value) when the row could not be mapped: which one it is, and why. */
  readonly fault: Buffer | undefined;
  /** Of a changed key. */
  readonly oldKey: Buffer | undefined;
}

interface RawRows {
  /** Below this everything was taken or is void. */
  taken: Offset;
  readonly rows: Map<Offset, MappedRow>;
}

/** A row's share of memory besides its bytes: the record, its views of what was fetched, its entry. */
const ROW_BYTES = 500;

export class RowBuffer {
  readonly #raw = new Map<RawKey, RawRows>();
  bytes = 0;

  constructor(taken: readonly (readonly [RawKey, Offset])[]) {
    for (const [raw, offset] of taken) this.#raw.set(raw, { taken: offset, rows: new Map() });
  }

  #of(raw: RawKey): RawRows {
    let rows = this.#raw.get(raw);
    if (rows === undefined) this.#raw.set(raw, (rows = { taken: 0, rows: new Map() }));
    return rows;
  }

  /** False for a record that is here already, was taken, or is void. */
  wants(raw: RawKey, rawOffset: Offset): boolean {
    const { taken, rows } = this.#of(raw);
    return rawOffset >= taken && !rows.has(rawOffset);
  }

  add(row: MappedRow): void {
    this.#of(row.raw).rows.set(row.rawOffset, row);
    this.bytes += sizeOf(row);
  }

  /** Rows of the range; what lies below it is void and goes. Foreign ones are numbered from `v` on. */
  // oxlint-disable-next-line max-params -- what is taken, as what, and where to
  take(key: RawKey, range: Range, { epoch, v }: { readonly epoch: number; readonly v: Offset }, into: MappedRow[]): void {
    const raw = this.#of(key);
    const from = guarded('order-range') ? range.from : raw.taken;
    this.#cut(raw, range.to, (row) => {
      if (row.rawOffset < from || (row.epoch !== epoch && row.epoch !== FOREIGN && guarded('row-epoch'))) return;
      into.push(row.epoch === FOREIGN ? { ...row, v: v + row.rawOffset - range.from } : row);
    });
  }

  /** A segment that is passed over: its rows are not wanted, now or when they come. */
  drop(key: RawKey, to: Offset): void {
    this.#cut(this.#of(key), to, () => undefined);
  }

  #cut(raw: RawRows, to: Offset, each: (row: MappedRow) => void): void {
    for (const row of rowsBetween(raw.rows, raw.taken, to)) {
      raw.rows.delete(row.rawOffset);
      this.bytes -= sizeOf(row);
      each(row);
    }
    raw.taken = Math.max(raw.taken, to);
  }

  /** What is held of the range. */
  bytesOf(key: RawKey, range: Range): number {
    let bytes = 0;
    for (const row of rowsBetween(this.#of(key).rows, range.from, range.to)) bytes += sizeOf(row);
    return bytes;
  }

  /** Lets go of everything at or above the limits (0 for a raw partition without one). */
  evict(limits: ReadonlyMap<RawKey, Offset>, gone: (row: MappedRow) => void): void {
    for (const [key, raw] of this.#raw) {
      const limit = limits.get(key) ?? 0;
      for (const row of raw.rows.values()) {
        if (row.rawOffset < limit) continue;
        raw.rows.delete(row.rawOffset);
        this.bytes -= sizeOf(row);
        gone(row);
      }
    }
  }

  *held(): Generator<MappedRow> {
    for (const { rows } of this.#raw.values()) yield* rows.values();
  }

  /** Raw partitions that a row came of, or a segment was taken of. */
  raws(): Iterable<RawKey> {
    return this.#raw.keys();
  }

  /** Below this everything of the raw partition was taken or is void. */
  taken(raw: RawKey): Offset {
    return this.#raw.get(raw)?.taken ?? 0;
  }
}

/** Whichever is less work: to look up each offset, or to look at each row. */
function* rowsBetween(rows: ReadonlyMap<Offset, MappedRow>, from: Offset, to: Offset): Generator<MappedRow> {
  if (to - from > 4 * rows.size) {
    for (const row of rows.values()) if (row.rawOffset >= from && row.rawOffset < to) yield row;
    return;
  }
  for (let offset = from; offset < to; offset++) {
    const row = rows.get(offset);
    if (row !== undefined) yield row;
  }
}

function sizeOf(row: MappedRow): number {
  return ROW_BYTES + (row.value?.length ?? 0) + (row.exact?.length ?? 0) + (row.fault?.length ?? 0) + (row.oldKey?.length ?? 0);
}

/** Apart from all that was fetched with it. */
export function ownBytes(row: MappedRow): MappedRow {
  const own = (bytes: Buffer | undefined): Buffer | undefined => bytes && Buffer.from(bytes);
  return {
    ...row,
    absent: Buffer.from(row.absent),
    value: own(row.value),
    exact: own(row.exact),
    fault: own(row.fault),
    oldKey: own(row.oldKey),
  };
}
