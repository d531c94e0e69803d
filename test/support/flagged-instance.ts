/** A running instance with flags, for scenario tests: how it is asked, flipped as a cut-over does it, and told what to do by the command. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { takeMigrationLease } from '#connectors/target/postgres/migration-lease.ts';
import type { Envelope } from '#schemas/envelope.ts';
import type { MigrationEvent } from '#schemas/migration/transitions.ts';
import { readInstance } from '#services/runtime/instance-file.ts';
import { execute } from './application.ts';
import { envelopeOf, runInProcess } from './command-line.ts';
import { freshDatabase } from './postgres.ts';
import { type RunningInstance, startInstance } from './running-instance.ts';

export interface FlaggedInstance extends AsyncDisposable {
  readonly instance: RunningInstance;
  readonly source: string;
  readonly target: string;
  readonly url: string;
  readonly token: string;
  fetch(
    path: string,
    options?: { readonly method?: string; readonly body?: unknown; readonly headers?: Readonly<Record<string, string>> },
  ): Promise<Response>;
  /** `crossfade flags …`; throws when it did not succeed. */
  flags(...args: readonly string[]): Promise<Envelope>;
  /** The same, whatever came of it. */
  tryFlags(...args: readonly string[]): Promise<Envelope & { readonly exitCode: number }>;
  /** What a cut-over does to the state row, without the rest of it. */
  apply(...events: readonly MigrationEvent[]): Promise<void>;
}

const NAME = 'scenario';
const POLL_MS = 20;

/** Its copy of one small table is complete. `more`: of the file. */
export async function startFlagged(more = ''): Promise<FlaggedInstance> {
  await using stack = new AsyncDisposableStack();
  const [source, target] = [stack.use(await freshDatabase()), stack.use(await freshDatabase())];
  for (const { url } of [source, target]) await execute(url, 'CREATE TABLE a (id int PRIMARY KEY, v int)');
  await execute(source.url, 'INSERT INTO a SELECT i, i FROM generate_series(1, 50) i');
  const rest = `heartbeatSeconds: 1\ntables:\n  - from: public.*\n${more}`;
  const instance = stack.use(await startInstance({ source: source.url, target: target.url, rest }));
  const { dataDir } = instance;
  await copied(instance);
  const path = join(dataDir, 'm.yaml');
  await writeFile(
    path,
    `crossfade: 1\nname: ${NAME}\nsource: { postgres: "${source.url}" }\ntarget: { postgres: "${target.url}" }\n${rest}`,
  );
  const { url, token } = (await readInstance(dataDir))!;
  const tryFlags: FlaggedInstance['tryFlags'] = async (...args) => {
    const run = await runInProcess(['flags', ...args, '--json', '-f', path, '--data', dataDir]);
    return { ...envelopeOf(run), exitCode: run.exitCode };
  };
  const kept = stack.move();
  return {
    instance,
    source: source.url,
    target: target.url,
    url,
    token,
    fetch: async (route, { method = 'GET', body, headers } = {}) =>
      fetch(url + route, {
        method,
        headers: { authorization: `Bearer ${token}`, ...(body !== undefined && { 'content-type': 'application/json' }), ...headers },
        ...(body !== undefined && { body: JSON.stringify(body) }),
      }),
    tryFlags,
    flags: async (...args) => {
      const { exitCode, ...envelope } = await tryFlags(...args);
      if (exitCode !== 0) throw new Error(`crossfade flags ${args.join(' ')}: ${envelope.summary}`);
      return envelope;
    },
    apply: async (...events) => {
      const lease = await takeMigrationLease({ url: target.url, name: NAME, holder: 'test' });
      try {
        for (const event of events) await lease.apply(event, { actor: 'test' });
      } finally {
        await lease.release();
      }
    },
    [Symbol.asyncDispose]: async () => kept.disposeAsync(),
  };
}

async function copied(instance: RunningInstance): Promise<void> {
  for (;;) {
    const found = await readInstance(instance.dataDir);
    if (
      found !== undefined &&
      instance.status()?.phase === 'following' &&
      instance.status()?.tables.every(({ phase }) => phase === 'following')
    )
      return;
    await delay(POLL_MS);
  }
}

export const CUT_OVER: readonly MigrationEvent[] = ['cutover-begun', 'decided', 'finished'];
export const ROLL_BACK: readonly MigrationEvent[] = ['rollback-begun', 'decided', 'finished'];

/** What stands in the data directory for the next start. */
export async function keptFlags(instance: RunningInstance): Promise<unknown> {
  return JSON.parse(await readFile(join(instance.dataDir, 'flags.json'), 'utf8'));
}
