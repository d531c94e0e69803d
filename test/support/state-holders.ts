/** Starts and strikes processes of state-holder.ts. Guarantee: no child outlives the object. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { MigrationEvent } from '#schemas/migration/transitions.ts';
import type { Failpoint, Guard } from '#schemas/test-hooks.ts';

export interface HolderOptions {
  readonly url: string;
  readonly name: string;
  readonly leaseMs: number;
  /** It kills itself there. */
  readonly strike?: Failpoint;
  readonly disable?: Guard;
}

export class StateHolder implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly exited: Promise<unknown>;
  readonly said: string[] = [];

  constructor({ url, name, leaseMs, strike, disable }: HolderOptions) {
    const env = { ...process.env, ...(strike !== undefined && { STRIKE: strike }), ...(disable !== undefined && { DISABLE: disable }) };
    const stdio = ['ignore', 'inherit', 'inherit', 'ipc'] as const;
    this.#child = fork(join(import.meta.dirname, 'state-holder.ts'), [url, name, String(leaseMs)], { stdio: [...stdio], env });
    this.exited = once(this.#child, 'exit');
    this.#child.on('message', (message: string) => this.said.push(message));
  }

  apply(event: MigrationEvent): void {
    this.#child.send(event);
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name);
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) await this.kill();
  }
}
