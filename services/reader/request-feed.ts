/**
 * What other processes ask of the reader (topic `NAME.requests`). Guarantee: each request is handed to the copy at least once, and a
 * re-copy counts once; the place in the topic is recorded only when everything before it is durable. A request that cannot be met fails
 * by itself: it is told and recorded as refused, and the next one has its turn.
 */
import type { Offset, Topic } from '#connectors/change-log/change-log.ts';
import { messageOf, PipelineError } from '#schemas/errors.ts';
import { readServiceRequest, type ServiceRequest, type UnknownRequest } from '#schemas/service-request.ts';
import { RECONNECT, waitBackoff } from '#services/runtime/backoff.ts';
import { forEachRecord, readAll } from '#services/runtime/records.ts';
import type { Logger } from '#services/runtime/service.ts';
import type { RequestsRecord } from './control-records.ts';
import type { Copier } from './copy/copier.ts';
import { GIVEN } from './copy/copy-plan.ts';
import { appendControl } from './follow.ts';

export interface RequestFeedOptions {
  readonly requests: Topic;
  readonly progress: Topic;
  readonly copier: Pick<Copier, 'requestRecopy' | 'checkRecopy' | 'progress'> & {
    readonly operator: Pick<Copier['operator'], 'pause' | 'resume' | 'throttle' | 'refuse'>;
  };
  readonly logger: Logger;
  readonly makeId: () => string;
}

export class RequestFeed {
  readonly #options: RequestFeedOptions;

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
        const asked: (ServiceRequest | UnknownRequest)[] = [];
        forEachRecord(batch, from, (frame) => asked.push(readServiceRequest(frame)));
        for (const request of asked) await this.#act(request, signal);
        const record: RequestsRecord = { t: 'requests', offset: batch.baseOffset + batch.count };
        if (asked.some(({ t }) => t !== 'resume-tables')) await appendControl(progress, record);
      }
    } finally {
      await cursor.close();
    }
  }

  async #act(request: ServiceRequest | UnknownRequest, signal: AbortSignal): Promise<void> {
    const { copier, logger, requests, makeId } = this.#options;
    switch (request.t) {
      case 'recopy':
        return this.#recopy(request, signal);
      case 'pause':
        return copier.operator.pause();
      case 'resume': {
        await copier.operator.resume();
        const held = copier.progress().filter(({ state }) => state === 'held');
        const except = held.map(({ schema, table }) => [schema, table] as const);
        await appendControl(requests, { t: 'resume-tables', id: makeId(), except } satisfies ServiceRequest);
        return;
      }
      case 'throttle': {
        const { maxRowsPerSecond, maxBytesPerSecond } = request;
        await copier.operator.throttle({
          ...(maxRowsPerSecond !== undefined && { maxRowsPerSecond }),
          ...(maxBytesPerSecond !== undefined && { maxBytesPerSecond }),
        });
        return;
      }
      case 'resume-tables':
        return;
      case 'unknown':
        logger.warn({ id: request.id, reason: request.why }, 'a request that is not understood was passed over');
        if (request.id !== undefined) await copier.operator.refuse({ id: GIVEN + request.id, table: '', error: request.why });
    }
  }

  /** Until it is asked for or refused; while the source cannot be asked it is neither. */
  async #recopy({ id, request, by }: Extract<ServiceRequest, { readonly t: 'recopy' }>, signal: AbortSignal): Promise<void> {
    const { copier, logger } = this.#options;
    for (let attempt = 0; ; attempt++) {
      try {
        const asked = by === 'sink' ? request : await copier.checkRecopy(request);
        await copier.requestRecopy(asked, id);
        return;
      } catch (error) {
        if (!(error instanceof PipelineError)) throw error;
        if (error.retry === 'timed') {
          logger.warn({ id, error: error.message }, 'a re-copy that was asked for cannot be looked at yet; trying again');
          await waitBackoff(RECONNECT, attempt, signal);
          continue;
        }
        const table = `${request.schema}.${request.table}`;
        logger.warn({ id, table, code: error.code, error: messageOf(error) }, 'a re-copy was asked for that cannot be made');
        await copier.operator.refuse({ id: GIVEN + id, table, error: messageOf(error) });
        return;
      }
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
