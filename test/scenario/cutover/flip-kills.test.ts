import { expect, test } from 'vitest';
import { readAudit, verifyAudit } from '#connectors/target/postgres/audit.ts';
import { execute } from '#test/support/application.ts';
import { flipStage, standing, until } from '#test/support/flip-stage.ts';

const DDL = 'CREATE TABLE orders (id bigserial PRIMARY KEY, note text NOT NULL)';
const ROWS = `INSERT INTO orders (note) SELECT 'order ' || i FROM generate_series(1, 100) AS i`;

/** Where the process is killed, and who serves once somebody has cleaned up behind it. The proof `flip-kills` does all of them, both ways. */
const KILLS = [
  ['flip.fenced', 'cutover', 'source'],
  ['flip.recorded', 'cutover', 'source'],
  ['flip.decided', 'cutover', 'target'],
  ['fence.commit', 'rollback', 'target'],
  ['flip.opened', 'rollback', 'source'],
] as const;

test('a flip killed here or there: the running instance backs it out or finishes it', { timeout: 300_000 }, async () => {
  await using stage = await flipStage({ ddl: DDL, rows: ROWS });
  for (const [failpoint, command, serves] of KILLS) {
    await stage.killedAt(failpoint, command, ...(command === 'cutover' ? ['--confirm', 'scenario'] : []));
    await until(async () => !(await standing(stage, 'orders')).isBusy, `somebody to clean up behind ${failpoint}`);
    const now = await standing(stage, 'orders');
    expect(now.serves, failpoint).toBe(serves);
    expect(now.refuses[serves], failpoint).toBe(false);
    if (failpoint !== 'flip.fenced' && failpoint !== 'flip.recorded')
      expect(now.refuses[serves === 'source' ? 'target' : 'source'], failpoint).toBe(true);
    await execute(stage[serves], `INSERT INTO orders (note) VALUES ('${failpoint}')`);
  }
  const audit = await readAudit(stage.target, 'scenario');
  expect(audit.filter(({ event }) => event === 'backed-out' || event === 'finished').map(({ event }) => event)).toEqual([
    'backed-out',
    'backed-out',
    'finished',
    'backed-out',
    'finished',
  ]);
  expect(await verifyAudit(stage.target, 'scenario')).toMatchObject({ ok: true });
  const { envelope } = await stage.command('verify', '--rows-only');
  expect(envelope.result).toMatchObject({ differences: 0, inconclusive: 0 });
});
