/** What a backup's command is given: a URL that may stand in a command line, and the password beside it. */
import { expect, test } from 'vitest';
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
  expect(await given('postgres://ann@db/shop')).toBe('postgres://ann@db/shop');
});
