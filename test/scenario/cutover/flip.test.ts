import { expect, test } from 'vitest';
import { execute } from '#test/support/application.ts';
import { flipStage } from '#test/support/flip-stage.ts';

const DDL = 'CREATE TABLE orders (id bigserial PRIMARY KEY, note text NOT NULL)';
const ROWS = `INSERT INTO orders (note) SELECT 'order ' || i FROM generate_series(1, 500) AS i`;

test('a cut-over: the target serves, the source refuses with the store that does', { timeout: 120_000 }, async () => {
  await using stage = await flipStage({ ddl: DDL, rows: ROWS, rest: 'reverse: off\ntables:\n  - from: public.*\n' });
  const { run, envelope } = await stage.command('cutover', '--confirm', 'scenario');
  expect(run.exitCode, run.stdout + run.stderr).toBe(0);
  expect(envelope.result).toMatchObject({ outcome: 'flipped', serves: 'target' });
  await expect(execute(stage.source, `INSERT INTO orders (note) VALUES ('late')`)).rejects.toMatchObject({ code: '25006' });
  await execute(stage.target, `INSERT INTO orders (note) VALUES ('new')`);
  expect(run.stderr + JSON.stringify(envelope.result, null, 1)).toBe('');
});
