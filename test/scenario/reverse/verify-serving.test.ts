/** verify and repair of a migration whose target serves: compared and copied the way that serves, told in the words of the migration. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readAudit } from '#connectors/target/postgres/audit.ts';
import { takeMigrationLease } from '#connectors/target/postgres/migration-lease.ts';
import { readState } from '#connectors/target/postgres/migration-state.ts';
import type { MigrationEvent } from '#schemas/migration/transitions.ts';
import { MESSAGE_PREFIX, originMessage } from '#schemas/frame/frame.ts';
import { reverseName } from '#schemas/mapping/reverse/reverse-name.ts';
import { execute } from '#test/support/application.ts';
import { envelopeOf, runInProcess } from '#test/support/command-line.ts';
import { ReverseWorld } from '#test/support/reverse-world.ts';

const LONG_MS = 240_000;
const SOURCE = [
  'CREATE TABLE account (id int PRIMARY KEY, owner text NOT NULL, remark text)',
  `INSERT INTO account SELECT g, 'o' || g, 'r' || g FROM generate_series(1, 50) g`,
  'CREATE TABLE item (id int PRIMARY KEY, shop int NOT NULL, note text)',
  `INSERT INTO item SELECT g, 1 + g % 2, 'n' || g FROM generate_series(1, 80) g`,
  'CREATE TABLE line (text text)',
  `INSERT INTO line VALUES ('one')`,
  'ALTER TABLE item REPLICA IDENTITY FULL',
  'ALTER TABLE line REPLICA IDENTITY FULL',
];
const TARGET = [
  'CREATE TABLE holder (id int PRIMARY KEY, name text NOT NULL)',
  'CREATE TABLE item (id int PRIMARY KEY, shop int NOT NULL, note text)',
  'CREATE TABLE line (text text)',
  'ALTER TABLE item REPLICA IDENTITY FULL',
];
const TABLES = `  - { from: public.account, to: public.holder, columns: { owner: name }, drop: [remark] }
  - { from: public.item, where: { shop: 1 } }
  - { from: public.line, reverse: none }
checks:
  - { name: items, table: public.item, sum: [id] }
`;

type Run = (...args: string[]) => Promise<{ readonly exitCode: number; readonly envelope: ReturnType<typeof envelopeOf> }>;

async function open(name: string): Promise<{ readonly world: ReverseWorld; readonly run: Run }> {
  const world = await ReverseWorld.open({ name, from: 14, to: 18, source: SOURCE, target: TARGET, tables: TABLES });
  const run: Run = async (...args) => {
    const result = await runInProcess([...args, '-f', 'm.yaml', '--data', world.dataDir, '--json'], { directory: world.directory });
    return { exitCode: result.exitCode, envelope: envelopeOf(result) };
  };
  return { world, run };
}

/** On the source while it does not serve, so that the forward direction leaves it out: nothing but a fault of ours can do that. */
async function damage(world: ReverseWorld, ...changes: readonly string[]): Promise<void> {
  const mark = `SELECT pg_logical_emit_message(true, '${MESSAGE_PREFIX}', '${originMessage(reverseName(world.file.name))}')`;
  await execute(world.source, ['BEGIN', mark, ...changes, 'COMMIT'].join('; '));
}

/** State, and the last thing that is recorded. */
async function state(world: ReverseWorld): Promise<unknown> {
  const { name } = world.file;
  return [(await readState(world.target, name))?.state, (await readAudit(world.target, name)).at(-1)?.event];
}

/** As the commands do: the decision falls while the lease is held, or the running instance would find state and journals apart, and mend them. */
async function move(world: ReverseWorld, side: 'source' | 'target', ...events: readonly MigrationEvent[]): Promise<void> {
  const lease = await takeMigrationLease({ url: world.target, name: world.file.name, holder: 'test' });
  for (const event of events) await lease.apply(event, { actor: 'test' });
  await world.serve(side);
  await lease.release();
}

test('verify and repair go the way that serves, and back again', { timeout: LONG_MS }, async () => {
  const { world, run } = await open('serving');
  await using _ = world;
  const up = world.start();
  await up.waitFor(({ phase }) => phase === 'following', { what: 'following', timeoutMs: 60_000 });
  await world.want();
  await world.proven();
  const forward = await run('verify');
  expect(forward).toMatchObject({ exitCode: 0, envelope: { result: { differences: 0, tables: { length: 3 } } } });
  expect(forward.envelope.result).not.toHaveProperty('serves');
  expect((forward.envelope.result as { checks: { name: string }[] }).checks.map(({ name }) => name)).toContain('items');

  expect(await state(world)).toEqual(['verified', 'proved']);
  await move(world, 'target', 'cutover-begun', 'decided', 'finished');
  await execute(
    world.target,
    `UPDATE holder SET name = 'flipped' WHERE id = 3`,
    `INSERT INTO item VALUES (900, 1, 'born here')`,
    `INSERT INTO line VALUES ('only here')`,
  );
  await world.proven();
  const clean = await run('verify');
  expect(clean, up.logTail()).toMatchObject({
    exitCode: 0,
    envelope: {
      summary: expect.stringContaining('which serves') as string,
      result: {
        serves: 'target',
        left: ['public.line'],
        differences: 0,
        // The source's other items were never moved.
        tables: [
          { from: 'public.account', to: 'public.holder', rowsSource: 50, rowsTarget: 50 },
          { from: 'public.item', to: 'public.item', rowsSource: 41, rowsTarget: 41 },
        ],
      },
    },
  });
  expect(clean.envelope.result).not.toHaveProperty('checks');
  expect(await state(world)).toEqual(['observing', 'proved']);
  expect(clean.envelope.findings.map(({ message }) => message).join()).toContain('nothing of it goes back');
  expect(await run('verify', '--table', 'public.line')).toMatchObject({ exitCode: 2, envelope: { error: { code: 'CF-8201' } } });

  await damage(
    world,
    `UPDATE account SET owner = 'stale' WHERE id = 7`,
    'DELETE FROM item WHERE id IN (900, 2)',
    `INSERT INTO item VALUES (901, 1, 'not on the target')`,
  );
  const differing = await run('verify');
  expect(differing).toMatchObject({
    exitCode: 11,
    envelope: {
      result: {
        serves: 'target',
        differences: 4,
        tables: [
          { to: 'public.holder', different: 1, missing: 0, extra: 0 },
          { to: 'public.item', rowsSource: 40, rowsTarget: 41, different: 0, missing: 2, extra: 1 },
        ],
      },
    },
  });
  expect(await state(world)).toEqual(['observing', 'doubted']);
  expect(await run('signoff', '--as', 'Ada', '--confirm', 'serving')).toMatchObject({
    exitCode: 10,
    envelope: { error: { code: 'CF-8002', message: expect.stringContaining('4 differences') as string } },
  });
  expect(await run('repair'), up.logTail()).toMatchObject({ exitCode: 0, envelope: { result: { serves: 'target', differences: 0 } } });
  expect(await execute(world.source, 'SELECT owner, remark FROM account WHERE id = 7')).toEqual([{ owner: 'o7', remark: 'r7' }]);
  await damage(world, `UPDATE account SET owner = 'stale' WHERE id = 8`);
  expect((await run('repair', '--table', 'public.account')).exitCode).toBe(0);
  expect(await run('verify', '--table', 'holder')).toMatchObject({ exitCode: 0, envelope: { result: { tables: { length: 1 } } } });
  // What was never moved is still there, and the target is as it was.
  expect(await execute(world.source, 'SELECT count(*) AS n FROM item WHERE shop = 2')).toEqual([{ n: '40' }]);
  expect(await execute(world.target, 'SELECT count(*) AS n FROM item')).toEqual([{ n: '41' }]);

  // Nothing older is copied over what serves.
  const instance = JSON.parse(await readFile(join(world.dataDir, 'instance.json'), 'utf8')) as { url: string; token: string };
  const refused = await fetch(`${instance.url}/v1/recopy`, {
    method: 'POST',
    headers: { authorization: `Bearer ${instance.token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ kind: 'table', schema: 'public', table: 'account' }),
  });
  expect(await refused.json()).toMatchObject({ error: { code: 'CF-8002' } });

  // Nobody waits for whoever acts, and nothing is recorded beside it.
  const held = await takeMigrationLease({ url: world.target, name: 'serving', holder: 'test' });
  expect((await run('verify')).exitCode).toBe(0);
  expect(await state(world)).toEqual(['observing', 'repaired']);
  await held.release();
  expect((await run('verify', '--rows-only')).exitCode).toBe(0);
  expect(await state(world)).toEqual(['observing', 'proved']);

  await move(world, 'source', 'rollback-begun', 'decided', 'finished');
  await execute(world.target, `DELETE FROM line WHERE text = 'only here'`);
  await world.proven();
  const back = await run('verify');
  expect(back, JSON.stringify(back.envelope)).toMatchObject({
    exitCode: 0,
    envelope: { result: { differences: 0, tables: { length: 3 } } },
  });
  expect(back.envelope.result).not.toHaveProperty('serves');
  expect((await run('repair')).envelope.summary).toContain('nothing to repair');
  expect(await up.stop()).toEqual({ code: 0, signal: null });
});

test('without a running instance the way back is still compared, and a repair says what it needs', { timeout: LONG_MS }, async () => {
  const { world, run } = await open('serving_idle');
  await using _ = world;
  const up = world.start();
  await up.waitFor(({ phase }) => phase === 'following', { what: 'following', timeoutMs: 60_000 });
  await world.want();
  await world.proven();
  await world.serve('target');
  await world.want(false);
  await up.waitFor(({ reverse }) => reverse === undefined, { what: 'the way back to be gone', timeoutMs: 60_000 });
  expect(await run('repair', '--table', 'account')).toMatchObject({ exitCode: 1, envelope: { error: { code: 'CF-8204' } } });
  expect(await up.stop()).toEqual({ code: 0, signal: null });
  const idle = await run('verify');
  expect(idle, JSON.stringify(idle.envelope)).toMatchObject({ exitCode: 0, envelope: { result: { serves: 'target', differences: 0 } } });
  expect(await run('repair', '--table', 'account')).toMatchObject({ exitCode: 1, envelope: { error: { code: 'CF-7001' } } });
});
