import { pipeline } from 'node:stream/promises';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { from as copyFrom, to as copyTo } from 'pg-copy-streams';
import { expect, test } from 'vitest';
import { connect, queryRows } from '#connectors/postgres/session.ts';
import { arrayLiteral } from '#schemas/value/array-literal.ts';
import { copyLine, decodeCopyRows } from '#schemas/value/copy-text.ts';
import { sharedServer } from '#test/support/postgres.ts';
import { seeded, seedFromEnvironment } from '#test/support/random.ts';

test('a real server reads what we write, as COPY and as array, and we read what it writes', async () => {
  const seed = seedFromEnvironment();
  const numbers = seeded(seed);
  const alphabet = Array.from('ab\\\t\n\r\b\v\f.N"{},; \'é🙂');
  const text = (): string | null =>
    numbers.chance(0.1)
      ? null
      : Array.from({ length: numbers.between(0, 9) }, () => alphabet[numbers.between(0, alphabet.length - 1)]).join('');
  const rows = Array.from({ length: 2000 }, (_, i) => [String(i), text(), text()]);
  const client = await connect((await sharedServer(18)).url(), { applicationName: 'test', role: 'target' });
  await client.query('CREATE TEMP TABLE t (id int, a text, b text)');
  await pipeline(Readable.from(rows.map((row) => copyLine(row))), client.query(copyFrom('COPY pg_temp.t FROM STDIN')));
  const stored = await queryRows(client, 'SELECT * FROM pg_temp.t ORDER BY id');
  expect(
    stored.map((row) => [row['id'], row['a'], row['b']]),
    `seed ${seed}`,
  ).toEqual(rows);
  const out = await buffer(client.query(copyTo('COPY (SELECT * FROM pg_temp.t ORDER BY id) TO STDOUT')));
  expect(decodeCopyRows(out, 3), `seed ${seed}`).toEqual(rows);
  const column = rows.map((row) => row[1]!);
  const unnested = await queryRows(client, 'SELECT v FROM unnest($1::text[]) WITH ORDINALITY AS u (v, i) ORDER BY i', [
    arrayLiteral(column),
  ]);
  expect(
    unnested.map((row) => row['v']),
    `seed ${seed}`,
  ).toEqual(column);
  await client.end();
});
