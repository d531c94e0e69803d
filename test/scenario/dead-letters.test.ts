import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import type { VerifyResult } from '#schemas/reconcile/verify-result.ts';
import type { StatusResult } from '#schemas/status/status-result.ts';
import { execute } from '#test/support/application.ts';
import { envelopeOf, runInProcess } from '#test/support/command-line.ts';
import { freshDatabase } from '#test/support/postgres.ts';
import { startInstance, type RunningInstance } from '#test/support/running-instance.ts';

const WAIT = { timeout: 30_000, interval: 50 };
const REST = 'heartbeatSeconds: 1\ntables:\n  - from: public.*\nsink: { onRowError: set-aside }\n';
const TABLES = ['CREATE TABLE a (id int, part text, v int, PRIMARY KEY (id, part))', 'CREATE TABLE b (id int PRIMARY KEY, v int)'];

interface Answer<T> {
  readonly exitCode: number;
  readonly result: T;
  readonly summary: string;
}

interface Listed {
  readonly open: number;
  readonly deadLetters: readonly {
    readonly id: string;
    readonly key: readonly string[];
    readonly queued: number;
    readonly sqlState: string;
  }[];
}

class Stage {
  readonly #source: string;
  readonly #target: string;
  #instance: RunningInstance | undefined;

  constructor(source: string, target: string) {
    this.#source = source;
    this.#target = target;
  }

  async start(): Promise<RunningInstance> {
    const { source, target } = { source: this.#source, target: this.#target };
    const instance = await startInstance({ source, target, rest: REST });
    this.#instance = instance;
    const text = `crossfade: 1\nname: scenario\nsource: { postgres: "${source}" }\ntarget: { postgres: "${target}" }\n${REST}`;
    await writeFile(join(instance.dataDir, 'm.yaml'), text);
    return instance;
  }

  async command<T>(...args: readonly string[]): Promise<Answer<T>> {
    const { dataDir } = this.#instance!;
    const run = await runInProcess([...args, '--json', '-f', join(dataDir, 'm.yaml'), '--data', dataDir]);
    const { result, summary } = envelopeOf(run);
    return { exitCode: run.exitCode, result: result as T, summary };
  }

  async rows(sql: string): Promise<unknown> {
    return execute(this.#target, sql);
  }
}

test('rows set aside in copy and stream are listed, shown, retried and discarded; verify and status tell of them', async () => {
  await using from = await freshDatabase(18);
  await using to = await freshDatabase(18);
  const stage = new Stage(from.url, to.url);
  await execute(from.url, ...TABLES, `INSERT INTO a SELECT g, 'x', g FROM generate_series(1, 2000) g`);
  await execute(from.url, `UPDATE a SET v = 9999 WHERE id = 1234`);
  await execute(to.url, ...TABLES, 'ALTER TABLE a ADD CONSTRAINT small CHECK (v < 5000)');
  await using instance = await stage.start();
  await vi.waitFor(() => expect(instance.status()?.phase).toBe('following'), WAIT);
  await execute(from.url, `INSERT INTO a VALUES (3000, 'y', 8888), (3001, 'y', 1)`, 'INSERT INTO b VALUES (1, 1)');
  const untilQueued = async (queued: number): Promise<void> =>
    vi.waitFor(async () => {
      const { result } = await stage.command<Listed>('dlq', 'list');
      expect(result.deadLetters.map((one) => [one.key, one.sqlState, one.queued])).toEqual([
        [['1234', 'x'], '23514', 0],
        [['3000', 'y'], '23514', queued],
      ]);
    }, WAIT);
  // Only a change that comes when the row is set aside already queues behind it.
  await untilQueued(0);
  await execute(from.url, `UPDATE a SET v = 8889 WHERE id = 3000`);
  await untilQueued(1);
  const status = await stage.command<StatusResult>('status');
  expect(status.result).toMatchObject({ deadLetters: 2, applied: { exact: false }, phase: 'following' });
  expect(status.result.tables.map(({ phase }) => phase)).toEqual(['following', 'following']);
  const verified = await stage.command<VerifyResult>('verify');
  expect(verified).toMatchObject({ exitCode: 11, result: { differences: 2, tables: [{ from: 'public.a', missing: 2, held: 2 }, {}] } });
  expect(verified.result.tables[0]?.sample.map(({ cause }) => cause)).toEqual(['held', 'held']);

  const { result: listed } = await stage.command<Listed>('dlq', 'list');
  const [first, second] = listed.deadLetters.map(({ id }) => id);
  const shown = await stage.command('dlq', 'show', first!, '--values');
  expect(shown).toMatchObject({ exitCode: 0, result: { values: { id: '1234', part: 'x', v: '9999' }, constraint: 'small' } });
  expect((await stage.command<object>('dlq', 'show', first!)).result).not.toHaveProperty('values');
  expect((await stage.command('dlq', 'show', '999999')).exitCode).toBe(2);

  // The cause is still there: refused again, and it says so.
  expect(await stage.command('dlq', 'retry', first!)).toMatchObject({ exitCode: 1, result: { applied: [], refused: [{ attempts: 2 }] } });
  await execute(to.url, 'ALTER TABLE a DROP CONSTRAINT small');
  expect(await stage.command('dlq', 'retry', '--all')).toMatchObject({ exitCode: 0, result: { applied: [first, second], refused: [] } });
  expect(await stage.command<VerifyResult>('verify')).toMatchObject({ exitCode: 0, result: { differences: 0 } });
  await vi.waitFor(() => expect(instance.status()).toMatchObject({ deadLetters: 0, applied: { exact: true } }), WAIT);

  await execute(to.url, 'ALTER TABLE a ADD CONSTRAINT small CHECK (v < 5000) NOT VALID');
  await execute(from.url, `INSERT INTO a VALUES (4000, 'z', 7777)`);
  await vi.waitFor(async () => expect((await stage.command<Listed>('dlq', 'list')).result.open).toBe(1), WAIT);
  const [third] = (await stage.command<Listed>('dlq', 'list')).result.deadLetters;
  expect((await stage.command('dlq', 'discard', third!.id)).exitCode).toBe(2);
  expect((await stage.command('dlq', 'discard', third!.id, '--reason', 'a test', '--by', 'me')).exitCode).toBe(0);
  expect((await stage.command<Listed>('dlq', 'list')).result).toEqual({ open: 0, deadLetters: [] });
  expect((await stage.command('dlq', 'list', '--discarded')).result).toMatchObject({
    deadLetters: [{ id: third!.id, discarded: { by: 'me', reason: 'a test' } }],
  });
  // Its later changes are applied again.
  await execute(from.url, 'UPDATE a SET v = 5 WHERE id = 4000');
  await vi.waitFor(async () => expect(await stage.rows(`SELECT v FROM a WHERE id = 4000`)).toEqual([{ v: '5' }]), WAIT);
  expect(await stage.command<VerifyResult>('verify')).toMatchObject({ exitCode: 0 });
  // What a running instance says of its target is as old as its last look at it.
  await vi.waitFor(() => expect(instance.status()).toMatchObject({ deadLetters: 0, applied: { exact: true } }), WAIT);
});
