/** `crossfade verify` with `shadow:`: what it prints, its exit codes, `--shadow`; and that what is timed can write nothing. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Envelope } from '#schemas/envelope.ts';
import type { VerifyResult } from '#schemas/reconcile/verify-result.ts';
import { openTimedSession, timeQueries } from '#connectors/probe/postgres/shadow/timed-query.ts';
import { runInProcess, type CommandRun } from '#test/support/command-line.ts';
import { freshDatabase } from '#test/support/postgres.ts';
import { play } from './played-pipeline.ts';

const SQL = `CREATE TABLE other (id int PRIMARY KEY); CREATE TABLE ord (id int PRIMARY KEY, total numeric NOT NULL); INSERT INTO ord SELECT g, g FROM generate_series(1, 30) g`;
const TABLES = '  - from: public.ord\n';
const SHADOW = `shadow:
  - { name: top, sql: "select id, total from {public.ord} order by total desc, id limit $1", parameters: [5], order: respected, repetitions: 20 }
`;

function envelope({ stdout }: CommandRun): Envelope {
  return JSON.parse(stdout) as Envelope;
}

test('verify runs the queries, ends with 11 where one answers otherwise, and --shadow runs nothing else', async () => {
  await using pipeline = await play({ sourceSql: SQL, tables: TABLES });
  const directory = await mkdtemp(join(tmpdir(), 'crossfade-shadow-'));
  await using stack = new AsyncDisposableStack();
  stack.defer(async () => rm(directory, { recursive: true, force: true }));
  const verify = async (shadow: string, ...args: readonly string[]): Promise<CommandRun> => {
    const head = `crossfade: 1\nname: played\nsource: { postgres: "${pipeline.sourceUrl}" }\ntarget: { postgres: "${pipeline.targetUrl}" }\n`;
    await writeFile(join(directory, 'migration.yaml'), `${head}tables:\n${TABLES}${shadow}`);
    return runInProcess(['verify', ...args], { directory });
  };
  const clean = await verify(SHADOW);
  expect([clean.exitCode, clean.stdout + clean.stderr]).toEqual([
    0,
    expect.stringMatching(/one table is equal at .*; one query answered alike/) as string,
  ]);
  expect(clean.stdout).toMatch(/^top( +\d+(\.\d+)?){8} +(within|unclear|slower) +(equal|slower)$/m);
  expect((envelope(await verify(SHADOW, '--rows-only', '--json')).result as VerifyResult).shadow).toBeUndefined();

  await pipeline.target.query('UPDATE ord SET total = 0 WHERE id = 30');
  const alone = envelope(await verify(SHADOW, '--shadow', '--json'));
  expect(alone).toMatchObject({
    ok: false,
    error: { code: 'CF-6021' },
    result: { at: { lsn: null }, tables: [], shadow: [{ name: 'top', verdict: 'differs', latency: { source: { executions: 20 } } }] },
  });
  expect(alone.findings.map(({ code }) => code)).toContain('CF-6021');
  const all = await verify(SHADOW, '--json');
  expect([all.exitCode, envelope(all).error?.code]).toEqual([11, 'CF-6001']);

  const none = await verify('', '--shadow', '--json');
  expect([none.exitCode, envelope(none).error?.message]).toEqual([2, expect.stringContaining('no queries under `shadow:`') as string]);
  const nothing = await verify(`  - from: public.other\n${SHADOW}`, '--shadow', '--table', 'public.other', '--json');
  expect([nothing.exitCode, envelope(nothing).error?.message]).toEqual([2, '--shadow: no query of the file reads only the tables named']);
});

test('what is timed can write nothing, though the role may', async () => {
  await using database = await freshDatabase(18);
  const client = await openTimedSession(database.url, 'source', 5000);
  try {
    await client.query('SET default_transaction_read_only = off');
    await client.query('CREATE SEQUENCE public.own');
    const queries = [{ sql: `SELECT nextval('public.own')`, values: [] }];
    await expect(
      timeQueries(
        client,
        () => queries.shift(),
        () => undefined,
      ),
    ).rejects.toMatchObject({ code: '25006' });
  } finally {
    await client.end();
  }
});
