/** What a backup's command is given: a URL that may stand in a command line, and the password beside it. */
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { takeBackup } from '#services/cli/backup/take-backup.ts';

async function given(url: string): Promise<string> {
  const command = ['/bin/sh', '-c', 'echo "$CROSSFADE_BACKUP_URL $PGPASSWORD" >&2; exit 3'];
  const entry = { of: 'source', command, verify: ['true'], timeoutMs: 30_000 } as const;
  const signal = new AbortController().signal;
  const error: unknown = await takeBackup({ entry, url, serverVersion: 180_000, tables: [], environment: {}, signal }).catch(
    (e: unknown) => e,
  );
  return (error as Error).message.replace('the source was not saved: exit 3: ', '');
}

test('the password leaves the URL, wherever it stood there; the rest stays as it was written', async () => {
  expect(await given('postgres://ann:s%20cret@db/shop')).toBe('postgres://ann@db/shop s cret');
  expect(await given('postgres://ann@db/shop?options=-c%20a%3Db&password=s%26cret&sslmode=require')).toBe(
    'postgres://ann@db/shop?options=-c%20a%3Db&sslmode=require s&cret',
  );
  // As pg has it, the query goes before the user; libpq reads names that are encoded, too.
  expect(await given('postgres://ann:one@db/shop?p%61ssword=two')).toBe('postgres://ann@db/shop two');
  expect(await given('postgres://ann@db/shop?sslkey=/k&sslpassword=one&p%61ssword=&passfile=/p')).toBe(
    'postgres://ann@db/shop?sslkey=/k&passfile=/p',
  );
  expect(await given('postgres://ann@db/shop')).toBe('postgres://ann@db/shop');
});

interface Programs {
  /** What pg_dump says it is; 18.1 when absent. */
  readonly version?: string;
  /** Shell behind that. */
  readonly dump?: string;
  readonly restore?: string;
}

const SHOP = 'postgres://ann:one@db/shop?password=two&sslpassword=three&sslmode=require';

/** By programs of ours in the place of PostgreSQL's. */
async function dumped(programs: Programs): Promise<{ readonly file: string; readonly error: string | undefined }> {
  const directory = await mkdtemp(join(tmpdir(), 'crossfade-dump-'));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  const put = async (name: string, shell: string): Promise<void> =>
    writeFile(join(directory, name), `#!/bin/sh\n${shell}\n`, { mode: 0o755 });
  const { version = '18.1', dump = 'echo all of it > "$CROSSFADE_BACKUP_FILE"', restore = '' } = programs;
  await put('pg_dump', `if [ "$1" = --version ]; then echo 'pg_dump (PostgreSQL) ${version}'; exit; fi\n${dump}`);
  await put('pg_restore', restore);
  const file = join(directory, 'shop.dump');
  await writeFile(file, 'the last good one');
  const error = await takeBackup({
    entry: { of: 'source', file, timeoutMs: 30_000 },
    url: SHOP,
    serverVersion: 180_000,
    tables: [{ schema: 'public', name: 'orders' }],
    environment: { PATH: `${directory}:${process.env['PATH']}` },
    signal: new AbortController().signal,
  }).then(
    () => undefined,
    (e: unknown) => e as Error & { code: string },
  );
  return { file, error: error && `${error.code} ${error.message.replaceAll(directory, 'HERE')}` };
}

const LISTED = `echo '1; 0 2 TABLE DATA public orders ann'`;

test('no secret stands in the arguments of pg_dump', async () => {
  const { error } = await dumped({ dump: 'echo "$@, and $PGPASSWORD" >&2; exit 3' });
  expect(error).toContain(
    'exit 3: --format=custom --no-password --file=HERE/shop.dump.part --dbname=postgres://ann@db/shop?sslmode=require, and two',
  );
});

test.each<readonly [string, Programs, RegExp]>([
  ['an older pg_dump', { version: '15.4', restore: LISTED }, /^CF-8603 pg_dump is of PostgreSQL 15\.4/],
  [
    'one without the rows of a table',
    { restore: 'true' },
    /^CF-8601 the backup of the source is not whole: it holds no rows of public\.orders$/,
  ],
  [
    'one that cannot be read to its end',
    { restore: `${LISTED}; test "$1" = --list` },
    /^CF-8601 the backup of the source is not whole: exit 1$/,
  ],
])("%s takes nobody's place", async (_what, programs, why) => {
  const { file, error } = await dumped(programs);
  expect(error).toMatch(why);
  expect(await readFile(file, 'utf8')).toBe('the last good one');
});

test('a whole one does, for its owner alone', async () => {
  const { file, error } = await dumped({ restore: LISTED });
  expect([error, await readFile(file, 'utf8'), (await stat(file)).mode & 0o777]).toEqual([undefined, 'all of it\n', 0o600]);
});
