import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readMigrationFile } from '#schemas/config/read-migration-file.ts';
import { compileMapping } from '#schemas/mapping/compile-mapping.ts';
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { withLookups } from '#services/cli/lookups.ts';
import { catalogOf, told } from '#test/support/compile.ts';

const SHOP = join(import.meta.dirname, '..', '..', '..', '..', 'services', 'demo', 'shop');
const ENV = { SHOP_SOURCE: 'postgres://h/legacy', SHOP_TARGET: 'postgres://h/shop' };

async function mappingOf(name: string, targetSql: string): Promise<readonly TableMapping[]> {
  const path = join(SHOP, name);
  const { file } = readMigrationFile({ path, text: readFileSync(path, 'utf8'), env: ENV });
  const [source, target] = await Promise.all([
    catalogOf(readFileSync(join(SHOP, 'legacy.sql'), 'utf8'), 14),
    catalogOf(readFileSync(join(SHOP, targetSql), 'utf8')),
  ]);
  const { mapping, findings } = compileMapping(await withLookups(file!, path), source, target);
  expect(told(findings)).toEqual([]);
  return mapping!.tables;
}

test('the demo’s mapping uses every shape, without a warning', async () => {
  const tables = await mappingOf('migration.yaml', 'new.sql');
  const into = (holds: (table: TableMapping) => boolean): readonly string[] =>
    tables.filter(holds).map(({ from, to }) => `${from.name} ${to.name}`);
  expect(into(({ merge }) => merge !== undefined)).toEqual(['tbl_bonus customers', 'tbl_cust customers']);
  expect(into(({ explode }) => explode !== undefined)).toEqual(['tbl_cust customer_tags']);
  expect(into(({ share }) => share !== undefined)).toEqual(['tbl_giro accounts', 'tbl_savings accounts']);
  expect(into(({ from }) => from.name === 'tbl_doc')).toEqual(['tbl_doc documents', 'tbl_doc document_bodies']);
  expect(into(({ filter, deletes }) => filter !== undefined && deletes !== undefined)).toEqual(['tbl_ord orders']);
  const text = readFileSync(join(SHOP, 'migration.yaml'), 'utf8');
  for (const step of ['map', 'zone', 'decimal', 'lookup', 'uuid5', 'cast']) expect(text).toContain(`${step}: `);
});

test('the same shop goes table by table where tables cannot be shared', async () => {
  const tables = await mappingOf('renamed.yaml', 'renamed.sql');
  expect(tables.length).toBe(new Set(tables.map(({ to }) => to.name)).size);
});
