import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { execute } from '#test/support/application.ts';
import { envelopeOf, runInProcess } from '#test/support/command-line.ts';
import { freshDatabase } from '#test/support/postgres.ts';

async function fileWith(
  rest: string,
  urls = { source: 'postgres://nobody@127.0.0.1:1/x', target: 'postgres://nobody@127.0.0.1:1/x' },
): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'crossfade-not-ready-'));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  const path = join(directory, 'migration.yaml');
  const text = `crossfade: 1\nname: not_ready\nsource: { postgres: "${urls.source}" }\ntarget: { postgres: "${urls.target}" }\ntables:\n  - from: public.*\n`;
  await writeFile(path, text + rest);
  return path;
}

test.for(['reader', 'transformer', 'sink', 'reconciler', 'control'])('%s needs Kafka in the file: exit 2', async (name) => {
  const run = await runInProcess([name, '--json', '--port', '0', '-f', await fileWith('')]);
  expect(run.exitCode).toBe(2);
  expect(envelopeOf(run)).toMatchObject({ command: name, ok: false, error: { code: 'CF-1004' } });
  expect(envelopeOf(run).error?.message).toContain('log: { kafka: … }');
});

test('check tells brokers and a registry that do not answer, and tables that would share a topic', async () => {
  await using database = await freshDatabase();
  const { url } = database;
  await execute(
    url,
    'CREATE TABLE public."a b" (id int PRIMARY KEY); CREATE TABLE public."a c" (id int PRIMARY KEY); CREATE TABLE public."a?b" (id int PRIMARY KEY)',
  );
  const rest = 'log: { kafka: { brokers: ["127.0.0.1:1"], registry: "http://user:hidden@127.0.0.1:1/api" } }\n';
  const run = await runInProcess(['check', '--json', '-f', await fileWith(rest, { source: url, target: url })]);
  const messages = envelopeOf(run)
    .findings.filter(({ code }) => code === 'CF-3006')
    .map(({ message }) => message);
  expect(messages).toEqual([
    expect.stringContaining('not_ready.public.a_b would be that of public.a b of the source and public.a?b of the source'),
    expect.stringContaining('not_ready.mapped.public.a_b'),
    expect.stringContaining('127.0.0.1:1'),
    expect.stringContaining('the schema registry at http://127.0.0.1:1/api cannot be used'),
  ]);
  expect(run.stdout).not.toContain('hidden');
});
