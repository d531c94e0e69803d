/** docs/example-pagila.md: what it says is done here. */
import { cpSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { runCommand } from '#services/demo/pipeline/command.ts';
import { makeScratch } from '#services/demo/pipeline/scratch.ts';
import { execute } from '#test/support/application.ts';
import {
  PAGILA_EXAMPLE_DIRECTORY,
  PAGILA_EXAMPLE_FILE,
  PAGILA_EXAMPLE_SQL,
  pagilaExampleEnvironment,
} from '#test/support/pagila-example.ts';
import { PAGILA_SAME, PAGILA_SQL, PAGILA_WRITES, pagilaRowsSql } from '#test/support/pagila.ts';
import { freshDatabase } from '#test/support/postgres.ts';
import { runShape, type FiledShape } from '#test/support/shape-run.ts';

const LONG_MS = 240_000;
const FILMS = 200;
const WRITES_A_ROUND = 5;

/** What `check` says of the way back. */
const WAY_BACK = [
  'public.category goes back in part',
  'public.city is one-way',
  'public.country is one-way',
  'public.customer is one-way',
  'public.film is one-way',
  'public.film is one-way',
  'public.film is one-way',
  'public.film_category goes back in part',
  'public.inventory is one-way',
  'public.payment is one-way',
  'public.rental is one-way',
];

const EXAMPLE: FiledShape = {
  name: 'pagila',
  source: PAGILA_SQL,
  fill: `SELECT setseed(0.5); ${pagilaRowsSql(FILMS)}; ${PAGILA_EXAMPLE_SQL.source}`,
  target: PAGILA_EXAMPLE_SQL.target,
  file: PAGILA_EXAMPLE_FILE,
  env: pagilaExampleEnvironment,
  changes: (round) => [
    `SELECT setseed(${(round % 1000) / 1000})`,
    ...Array.from({ length: WRITES_A_ROUND }, (_, i) => PAGILA_WRITES[(round * WRITES_A_ROUND + i) % PAGILA_WRITES.length]!),
  ],
  same: PAGILA_SAME,
};

test('the example for Pagila has 60 lines at most', () => {
  expect(readFileSync(PAGILA_EXAMPLE_FILE, 'utf8').trimEnd().split('\n').length).toBeLessThanOrEqual(60);
});

test('the example for Pagila runs as it stands: under a writer, through SIGKILLs, verified clean', { timeout: LONG_MS }, async () => {
  await runShape(EXAMPLE, async ({ targetUrl, verify, command }) => {
    const [kept] = await execute(
      targetUrl,
      `SELECT (SELECT count(*) FROM store.customer WHERE deleted_at IS NOT NULL) > 0 AS customers, (SELECT count(*) FROM store.copy WHERE state = 'gone') > 0 AS copies`,
    );
    expect(kept).toEqual({ customers: 't', copies: 't' });
    await execute(
      targetUrl,
      `UPDATE store.film SET genre_id = NULL WHERE id = (SELECT min(id) FROM store.film WHERE genre_id IS NOT NULL)`,
      `UPDATE store.place SET name = 'wrong' WHERE (kind, id) = ('country', 3)`,
      `DELETE FROM store.loan WHERE id = (SELECT min(id) FROM store.loan)`,
      `UPDATE store.customer SET deleted_at = now() WHERE legacy_id = 7`,
    );
    const drifted = await verify();
    expect(drifted.result.differences).toBe(4);
    expect(await command('repair')).toBe(0);
    expect((await verify()).result.differences).toBe(0);
  });
});

test('check asks for what source.sql does, and for nothing else; its own tests pass', { timeout: LONG_MS }, async () => {
  await using from = await freshDatabase(18);
  await using to = await freshDatabase(18);
  await execute(from.url, PAGILA_SQL);
  await execute(to.url, PAGILA_EXAMPLE_SQL.target);
  const options = { file: PAGILA_EXAMPLE_FILE, env: pagilaExampleEnvironment(from.url, to.url) };
  const asked = (await runCommand(['check'], options)).envelope!.findings!.filter(({ severity }) => severity !== 'info');
  expect(asked.map(({ message }) => message)).toEqual([
    'store.film has no unique index on exactly ("id", "genre_id"), the key of public.film_category; it has the primary key (id)',
    'public.film and public.film_category both go to store.film, by different keys: (id) and (id, genre_id)',
    expect.stringContaining('public.customer: "name" is made of several columns'),
  ]);
  expect(asked[0]!.remedy).toContain(
    'Or, where ("film_id") alone tells the rows of public.film_category apart, on the source: CREATE UNIQUE INDEX "film_category_identity" ON',
  );
  await execute(from.url, PAGILA_EXAMPLE_SQL.source);
  const ready = await runCommand(['check'], options);
  const left = ready.envelope!.findings!.filter(({ severity }) => severity !== 'info');
  expect([ready.code, left.filter(({ code }) => code !== 'CF-8325')]).toEqual([0, []]);
  // Known before any cut-over: what a rollback would not bring back.
  expect(left.map(({ message }) => message.replace(/[:;].*/, '')).toSorted()).toEqual(WAY_BACK);
  using scratch = makeScratch('crossfade-pagila-');
  cpSync(PAGILA_EXAMPLE_DIRECTORY, scratch.path, { recursive: true });
  const copied = { ...options, file: join(scratch.path, 'migration.yaml') };
  for (const args of [['test', '--record', '0'], ['test']]) {
    const answer = await runCommand(args, copied);
    expect(answer.code, answer.stderr).toBe(0);
  }
});
