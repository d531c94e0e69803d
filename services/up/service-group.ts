/** Services that live and end together. Guarantee: the first failure of one ends the wait of everybody, and no service outlives the group. */
import { PipelineError } from '#schemas/errors.ts';

export class ServiceGroup implements AsyncDisposable {
  readonly #stop = new AbortController();
  readonly #running: Promise<void>[] = [];
  readonly #failure = Promise.withResolvers<never>();
  readonly #stopped: Promise<'stopped'>;
  /** Fires when the operator asks for the end, or the group is stopped. */
  readonly signal: AbortSignal;

  constructor(operator: AbortSignal) {
    this.signal = AbortSignal.any([operator, this.#stop.signal]);
    this.#failure.promise.catch(() => undefined);
    this.#stopped = new Promise((resolve) => {
      if (operator.aborted) resolve('stopped');
      else operator.addEventListener('abort', () => resolve('stopped'), { once: true });
    });
  }

  start(run: (signal: AbortSignal) => Promise<void>): void {
    const running = run(this.signal);
    this.#running.push(running);
    running.catch((error: unknown) => this.#failure.reject(error));
  }

  /** What is waited for during the start. @throws PipelineError CF-7002 when the operator stops it before that */
  async orFailure<T>(awaited: Promise<T>): Promise<T> {
    const outcome = await Promise.race([awaited, this.#failure.promise, this.#stopped]);
    if (outcome === 'stopped') throw new PipelineError('CF-7002', 'stopped before it had started');
    return outcome;
  }

  /** The operator's stop, or `goal`. @throws the first failure of a service */
  async firstOf<T>(goal: Promise<T> | undefined): Promise<T | 'stopped'> {
    goal?.catch(() => undefined);
    return Promise.race([this.#failure.promise, this.#stopped, ...(goal ? [goal] : [])]);
  }

  /** Lets every service drain. @throws the first failure on the way */
  async stop(): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#running);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await Promise.allSettled(this.#running);
  }
}
