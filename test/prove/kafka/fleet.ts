/**
 * All services of one migration as processes, restarted as a supervisor would. Guarantee: a service that ends by itself without having
 * been struck is a failure, told with its log; none outlives the fleet.
 */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { describeEnd, Pipeline, type PipelineOptions } from '#services/demo/pipeline/pipeline.ts';

export const SERVICES = ['reader', 'transformer', 'sink'] as const;
export type ServiceName = (typeof SERVICES)[number];

export interface FleetOptions {
  readonly file: string;
  readonly directory: string;
  readonly counts: Readonly<Record<ServiceName, number>>;
  readonly env?: Readonly<Record<string, string>>;
}

export interface Member {
  readonly service: ServiceName;
  readonly number: number;
}

export class Fleet implements AsyncDisposable {
  readonly #options: FleetOptions;
  readonly #running = new Map<string, Pipeline>();
  /** How long each log was when its process began. */
  readonly #logged = new Map<string, number>();
  #problem: Error | undefined;
  restarts = 0;

  constructor(options: FleetOptions) {
    this.#options = options;
  }

  get members(): readonly Member[] {
    return SERVICES.flatMap((service) => Array.from({ length: this.#options.counts[service] }, (_, number) => ({ service, number })));
  }

  startAll(): void {
    for (const member of this.members) this.start(member);
  }

  start(member: Member, env: Readonly<Record<string, string>> = {}): Pipeline {
    const name = nameOf(member);
    const options: PipelineOptions = {
      command: member.service,
      file: this.#options.file,
      dataDir: join(this.#options.directory, name),
      logFile: this.#logOf(member),
      env: { ...this.#options.env, ...env },
    };
    this.#logged.set(name, sizeOf(options.logFile));
    const started = Pipeline.start(options);
    this.#running.set(name, started);
    void started.ended().then((end) => {
      // Exit 0 too: nobody told it to stop.
      if (this.#running.get(name) !== started || end.signal === 'SIGKILL') return;
      this.#problem ??= new Error(`${name} ended by itself (${describeEnd(end)})\n${started.logTail(30)}`);
    });
    return started;
  }

  #logOf(member: Member): string {
    return join(this.#options.directory, `${nameOf(member)}.log`);
  }

  process(member: Member): Pipeline {
    const found = this.#running.get(nameOf(member));
    if (!found) throw new Error(`${nameOf(member)} was not started`);
    return found;
  }

  /** SIGKILL, and a new one at once. */
  async kill(member: Member, env: Readonly<Record<string, string>> = {}): Promise<void> {
    await this.process(member).kill();
    this.restarts++;
    this.start(member, env);
  }

  /** SIGSTOP for a while; a zombie wakes up. */
  async stun(member: Member, forMs: number): Promise<void> {
    const process = this.process(member);
    process.pause();
    await delay(forMs);
    process.resume();
  }

  async stop(member: Member): Promise<void> {
    const process = this.process(member);
    this.#running.delete(nameOf(member));
    const end = await process.stop();
    // Node itself has to start before anybody listens to signals, and may take seconds to; nothing is logged before.
    if (end.signal === 'SIGTERM' && sizeOf(this.#logOf(member)) === this.#logged.get(nameOf(member))) return;
    if (end.code !== 0) throw new Error(`${nameOf(member)} did not stop in good order (${describeEnd(end)})\n${process.logTail(30)}`);
  }

  /** @throws Error when a service ended by itself */
  check(): void {
    if (this.#problem) throw this.#problem;
  }

  logTails(lines = 12): string {
    return this.members
      .filter((member) => this.#running.has(nameOf(member)))
      .map((member) => `--- ${nameOf(member)}\n${this.process(member).logTail(lines)}`)
      .join('\n');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const all = [...this.#running.values()];
    this.#running.clear();
    for (const process of all) await process[Symbol.asyncDispose]();
  }
}

function sizeOf(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.size ?? 0;
}

export function nameOf({ service, number }: Member): string {
  return `${service}-${number}`;
}
