import { expect, test } from 'vitest';
import { execute } from '#test/support/application.ts';
import { flipStage, until } from '#test/support/flip-stage.ts';

const DDL = 'CREATE TABLE orders (id bigserial PRIMARY KEY, note text NOT NULL)';
const ROWS = `INSERT INTO orders (note) SELECT 'order ' || i FROM generate_series(1, 50) AS i`;

test('a repair that was asked for before the cut-over and read behind it overwrites nothing', { timeout: 120_000 }, async () => {
  await using stage = await flipStage({ ddl: DDL, rows: ROWS });
  await stage.instance().post('/v1/pause', {});
  await stage.instance().post('/v1/recopy', { kind: 'keys', schema: 'public', table: 'orders', keys: [['7']], reason: 'a test' });
  const there = await stage.command('cutover', '--confirm', 'scenario');
  expect(there.run.exitCode, there.run.stdout + there.run.stderr).toBe(0);
  await execute(stage.target, `UPDATE orders SET note = 'newer' WHERE id = 7`);
  await stage.instance().post('/v1/resume', {});
  await until(async () => (await execute(stage.source, 'SELECT note FROM orders WHERE id = 7'))[0]?.['note'] === 'newer', 'the way back');
  // What is still to be copied from the source keeps nobody: the way back is what counts.
  await stage.instance().stop();
  await execute(stage.target, `INSERT INTO orders (note) VALUES ('while nothing runs')`);
  const up = await stage.command('up', '--until', 'caught-up', '--port', '0');
  expect(up.run.exitCode, up.run.stdout + up.run.stderr).toBe(0);
  expect(up.envelope.summary).toMatch(
    /^scenario is caught up: the target serves, and the source has what was written there up to [0-9A-F]+\//,
  );
  expect(await execute(stage.source, `SELECT FROM orders WHERE note = 'while nothing runs'`)).toHaveLength(1);
  await stage.restart();
  await until(async () => (await stage.command('rollback', '--dry-run')).run.exitCode === 0, 'the gates');
  const back = await stage.command('rollback');
  expect(back.run.exitCode, back.run.stdout + back.run.stderr).toBe(0);
  for (const url of [stage.source, stage.target])
    expect(await execute(url, 'SELECT note FROM orders WHERE id = 7')).toEqual([{ note: 'newer' }]);
});
