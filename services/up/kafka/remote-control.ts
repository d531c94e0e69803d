/**
 * Control of services that run elsewhere, through what they share: the requests topic, the source, the target. Guarantee: as of an
 * instance's own actions (http/control-routes.ts): a request cannot be lost when its promise resolves; a marker counts only when applied.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Topic } from '#connectors/change-log/change-log.ts';
import { connect, queryRow } from '#connectors/postgres/session.ts';
import { postgresTarget } from '#schemas/config/postgres-target.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { MESSAGE_PREFIX, type OurMessage } from '#schemas/frame/frame.ts';
import { PipelineError } from '#schemas/errors.ts';
import { formatLsn, ZERO_LSN } from '#schemas/lsn.ts';
import type { ServiceRequest } from '#schemas/service-request.ts';
import type { MarkerBody, MarkerResult, ThrottleBody, ThrottleResult } from '#schemas/status/control-request.ts';
import type { CopyStatus } from '#schemas/status/status-result.ts';
import { decodeCopyRecord } from '#services/reader/copy/control-record.ts';
import { GIVEN } from '#services/reader/copy/copy-plan.ts';
import { forEachRecord } from '#services/runtime/records.ts';
import type { ControlActions } from '../http/control-routes.ts';
import { readAppliedLsn } from './applied-lsn.ts';
import { askService } from './ask-service.ts';
import { checkRecopyHere } from './check-recopy.ts';
import { FencedTopic } from './fenced-topic.ts';
import { ReaderNews } from './reader-news.ts';

const POLL_MS = 100;

export interface RemoteControlOptions {
  readonly file: MigrationFile;
  readonly requests: Topic;
  readonly progress: Topic;
  readonly signal: AbortSignal;
}

export class RemoteControl implements ControlActions {
  readonly #options: RemoteControlOptions;
  /** Re-copies asked for here; a marker may have to wait for them. */
  #asked = new Set<string>();
  readonly #news: ReaderNews;

  constructor(options: RemoteControlOptions) {
    this.#options = options;
    this.#news = new ReaderNews(options.file, options.progress);
  }

  async recopy(request: Extract<ServiceRequest, { readonly t: 'recopy' }>['request']): Promise<void> {
    await checkRecopyHere(this.#options.file, request);
    const id = randomUUID();
    this.#asked.add(GIVEN + id);
    await askService(this.#options.requests, { t: 'recopy', id, request });
  }

  async pause(): Promise<void> {
    await askService(this.#options.requests, { t: 'pause', id: randomUUID() });
  }

  async resume(): Promise<void> {
    await askService(this.#options.requests, { t: 'resume', id: randomUUID() });
  }

  /** The limits told are those that stand once the reader has this request. */
  async throttle(request: ThrottleBody): Promise<ThrottleResult> {
    const { maxRowsPerSecond, maxBytesPerSecond } = await this.#news.copyStatus();
    await askService(this.#options.requests, { t: 'throttle', id: randomUUID(), ...request });
    return { maxRowsPerSecond, maxBytesPerSecond, ...request };
  }

  copyStatus(): Promise<CopyStatus> {
    return this.#news.copyStatus();
  }

  async close(): Promise<void> {
    await this.#news.close();
  }

  async marker({ waitMs, afterCopy }: MarkerBody): Promise<MarkerResult> {
    const startedAt = performance.now();
    const until = AbortSignal.any([this.#options.signal, AbortSignal.timeout(Math.max(1, waitMs))]);
    let applied = false;
    try {
      if (afterCopy === true) await this.#untilCopied(until);
      const id = await this.#writeMarker();
      if (waitMs > 0) {
        await this.#untilApplied(id, until);
        applied = true;
      }
    } catch (error) {
      if (this.#options.signal.aborted || !until.aborted) throw error;
    }
    return {
      lsn: formatLsn((await readAppliedLsn(this.#options.file)) ?? ZERO_LSN),
      applied,
      seconds: (performance.now() - startedAt) / 1000,
    };
  }

  /** Every re-copy asked for here stands in the log. @throws PipelineError CF-1009 when the reader refused one */
  async #untilCopied(signal: AbortSignal): Promise<void> {
    const open = this.#asked;
    if (open.size === 0) return;
    const cursor = new FencedTopic(this.#options.progress).read(0);
    try {
      while (open.size > 0) {
        const batch = await cursor.next(signal);
        signal.throwIfAborted();
        if (batch === undefined) return;
        let refused: PipelineError | undefined;
        forEachRecord(batch, batch.baseOffset, (frame) => {
          const record = decodeCopyRecord(frame);
          if (record?.t === 'recopy-done') for (const id of record.ids) open.delete(id);
          if (record?.t === 'recopy-refused' && open.delete(record.id)) refused ??= new PipelineError('CF-1009', record.error);
        });
        if (refused !== undefined) throw refused;
      }
    } finally {
      await cursor.close();
    }
  }

  async #writeMarker(): Promise<string> {
    const { file } = this.#options;
    const id = randomUUID();
    const settings = { synchronous_commit: 'local' };
    const client = await connect(file.source.postgres, { applicationName: 'crossfade marker', role: 'source', settings });
    try {
      const message: OurMessage = { kind: 'marker', name: file.name, id };
      await client.query('SELECT pg_catalog.pg_logical_emit_message(true, $1, $2)', [MESSAGE_PREFIX, JSON.stringify(message)]);
      return id;
    } finally {
      await client.end();
    }
  }

  async #untilApplied(id: string, signal: AbortSignal): Promise<void> {
    const { file } = this.#options;
    const client = await connect(postgresTarget(file, 'the change log on Kafka'), { applicationName: 'crossfade marker', role: 'target' });
    try {
      for (;;) {
        const found = await queryRow(client, 'SELECT id FROM crossfade.markers WHERE name = $1 AND id = $2', [file.name, id]);
        if (found !== undefined) return;
        await delay(POLL_MS, undefined, { signal });
      }
    } finally {
      await client.end();
    }
  }
}
