import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { ReportDocument } from '#schemas/report/report-document.ts';
import { requireReady } from '#services/cli/check/require-ready.ts';
import { silentLogger } from '#services/runtime/service.ts';
import { execute, openSession } from '#test/support/application.ts';
import { envelopeOf, runInProcess } from '#test/support/command-line.ts';
import { BUSY_LIMITS, type FlipStage, flipStage, until } from '#test/support/flip-stage.ts';
import { SWAPPED_DDL } from '#test/support/swapped-application.ts';
import { missingTokens, startSwapped } from '#test/support/swapping.ts';

const REST = `tables:
  - { from: public.customer, to: public.customer_new }
  - { from: public.orders, to: public.orders_new }
cutover: { strategy: rename-swap, ${BUSY_LIMITS} }
`;
const CUTOVER = ['cutover', '--confirm', 'scenario'] as const;
const RATE = 100;
/** Of a machine on which much else runs. */
const BUSY_MS = 10_000;
const REMNANTS = `SELECT tgname FROM pg_trigger WHERE tgname LIKE 'crossfade%' UNION ALL SELECT slot_name FROM pg_replication_slots
  UNION ALL SELECT nspname FROM pg_namespace WHERE nspname = 'crossfade'`;

test(
  'names swapped there, back and there again under load: no read and no write fails, and none is lost',
  { timeout: 300_000 },
  async () => {
    await using stage = await flipStage({ ddl: SWAPPED_DDL, rest: REST, oneDatabase: true });
    const url = stage.source;
    await using application = startSwapped(url, join(stage.directory, 'journal'), RATE);
    const before = await oidOf(url, 'public.orders');
    const blocks: number[] = [];
    for (const act of [CUTOVER, ['rollback'], CUTOVER]) {
      await application.more(2 * RATE);
      blocks.push((await flipped(stage, ...act)).blockMs);
    }
    await application.more(2 * RATE);
    const lines = await application.stop();
    expect(lines.filter(({ kind }) => kind.startsWith('failed'))).toEqual([]);
    // What the certificates say is what readers and writers saw.
    const [told, seen] = [Math.max(...blocks), Math.max(...lines.map(({ ms }) => ms))];
    expect(seen).toBeGreaterThan(told / 2);
    expect(seen).toBeLessThan(told + BUSY_MS);
    expect(await oidOf(url, 'public.orders')).not.toBe(before);
    expect(await oidOf(url, 'public_old.orders')).toBe(before);
    expect(await missingTokens(url, 'public.orders', lines)).toEqual([]);
    // What was written since comes to the one that lost its name, and nobody else writes there.
    await until(async () => (await missingTokens(url, 'public_old.orders', lines)).length === 0, 'the way back');
    await expect(execute(url, 'DELETE FROM public_old.orders WHERE false')).rejects.toMatchObject({ code: '25006' });
    const { tables } = (await stage.command('report')).envelope.result as ReportDocument;
    expect(tables.map(({ from, to, atFlip }) => [from, to, atFlip !== null && atFlip.source === atFlip.target])).toEqual([
      ['public_old.customer', 'public.customer', true],
      ['public_old.orders', 'public.orders', true],
    ]);
    const { envelope } = await stage.command('verify', '--rows-only');
    expect(envelope.result).toMatchObject({ serves: 'target', differences: 0, inconclusive: 0 });
    // The file has the names of before: up is begun again all the same.
    await requireReady({ file: stage.instance().file }, { signal: new AbortController().signal, log: silentLogger });
  },
);

test(
  'what would follow the wrong table keeps the names; a process killed in the middle leaves all or nothing',
  { timeout: 300_000 },
  async () => {
    const version = 14;
    await using stage = await flipStage({ ddl: SWAPPED_DDL, rest: REST, oneDatabase: true, version });
    const url = stage.source;
    const before = await oidOf(url, 'public.orders');
    expect(await flipOtherwise(stage)).toMatchObject({ code: 'CF-8341', message: expect.stringContaining('one database') as string });
    await execute(
      url,
      `CREATE VIEW dear AS SELECT * FROM orders WHERE amount > 100; CREATE TABLE note (order_id bigint REFERENCES orders);
     CREATE ROLE clerk_${process.pid}; GRANT SELECT ON orders TO clerk_${process.pid}`,
    );
    expect(await namesGate(stage)).toMatch(
      /foreign key note_order_id_fkey of public\.note refers to public\.orders, view public\.dear reads public\.orders/,
    );
    await execute(url, 'DROP VIEW dear; DROP TABLE note');
    // A comparison of ours that takes its time: it keeps nobody, the fence ends it.
    await using comparing = await openSession(url);
    await comparing.query(`SET application_name = 'crossfade verify'; BEGIN; SELECT FROM orders LIMIT 1`);
    expect(await namesGate(stage)).toMatch(/1 privileges/);
    await execute(url, `GRANT SELECT ON orders_new TO clerk_${process.pid}`);
    await until(async () => isOld(url), 'the comparison to be older than the gate lets anybody be');
    const drill = await stage.command('drill');
    expect(drill.run.exitCode, drill.run.stdout + drill.run.stderr).toBe(0);
    expect(await oidOf(url, 'public.orders')).toBe(before);
    await stage.killedAt('fence.swapped', ...CUTOVER);
    await until(async () => !(await isBusy(url)), 'somebody to back it out');
    expect(await oidOf(url, 'public.orders')).toBe(before);
    await stage.killedAt('fence.committed', ...CUTOVER);
    await execute(url, `INSERT INTO orders (customer_id, token, amount) VALUES (1, 'at once', 1)`);
    await until(async () => !(await isBusy(url)), 'somebody to finish it');
    expect(await oidOf(url, 'public_old.orders')).toBe(before);
    await until(async () => (await execute(url, `SELECT FROM public_old.orders WHERE token = 'at once'`)).length === 1, 'the way back');
    await execute(url, 'CREATE INDEX orders_pkey ON orders (amount); CREATE VIEW orders_new AS SELECT 1 AS n');
    expect(await namesGate(stage, 'rollback')).toBe('there is already public.orders_new, public.orders_pkey');
    await execute(url, 'DROP INDEX orders_pkey; DROP VIEW orders_new');
    await flipped(stage, 'rollback');
    expect(await oidOf(url, 'public.orders')).toBe(before);
    await execute(url, `INSERT INTO orders (customer_id, token, amount) VALUES (1, 'back again', 1)`);
    await until(async () => (await execute(url, `SELECT FROM orders_new WHERE token = 'back again'`)).length === 1, 'the way there');
    await stage.instance().stop();
    const cleanup = await stage.command('cleanup', '--abort', '--confirm', 'scenario', '--target-schema');
    expect(cleanup.run.exitCode, cleanup.run.stdout + cleanup.run.stderr).toBe(0);
    expect(await execute(url, REMNANTS)).toEqual([]);
    await execute(url, `DROP OWNED BY clerk_${process.pid}; DROP ROLE clerk_${process.pid}`);
  },
);

/** A path that begins anew with other names needs a moment, which its gates see. */
async function flipped(stage: FlipStage, ...act: readonly string[]): Promise<{ readonly blockMs: number }> {
  let result: { readonly blockMs: number } | undefined;
  await until(async () => {
    const { run, envelope } = await stage.command(...act);
    if (run.exitCode === 10) return false;
    expect(run.exitCode, run.stdout + run.stderr).toBe(0);
    result = envelope.result as { blockMs: number };
    return true;
  }, 'the gates');
  return result!;
}

async function namesGate(stage: FlipStage, ...act: readonly string[]): Promise<string> {
  const { run, envelope } = await stage.command(...(act.length === 0 ? CUTOVER : act));
  expect(run.exitCode).toBe(10);
  const { gates } = envelope.result as { gates: { gate: string; state: string; evidence: string }[] };
  return gates.find(({ gate, state }) => gate === 'names' && state === 'closed')?.evidence ?? '';
}

/** By a file without the strategy, whose target is the same database at another address. */
async function flipOtherwise({ source, directory }: FlipStage): Promise<unknown> {
  const other = new URL(source);
  other.searchParams.set('host', other.hostname);
  other.hostname = 'elsewhere';
  const file = join(directory, 'otherwise.yaml');
  await writeFile(
    file,
    `crossfade: 1\nname: scenario\nsource: { postgres: "${source}" }\ntarget: { postgres: "${other.href}" }\n${REST.replace(/cutover:.*/, '')}`,
  );
  const run = await runInProcess(['cutover', '--dry-run', '-f', file, '--json'], { environment: {} });
  return envelopeOf(run).error;
}

async function isOld(url: string): Promise<boolean> {
  const old = `SELECT FROM pg_stat_activity WHERE application_name = 'crossfade verify' AND datname = current_database() AND xact_start < clock_timestamp() - interval '6 s'`;
  return (await execute(url, old)).length > 0;
}

async function oidOf(url: string, table: string): Promise<string | undefined> {
  const [row] = await execute(url, `SELECT to_regclass('${table}')::oid::text AS oid`);
  return row?.['oid'] ?? undefined;
}

async function isBusy(url: string): Promise<boolean> {
  const [row] = await execute(url, `SELECT (act IS NOT NULL)::text AS busy FROM crossfade.migration WHERE name = 'scenario'`);
  return row?.['busy'] === 'true';
}
