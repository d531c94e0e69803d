/** Our pipeline as a contender: `crossfade up` as a process of its own, with log, fsync and mapping in the path. */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Pipeline } from '#services/demo/pipeline/pipeline.ts';
import type { Contender, CopyOptions } from './contender.ts';
import { summariseProfiles } from './profile.ts';
import { cleanSource, streamStart } from './source-side.ts';
import type { UsageGroup } from './usage.ts';

const PATIENCE_MS = 600_000;

export interface OursOptions {
  readonly directory: string;
  readonly nodeArgs: readonly string[];
  readonly settings: string;
  readonly profile: boolean;
}

export class Ours implements Contender {
  readonly name = 'crossfade';
  readonly ordered = true;
  readonly setting = 'crossfade up, embedded log with fsync, defaults of the migration file';
  readonly #options: OursOptions;
  #copy: CopyOptions | undefined;
  #pipeline: Pipeline | undefined;
  #starts = 0;

  constructor(options: OursOptions) {
    this.#options = options;
  }

  get targetUrl(): string {
    return this.#copy?.targetUrl ?? '';
  }

  async copy(options: CopyOptions): Promise<number> {
    this.#copy = options;
    mkdirSync(this.#options.directory, { recursive: true });
    writeFileSync(this.#file, migrationText(options, this.#options.settings));
    await this.resume();
    await this.#running.waitFor((status) => status.phase === 'following', { what: 'following', timeoutMs: PATIENCE_MS });
    return Date.now();
  }

  async pause(): Promise<void> {
    const end = await this.#running.stop();
    if (end.code !== 0 && end.code !== 143)
      throw new Error(`crossfade up did not stop cleanly (${end.signal ?? end.code})\n${this.#running.logTail()}`);
  }

  async resume(): Promise<void> {
    const { directory, nodeArgs, profile } = this.#options;
    this.#starts++;
    const profiling = profile ? ['--cpu-prof', `--cpu-prof-dir=${this.#profileDir}`] : [];
    const logFile = join(directory, `${this.#label}.log`);
    this.#pipeline = Pipeline.start({ file: this.#file, dataDir: this.#dataDir, logFile, nodeArgs: [...nodeArgs, ...profiling] });
    await Promise.resolve();
  }

  profile(): string | undefined {
    return summariseProfiles(this.#profileDir);
  }

  async streamingSince(): Promise<number | undefined> {
    return this.#copy === undefined ? undefined : streamStart(this.#copy);
  }

  processes(fresh: boolean): readonly UsageGroup[] {
    return [
      { name: 'crossfade', kind: 'process', fresh, pid: () => (this.#pipeline?.result === undefined ? this.#pipeline?.pid : undefined) },
    ];
  }

  async remove(): Promise<void> {
    await this.#pipeline?.stop();
    if (this.#copy === undefined) return;
    await cleanSource(this.#copy);
    rmSync(this.#dataDir, { recursive: true, force: true });
  }

  get #running(): Pipeline {
    if (this.#pipeline === undefined) throw new Error('crossfade has not been started');
    return this.#pipeline;
  }

  get #label(): string {
    return this.#copy?.label ?? '';
  }

  get #file(): string {
    return join(this.#options.directory, `${this.#label}.yaml`);
  }

  /** One for each start. */
  get #profileDir(): string {
    return join(this.#options.directory, `${this.#label}-profile-${this.#starts}`);
  }

  get #dataDir(): string {
    return join(this.#options.directory, `${this.#label}-data`);
  }
}

export function migrationText({ sourceUrl, targetUrl, tables, label }: CopyOptions, settings: string): string {
  const lines = [
    'crossfade: 1',
    `name: ${label}`,
    `source: { postgres: "${sourceUrl}" }`,
    `target: { postgres: "${targetUrl}" }`,
    'tables:',
  ];
  return [...lines, ...tables.map((table) => `  - from: public.${table}`), settings, ''].join('\n');
}
