/**
 * Two databases (or two sets of tables in one), a running instance between them, and the commands that flip it, as an operator gives them. Guarantee: ready when everything is copied
 * and followed; all ends with `await using`.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Envelope } from '#schemas/envelope.ts';
import { entryPoint } from '#services/demo/pipeline/pipeline.ts';
import { execute } from './application.ts';
import { type CommandRun, envelopeOf, runInProcess } from './command-line.ts';
import { freshDatabase, type PostgresVersion } from './postgres.ts';
import { type InstanceOptions, type RunningInstance, startInstance } from './running-instance.ts';

export interface FlipStageOptions {
  /** Both sides. */
  readonly ddl: string;
  /** Source and target are tables of one database, which `rest` tells apart. */
  readonly oneDatabase?: boolean;
  /** On the source, before the copy. */
  readonly rows?: string;
  /** YAML behind `target:`; all tables of public when absent. Limits of a busy machine unless it has a cutover of its own. */
  readonly rest?: string;
  readonly version?: PostgresVersion;
  /** Empty databases of somebody else's; fresh ones when absent. */
  readonly databases?: { readonly source: string; readonly target: string };
}

export interface FlipStage extends AsyncDisposable {
  readonly source: string;
  readonly target: string;
  readonly directory: string;
  instance(): RunningInstance;
  /** Of the same data directory. */
  restart(otherwise?: Pick<InstanceOptions, 'reverseAnew'>): Promise<void>;
  /** `crossfade ARGS -f FILE --json`, in this process. */
  command(...args: readonly string[]): Promise<{ readonly run: CommandRun; readonly envelope: Envelope }>;
  /** The same as a process of its own, which ends itself by SIGKILL at this failpoint. @throws where it comes to an end before */
  killedAt(failpoint: string, ...args: readonly string[]): Promise<void>;
  readonly file: string;
  readonly dataDir: string;
}

const WAIT_MS = 60_000;

const ALL_OF_PUBLIC = 'tables:\n  - from: public.*\n';

/** Of a machine on which much else runs: what a flip may take there is no matter of these tests. Below `cutover:`. */
export const BUSY_LIMITS = 'lag: 10s, attempts: 20, drainTimeout: 20s, compareTimeout: 20s, blockBudget: 50s';

export async function flipStage(stageOptions: FlipStageOptions): Promise<FlipStage> {
  const { ddl, rows, rest: given = ALL_OF_PUBLIC, version = 18, oneDatabase = false } = stageOptions;
  const rest = /^cutover:/m.test(given) ? given : `cutover: { ${BUSY_LIMITS} }\n${given}`;
  await using stack = new AsyncDisposableStack();
  const { databases } = stageOptions;
  const source = databases === undefined ? stack.use(await freshDatabase(version)) : { url: databases.source };
  const target = databases !== undefined ? { url: databases.target } : oneDatabase ? source : stack.use(await freshDatabase(version));
  await execute(source.url, ddl, ...(rows === undefined ? [] : [rows]));
  if (!oneDatabase) await execute(target.url, ddl);
  const directory = await mkdtemp(join(tmpdir(), 'crossfade-flip-'));
  stack.defer(async () => rm(directory, { recursive: true, force: true }));
  const file = join(directory, 'migration.yaml');
  const dataDir = join(directory, 'data');
  const options = { source: source.url, target: target.url, rest };
  await writeFile(
    file,
    `crossfade: 1\nname: scenario\nsource: { postgres: "${source.url}" }\ntarget: { postgres: "${target.url}" }\n${rest}`,
  );
  let instance = await startInstance(options, dataDir);
  stack.defer(async () => instance[Symbol.asyncDispose]());
  await until(
    () => instance.status()?.phase === 'following' && instance.status()?.tables.every(({ phase }) => phase === 'following') === true,
  );
  const kept = stack.move();
  return {
    source: source.url,
    target: target.url,
    directory,
    file,
    dataDir,
    instance: () => instance,
    restart: async (otherwise) => {
      await instance.stop();
      instance = await startInstance({ ...options, ...otherwise }, dataDir);
    },
    command: async (...args) => {
      const run = await runInProcess([...args, '-f', file, '--data', dataDir, '--json'], {
        environment: { PATH: process.env['PATH'] ?? '' },
      });
      return { run, envelope: envelopeOf(run) };
    },
    killedAt: async (failpoint, ...args) => {
      const child = spawn(process.execPath, [entryPoint(), ...args, '-f', file, '--data', dataDir, '--json'], {
        env: { ...process.env, CROSSFADE_TEST_FAILPOINT: failpoint },
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      let said = '';
      for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (said += chunk.toString('utf8')));
      const [, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
      if (signal !== 'SIGKILL') throw new Error(`crossfade ${args.join(' ')} was not killed at ${failpoint}: ${said}`);
    },
    [Symbol.asyncDispose]: async () => kept.disposeAsync(),
  };
}

export async function until(condition: () => boolean | Promise<boolean>, what = 'the condition'): Promise<void> {
  const deadline = performance.now() + WAIT_MS;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`waited ${WAIT_MS} ms in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Which sides refuse a write of an application's, and what the state row says. */
export async function standing({ source, target }: Pick<FlipStage, 'source' | 'target'>, table: string): Promise<Standing> {
  const refuses = async (url: string): Promise<boolean> =>
    execute(url, `DELETE FROM ${table} WHERE false`).then(
      () => false,
      (error: unknown) => {
        if ((error as { code?: string }).code === '25006') return true;
        throw error;
      },
    );
  const [row] = await execute(target, `SELECT state, serves, act::text AS act FROM crossfade.migration WHERE name = 'scenario'`);
  return {
    state: row?.['state'] ?? null,
    serves: row?.['serves'] ?? null,
    isBusy: typeof row?.['act'] === 'string',
    refuses: { source: await refuses(source), target: await refuses(target) },
  };
}

export interface Standing {
  readonly state: string | null;
  readonly serves: string | null;
  readonly isBusy: boolean;
  readonly refuses: { readonly source: boolean; readonly target: boolean };
}
