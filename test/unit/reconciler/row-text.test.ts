/** The SQL of connectors/probe and an independent TypeScript give the same row texts, digests and sums, on nasty values. */
import { expect, test } from 'vitest';
import { digestSelect, newDigestPlan, rowText, type DigestPlan } from '#connectors/probe/postgres/row-sql.ts';
import { outputText } from '#connectors/probe/postgres/column-sql.ts';
import { connect, queryRows } from '#connectors/postgres/session.ts';
import { freshDatabase } from '#test/support/postgres.ts';
import { netstringRow, recordRow, shaLanes } from './reference-row-text.ts';

const NASTY = [
  null,
  '',
  ' ',
  '-',
  'NULL',
  '\\N',
  '\t',
  '\n',
  '\r\n',
  '\v\f',
  ',',
  '(',
  ')',
  '"',
  '""',
  '\\',
  '\\\\',
  "'",
  '1:a',
  '3:abc-',
  '😀',
  'e\u0301',
  '\u00a0',
  '\u0085',
  '\u3000',
  '\u2028',
  'ß',
  'İ',
  '{"a": null}',
  'x'.repeat(5000),
  '\u{10ffff}',
  '\ufeff',
  '0',
  '-0',
  'NaN',
];
const TYPED = `
CREATE TABLE typed (f8 float8, f4 float4, n numeric, t timestamptz, d date, i interval, b bytea, bo bool, j jsonb, a text[], c char(4), ip inet, comp record_type);`;
const ROWS = [
  `('NaN', '-0', '-0.00', 'infinity', '0044-03-15 BC', '-1 year 2 mons -3 days 04:05:06.000007', '\\x00ff5c', true, '{"b": 1, "a": [1.10, null]}', '{NULL,"NULL","",",\\"{}"}', 'ab', '10.0.0.1', '(,)')`,
  `('-infinity', '1e-45', '1e-100', '-infinity', '294276-01-01', '0', '', false, 'null', '{}', '', '::1/64', NULL)`,
  `('-0', '1000000', 'NaN', '2026-11-21 08:00:00.000001+00', 'infinity', '178000000 years', '\\x5c6e', NULL, '"\\u00e9"', '{{1,2},{3,4}}', NULL, '10.0.0.0/8', '("a,""b",)')`,
  `(1e300, 3.4e38, 123456789012345678901234567890.123456789, '4713-01-01 BC', '4713-01-01 BC', '-0.000001 s', NULL, true, '1e400', '[2:3]={a,b}', 'a  ', '1.2.3.4', '(1,2)')`,
  `(NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)`,
];
const COLUMNS = ['f8', 'f4', 'n', 't', 'd', 'i', 'b', 'bo', 'j', 'a', 'c', 'ip', 'comp'];

for (const version of [14, 18] as const) {
  test(`texts, digests and sums agree with SQL on PostgreSQL ${version}`, async () => {
    await using database = await freshDatabase(version);
    const client = await connect(database.url, { applicationName: 'test', role: 'source' });
    await client.query('CREATE TABLE public.nasty (n int, a text, b text)');
    const pairs = NASTY.flatMap((a) => NASTY.map((b) => [a, b] as const));
    await client.query('INSERT INTO public.nasty SELECT n, a, b FROM unnest($1::text[], $2::text[]) WITH ORDINALITY u(a, b, n)', [
      pairs.map(([a]) => a),
      pairs.map(([, b]) => b),
    ]);
    for (const [kind, reference] of [
      ['record', recordRow],
      ['portable', netstringRow],
    ] as const) {
      const texts = await queryRows(client, `SELECT ${rowText(newDigestPlan(kind), ['a', 'b'])} AS r FROM public.nasty ORDER BY n`);
      expect(texts.map((row) => row['r'])).toEqual(pairs.map((pair) => reference(pair)));
      expect(new Set(texts.map((row) => row['r'])).size).toBe(pairs.length); // injective
    }
    await client.query(
      `SET search_path = public; CREATE TYPE record_type AS (x text, y int); ${TYPED} INSERT INTO typed VALUES ${ROWS.join(', ')}`,
    );
    const columns = COLUMNS.map((column) => `${outputText(column)} AS ${column}`).join(', ');
    const rows = (await queryRows(client, `SELECT ${columns} FROM typed ORDER BY ctid`)).map((row) =>
      COLUMNS.map((column) => row[column] ?? null),
    );
    expect(rows[0]).toEqual([
      'NaN',
      '-0',
      '0.00',
      'infinity',
      '0044-03-15 BC',
      '-10 mons -3 days +04:05:06.000007',
      '\\x00ff5c',
      't',
      '{"a": [1.10, null], "b": 1}',
      '{NULL,"NULL","",",\\"{}"}',
      'ab  ',
      '10.0.0.1',
      '(,)',
    ]);
    expect(rows.at(-1)).toEqual(COLUMNS.map(() => null));
    // Typed values and their output texts make one row text: what lets rows of the stream be hashed like rows of the table.
    for (const [kind, reference] of [
      ['record', recordRow],
      ['portable', netstringRow],
    ] as const) {
      const texts = await queryRows(
        client,
        `SELECT ${rowText(newDigestPlan(kind), kind === 'portable' ? COLUMNS.map((column) => outputText(column)) : COLUMNS)} AS r FROM typed ORDER BY ctid`,
      );
      expect(texts.map((row) => row['r'])).toEqual(rows.map((row) => reference(row)));
    }
    await checkLanes(client, pairs);
    await client.end();
  });
}

async function checkLanes(
  client: Awaited<ReturnType<typeof connect>>,
  pairs: readonly (readonly [string | null, string | null])[],
): Promise<void> {
  const plan: DigestPlan = newDigestPlan('portable');
  const select = digestSelect(plan, {
    from: 'public.nasty AS t',
    where: [],
    values: ['t.a', 't.b'],
    key: [0],
    extra: [{ expression: 't.n', name: 'n' }],
  });
  const rows = await queryRows(client, `SELECT a::text, b::text FROM (${select}) d ORDER BY n`);
  const expected = pairs.map((pair) => shaLanes(plan.seeds.salt, netstringRow(pair)));
  expect(rows.map((row) => [row['a'], row['b']])).toEqual(expected.map(({ a, b }) => [String(a), String(b)]));
  const [sums] = await queryRows(client, `SELECT sum(a)::text AS a, sum(b)::text AS b FROM (${select}) d`);
  expect(sums).toEqual({
    a: String(expected.reduce((sum, one) => sum + one.a, 0n)),
    b: String(expected.reduce((sum, one) => sum + one.b, 0n)),
  });
}
