import { expect, test } from 'vitest';
import { execute } from '#test/support/application.ts';
import { flipStage } from '#test/support/flip-stage.ts';

const DDL = 'CREATE TABLE orders (id bigserial PRIMARY KEY, note text NOT NULL)';
const ROWS = `INSERT INTO orders (note) SELECT 'order ' || i FROM generate_series(1, 500) AS i`;

test(
  'a cut-over and back: the side that serves takes writes, the other refuses them and has them all the same',
  { timeout: 120_000 },
  async () => {
    await using stage = await flipStage({ ddl: DDL, rows: ROWS });
    const there = await stage.command('cutover', '--confirm', 'scenario');
    expect(there.run.exitCode, there.run.stdout + there.run.stderr).toBe(0);
    expect(there.envelope.result).toMatchObject({ outcome: 'flipped', serves: 'target', epoch: '1' });
    await expect(execute(stage.source, `INSERT INTO orders (note) VALUES ('late')`)).rejects.toMatchObject({ code: '25006' });
    const [made] = await execute(stage.target, `INSERT INTO orders (note) VALUES ('new') RETURNING id`);
    expect(Number(made!['id'])).toBeGreaterThan(500);
    const back = await stage.command('rollback');
    expect(back.run.exitCode, back.run.stdout + back.run.stderr).toBe(0);
    expect(back.envelope.result).toMatchObject({ outcome: 'flipped', serves: 'source', epoch: '2' });
    expect(await execute(stage.source, `SELECT note FROM orders WHERE id > 500`)).toEqual([{ note: 'new' }]);
    await expect(execute(stage.target, `INSERT INTO orders (note) VALUES ('late')`)).rejects.toMatchObject({ code: '25006' });
    await execute(stage.source, `INSERT INTO orders (note) VALUES ('after')`);
    const drill = await stage.command('drill');
    expect(drill.run.exitCode, drill.run.stdout + drill.run.stderr).toBe(0);
  },
);
