/**
 * One pass over a table: the initial copy, or a re-copy of all of it, a range, a leaf. Guarantee: each part is cut into chunks that
 * together cover it without a gap; a chunk is in exactly one of: ready, in flight, delivered (in the log), finished (recorded).
 */
import { invariant } from '#schemas/errors.ts';
import type { KeyRange } from '#connectors/source/copy-source.ts';
import type { ChunkPlannedRecord, PartRef, RecopyAskedRecord } from './control-record.ts';

export type JobKind = 'initial' | Exclude<RecopyAskedRecord['kind'], 'keys'>;

export interface RangeChunk {
  readonly kind: 'range' | 'replace';
  readonly id: string;
  readonly job: CopyJob;
  readonly part: PartRef;
  readonly n: number;
  readonly after: readonly string[] | null;
  readonly upTo: readonly string[] | null;
  /** Rows of it may be on the target already: it was begun before, or belongs to a re-copy. */
  repeated: boolean;
}

export class PartPlan {
  readonly ref: PartRef;
  /** Upper bound of the last chunk planned. */
  cursor: readonly string[] | null = null;
  ended = false;
  isPlanning = false;
  nextN = 0;

  constructor(ref: PartRef) {
    this.ref = ref;
  }
}

export interface JobOptions {
  readonly id: string;
  readonly kind: JobKind;
  readonly table: { readonly schema: string; readonly name: string };
  /** The whole table in one chunk that clears the target first. */
  readonly replaces: boolean;
  readonly parts: readonly PartRef[];
  readonly bounds?: Pick<KeyRange, 'from' | 'to'>;
}

export class CopyJob {
  readonly id: string;
  readonly kind: JobKind;
  readonly replaces: boolean;
  readonly bounds: Pick<KeyRange, 'from' | 'to'>;
  readonly #table: { readonly schema: string; readonly name: string };
  readonly #parts: Map<number, PartPlan>;
  readonly #ready: RangeChunk[] = [];
  readonly #inFlight = new Map<string, RangeChunk>();
  readonly #delivered = new Map<string, RangeChunk>();
  /** The first low watermark has passed: the stream's changes count from there on. */
  begun = false;

  constructor(options: JobOptions) {
    this.id = options.id;
    this.kind = options.kind;
    this.replaces = options.replaces;
    this.bounds = options.bounds ?? {};
    this.#table = options.table;
    this.#parts = new Map(options.parts.map((ref) => [ref.oid, new PartPlan(ref)]));
  }

  get chunksInFlight(): number {
    return this.#inFlight.size;
  }

  /** Every chunk's rows stand in the raw log (perhaps not yet durable). */
  isDelivered(): boolean {
    if (this.#ready.length > 0 || this.#inFlight.size > 0) return false;
    for (const part of this.#parts.values()) if (!part.ended) return false;
    return true;
  }

  isFinished(): boolean {
    return this.isDelivered() && this.#delivered.size === 0;
  }

  /** A chunk planned earlier and not yet read. */
  takeReady(): RangeChunk | undefined {
    const chunk = this.#ready.shift();
    if (chunk) this.#inFlight.set(chunk.id, chunk);
    return chunk;
  }

  /** A part of which more is to be planned, by nobody yet. */
  partToPlan(): PartPlan | undefined {
    for (const part of this.#parts.values()) if (!part.ended && !part.isPlanning) return part;
    return undefined;
  }

  rangeAfter(part: PartPlan): KeyRange {
    return { ...this.bounds, ...(part.cursor && { after: part.cursor }) };
  }

  /** The part's next chunk; `upTo` undefined: what is left. Undefined when the part was given up meanwhile. */
  plan(
    part: PartPlan,
    upTo: readonly string[] | undefined,
  ): { readonly chunk: RangeChunk; readonly record: ChunkPlannedRecord } | undefined {
    part.isPlanning = false;
    if (this.#parts.get(part.ref.oid) !== part) return undefined;
    const n = part.nextN++;
    const chunk: RangeChunk = {
      kind: this.replaces ? 'replace' : 'range',
      id: `${this.id}#${part.ref.oid}.${n}`,
      job: this,
      part: part.ref,
      n,
      after: part.cursor,
      upTo: upTo ?? null,
      repeated: this.kind !== 'initial',
    };
    part.cursor = chunk.upTo;
    part.ended = upTo === undefined;
    this.#inFlight.set(chunk.id, chunk);
    const { schema, name: table } = this.#table;
    return {
      chunk,
      record: { t: 'chunk-planned', chunk: chunk.id, job: this.id, schema, table, part: part.ref, n, after: chunk.after, upTo: chunk.upTo },
    };
  }

  /** From a record of an earlier run. */
  restorePlanned(record: ChunkPlannedRecord): void {
    let part = this.#parts.get(record.part.oid);
    if (!part) {
      part = new PartPlan(record.part);
      this.#parts.set(record.part.oid, part);
    }
    invariant(record.n === part.nextN, `chunk ${record.chunk} is planned in order`);
    part.nextN++;
    part.cursor = record.upTo;
    part.ended = record.upTo === null;
    this.#ready.push({
      kind: this.replaces ? 'replace' : 'range',
      id: record.chunk,
      job: this,
      part: record.part,
      n: record.n,
      after: record.after,
      upTo: record.upTo,
      repeated: true,
    });
  }

  restoreFinished(chunk: string): boolean {
    const at = this.#ready.findIndex((ready) => ready.id === chunk);
    if (at < 0) return false;
    this.#ready.splice(at, 1);
    this.begun = true;
    return true;
  }

  /** Not read, or its rows did not become durable: it is read again. */
  giveBack(chunk: RangeChunk): void {
    if (!this.#inFlight.delete(chunk.id) && !this.#delivered.delete(chunk.id)) return;
    if (!this.#parts.has(chunk.part.oid)) return;
    chunk.repeated = true;
    this.#ready.unshift(chunk);
  }

  deliver(chunk: RangeChunk): void {
    this.#inFlight.delete(chunk.id);
    this.#delivered.set(chunk.id, chunk);
  }

  finish(chunk: RangeChunk): void {
    this.#delivered.delete(chunk.id);
  }

  addPart(ref: PartRef): void {
    if (!this.#parts.has(ref.oid)) this.#parts.set(ref.oid, new PartPlan(ref));
  }

  /** The leaf is no longer the table's: nothing more of it is read. */
  dropPart(oid: number, whenLast?: PartRef): void {
    this.#parts.delete(oid);
    // A job ends with a chunk: one over the empty root stands for the parts that are gone.
    if (this.#parts.size === 0 && whenLast) this.addPart(whenLast);
    for (let i = this.#ready.length - 1; i >= 0; i--) if (this.#ready[i]!.part.oid === oid) this.#ready.splice(i, 1);
  }
}
