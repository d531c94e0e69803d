import { expect, test } from 'vitest';
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { compareStructure, type TableIndex } from '#schemas/reconcile/checks/structure.ts';
import type { Catalog } from '#schemas/table.ts';

const name = { schema: 'public', name: 'person' };
const table = { ...name, columns: [], checks: [] };
const catalog = { tables: [table], types: [] } as unknown as Catalog;
const column = (source: string, target = source): unknown => ({ source: { name: source }, target });
const mapping = { from: name, to: name, columns: [column('mail', 'email'), column('gone')] } as unknown as TableMapping;

function index(columns: readonly string[], more: Partial<TableIndex> = {}): TableIndex {
  return {
    schema: 'public',
    table: 'person',
    name: 'one',
    primary: false,
    unique: true,
    valid: true,
    special: true,
    method: 'btree',
    columns,
    ...more,
  };
}

function found(source: readonly TableIndex[], target: readonly TableIndex[]): string[] {
  const input = { tables: [mapping], source: catalog, target: catalog, foreignKeys: [], indexes: { source, target } };
  return [...compareStructure(input).values()].flat().map(({ message }) => message);
}

test('a unique index of a part of the rows, or over an expression, is asked for like any other', () => {
  const missing = ['the unique index one, of a part of the rows or over an expression, is missing'];
  expect(found([index(['mail'])], [])).toEqual(missing);
  expect(found([index(['mail'])], [index(['email'])])).toEqual([]);
  // One of all rows lets no more in.
  expect(found([index(['mail'])], [index(['email'], { special: false })])).toEqual([]);
  expect(found([index(['mail'])], [index(['email'], { unique: false })])).toEqual(missing);
  // Expressions have no columns: there is to be one for each.
  expect(found([index([]), index([])], [index([])])).toEqual(missing);
  expect(found([index([]), index([], { unique: false }), index(['other'])], [index([])])).toEqual([]);
});

function checks(
  source: string | readonly string[],
  target: readonly (readonly [string, string])[],
  columns = [column('mail', 'email'), column('n')],
): string[] {
  const [definition, name_ = 'one'] = typeof source === 'string' ? [source] : source;
  const names = (all: readonly string[]): unknown => all.map((one) => ({ name: one }));
  const [from, to] = [
    { ...table, columns: names(['mail', 'n', 'gone']), checks: [{ name: name_, definition }] },
    { ...table, columns: names(['email', 'n']), checks: target.map(([one, text]) => ({ name: one, definition: text })) },
  ];
  const catalogOf = (one: unknown): Catalog => ({ tables: [one], types: [] }) as unknown as Catalog;
  const input = { source: catalogOf(from), target: catalogOf(to), foreignKeys: [], indexes: { source: [], target: [] } };
  const tables = [{ ...mapping, columns } as unknown as TableMapping];
  return [...compareStructure({ ...input, tables }).values()].flat().map(({ message }) => message);
}

test('a check is the same by what it says, under whatever name and types its columns have', () => {
  const here = `CHECK (((mail)::text = ANY ((ARRAY['n'::character varying, 'b'::character varying])::text[])))`;
  expect(checks(here, [['other', `CHECK ((email = ANY (ARRAY['n'::text, 'b'::text])))`]])).toEqual([]);
  expect(checks(`CHECK ((n > '-5'::integer))`, [['one', `CHECK ((n > ('-5'::integer)::numeric))`]])).toEqual([]);
  expect(checks('CHECK ((n > 0)) NOT VALID', [['one', 'CHECK ((n > 0))']])).toEqual([]);
  expect(checks('CHECK ((lower(mail) = mail))', [['one', 'CHECK ((lower(email) = email))']])).toEqual([]);
});

test('a check of the same name that says something else, or does not hold for all rows, is told', () => {
  expect(checks('CHECK ((n > 0))', [['one', 'CHECK ((n > 1))']])).toEqual([
    'the check one is CHECK ((n > 1)), at the source CHECK ((n > 0))',
  ]);
  expect(checks('CHECK (((n > 0) AND (n < 9)))', [['one', 'CHECK (((n > 0) OR (n < 9)))']])).toHaveLength(1);
  expect(checks(`CHECK ((mail <> 'n'::text))`, [['one', `CHECK ((email <> 'N'::text))`]])).toHaveLength(1);
  expect(checks('CHECK ((n > 0))', [['one', 'CHECK ((n > 0)) NOT VALID']])).toEqual(['the check one is not validated']);
  expect(checks('CHECK ((n > 0))', [['one', 'CHECK ((n > 0)) NOT ENFORCED']])).toEqual(['the check one is not enforced']);
  expect(
    checks('CHECK ((n > 0))', [
      ['one', 'CHECK ((n > 0)) NOT VALID'],
      ['two', 'CHECK ((n > 0))'],
    ]),
  ).toEqual([]);
  expect(checks('CHECK ((n > 0))', [])).toEqual(['the check one is missing']);
});

test('a check over a column that is not carried over is none of the target, and over one that is cast its name decides', () => {
  expect(checks('CHECK ((gone > n))', [])).toEqual([]);
  const cast = [column('mail', 'email'), { ...(column('n') as object), cast: { fromType: 'text', sql: '($$)::boolean' } }];
  expect(checks('CHECK ((n > 0))', [['one', 'CHECK (n)']], cast)).toEqual([]);
  expect(checks('CHECK ((n > 0))', [['other', 'CHECK (n)']], cast)).toEqual(['the check one is missing']);
});
