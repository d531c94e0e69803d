import { describe, expect, test } from 'vitest';
import { fillPattern, matchesTable, parseTablePattern, showTable, specificity } from '#schemas/mapping/table-pattern.ts';
import { parseTypeName, sameTypeName } from '#schemas/mapping/type-name.ts';
import { nearestName } from '#schemas/nearest-name.ts';

describe('table patterns', () => {
  test.each([
    ['public.a', 'public', 'a', true],
    ['public.a', 'public', 'A', false],
    ['*.*', 'x', 'y', true],
    ['public.inv_*', 'public', 'inv_', true],
    ['public.*a*b*', 'public', 'xaxxbx', true],
    ['public.*a*b*', 'public', 'bxa', false],
    ['public."*"', 'public', 'x', false],
    ['public."*"', 'public', '*', true],
    ['"a.b"."c""d"', 'a.b', 'c"d', true],
  ])('%s matches %s.%s: %s', (pattern, schema, name, matches) => {
    expect(matchesTable(parseTablePattern(pattern)!, { schema, name })).toBe(matches);
  });

  test('have a schema and a table, and nothing else', () => {
    expect(['a', 'a.b.c', '.a', 'a.', '', 'a."b'].map(parseTablePattern)).toEqual([
      undefined,
      undefined,
      undefined,
      undefined,
      undefined,
      undefined,
    ]);
  });

  test('are shown as they are read', () => {
    for (const table of [
      { schema: 'a', name: 'b' },
      { schema: 'a.b', name: '*' },
      { schema: '"', name: 'x y' },
    ]) {
      const pattern = parseTablePattern(showTable(table))!;
      expect(fillPattern(pattern, { schema: 'never', name: 'never' })).toEqual(table);
      expect(specificity(pattern)).toBe(3);
    }
  });

  test('take any time at all only for their length', () => {
    const before = performance.now();
    expect(matchesTable(parseTablePattern(`a.${'*a'.repeat(30)}*b`)!, { schema: 'a', name: 'a'.repeat(60) })).toBe(false);
    expect(performance.now() - before).toBeLessThan(1000);
  });
});

describe('type names', () => {
  test.each([
    ['int', 'integer'],
    ['INT8', 'bigint'],
    ['decimal(12, 2)', 'numeric(12,2)'],
    ['numeric', 'numeric(12,2)'],
    ['numeric(12)', 'numeric(12,0)'],
    ['timestamptz(3)', 'timestamp(3) with time zone'],
    ['timestamp (3)  with time zone', 'timestamp(3) with time zone'],
    ['varchar(9)[]', 'character varying(9)[]'],
    ['pg_catalog.int4', 'integer'],
    ['mood', 'public.mood'],
    ['"Mood"', 'public."Mood"'],
    ['float', 'double precision'],
    ['bit(3)', 'bit(3)'],
  ])('%s is %s', (wanted, actual) => {
    expect(sameTypeName(parseTypeName(wanted)!, parseTypeName(actual)!)).toBe(true);
  });

  test.each([
    ['int', 'bigint'],
    ['int', 'integer[]'],
    ['numeric(12,3)', 'numeric(12,2)'],
    ['other.mood', 'public.mood'],
    ['Mood', 'public."Mood"'],
  ])('%s is not %s', (wanted, actual) => {
    expect(sameTypeName(parseTypeName(wanted)!, parseTypeName(actual)!)).toBe(false);
  });

  test('hold nothing that is no name', () => {
    expect(['int); DROP TABLE x; --', "int'", 'a.b.c', '', 'numeric(1,2,3)', 'int)::text'].map(parseTypeName)).toEqual(
      Array(6).fill(undefined),
    );
  });
});

test('the nearest name is a likely typo, or none', () => {
  const names = ['orders', 'order_lines', 'customers', 'ID'];
  expect(
    ['order', 'ordesr', 'custmers', 'id', 'ORDERS', 'invoices', 'x', 'a'.repeat(1000)].map((name) => nearestName(name, names)),
  ).toEqual(['orders', 'orders', 'customers', 'ID', 'orders', undefined, undefined, undefined]);
});
