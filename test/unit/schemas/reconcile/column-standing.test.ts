/** Which columns' digests can be kept from the stream, against real catalogues and real rows. */
import { expect, test } from 'vitest';
import { readCatalog } from '#connectors/catalog/postgres.ts';
import { connect, queryRows } from '#connectors/postgres/session.ts';
import { columnSql, outputText } from '#connectors/probe/postgres/column-sql.ts';
import { compileMapping } from '#schemas/mapping/compile-mapping.ts';
import type { CompiledMapping } from '#schemas/mapping/compiled-mapping.ts';
import { canonicalEnd } from '#schemas/reconcile/canonical-form.ts';
import { type Standing, standingOf } from '#schemas/reconcile/column-standing.ts';
import { typeParts } from '#schemas/reconcile/type-parts.ts';
import { quoteIdent } from '#schemas/table.ts';
import { fileOf } from '#test/support/compile.ts';
import { freshDatabase } from '#test/support/postgres.ts';

/** Source type, target type, and what is said of the column; values that the column has. */
const COLUMNS: readonly (readonly [name: string, from: string, to: string, said: string, ...values: string[]])[] = [
  ['id', 'integer', 'bigint', 'exact', '-1', '0', '2147483647'],
  ['scale', 'numeric(9,3)', 'numeric(20,6)', 'scaled', '-0.100', '10.000', '7.125', '0', 'NaN'],
  ['whole', 'smallint', 'numeric(10,2)', 'scaled', '100', '-5', '0'],
  ['same', 'numeric', 'numeric', 'exact', '1.0', '1.00', '-100', '1e20', '1e-20'],
  ['padded', 'char(5)', 'char(9)', 'unpadded', 'a', '', ' b ', 'é'],
  ['text', 'varchar(10)', 'text', 'exact', 'a  ', '', '\t'],
  ['flag', 'boolean', 'boolean', 'exact', 't', 'f'],
  ['counted', 'app.counted', 'integer', 'exact', '7', '-7'],
  ['mood', 'app.mood', 'app.mood', 'exact', 'a b', ''],
  ['pair', 'app.pair', 'app.pair', 'exact', '(1,"a ""b""")', '(,)'],
  ['wider', 'numeric(6)', 'numeric(9,2)', 'scaled', '100', '0'],
  ['any', 'numeric(6,3)', 'numeric', 'scaled', '1.500', '0.000'],
  ['some', 'numeric', 'numeric(9,2)', 'its cast to numeric is computed by a server'],
  ['finer', 'numeric(9,4)', 'numeric(9,2)', 'its cast to numeric is computed by a server'],
  ['shorter', 'char(5)', 'char(3)', 'its cast to bpchar is computed by a server'],
  ['real', 'real', 'double precision', 'its cast to double precision is computed by a server'],
  ['cast', 'boolean', 'text', 'its cast to text is computed by a server'],
  ['steps', 'text', 'integer', 'only a server knows how integer prints what steps compute'],
  ['class', 'regclass', 'regclass', 'the text of regclass changes with the catalogue, not with the row'],
  ['classes', 'regtype[]', 'regtype[]', 'the text of regtype[] changes with the catalogue, not with the row'],
  ['inner', 'app.outer', 'app.outer', 'the text of app."outer" changes with the catalogue, not with the row'],
  ['byte', '"char"', '"char"', '"char" has bytes that are no text before PostgreSQL 16'],
];
const TYPES = `CREATE SCHEMA app; CREATE DOMAIN app.counted AS integer; CREATE TYPE app.mood AS ENUM ('a b', ''); CREATE TYPE app.pair AS (x integer, y text);
  CREATE TYPE app.held AS (class regclass); CREATE DOMAIN app.holds AS app.held; CREATE TYPE app."outer" AS (one app.holds[], two integer)`;

function ddl(table: string, type: 1 | 2): string {
  return `CREATE TABLE public.${table} (${COLUMNS.map((column) => `${quoteIdent(column[0])} ${column[type].replace('app.outer', 'app."outer"')}`).join(', ')})`;
}

function said(standing: Standing): string {
  return standing.kind === 'kept' ? standing.form : standing.why;
}

test('a column is kept in the form in which both sides print it, or refused with the reason', async () => {
  await using database = await freshDatabase(14);
  const client = await connect(database.url, { applicationName: 'test', role: 'source' });
  try {
    await client.query(`${TYPES}; ${ddl('here', 1)}; ${ddl('there', 2)}; ALTER TABLE public.here REPLICA IDENTITY FULL`);
    const catalog = await readCatalog(client);
    const casts = `cast: { cast: text }, steps: { cast: integer }, finer: { cast: 'numeric(9,2)' }, some: { cast: 'numeric(9,2)' }, shorter: { cast: char(3) }`;
    const tables = `  - from: public.here\n    to: public.there\n    columns: { ${casts} }\n`;
    const { mapping, findings } = compileMapping(fileOf(tables), catalog, catalog);
    expect(findings.filter(({ severity }) => severity === 'error')).toEqual([]);
    const [table] = (mapping as CompiledMapping).tables;
    const parts = typeParts(catalog.types);
    const standings = new Map(
      table!.columns.map((column) => [column.target, standingOf(column, { version: 14, parts, computed: column.target === 'steps' })]),
    );
    expect(COLUMNS.map(([name]) => [name, said(standings.get(name)!)])).toEqual(COLUMNS.map(([name, , , expected]) => [name, expected]));
    for (const [name, , , , ...values] of COLUMNS) {
      const standing = standings.get(name)!;
      if (standing.kind === 'refused') continue;
      const column = table!.columns.find(({ target }) => target === name)!;
      const onTarget = columnSql(column, () => true).onTarget(`v::${column.targetType}`);
      const sql = `SELECT ${outputText(`v::${column.source.type}`)} AS here, ${outputText(onTarget)} AS there FROM unnest($1::text[]) AS u(v)`;
      const rows = await queryRows(client, sql, [values]);
      const canonical = rows.map((row) => {
        const bytes = Buffer.from(`..${row['here']!}..`);
        return bytes.toString('utf8', 2, canonicalEnd(standing.form, bytes, 2, bytes.length - 2));
      });
      expect([name, canonical]).toEqual([name, rows.map((row) => row['there'])]);
    }
  } finally {
    await client.end();
  }
});
