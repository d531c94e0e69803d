/** Which rows the source has under the keys that a store holds: only those of the very same text. */
import { expect, test } from 'vitest';
import { readShapes } from '#connectors/probe/postgres/shape.ts';
import { sourceRowsAt } from '#connectors/probe/postgres/source-rows.ts';
import { tableProbe } from '#connectors/probe/postgres/table-scan.ts';
import { play } from './played-pipeline.ts';

test('a key that the type or a collation calls equal is another key', async () => {
  await using pipeline = await play({
    sourceSql: `CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
      CREATE TABLE named (id text COLLATE nocase PRIMARY KEY); CREATE TABLE numbered (id numeric PRIMARY KEY);
      INSERT INTO named VALUES ('Ann'), ('bob'); INSERT INTO numbered VALUES (1.0), (2)`,
    targetSql: 'CREATE TABLE named (id text PRIMARY KEY); CREATE TABLE numbered (id numeric PRIMARY KEY)',
  });
  const { source, mapping } = pipeline;
  const shapes = await readShapes(
    source,
    mapping.tables.map(({ from }) => from),
  );
  const standing: Record<string, readonly string[]> = {};
  await source.query('BEGIN');
  for (const [i, table] of mapping.tables.entries()) {
    const scan = { client: source, probe: tableProbe(table, () => true), shape: shapes[i]!, renew: async () => undefined };
    const keys = table.from.name === 'named' ? ['Ann', 'ANN', 'bob', 'carl'] : ['1.0', '1', '2.0', 'x'];
    standing[table.from.name] = (
      await sourceRowsAt(
        scan,
        keys.map((key) => [key]),
      )
    ).map(({ kind }) => kind);
  }
  await source.query('ROLLBACK');
  expect(standing).toEqual({ named: ['row', 'none', 'row', 'none'], numbered: ['row', 'none', 'none', 'never'] });
});
