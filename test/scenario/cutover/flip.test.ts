import { expect, test } from 'vitest';
import type { ReportDocument } from '#schemas/report/report-document.ts';
import { execute, openSession } from '#test/support/application.ts';
import { flipStage, standing, until } from '#test/support/flip-stage.ts';

const DDL = `CREATE TABLE orders (id bigserial PRIMARY KEY, note text NOT NULL);
  CREATE SEQUENCE invoice_no INCREMENT 2; CREATE SEQUENCE countdown INCREMENT -1 CACHE 5; CREATE SEQUENCE never_called`;
/** Of a file without a backup, waves and a strategy of its own. */
const GATES =
  'lag reverse tables dead-letters findings purity transactions maintenance rights triggers sequences reversible plan approvals reads schema'.split(
    ' ',
  );
const ROWS = `INSERT INTO orders (note) SELECT 'order ' || i FROM generate_series(1, 500) AS i; SELECT setval('invoice_no', 7001), setval('countdown', -90)`;
const NUMBERS = `SELECT nextval('invoice_no') AS invoice, nextval('countdown') AS down, nextval('never_called') AS never`;

test(
  'a cut-over and back: the side that serves takes writes, the other refuses them and has them all the same',
  { timeout: 120_000 },
  async () => {
    await using stage = await flipStage({ ddl: DDL, rows: ROWS });
    const dry = await stage.command('cutover', '--dry-run');
    expect(dry.envelope.findings).toMatchObject([{ code: 'CF-8324', message: expect.stringContaining('not asked for yet') as string }]);
    const there = await stage.command('cutover', '--confirm', 'scenario');
    expect(there.run.exitCode, there.run.stdout + there.run.stderr).toBe(0);
    expect(there.envelope.result).toMatchObject({ outcome: 'flipped', serves: 'target', epoch: '1' });
    const { gates } = there.envelope.result as { gates: { gate: string }[] };
    expect(gates.map(({ gate }) => gate)).toEqual(GATES);
    await expect(execute(stage.source, `INSERT INTO orders (note) VALUES ('late')`)).rejects.toMatchObject({ code: '25006' });
    const [made] = await execute(stage.target, `INSERT INTO orders (note) VALUES ('new') RETURNING id`);
    expect(Number(made!['id'])).toBeGreaterThan(500);
    // What applications call by name goes on as well, where both sides have it.
    const [first] = await execute(stage.target, NUMBERS);
    expect([Number(first!['invoice']) > 7001, Number(first!['down']) < -90, first!['never']]).toEqual([true, true, '1']);
    await execute(
      stage.target,
      'CREATE SEQUENCE only_there',
      'ALTER TABLE orders ADD COLUMN since text',
      `UPDATE orders SET since = 'now' WHERE note = 'new'`,
    );
    const back = await stage.command('rollback');
    expect(back.envelope.findings).toMatchObject([
      { code: 'CF-8332', severity: 'warning', message: expect.stringContaining('only_there') as string },
      { code: 'CF-8325', severity: 'warning', message: expect.stringContaining('public.orders.since') as string },
    ]);
    const [next] = await execute(stage.source, NUMBERS);
    expect([Number(next!['invoice']) > Number(first!['invoice']), Number(next!['down']) < Number(first!['down'])]).toEqual([true, true]);
    expect(back.run.exitCode, back.run.stdout + back.run.stderr).toBe(0);
    expect(back.envelope.result).toMatchObject({ outcome: 'flipped', serves: 'source', epoch: '2' });
    expect(await execute(stage.source, `SELECT note FROM orders WHERE id > 500`)).toEqual([{ note: 'new' }]);
    await expect(execute(stage.target, `INSERT INTO orders (note) VALUES ('late')`)).rejects.toMatchObject({ code: '25006' });
    await execute(stage.source, `INSERT INTO orders (note) VALUES ('after')`);
    const drill = await stage.command('drill');
    expect(drill.run.exitCode, drill.run.stdout + drill.run.stderr).toBe(0);
    // What the audit has of them is what the report tells.
    const { acts, tables } = (await stage.command('report')).envelope.result as ReportDocument;
    expect(acts.map(({ before, counts }) => [before, counts.map(({ rowsSource, rowsTarget }) => [rowsSource, rowsTarget])])).toEqual([
      ['1 table, 500 rows: equal', [[500, 500]]],
      ['1 table, 501 rows: equal', [[501, 501]]],
      ['1 table, 502 rows: equal', [[502, 502]]],
    ]);
    expect(tables[0]!.atFlip).toEqual({ source: 501, target: 501 });
    const steps =
      'lease recover reverse gates begin hooks prepare compare predict recheck fence marker drain purity final-compare sequences decide open record flags after-hooks';
    expect(acts[1]!.timings.map(({ step }) => step).join(' ')).toBe(steps);
  },
);

test('a closed gate: exit 10, all of them told, nothing begun', { timeout: 120_000 }, async () => {
  await using stage = await flipStage({
    ddl: DDL,
    rows: ROWS,
    rest: 'reverse: off\napprovals: { cutover: 1 }\nbackup: { command: "true", verify: "true" }\ntables:\n  - from: public.*\n',
  });
  const unconfirmed = await stage.command('cutover');
  expect([unconfirmed.run.exitCode, unconfirmed.envelope.error?.code]).toEqual([2, 'CF-8309']);
  await execute(
    stage.target,
    `INSERT INTO crossfade.finding (name, id, first_at, source_table, target_table, kind, columns, rows, state, steps)
    VALUES ('scenario', 'x', now(), 'public.orders', 'public.orders', 'different', '{}', 1, 'confirmed', '[]')`,
  );
  // It would have to go on at 501.
  await execute(stage.target, 'ALTER SEQUENCE orders_id_seq MAXVALUE 400');
  const { run, envelope } = await stage.command('cutover', '--confirm', 'scenario');
  expect(run.exitCode).toBe(10);
  expect(envelope.findings.map(({ code }) => code).toSorted()).toEqual(['CF-8323', 'CF-8329', 'CF-8332', 'CF-8602']);
  expect(envelope.findings.find(({ code }) => code === 'CF-8332')!.message).toBe(
    'gate sequences: no values are left on the target: public.orders_id_seq would go on at 501, and its range ends at 400',
  );
  expect(await standing(stage, 'orders')).toMatchObject({ serves: 'source', isBusy: false, refuses: { source: false, target: false } });
  expect((await execute(stage.target, 'SELECT event FROM crossfade.audit')).map(({ event }) => event)).not.toContain('cutover-begun');
});

test(
  'the target is lost for good: a forced rollback says what it leaves behind, and the target is fenced when it comes back',
  { timeout: 120_000 },
  async () => {
    await using stage = await flipStage({ ddl: DDL, rows: ROWS });
    expect((await stage.command('cutover', '--confirm', 'scenario')).run.exitCode).toBe(0);
    const readable = await stage.command('rollback', '--forced', '--confirm', 'scenario');
    expect([readable.run.exitCode, readable.envelope.error?.code]).toEqual([10, 'CF-8312']);
    // Keys that came back, and a change that is here already and cannot be applied yet.
    await execute(stage.target, `INSERT INTO orders (note) SELECT 'came back' FROM generate_series(1, 60)`);
    const [last] = await execute(stage.target, 'SELECT max(id) AS id FROM orders');
    await until(async () => (await execute(stage.source, `SELECT FROM orders WHERE id = ${last!['id']}`)).length === 1, 'what came back');
    await using application = await openSession(stage.source);
    await application.query('BEGIN');
    await application.query('SELECT FROM orders WHERE id = 1 FOR UPDATE');
    await execute(stage.target, `UPDATE orders SET note = 'left behind' WHERE id = 1`);
    const waiting = `SELECT FROM pg_stat_activity WHERE application_name = 'crossfade scenario_reverse sink' AND wait_event_type = 'Lock'`;
    await until(async () => (await execute(stage.source, waiting)).length === 1, 'the sink of the way back');
    const name = new URL(stage.target).pathname.slice(1);
    const admin = stage.target.replace(/\/[^/]*$/, '/postgres');
    await execute(admin, `ALTER DATABASE ${name} ALLOW_CONNECTIONS false`);
    await execute(admin, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '${name}'`);
    const unconfirmed = await stage.command('rollback', '--forced');
    expect([unconfirmed.run.exitCode, unconfirmed.envelope.error?.code]).toEqual([2, 'CF-8309']);
    expect(unconfirmed.envelope.error?.message).toMatch(/behind [0-9A-F]+\/[0-9A-F]+ \(20/);
    const { run, envelope } = await stage.command('rollback', '--forced', '--confirm', 'scenario');
    expect(run.exitCode, run.stdout).toBe(0);
    expect(envelope.result).toMatchObject({ outcome: 'forced', serves: 'source', epoch: '2' });
    await application.query(`UPDATE orders SET note = 'without the target' WHERE id = 1`);
    await application.query('COMMIT');
    const made = await execute(
      stage.source,
      `INSERT INTO orders (note) SELECT 'without the target' FROM generate_series(1, 80) RETURNING id`,
    );
    // Rows that did not come may have what lies between.
    expect(Number(made[0]!['id'])).toBeGreaterThan(Number(last!['id']) + 900);
    await execute(admin, `ALTER DATABASE ${name} ALLOW_CONNECTIONS true`);
    await until(async () => (await standing(stage, 'orders')).serves === 'source', 'the keeper');
    expect((await standing(stage, 'orders')).refuses).toEqual({ source: false, target: true });
    // It follows the source, which has nothing of what was left behind; and so the next cut-over is as any.
    const ofOne = async (url: string) => (await execute(url, 'SELECT note FROM orders WHERE id = 1'))[0]!['note'];
    await until(async () => (await ofOne(stage.target)) === 'without the target', 'the target');
    await until(async () => (await stage.command('cutover', '--confirm', 'scenario')).run.exitCode === 0, 'the next cut-over');
    expect(await ofOne(stage.source)).toBe('without the target');
  },
);

test(
  'a long transaction on the target keeps the way back waiting, and no journal locked under those who decide',
  { timeout: 120_000 },
  async () => {
    await using stage = await flipStage({ ddl: DDL, rows: ROWS });
    await using batch = await openSession(stage.target);
    await batch.query('BEGIN; CREATE TABLE of_the_batch (id int)');
    const drill = stage.command('drill');
    const begun = `SELECT FROM pg_publication WHERE pubname = 'scenario_reverse'`;
    await until(async () => (await execute(stage.target, begun)).length === 1, 'the way back');
    // As another wave's fence or lift does, time and again.
    for (let epoch = 1; epoch <= 30; epoch++)
      await execute(
        stage.source,
        `SET lock_timeout = '2s'`,
        `INSERT INTO crossfade.journal (name, epoch, serves, details) VALUES ('other', ${epoch}, 'source', '{"void": true}')`,
      );
    await batch.query('COMMIT');
    const { run } = await drill;
    expect(run.exitCode, run.stdout).toBe(0);
  },
);
