/**
 * Reads one chunk between its watermarks. Guarantee: its high watermark is written only once its rows were read under a snapshot that
 * sees everything streamed before the low one, with the shape that the stream has; otherwise it is read again, with back-off.
 */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { InvariantError, messageOf, PipelineError } from '#schemas/errors.ts';
import type { OurMessage } from '#schemas/frame/frame.ts';
import type { Snapshot } from '#schemas/snapshot.ts';
import { failpoint, guarded } from '#schemas/test-hooks.ts';
import type { ChunkQuery, ChunkStart, CopySource } from '#connectors/source/copy-source.ts';
import { RowSpool } from '#connectors/source/row-spool.ts';
import { backoffMs, type Backoff } from '#services/runtime/backoff.ts';
import type { Logger } from '#services/runtime/service.ts';
import { Attempt } from './attempt.ts';
import type { ChunkWork } from './copy-plan.ts';
import type { CopyTable } from './copy-table.ts';
import { fromRowKey } from './row-key.ts';
import { sameColumns } from './shape.ts';
import type { StreamSide } from './stream-side.ts';
import type { Throttle } from './throttle.ts';
import type { VisibilityMemory } from './visibility.ts';

const REREAD: Backoff = { firstMs: 20, lastMs: 2_000 };
/** With the longest back-off: every 20 s. */
const REPORT_EVERY_TRIES = 10;
/** Rows of one chunk kept in memory; behind that they go to a file. */
const CHUNK_MEMORY_BYTES = 12 << 20;

export interface ChunkReaderOptions {
  readonly name: string;
  readonly source: CopySource;
  readonly stream: StreamSide;
  readonly memory: VisibilityMemory;
  readonly throttle: Throttle;
  readonly spoolDirectory: string;
  readonly logger: Logger;
  readonly random: () => number;
  readonly now: () => number;
  readonly emit: (message: OurMessage) => Promise<void>;
  /** With it the rows go into the log. @returns false where the other side serves by then: nothing was emitted */
  readonly emitHigh: (message: OurMessage) => Promise<boolean>;
  /** A chunk's lock showed a shape other than the one accounted for. */
  readonly onShapeDiffers: (table: CopyTable) => void;
  readonly interludes?: ChunkInterludes;
}

/** For tests: moments of a chunk at which something else may happen on the source. */
export interface ChunkInterludes {
  /** Between its snapshot and its read. */
  readonly beforeRead?: (work: ChunkWork) => Promise<void>;
  /** Between its read and its high watermark. */
  readonly beforeHigh?: (work: ChunkWork) => Promise<void>;
}

export class ChunkReader {
  readonly #options: ChunkReaderOptions;

  constructor(options: ChunkReaderOptions) {
    this.#options = options;
  }

  /** Resolves once the high watermark is written, or the attempt is void (its chunk is then ready again). Throws only what no repeat mends. */
  async read(work: ChunkWork, signal: AbortSignal): Promise<void> {
    const { stream, memory, name, emit, emitHigh } = this.#options;
    const attempt = new Attempt(randomUUID(), work, { hold: memory.hold(), spoolDirectory: this.#options.spoolDirectory });
    stream.register(attempt);
    const mark = (kind: 'low' | 'high'): OurMessage => ({ kind, name, chunk: work.chunk.id, attempt: attempt.id });
    try {
      await emit(mark('low'));
      if (attempt.isVoid) return;
      await this.#readVisible(attempt, signal);
      if (attempt.isVoid) return;
      await this.#options.interludes?.beforeHigh?.(work);
      if (!(await emitHigh(mark('high'))))
        throw new PipelineError('CF-8002', 'the other side serves now, or is about to: no rows are copied over newer ones');
      failpoint('chunk.high-watermark');
    } catch (error) {
      // The high watermark may have been committed although its answer was lost: then the rows are in the log, and all is well.
      if (attempt.state === 'delivered' || attempt.state === 'closed') return;
      if (error instanceof InvariantError) throw error;
      // Given up from outside meanwhile: its chunk is ready again already.
      if (!stream.void(attempt, messageOf(error)) || signal.aborted) return;
      work.table.chunksReread++;
      throw error;
    }
  }

  /** Reads until the guard accepts; sets attempt.rows. */
  async #readVisible(attempt: Attempt, signal: AbortSignal): Promise<void> {
    const { memory, logger } = this.#options;
    const { table, chunk } = attempt.work;
    for (let tries = 0; ; tries++) {
      const read = await this.#readOnce(attempt, signal);
      let accepted = false;
      try {
        failpoint('chunk.rows-read');
        await untilAborted(attempt.lowPassed, signal);
        if (attempt.isVoid) return;
        const refused = guarded('visibility') ? memory.refuse(read.snapshot, attempt.before) : undefined;
        if (refused === undefined) {
          attempt.rows = { spool: read.spool, snapshot: read.snapshot, missing: read.missing };
          accepted = true;
          return;
        }
        table.chunksReread++;
        logger.debug(
          { table: `${table.schema}.${table.name}`, chunk: chunk.id, tries: tries + 1, reason: refused },
          'a chunk is read again',
        );
      } finally {
        if (!accepted) read.spool.close();
      }
      await this.#untilVisible(attempt, tries, signal);
      if (attempt.isVoid) return;
    }
  }

  /** Waits until a snapshot would be accepted, without reading rows for nothing. */
  async #untilVisible(attempt: Attempt, tries: number, signal: AbortSignal): Promise<void> {
    const { memory, source, random, logger } = this.#options;
    const { table, chunk } = attempt.work;
    for (let n = tries; ; n++) {
      await delay(backoffMs(REREAD, n, random), undefined, { signal });
      if (attempt.isVoid) return;
      const refused = memory.refuse(await source.snapshot(), attempt.before);
      if (refused === undefined) return;
      table.chunksReread++;
      if (n % REPORT_EVERY_TRIES === REPORT_EVERY_TRIES - 1) {
        logger.warn(
          { table: `${table.schema}.${table.name}`, chunk: chunk.id, reason: refused },
          'the copy waits: a chunk cannot be accepted yet',
        );
      }
    }
  }

  async #readOnce(attempt: Attempt, signal: AbortSignal): Promise<{ spool: RowSpool; snapshot: Snapshot; missing: string[] }> {
    const { source, throttle, now } = this.#options;
    const { table, chunk } = attempt.work;
    const spool = new RowSpool(join(this.#options.spoolDirectory, 'chunk'), CHUNK_MEMORY_BYTES);
    let snapshot: Snapshot | undefined;
    const startedAt = now();
    let waitedMs = 0;
    try {
      const result = await source.readChunk(
        queryOf(attempt),
        {
          onStart: async (start) => {
            failpoint('chunk.read');
            snapshot = start.snapshot;
            attempt.hold.snapshot = snapshot;
            this.#checkShape(table, start);
            await this.#options.interludes?.beforeRead?.(attempt.work);
          },
          onPiece: async (piece, rows) => {
            if (attempt.isVoid) throw new PipelineError('CF-2007', `chunk ${chunk.id} was given up: ${attempt.voidReason}`);
            spool.add(piece, rows);
            const waitMs = throttle.take(rows, piece.length);
            waitedMs += waitMs;
            if (waitMs > 0) await delay(waitMs, undefined, { signal });
          },
        },
        signal,
      );
      if (chunk.kind === 'range') table.chunkSize.measured(result.rows, spool.bytes, now() - startedAt - waitedMs);
      const keys = chunk.kind === 'keys' ? chunk.keys : [];
      return { spool, snapshot: snapshot!, missing: result.missing.map((i) => keys[i]!) };
    } catch (error) {
      spool.close();
      throw error;
    }
  }

  #checkShape(table: CopyTable, start: ChunkStart): void {
    if (!guarded('shape')) return;
    for (const shape of start.shapes) {
      const known = table.shapes.get(shape.oid);
      if (known && known.relfilenode === shape.relfilenode && sameColumns(known.columns, shape.columns)) continue;
      this.#options.onShapeDiffers(table);
      throw new PipelineError(
        'CF-2007',
        `table ${table.schema}.${table.name} changed its shape or was rewritten since it was last looked at`,
      );
    }
  }
}

function queryOf({ work: { table, chunk }, columns }: Attempt): ChunkQuery {
  const base = { columns, key: table.key };
  if (chunk.kind === 'range') {
    return {
      ...base,
      relation: chunk.part,
      wholeTree: false,
      lock: chunk.part.oid === table.oid ? [table.ref] : [table.ref, chunk.part],
      range: { ...chunk.job.bounds, ...(chunk.after && { after: chunk.after }), ...(chunk.upTo && { upTo: chunk.upTo }) },
      shapeOf: chunk.part.oid === table.oid ? [table.oid] : [table.oid, chunk.part.oid],
    };
  }
  const whole = { ...base, relation: table.ref, wholeTree: true, lock: [table.ref], range: {}, shapeOf: table.oids() };
  return chunk.kind === 'keys' ? { ...whole, keys: chunk.keys.map(fromRowKey) } : whole;
}

async function untilAborted(promise: Promise<void>, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => reject(signal.reason as Error);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
