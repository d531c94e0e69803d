/**
 * Both sides on servers of their own, each with a physical stand-by that lags when the other side is opened, and then takes its server's place: decision, fence and rows of the last moments are gone
 * there. First the source, while the target serves; then the target, right after the rollback. And what a fail-over of the source does to the slot, without one.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { execute, openSession } from '#test/support/application.ts';
import { type FlipStage, flipStage, standing, until } from '#test/support/flip-stage.ts';
import { type PostgresVersion, startPostgres } from '#test/support/postgres.ts';
import { standBy } from '#test/support/stand-by.ts';

const DDL = 'CREATE TABLE orders (id bigserial PRIMARY KEY, note text NOT NULL)';
const ROWS = `INSERT INTO orders (note) SELECT 'order ' || i FROM generate_series(1, 500) AS i`;
const REST = 'reconcile: { enabled: false }\ntables:\n  - from: public.*\n';

async function insert(url: string, note: string): Promise<string> {
  return (await execute(url, `INSERT INTO orders (note) VALUES ('${note}') RETURNING id`))[0]!['id']!;
}

async function has(url: string, note: string): Promise<boolean> {
  return (await execute(url, `SELECT FROM orders WHERE note = '${note}'`)).length === 1;
}

/** An application of the target's, which knows nothing of all this. */
function writing(url: string): { stop(): Promise<readonly string[]> } {
  const over = new AbortController();
  const done = (async () => {
    await using session = await openSession(url);
    const taken: string[] = [];
    while (!over.signal.aborted)
      taken.push((await session.query(`INSERT INTO orders (note) SELECT 'by it' FROM pg_sleep(0.01) RETURNING id`))[0]!['id']!);
    return taken;
  })();
  done.catch(() => undefined);
  return {
    stop: async () => {
      over.abort();
      return done;
    },
  };
}

async function ids(url: string): Promise<string[]> {
  return (await execute(url, `SELECT id FROM orders WHERE note = 'by it' ORDER BY id`)).map(({ id }) => id!);
}

async function succeeds(stage: FlipStage, ...args: readonly string[]): Promise<unknown> {
  const { run, envelope } = await stage.command(...args);
  expect(run.exitCode, `${args.join(' ')}: ${run.stdout}${run.stderr}`).toBe(0);
  return envelope.result;
}

/** As if the target were gone: nothing listens at its address. */
async function withoutTarget(stage: FlipStage, ...args: readonly string[]): ReturnType<FlipStage['command']> {
  const whole = readFileSync(stage.file, 'utf8');
  const away = new URL(stage.target);
  away.port = '1';
  writeFileSync(stage.file, whole.replace(stage.target, away.href));
  try {
    return await stage.command(...args);
  } finally {
    writeFileSync(stage.file, whole);
  }
}

function isFollowing(stage: FlipStage, rows: number): boolean {
  const [table] = stage.instance().status()?.tables ?? [];
  return table?.phase === 'following' && table.rowsCopied === rows;
}

async function audited(stage: FlipStage): Promise<(string | null)[]> {
  return (await execute(stage.target, 'SELECT event FROM crossfade.audit ORDER BY seq')).map(({ event }) => event!);
}

test.for<[PostgresVersion, PostgresVersion]>([[18, 14]])(
  'a side that fails over and loses the decision is fenced anew: source of PostgreSQL %i, target of %i',
  { timeout: 180_000 },
  async ([from, to]) => {
    await using stack = new AsyncDisposableStack();
    const started = await Promise.all([from, to].map(async (version) => stack.use(await startPostgres({ version }))));
    const [sourceServer, targetServer] = [started[0]!, started[1]!];
    const databases = { source: await sourceServer.createDatabase('shop'), target: await targetServer.createDatabase('shop') };
    const [ofSource, ofTarget] = await Promise.all([standBy(sourceServer), standBy(targetServer)]);
    stack.use(ofSource);
    stack.use(ofTarget);
    await using stage = await flipStage({ ddl: DDL, rows: ROWS, databases, rest: REST });
    await succeeds(stage, 'drill');

    // The source fails over, and has neither the cut-over's decision nor the last rows of before and behind it.
    await ofSource.cut();
    const lost = await insert(stage.source, 'lost by the source');
    await succeeds(stage, 'cutover', '--confirm', 'scenario');
    await insert(stage.target, 'there and back');
    await until(async () => has(stage.source, 'there and back'), 'the way back');
    const application = writing(stage.target);
    const promoted = await ofSource.promote('shop');
    expect(await execute(promoted, 'SELECT FROM crossfade.journal')).toEqual([]);
    const taken = '1000000'; // a key that the application does not come to
    await execute(promoted, `INSERT INTO orders VALUES (${taken}, 'taken meanwhile')`);
    await ofSource.takeOver();
    await until(async () => (await standing(stage, 'orders')).refuses.source, 'the fence');
    const acknowledged = await application.stop();
    await insert(stage.target, 'written after it');
    await until(async () => has(stage.source, 'written after it'), 'the way back, again');
    expect(await has(stage.source, 'there and back')).toBe(true);
    for (const url of [stage.source, stage.target]) expect(await ids(url)).toEqual(acknowledged);
    expect(await standing(stage, 'orders')).toMatchObject({
      state: 'observing',
      serves: 'target',
      refuses: { source: true, target: false },
    });
    expect(await audited(stage)).toContain('fence-raised');
    // It has begun anew, the way back included.
    const slot = `SELECT FROM pg_replication_slots WHERE slot_name = 'scenario' AND active`;
    await until(async () => (await execute(stage.source, slot)).length === 1, 'the way there, begun anew');
    await until(async () => stage.instance().status()?.reverse?.connected === true, 'the way back, begun anew');
    const found = await stage.command('verify');
    expect(found.run.exitCode).toBe(11);
    const { sample } = (found.envelope.result as { tables: { sample: { kind: string; sourceKey: string[] }[] }[] }).tables[0]!;
    expect(sample.map(({ kind, sourceKey }) => `${kind} ${sourceKey.join()}`).toSorted()).toEqual([`extra ${taken}`, `missing ${lost}`]);
    await succeeds(stage, 'repair');

    // The target fails over, and has neither the rollback nor its fence.
    await ofTarget.cut();
    await succeeds(stage, 'rollback');
    await insert(stage.source, 'behind the rollback');
    await until(async () => has(stage.target, 'behind the rollback'), 'the way there');
    const behind = { source: stage.source, target: await ofTarget.promote('shop') };
    expect(await standing(behind, 'orders')).toMatchObject({
      state: 'observing',
      serves: 'target',
      refuses: { source: false, target: false },
    });
    await ofTarget.takeOver();
    await until(async () => (await standing(stage, 'orders')).refuses.target, 'the fence of the target');
    await until(async () => (await standing(stage, 'orders')).state === 'following', 'the state');
    await until(async () => has(stage.target, 'behind the rollback'), 'the way there, again');
    expect((await audited(stage)).slice(-2)).toEqual(['fence-raised', 'forced-found']);
    await succeeds(stage, 'verify');
    await succeeds(stage, 'cutover', '--confirm', 'scenario');
    for (const note of ['lost by the source', 'there and back', 'written after it', 'behind the rollback'])
      expect(await has(stage.target, note), note).toBe(true);
    expect(await ids(stage.target)).toEqual(acknowledged);
    expect(await has(stage.target, 'taken meanwhile')).toBe(false);
  },
);

test(
  'a failover slot goes over to the standby, and the pipeline goes on where it was (PostgreSQL 17 and later)',
  { timeout: 120_000 },
  async () => {
    await using stack = new AsyncDisposableStack();
    const [from, to] = await Promise.all([18, 18].map(async () => stack.use(await startPostgres({ version: 18 }))));
    const databases = { source: await from!.createDatabase('shop'), target: await to!.createDatabase('shop') };
    const standBySource = stack.use(await standBy(from!, { keepsSlots: true }));
    await using stage = await flipStage({ ddl: DDL, rows: ROWS, databases, rest: `slot: { failover: true }\n${REST}` });
    await succeeds(stage, 'drill');
    const failover = (name: string): string => `SELECT FROM pg_replication_slots WHERE slot_name = '${name}' AND failover`;
    expect(await execute(stage.target, failover('scenario_reverse'))).toHaveLength(1);
    const kept = `${failover('scenario')} AND synced AND NOT temporary`;
    await until(async () => (await execute(standBySource.url('shop'), kept)).length === 1, 'the standby to have the slot');
    await insert(stage.source, 'before it');
    await until(async () => has(stage.target, 'before it'), 'the way there');
    await standBySource.promote('shop');
    await standBySource.takeOver();
    await insert(stage.source, 'behind it');
    await until(async () => has(stage.target, 'behind it'), 'the way there, over the standby');
    await until(() => isFollowing(stage, 500), 'status to say that nothing was copied again');
    await succeeds(stage, 'verify');
  },
);

test(
  'a way from the source that is lost while the target serves is begun anew, at whatever line its process dies',
  { timeout: 120_000 },
  async () => {
    await using stage = await flipStage({ ddl: DDL, rows: ROWS, rest: REST });
    await succeeds(stage, 'cutover', '--confirm', 'scenario');
    await stage.instance().stop();
    await execute(stage.source, `SELECT pg_drop_replication_slot('scenario')`);
    await execute(stage.target, `UPDATE orders SET note = 'changed' WHERE id = 7`);
    for (const point of ['forward.log-anew', 'forward.slot-made']) await stage.killedAt(point, 'up', '--port', '0');
    await stage.restart();
    await until(async () => has(stage.source, 'changed'), 'the way back');
    await succeeds(stage, 'rollback');
    await insert(stage.source, 'behind the rollback');
    await until(async () => has(stage.target, 'behind the rollback'), 'the way there');
    // Nothing was copied: what the target had been written was not on the source yet.
    await until(() => isFollowing(stage, 0), 'status to say so');
    expect(await has(stage.target, 'changed')).toBe(true);

    // It died when all was done but the mark, and the target was given up before anybody came back to it.
    await succeeds(stage, 'cutover', '--confirm', 'scenario');
    await stage.instance().stop();
    await execute(stage.source, `SELECT pg_drop_replication_slot('scenario')`);
    await stage.killedAt('forward.begun', 'up', '--port', '0');
    expect((await withoutTarget(stage, 'rollback', '--forced', '--confirm', 'scenario')).run.exitCode).toBe(0);
    await insert(stage.source, 'without the target');
    await stage.restart();
    await until(async () => has(stage.target, 'without the target'), 'the way there, without a copy');
  },
);

test(
  'a way back that has lost its place while the target serves is begun anew when that is said; no rollback leaves out what it missed',
  { timeout: 120_000 },
  async () => {
    await using stage = await flipStage({ ddl: DDL, rows: ROWS, rest: REST });
    await succeeds(stage, 'cutover', '--confirm', 'scenario');
    await stage.instance().stop();
    await execute(stage.target, `UPDATE orders SET note = 'missed' WHERE id IN (7, 8)`, 'DELETE FROM orders WHERE id = 9');
    const born = await insert(stage.target, 'born in the gap');
    await execute(stage.target, `SELECT pg_drop_replication_slot('scenario_reverse')`);
    await stage.restart();
    await until(() => stage.instance().status()?.reverse?.error?.includes('has lost its place') === true, 'CF-8203');
    await stage.restart({ reverseAnew: true });
    await until(() => stage.instance().status()?.reverse?.connected === true, 'the way back');
    await execute(stage.target, `UPDATE orders SET note = 'missed, and changed' WHERE id IN (8, ${born})`);
    const changed = `SELECT FROM orders WHERE id IN (8, ${born}) AND note = 'missed, and changed'`;
    await until(async () => (await execute(stage.source, changed)).length === 2, 'what is written from now on');

    const forced = await withoutTarget(stage, 'rollback', '--forced');
    expect(forced.envelope.error?.message).toMatch(/and what the way back missed before it was begun anew at [0-9A-F]+\//);
    expect((await stage.command('rollback')).run.exitCode).toBe(11);
    expect((await stage.command('verify')).run.exitCode).toBe(11);
    const { incidents } = (await succeeds(stage, 'report')) as { incidents: readonly { what: string; isOver: boolean }[] };
    expect(incidents).toContainEqual(expect.objectContaining({ what: expect.stringContaining('lost its place') as string, isOver: false }));
    await succeeds(stage, 'repair');
    await succeeds(stage, 'rollback');
    const rows = 'SELECT id, note FROM orders ORDER BY id';
    expect(await execute(stage.source, rows)).toEqual(await execute(stage.target, rows));
    expect(await has(stage.source, 'missed')).toBe(true);
  },
);
