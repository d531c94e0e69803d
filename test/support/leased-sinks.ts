/** Starts and strikes processes of leased-sink.ts. Guarantee: no child outlives the object. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { readMigrationFile } from '#schemas/config/read-migration-file.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';

/** Source tables stand in schema `old`, target tables in `new`, of one database. */
export function leaseFile(url: string): MigrationFile {
  const text = `crossfade: 1\nname: leased\nsource: { postgres: "${url}" }\ntarget: { postgres: "${url}" }\ntables:\n  - { from: old.*, to: new.* }\n`;
  const { file, findings } = readMigrationFile({ path: 'leased.yaml', text, env: {} });
  if (!file) throw new Error(findings.map((finding) => finding.message).join('; '));
  return file;
}

export class SinkProcess implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;
  readonly said: string[] = [];

  constructor(url: string, directory: string) {
    this.#child = fork(join(import.meta.dirname, 'leased-sink.ts'), [url, directory], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    this.#exited = once(this.#child, 'exit');
    this.#child.on('message', (message: string) => this.said.push(message));
  }

  write(transactions: number): void {
    this.#child.send(`write ${transactions}`);
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name);
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#exited;
  }

  async stop(): Promise<void> {
    this.#child.kill('SIGTERM');
    await this.#exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) await this.kill();
  }
}
