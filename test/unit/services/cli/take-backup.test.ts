/** What a backup's command is given: a URL that may stand in a command line, and the password beside it. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
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

/** A pg_dump that tells what it was given, by whom everybody on the machine can ask. */
const DUMP = `#!/bin/sh
if [ "$1" = --version ]; then echo 'pg_dump (PostgreSQL) 18.1'; exit; fi
echo "$@, and $PGPASSWORD" >&2
exit 3
`;

test('no secret stands in the arguments of pg_dump', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'crossfade-dump-'));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  await writeFile(join(directory, 'pg_dump'), DUMP, { mode: 0o755 });
  const file = join(directory, 'shop.dump');
  const taken = takeBackup({
    entry: { of: 'source', file, timeoutMs: 30_000 },
    url: 'postgres://ann:one@db/shop?password=two&sslpassword=three&sslmode=require',
    serverVersion: 180_000,
    tables: [],
    environment: { PATH: `${directory}:${process.env['PATH']}` },
    signal: new AbortController().signal,
  });
  await expect(taken).rejects.toThrow(
    `exit 3: --format=custom --no-password --file=${file}.part --dbname=postgres://ann@db/shop?sslmode=require, and two`,
  );
});
