/**
 * The operator's commands on a running migration: shapes fixed by the design, exit codes, what works without an instance. Each is a process of its own in the first
 * test; the others run them in this one, since a process takes most of its time to load.
 */
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { statusResultSchema } from '#schemas/status/status-result.ts';
import { Pipeline } from '#services/demo/pipeline/pipeline.ts';
import { execute } from '#test/support/application.ts';
import { type CommandRun, envelopeOf, runChild, runInProcess } from '#test/support/command-line.ts';
import { freshDatabase } from '#test/support/postgres.ts';

const TABLES = `CREATE TABLE public.orders (id bigint PRIMARY KEY, total numeric(10,2));
  CREATE TABLE public.lines (order_id bigint, line int, note text, PRIMARY KEY (order_id, line));
  CREATE TABLE public.journal (at timestamptz, what text); ALTER TABLE public.journal REPLICA IDENTITY FULL`;
const ROWS = `INSERT INTO public.orders SELECT g, g FROM generate_series(1, 2000) g; INSERT INTO public.lines SELECT g, 1, 'x' FROM generate_series(1, 50) g;
  INSERT INTO public.journal SELECT now(), 'opened' FROM generate_series(1, 2); ANALYZE`;
const WAIT = { timeoutMs: 30_000 };

interface Stage extends AsyncDisposable {
  readonly directory: string;
  readonly source: string;
  readonly target: string;
  run(...args: readonly string[]): Promise<CommandRun>;
  start(): Pipeline;
}

async function openStage(run: typeof runChild = runInProcess): Promise<Stage> {
  const [source, target] = [await freshDatabase(14), await freshDatabase(18)];
  await execute(source.url, TABLES, ROWS);
  await execute(target.url, TABLES);
  const directory = mkdtempSync(join(tmpdir(), 'crossfade-command-line-'));
  writeFileSync(
    join(directory, 'migration.yaml'),
    `crossfade: 1\nname: cli_${process.pid}_${source.name}\nsource: { postgres: "${source.url}" }\ntarget: { postgres: "${target.url}" }\ntables:\n  - from: public.*\n`,
  );
  const dataDir = join(directory, 'data');
  return {
    directory,
    source: source.url,
    target: target.url,
    run: async (...args) => run([...args, '--data', dataDir], { directory }),
    start: () => Pipeline.start({ file: join(directory, 'migration.yaml'), dataDir, logFile: join(directory, 'up.log') }),
    [Symbol.asyncDispose]: async () => {
      await source[Symbol.asyncDispose]();
      await target[Symbol.asyncDispose]();
    },
  };
}

const STATUS_KEYS = ['name', 'phase', 'tables', 'lag', 'source', 'applied', 'copy', 'restarts', 'deadLetters', 'drift', 'plan'];
const TABLE_KEYS = ['from', 'to', 'phase', 'rowsCopied', 'rowsEstimated', 'changesApplied'];

function expectStatusShape(run: CommandRun): void {
  expect(run.exitCode).toBe(0);
  const envelope = envelopeOf(run);
  expect(Object.keys(envelope)).toEqual(['command', 'ok', 'summary', 'result', 'error', 'findings']);
  const result = statusResultSchema.parse(envelope.result);
  // Only a running instance compares by itself.
  const always = Object.keys(result).filter((key) => key !== 'reconciliation');
  expect(always.toSorted()).toEqual(STATUS_KEYS.toSorted());
  expect(Object.keys(result.lag).toSorted()).toEqual(['bytes', 'known', 'seconds']);
  expect(Object.keys(result.source).toSorted()).toEqual(['lsn', 'slot']);
  expect(Object.keys(result.source.slot).toSorted()).toEqual(['retainedBytes', 'status']);
  expect(Object.keys(result.applied).toSorted()).toEqual(['exact', 'lsn']);
  for (const table of result.tables)
    expect(
      Object.keys(table)
        .filter((key) => key !== 'error')
        .toSorted(),
    ).toEqual(TABLE_KEYS.toSorted());
}

test('one migration through the command line', { timeout: 120_000 }, async () => {
  await using stage = await openStage(runChild);

  const planned = await stage.run('status', '--json');
  expectStatusShape(planned);
  expect(envelopeOf(planned).result).toMatchObject({
    phase: 'planned',
    lag: { bytes: null, seconds: null, known: false },
    applied: { lsn: null, exact: false },
    tables: [{ from: 'public.journal', phase: 'waiting' }, { from: 'public.lines' }, { from: 'public.orders', rowsEstimated: 2000 }],
    drift: null,
  });

  const caughtUp = await stage.run('up', '--port', '0', '--until', 'caught-up', '--json');
  expect(caughtUp.exitCode, caughtUp.stderr).toBe(0);
  expect(envelopeOf(caughtUp).result).toMatchObject({ phase: 'following' });
  expect(existsSync(join(stage.directory, 'data', 'instance.json'))).toBe(false);

  const stored = await stage.run('status', '--json');
  expectStatusShape(stored);
  expect(envelopeOf(stored).result).toMatchObject({
    phase: 'following',
    lag: { known: true },
    applied: { exact: true },
    source: { slot: { status: 'reserved' } },
    tables: [
      { from: 'public.journal', phase: 'following', rowsCopied: 2 },
      { from: 'public.lines', phase: 'following', rowsCopied: 50 },
      { from: 'public.orders', phase: 'following', rowsCopied: 2000 },
    ],
  });

  const clean = await stage.run('verify', '--json');
  expect(clean.exitCode, clean.stdout).toBe(0);
  const verified = envelopeOf(clean).result as Record<string, unknown> & { tables: Record<string, unknown>[] };
  expect(verified).toMatchObject({
    at: { lsn: expect.stringMatching(/^[0-9A-F]+\/[0-9A-F]+$/) as string },
    differences: 0,
    inconclusive: 0,
  });
  for (const key of ['to', 'rowsSource', 'rowsTarget', 'missing', 'extra', 'different', 'sample'])
    expect(verified.tables[0]).toHaveProperty(key);
});

test('a running instance is found, asked, steered and drained', { timeout: 120_000 }, async () => {
  await using stage = await openStage();
  await using instance = stage.start();
  await instance.waitFor((status) => status.phase === 'following', { what: 'following', ...WAIT });
  expectStatusShape(await stage.run('status', '--json'));

  const check = await stage.run('check', '--json');
  expect(check.exitCode, check.stdout).toBe(0); // filled target tables and a used slot are its own
  expect(envelopeOf(check).result).toMatchObject({ resumed: true });

  const second = await stage.run('up', '--port', '0', '--json');
  expect(second.exitCode).toBe(3);
  expect(envelopeOf(second).error?.code).toMatch(/^CF-(3004|7003)$/);
  expect(await instance.status()).toMatchObject({ phase: 'following' }); // the first is unharmed

  for (const args of [['pause'], ['resume'], ['throttle', '--rows', '1000', '--bytes', '1MiB'], ['throttle', '--off']])
    expect((await stage.run(...args, '--json')).exitCode, args.join(' ')).toBe(0);

  const { url, token } = JSON.parse(readFileSync(join(stage.directory, 'data', 'instance.json'), 'utf8')) as { url: string; token: string };
  const elsewhere = { directory: tmpdir(), environment: { CROSSFADE_TOKEN: token } };
  expect((await runInProcess(['status', '--url', url, '--json'], elsewhere)).exitCode).toBe(0);
  const refused = await runInProcess(['status', '--url', url, '--json'], {
    directory: tmpdir(),
    environment: { CROSSFADE_TOKEN: 'wrong' },
  });
  expect(refused.exitCode).toBe(1);
  expect(envelopeOf(refused).error?.code).toBe('CF-7004');

  await execute(
    stage.target,
    'DELETE FROM public.orders WHERE id IN (7, 8)',
    "UPDATE public.lines SET note = 'y' WHERE order_id = 3",
    "INSERT INTO public.journal VALUES (now(), 'never')",
  );
  const drift = await stage.run('verify', '--json');
  expect(drift.exitCode).toBe(11);
  expect(envelopeOf(drift)).toMatchObject({ ok: false, error: { code: 'CF-6001' }, result: { differences: 4, inconclusive: 0 } });
  const repaired = await stage.run('repair', '--json');
  expect(repaired.exitCode, repaired.stdout).toBe(0);
  expect((await stage.run('verify', '--json')).exitCode).toBe(0);

  await execute(stage.target, 'DELETE FROM public.lines WHERE order_id BETWEEN 10 AND 12', 'DELETE FROM public.orders WHERE id = 42');
  expect((await stage.run('repair', '--table', 'lines', '--from', '10', '--to', '12', '--json')).exitCode).toBe(0);
  const keys = join(stage.directory, 'keys.txt');
  writeFileSync(keys, '42\n');
  expect((await stage.run('repair', '--table', 'public.orders', '--keys', keys, '--json')).exitCode).toBe(0);
  expect((await stage.run('verify', '--json')).exitCode).toBe(0);

  expect(await instance.stop()).toEqual({ code: 0, signal: null });
  expect(existsSync(join(stage.directory, 'data', 'instance.json'))).toBe(false);
  const alone = await stage.run('pause', '--json');
  expect(alone.exitCode).toBe(1);
  expect(envelopeOf(alone).error?.code).toBe('CF-7001');
});

test('wrong keys for a repair are refused before anything is asked for', async () => {
  await using stage = await openStage();
  const keys = join(stage.directory, 'keys.txt');
  writeFileSync(keys, 'one\n');
  for (const { args, says } of [
    { args: ['--table', 'orders', '--from', 'one'], says: 'type' },
    { args: ['--table', 'orders', '--keys', keys], says: 'type' },
    { args: ['--table', 'lines', '--keys', keys], says: 'line 1' },
    { args: ['--table', 'journal', '--from', '1'], says: 'has no key' },
    { args: ['--from', '1'], says: '--table' },
    { args: ['--table', 'orders', '--from', '1', '--keys', keys], says: 'exclude' },
  ]) {
    const run = await stage.run('repair', ...args, '--json');
    expect(run.exitCode, args.join(' ')).toBe(2);
    expect(envelopeOf(run).error).toMatchObject({ code: 'CF-1007', message: expect.stringContaining(says) as string });
  }
  const unknown = await stage.run('verify', '--table', 'odrers', '--json');
  expect(unknown.exitCode).toBe(2);
  expect(envelopeOf(unknown).error).toMatchObject({ code: 'CF-1008', remedy: 'Did you mean orders?' });
});

test('init writes a file that check accepts, overwrites nothing, and keeps passwords out', async () => {
  await using stage = await openStage();
  const plain = (url: string): string => url.replace(/:[^:@/]*@/, '@');
  const written = await stage.run('init', '--source', plain(stage.source), '--target', plain(stage.target), '-o', 'new.yaml', '--json');
  expect(written.exitCode, written.stdout).toBe(0);
  const check = await stage.run('check', '-f', 'new.yaml', '--json');
  expect(check.exitCode, check.stdout).toBe(0);
  const again = await stage.run('init', '--source', stage.source, '--target', stage.target, '-o', 'new.yaml', '--json');
  expect(again.exitCode).toBe(2);
  const printed = await stage.run(
    'init',
    '--source',
    stage.source.replace('postgres:', 'postgres:').replace(/\/\/postgres(:[^@]*)?@/, '//postgres:s3cret@'),
    '--target',
    stage.target,
    '-o',
    '-',
  );
  expect(printed.stdout).toContain('${SOURCE_URL}');
  expect(printed.stdout).not.toContain('s3cret');
  expect((await stage.run('init', '--source', 'nowhere', '--target', stage.target, '--json')).exitCode).toBe(2);
  expect((await stage.run('init', '--target', stage.target, '--json')).exitCode).toBe(2);
});

test('before the first start verify and repair say so, and nothing is created', async () => {
  await using stage = await openStage();
  const verify = await stage.run('verify', '--json');
  expect([1, 2, 3], verify.stdout).toContain(verify.exitCode);
  expect(envelopeOf(verify).error?.remedy).not.toBe('');
  const repair = await stage.run('repair', '--table', 'orders', '--json');
  expect(repair.exitCode).toBe(1);
  expect(envelopeOf(repair).error?.code).toBe('CF-7001');
  const left = await execute(stage.target, "SELECT nspname FROM pg_namespace WHERE nspname = 'crossfade'");
  expect(left).toEqual([]);
});

test('status without the source: what the target says, and lag unknown; without the target: exit 3', async () => {
  await using stage = await openStage();
  expect((await stage.run('up', '--port', '0', '--until', 'caught-up', '--json')).exitCode).toBe(0);
  const file = join(stage.directory, 'migration.yaml');
  const text = readFileSync(file, 'utf8');
  writeFileSync(file, text.replace(stage.source, 'postgres://me@127.0.0.1:1/x'));
  const status = await stage.run('status', '--json');
  expectStatusShape(status);
  expect(envelopeOf(status)).toMatchObject({
    result: {
      phase: 'following',
      lag: { bytes: null, seconds: null, known: false },
      source: { lsn: null, slot: { retainedBytes: null, status: null } },
    },
    findings: [{ severity: 'warning', code: 'CF-2001' }, { severity: 'info' }],
  });
  writeFileSync(file, text.replace(stage.target, 'postgres://me@127.0.0.1:1/x'));
  const blind = await stage.run('status', '--json');
  expect(blind.exitCode).toBe(3);
  expect(envelopeOf(blind).error?.code).toBe('CF-5001');
});
