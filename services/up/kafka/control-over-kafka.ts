/**
 * What `crossfade control` lends to HTTP, from before Kafka answers. Guarantee: nothing waits for Kafka but `open`; until that is through
 * every action is refused with the reason, and none is done by half.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { RunServiceOptions } from '#services/cli/service-port.ts';
import { messageOf, PipelineError } from '#schemas/errors.ts';
import { type CopyStatus, UNKNOWN_COPY } from '#schemas/status/status-result.ts';
import type { ControlActions } from '../http/control-routes.ts';
import type { HealthOptions } from '../http/health-routes.ts';
import { openRemoteControl, type OpenRemoteControl } from './open-remote-control.ts';
import type { RemoteControl } from './remote-control.ts';
import { retried } from './retried.ts';

const PATIENCE_MS = 5_000;

export class ControlOverKafka {
  readonly #options: RunServiceOptions;
  #opened: OpenRemoteControl | undefined;
  readonly #open = Promise.withResolvers<void>();
  #reason = 'connecting to Kafka';

  constructor(options: RunServiceOptions) {
    this.#options = options;
  }

  /** Waits for Kafka. @throws what an operator has to mend */
  async open(signal: AbortSignal): Promise<void> {
    const { logger } = this.#options;
    this.#opened = await retried({ signal, logger, what: 'Kafka cannot be reached' }, () =>
      openRemoteControl({ ...this.#options, signal }).catch((error: unknown) => {
        this.#reason = `waiting for Kafka: ${messageOf(error)}`;
        throw error;
      }),
    );
    this.#open.resolve();
  }

  readiness(): ReturnType<HealthOptions['readiness']> {
    return this.#opened === undefined ? { ready: false, reason: this.#reason } : { ready: true };
  }

  async copyStatus(): Promise<CopyStatus> {
    return this.#opened?.control.copyStatus() ?? UNKNOWN_COPY;
  }

  get actions(): ControlActions {
    return {
      recopy: async (request) => (await this.#control()).recopy(request),
      pause: async () => (await this.#control()).pause(),
      resume: async () => (await this.#control()).resume(),
      throttle: async (request) => (await this.#control()).throttle(request),
      marker: async (request) => (await this.#control()).marker(request),
    };
  }

  /** Waits a moment: whoever asks right after the start is served. */
  async #control(): Promise<RemoteControl> {
    await Promise.race([this.#open.promise, delay(PATIENCE_MS, undefined, { ref: false })]);
    if (this.#opened === undefined) throw new PipelineError('CF-3001', `control is not ready: ${this.#reason}`);
    return this.#opened.control;
  }

  async close(): Promise<void> {
    await this.#opened?.[Symbol.asyncDispose]();
  }
}
