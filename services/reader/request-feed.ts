/**
 * What other processes ask of the reader (topic `NAME.requests`). Guarantee: each request is handed to the copy at least once, and a
 * re-copy counts once; the place in the topic is recorded only when everything before it is durable.
 */
import type { Offset, Topic } from '#connectors/change-log/change-log.ts';
import { messageOf, PipelineError } from '#schemas/errors.ts';
import type { ServiceRequest } from '#schemas/service-request.ts';
import { forEachRecord, readAll } from '#services/runtime/records.ts';
import type { Logger } from '#services/runtime/service.ts';
import type { RequestsRecord } from './control-records.ts';
import type { Copier } from './copy/copier.ts';
import { appendControl } from './follow.ts';

export interface RequestFeedOptions {
  readonly requests: Topic;
  readonly progress: Topic;
  readonly copier: Pick<Copier, 'requestRecopy' | 'pause' | 'resume' | 'setThrottle' | 'progress'>;
  readonly logger: Logger;
  readonly makeId: () => string;
}

export class RequestFeed {
  readonly #options: RequestFeedOptions;
  #limits: { rowsPerSecond?: number | undefined; bytesPerSecond?: number | undefined } = {};

  constructor(options: RequestFeedOptions) {
    this.#options = options;
  }

  /** Resolves when stopped. */
  async run(signal: AbortSignal): Promise<void> {
    const { requests, progress } = this.#options;
    const from = Math.max(requests.start(0), await readPlace(progress));
    const cursor = requests.read(0, from);
    try {
      for (let batch = await cursor.next(signal); batch !== undefined; batch = await cursor.next(signal)) {
        const asked: ServiceRequest[] = [];
        forEachRecord(batch, from, (frame) => asked.push(JSON.parse(frame.toString('utf8')) as ServiceRequest));
        for (const request of asked) await this.#act(request);
        const record: RequestsRecord = { t: 'requests', offset: batch.baseOffset + batch.count };
        if (asked.some(({ t }) => t !== 'resume-tables')) await appendControl(progress, record);
      }
    } finally {
      await cursor.close();
    }
  }

  async #act(request: ServiceRequest): Promise<void> {
    const { copier, logger, requests, makeId } = this.#options;
    switch (request.t) {
      case 'recopy':
        try {
          await copier.requestRecopy(request.request, request.id);
        } catch (error) {
          if (!(error instanceof PipelineError)) throw error;
          logger.warn({ id: request.id, error: messageOf(error) }, 'a re-copy was asked for that cannot be made');
        }
        return;
      case 'pause':
        copier.pause();
        return;
      case 'resume': {
        copier.resume();
        const held = copier.progress().filter(({ state }) => state === 'held');
        const except = held.map(({ schema, table }) => [schema, table] as const);
        await appendControl(requests, { t: 'resume-tables', id: makeId(), except } satisfies ServiceRequest);
        return;
      }
      case 'throttle': {
        const { maxRowsPerSecond, maxBytesPerSecond } = request;
        if (maxRowsPerSecond !== undefined) this.#limits.rowsPerSecond = maxRowsPerSecond ?? undefined;
        if (maxBytesPerSecond !== undefined) this.#limits.bytesPerSecond = maxBytesPerSecond ?? undefined;
        copier.setThrottle({ rowsPerSecond: this.#limits.rowsPerSecond, bytesPerSecond: this.#limits.bytesPerSecond });
        return;
      }
      case 'resume-tables':
        return;
      default:
        logger.warn({ request: (request as { t: string }).t }, 'a request of an unknown kind was passed over');
    }
  }
}

/** Below it every request was handed on. */
async function readPlace(progress: Topic): Promise<Offset> {
  let place = 0;
  await readAll(progress, progress.start(0), (frame) => {
    const record = JSON.parse(frame.toString('utf8')) as RequestsRecord | { readonly t: string };
    if (record.t === 'requests') place = (record as RequestsRecord).offset;
  });
  return place;
}
