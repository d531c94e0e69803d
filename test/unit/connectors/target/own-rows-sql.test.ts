/** Where other waves have rows in the same table, no statement that takes one away takes theirs. */
import { expect, test } from 'vitest';
import { TableSql } from '#connectors/target/postgres/statements.ts';
import { readMigrationFile } from '#schemas/config/read-migration-file.ts';
import { waveFile } from '#schemas/config/wave-file.ts';
import { compileMapping } from '#schemas/mapping/compile-mapping.ts';
import { shareSql } from '#schemas/mapping/share.ts';
import { catalogOf } from '#test/support/compile.ts';

const TABLE = 'CREATE TABLE event (id uuid PRIMARY KEY, tenant int, is_gone boolean NOT NULL DEFAULT false)';

test.each(['hard', '{ soft: { column: is_gone } }'])('deletes: %s', async (deletes) => {
  const text = `crossfade: 1\nname: test\nsource: { postgres: "postgres://h/a" }\ntarget: { postgres: "postgres://h/b" }
tables: [{ from: public.event, deletes: ${deletes}, columns: { is_gone: { drop: true } } }]\nwaves: { by: tenant, units: [1, 2] }\n`;
  const { file, findings } = readMigrationFile({ path: 'm.yaml', text, env: {} });
  expect(findings).toEqual([]);
  const catalog = await catalogOf(TABLE);
  const { mapping } = compileMapping(waveFile(file!, '1'), catalog, catalog);
  const [table] = mapping!.tables;
  const sql = new TableSql(table!, 0, undefined);
  const own = shareSql(table!, (column) => `"${column}"`)!;
  for (const statement of [
    sql.deleteOne(),
    sql.deleteByKeys(),
    sql.removeByKeys(),
    sql.deleteByFinal(),
    ...(sql.soft === undefined ? [] : [sql.deleteAllSoftly()]),
  ])
    expect(statement.replaceAll('t.', '')).toContain(own);
});
