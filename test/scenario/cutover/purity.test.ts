import { expect, test } from 'vitest';
import { execute } from '#test/support/application.ts';
import { flipStage, standing, until } from '#test/support/flip-stage.ts';

const DDL = 'CREATE TABLE orders (id bigserial PRIMARY KEY, note text NOT NULL)';
const ROWS = `INSERT INTO orders (note) SELECT 'order ' || i FROM generate_series(1, 50) AS i`;

test('somebody else writes to the target while the source serves: the gate is closed', { timeout: 120_000 }, async () => {
  await using stage = await flipStage({ ddl: DDL, rows: ROWS });
  const drill = await stage.command('drill');
  expect(drill.run.exitCode, drill.run.stdout + drill.run.stderr).toBe(0);
  // As it was before: the comparison sees nothing of it.
  await execute(stage.target, `UPDATE orders SET note = 'theirs' WHERE id = 1`, `UPDATE orders SET note = 'order 1' WHERE id = 1`);
  await until(async () => (await execute(stage.target, 'SELECT FROM crossfade.foreign_writes WHERE changes > 0')).length > 0, 'the count');
  const { run, envelope } = await stage.command('cutover', '--confirm', 'scenario');
  expect(run.exitCode, run.stdout + run.stderr).toBe(10);
  expect(envelope.findings.map(({ code }) => code)).toEqual(['CF-8326']);
  expect(await standing(stage, 'orders')).toMatchObject({ serves: 'source', isBusy: false, refuses: { source: false, target: false } });
});
