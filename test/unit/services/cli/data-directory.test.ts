import { existsSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readMigrationFile } from '#schemas/config/read-migration-file.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { checkDataDirectory } from '#services/cli/check/data-directory.ts';

function fileKeeping(bytes: string): MigrationFile {
  const text = `crossfade: 1\nname: shop\nsource: { postgres: "postgres://a@b/c" }\ntarget: { postgres: "postgres://a@b/d" }\ntables:\n  - from: public.*\nlog: { retainBytes: ${bytes} }\n`;
  return readMigrationFile({ path: 'x', text, env: {} }).file!;
}

test('a directory that does not exist yet is judged by its nearest parent and not made', async () => {
  const dataDir = join(mkdtempSync(join(tmpdir(), 'crossfade-data-')), 'a', 'b');
  expect(await checkDataDirectory(dataDir, fileKeeping('1KiB'))).toEqual([]);
  expect(existsSync(join(dataDir, '..'))).toBe(false);
});

test('too little room is a warning', async () => {
  expect(await checkDataDirectory(tmpdir(), fileKeeping('4000TiB'))).toMatchObject([{ severity: 'warning', code: 'CF-3001' }]);
});

test('a place where no directory can be made is an error', async () => {
  const file = join(mkdtempSync(join(tmpdir(), 'crossfade-data-')), 'file');
  writeFileSync(file, '');
  expect(await checkDataDirectory(join(file, 'data'), fileKeeping('1KiB'))).toMatchObject([{ severity: 'error', code: 'CF-3001' }]);
});
