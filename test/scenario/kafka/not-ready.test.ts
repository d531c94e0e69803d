import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { Pipeline } from '#services/demo/pipeline/pipeline.ts';
import { readInstance, type Instance } from '#services/runtime/instance-file.ts';
import { execute } from '#test/support/application.ts';
import { envelopeOf, runInProcess } from '#test/support/command-line.ts';
import { freePort } from '#test/support/kafka/ports.ts';
import { freshDatabase } from '#test/support/postgres.ts';

const WAIT = { timeout: 40_000, interval: 50 };

async function instanceIn(dataDir: string): Promise<Instance> {
  const instance = await readInstance(dataDir);
  if (instance === undefined) throw new Error('nothing is served');
  return instance;
}

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

test('control answers before Kafka does: alive, not ready and why, with the status that the servers know', async () => {
  await using database = await freshDatabase();
  await execute(database.url, 'CREATE TABLE public.item (id int PRIMARY KEY)');
  const port = await freePort();
  const rest = `log: { kafka: { brokers: ["127.0.0.1:${port}"] } }\n`;
  const file = await fileWith(rest, { source: database.url, target: database.url });
  const [dataDir, logFile] = ['control', 'control.log'].map((name) => join(dirname(file), name));
  await using control = Pipeline.start({ command: 'control', file, dataDir: dataDir!, logFile: logFile! });
  const { url, token } = await vi.waitFor(async () => instanceIn(dataDir!), WAIT);
  const answer = async (path: string, options: RequestInit = {}): Promise<{ readonly status: number; readonly body: unknown }> => {
    const response = await fetch(`${url}${path}`, { headers: { authorization: `Bearer ${token}` }, ...options });
    return { status: response.status, body: await response.json() };
  };
  expect(await answer('/healthz')).toEqual({ status: 200, body: { ok: true } });
  await vi.waitFor(async () => {
    const reason = expect.stringContaining(`127.0.0.1:${port}`) as string;
    expect(await answer('/readyz')).toEqual({ status: 503, body: { ready: false, reason } });
  }, WAIT);
  expect(await answer('/v1/status')).toMatchObject({ status: 200, body: { name: 'not_ready', phase: 'planned' } });
  expect(await answer('/v1/pause', { method: 'POST' })).toMatchObject({ status: 409, body: { error: { code: 'CF-3001' } } });
  expect(control.logTail(50)).toContain('status and control are served');
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
