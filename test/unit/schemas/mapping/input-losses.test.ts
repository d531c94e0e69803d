/** What Debezium would lose without a word is refused before anything starts. */
import { expect, test } from 'vitest';
import { readCatalog } from '#connectors/catalog/postgres.ts';
import { connect } from '#connectors/postgres/session.ts';
import { compileMapping } from '#schemas/mapping/compile-mapping.ts';
import { inputLosses } from '#schemas/mapping/input-losses.ts';
import { readMigrationFile } from '#schemas/config/read-migration-file.ts';
import { execute } from '#test/support/application.ts';
import { freshDatabase } from '#test/support/postgres.ts';

const TABLE = `CREATE DOMAIN flags AS bit varying(8); CREATE TYPE pair AS (a int, b int);
  CREATE TABLE t (id int PRIMARY KEY, grid int[][], words text[], numbers numeric[], f flags, p pair, span interval, price numeric(8,2), late timetz)`;

test.each([
  ['', ['t.grid', 't.f', 't.p', 't.numbers'], ['t.span', 't.price', 't.late']],
  ['drop: [grid, f, p, numbers]', [], ['t.span', 't.price', 't.late']],
  ['drop: [grid, f, p, span, late, price]', ['t.numbers'], []],
])('of a file with "%s"', async (entry, refused, warned) => {
  await using database = await freshDatabase();
  await execute(database.url, TABLE);
  const client = await connect(database.url, { applicationName: 'input-losses-test', role: 'source' });
  const catalog = await readCatalog(client);
  await client.end();
  const text = `crossfade: 1\nname: x\nsource: { postgres: "${database.url}" }\ntarget: { postgres: "${database.url}" }\ntables:\n  - from: public.t\n    ${entry}\n`;
  const { file } = readMigrationFile({ text, path: 'x.yaml', env: {} });
  const findings = inputLosses(compileMapping(file!, catalog, catalog).mapping!, catalog.tables);
  const named = (severity: string): string[] =>
    findings.filter((finding) => finding.severity === severity).map(({ message }) => message.replace(/^.*: public\./, ''));
  expect(named('error')).toEqual(refused);
  expect(named('warning')).toEqual(warned);
});
