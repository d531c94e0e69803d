import { expect, test } from 'vitest';
import { describeFates } from '#schemas/plan/describe-fates.ts';
import { compile } from '#test/support/compile.ts';

const GOES = 'it goes on the target too';
const EMPTIES = 'it empties the target table too';
const FLAG = 'it stays on the target, with true in "gone" (false on every other row)';
const MARKS = 'it marks all rows of the target as deleted';

test.each([
  ['unmapped: error', GOES, EMPTIES],
  ['deletes: ignore', 'it stays on the target as it is', 'it changes nothing on the target'],
  ['truncates: halt', GOES, 'it halts the table'],
  ['deletes: { soft: { column: gone } }', FLAG, MARKS],
  ['deletes: { soft: { column: gone, at: gone_at } }', `${FLAG} and with the time of the delete in "gone_at"`, MARKS],
  ['deletes: { soft: { column: v, value: x } }', 'it stays on the target, with x in "v" (null on every other row)', MARKS],
])('the plan says what becomes of deleted rows: %s', async (said, deletes, truncates) => {
  const { mapping } = await compile({
    source: 'CREATE TABLE a (id int PRIMARY KEY)',
    target: 'CREATE TABLE a (id int PRIMARY KEY, gone boolean, gone_at timestamptz, v text)',
    tables: `  - from: public.a\n    ${said}\n`,
  });
  expect(describeFates(mapping!.tables[0]!)).toEqual({ deletes, truncates });
});
