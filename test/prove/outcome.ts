/**
 * What became of each proof, kept between runs. Guarantee: an outcome is on disk before the next proof begins, and belongs to one size
 * and one state of the sources, so that a stale pass is never taken for a fresh one.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Figures } from './proof.ts';

export interface Outcome {
  readonly name: string;
  readonly state: 'passed' | 'failed' | 'skipped';
  readonly size: 'small' | 'full';
  readonly seed: number;
  readonly seconds: number;
  readonly at: string;
  readonly figures: Figures;
  /** Why it failed or was skipped. */
  readonly reason?: string;
  /** Of the code it ran on. */
  readonly sources: string;
}

export class OutcomeStore {
  readonly #directory: string;
  readonly sources: string;

  constructor(directory: string) {
    this.#directory = directory;
    this.sources = fingerprint();
    mkdirSync(directory, { recursive: true });
  }

  /** The outcome of a pass at this size on these sources; undefined when it must run. */
  passed(name: string, size: Outcome['size']): Outcome | undefined {
    const path = this.#path(name, size);
    if (!existsSync(path)) return undefined;
    const outcome = JSON.parse(readFileSync(path, 'utf8')) as Outcome;
    return outcome.state === 'passed' && outcome.sources === this.sources ? outcome : undefined;
  }

  keep(outcome: Outcome): void {
    const path = this.#path(outcome.name, outcome.size);
    writeFileSync(`${path}.part`, `${JSON.stringify(outcome, undefined, 2)}\n`);
    renameSync(`${path}.part`, path);
  }

  #path(name: string, size: string): string {
    return join(this.#directory, `${name}.${size}.json`);
  }
}

/** Changes with any tracked or new source file; without git every run stands for itself. */
function fingerprint(): string {
  const git = (...args: readonly string[]): string =>
    execFileSync('git', args, { encoding: 'utf8', maxBuffer: 1 << 26, stdio: ['ignore', 'pipe', 'ignore'] });
  try {
    const hash = createHash('sha256').update(git('rev-parse', 'HEAD^{tree}')).update(git('diff', 'HEAD'));
    for (const path of git('ls-files', '--others', '--exclude-standard').split('\n').filter(Boolean))
      hash.update(path).update(readFileSync(path));
    return hash.digest('hex').slice(0, 16);
  } catch {
    return `unknown-${process.pid}-${Date.now()}`;
  }
}
