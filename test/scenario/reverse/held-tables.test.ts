/**
 * Tables that are held while the target serves. Guarantee: what one refused row or a changed table stops on the way back is told by status, and goes on by `resume`, so that a
 * rollback is possible again; a table that is held on the way from the source is never emptied under its writers.
 */
import { expect, test } from 'vitest';
import { execute } from '#test/support/application.ts';
import { flipStage, standing, until } from '#test/support/flip-stage.ts';

const DDL = `
  CREATE TABLE event (id bigint, day date NOT NULL, note text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
  CREATE TABLE event_1 PARTITION OF event FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
  CREATE TABLE item (id int PRIMARY KEY, n int)`;
const ROWS = `INSERT INTO event VALUES (1, '2026-01-05', 'a'), (2, '2026-01-06', 'goes'); INSERT INTO item SELECT i, i FROM generate_series(1, 10) i`;
const PARTITION = `CREATE TABLE event_2 PARTITION OF event FOR VALUES FROM ('2026-02-01') TO ('2026-03-01')`;

test('a partition that only the target has, and a column that only the source got', { timeout: 180_000 }, async () => {
  await using stage = await flipStage({ ddl: DDL, rows: ROWS });
  const { source, target } = stage;
  const stateOf = async (url: string, table: string): Promise<unknown> =>
    (await execute(url, `SELECT state FROM crossfade.table_progress WHERE source_table = '${table}'`))[0]?.['state'];
  const held = async (url: string, table: string): Promise<void> =>
    until(async () => (await stateOf(url, table)) === 'held', `${table} held`);
  expect((await stage.command('cutover', '--confirm', 'scenario')).run).toMatchObject({ exitCode: 0 });

  await execute(source, 'ALTER TABLE item ADD COLUMN more int');
  await execute(target, PARTITION, `INSERT INTO event VALUES (3, '2026-02-05', 'b')`, 'INSERT INTO item VALUES (11, 11)');
  await held(source, 'event');
  await execute(target, 'DELETE FROM event WHERE id = 2');
  const told = await stage.command('status');
  expect(told.envelope.result).toMatchObject({ phase: 'observing', reverse: { connected: true, held: [{ from: 'public.event' }] } });
  expect(told.envelope.findings).toMatchObject([
    { code: 'CF-8321', severity: 'warning', remedy: expect.stringContaining('crossfade resume') as string },
  ]);

  await execute(source, PARTITION);
  await stage.command('resume');
  await until(async () => (await stateOf(source, 'event')) === 'following', 'the way back of event');
  // No row of the source was taken away: which of them went meanwhile a comparison tells.
  expect(await execute(source, 'SELECT id FROM event ORDER BY id')).toEqual([{ id: '1' }, { id: '2' }, { id: '3' }]);

  await held(target, 'item');
  await execute(source, 'ALTER TABLE item DROP COLUMN more');
  const repaired = await stage.command('repair', '--table', 'public.event');
  expect(repaired.run, JSON.stringify(repaired.envelope)).toMatchObject({ exitCode: 0 });
  await stage.restart();
  // Nobody answers; then the reader looks at the table; then only the sink holds it, and resume says that it may not (exit 10); then it waits for the rollback.
  await until(async () => {
    const { run, envelope } = await stage.command('resume');
    if (run.exitCode === 10)
      expect(envelope.error).toMatchObject({ code: 'CF-8002', message: expect.stringContaining('public.item') as string });
    return run.exitCode === 10 || (await stateOf(target, 'item')) !== 'held';
  }, 'the end of the hold');
  expect(await execute(target, 'SELECT count(*) AS rows FROM item')).toEqual([{ rows: '11' }]);

  // A tool that loads rows put the fence to sleep: both sides may be written, and whoever looks is told.
  await execute(source, 'ALTER TABLE item DISABLE TRIGGER ALL', 'ALTER TABLE event DISABLE TRIGGER ALL');
  await execute(source, 'ALTER TABLE event_1 DISABLE TRIGGER ALL', 'ALTER TABLE event_2 DISABLE TRIGGER ALL');
  const isTold = async (): Promise<boolean> => (await stage.command('status')).envelope.findings.some(({ code }) => code === 'CF-8005');
  await until(isTold, 'the missing fence in the status');
  await execute(source, 'ALTER TABLE item ENABLE TRIGGER ALL');
  await until(async () => !(await isTold()), 'the mended fence');

  const back = await stage.command('rollback', '--confirm', 'scenario');
  expect(back.run, JSON.stringify(back.envelope)).toMatchObject({ exitCode: 0 });
  expect(await standing(stage, 'item')).toMatchObject({ serves: 'source', refuses: { source: false, target: true } });
  expect(await execute(source, 'SELECT (SELECT count(*) FROM item) AS items, (SELECT count(*) FROM event) AS events')).toEqual([
    { items: '11', events: '2' },
  ]);
});
