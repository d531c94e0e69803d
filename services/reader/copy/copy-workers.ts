/**
 * The workers of the copy. Guarantee: a chunk that fails is read again, with back-off and a report, and is never left out; a table with
 * a value that the source itself cannot give is held, and the others go on; no more rows are begun than memory and the operator's limits
 * allow.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { InvariantError, messageOf, PipelineError } from '#schemas/errors.ts';
import type { CopySource } from '#connectors/source/copy-source.ts';
import { RECONNECT, waitBackoff } from '#services/runtime/backoff.ts';
import type { Logger } from '#services/runtime/service.ts';
import type { ChunkReader } from './chunk-reader.ts';
import { CHUNK_MAX_BYTES } from './chunk-size.ts';
import type { ControlJournal } from './control-journal.ts';
import type { CopyTable } from './copy-table.ts';
import type { ChunkWork, CopyPlan, NextStep } from './copy-plan.ts';
import type { Notifier } from './notifier.ts';
import type { StreamSide } from './stream-side.ts';
import type { Unread } from './unfit-request.ts';
import type { Throttle } from './throttle.ts';

/** No chunk is begun while more than this waits in memory for its high watermark or for the log. */
const MAX_HELD_BYTES = 48 << 20;
const ASK_AGAIN_MS = 1_000;

export interface CopyWorkersOptions {
  readonly source: CopySource;
  readonly plan: CopyPlan;
  readonly stream: StreamSide;
  readonly reader: ChunkReader;
  readonly throttle: Throttle;
  readonly journal: ControlJournal;
  readonly wake: Notifier;
  readonly logger: Logger;
  /** As long as it says no, no chunk is begun. */
  readonly mayCopy: () => Promise<boolean>;
  readonly hold: (table: CopyTable, reason: string) => Promise<void>;
  /** Ends a request that the source cannot take. @returns false when it is not the request that cannot be read. */
  readonly endUnfit: (unread: Unread) => Promise<boolean>;
  /** A table up to this size is one chunk, read without asking where it ends. */
  readonly oneChunkBytes?: number;
}

export class CopyWorkers {
  readonly #options: CopyWorkersOptions;

  constructor(options: CopyWorkersOptions) {
    this.#options = options;
  }

  /** One worker; as many run as chunks may be read at the same time. */
  async run(signal: AbortSignal): Promise<void> {
    const { plan, stream, reader, throttle, wake, logger, mayCopy } = this.#options;
    for (let failures = 0; !signal.aborted;) {
      await throttle.passable(signal);
      if (!plan.isIdle() && !(await mayCopy().catch(() => false))) {
        await delay(ASK_AGAIN_MS, undefined, { signal }).catch(() => undefined);
        continue;
      }
      const step = stream.heldBytes() > MAX_HELD_BYTES ? undefined : plan.next();
      if (!step) {
        await wake.wait(signal);
        continue;
      }
      try {
        const work = step.kind === 'chunk' ? step.work : await this.#planChunk(step);
        if (work) await reader.read(work, signal);
        failures = 0;
      } catch (error) {
        if (error instanceof InvariantError) throw error;
        if (signal.aborted) return;
        const table = step.kind === 'chunk' ? step.work.table : step.table;
        const isAnswered = isUnreadable(error) && (await this.#answer(step, messageOf(error)));
        if (isAnswered) continue;
        logger.warn({ table: `${table.schema}.${table.name}`, error: messageOf(error) }, 'a chunk could not be read; trying again');
        await waitBackoff(RECONNECT, failures++, signal);
      }
    }
  }

  /** The same read would give the same answer. @returns false when the source could not say whose fault that is. */
  async #answer(step: NextStep, reason: string): Promise<boolean> {
    const { endUnfit, hold } = this.#options;
    const { table } = step.kind === 'chunk' ? step.work : step;
    const unread = step.kind === 'chunk' ? step.work : { table, chunk: { kind: 'range' as const, job: step.job } };
    const isEnded = await endUnfit(unread).catch(() => undefined);
    if (isEnded === false) await hold(table, reason);
    return isEnded !== undefined;
  }

  /** Asks the source where the part's next chunk ends. Small tables are one chunk, without asking. */
  async #planChunk({ table, job, part }: Extract<NextStep, { kind: 'plan' }>): Promise<ChunkWork | undefined> {
    const { source, wake, journal, oneChunkBytes = CHUNK_MAX_BYTES } = this.#options;
    let upTo: readonly string[] | undefined;
    try {
      const isOne = job.replaces || (part.nextN === 0 && table.bytes <= oneChunkBytes);
      if (!isOne) upTo = await source.nextBoundary(part.ref, table.key, job.rangeAfter(part), table.chunkSize.rows);
    } catch (error) {
      part.isPlanning = false;
      throw error;
    }
    const planned = job.plan(part, upTo);
    wake.notify();
    if (!planned) return undefined;
    void journal.write(planned.record);
    return { table, chunk: planned.chunk };
  }
}

/** Data exceptions (a character that UTF-8 does not have) and corrupted pages: the same read gives the same answer. */
function isUnreadable(error: unknown): boolean {
  const sqlState = error instanceof PipelineError ? error.details['sqlState'] : undefined;
  return typeof sqlState === 'string' && /^(?:22...|XX00[12])$/.test(sqlState);
}
