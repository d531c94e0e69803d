import { expect, test } from 'vitest';
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { compareStructure, type TableIndex, type TableTrigger } from '#schemas/reconcile/checks/structure.ts';
import type { Catalog } from '#schemas/table.ts';

const name = { schema: 'public', name: 'person' };
const table = { ...name, columns: [], checks: [] };
const catalog = { tables: [table], types: [] } as unknown as Catalog;
const NONE = { source: [], target: [] };
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
  const input = { tables: [mapping], source: catalog, target: catalog, foreignKeys: [], indexes: { source, target }, triggers: NONE };
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
  const input = { source: catalogOf(from), target: catalogOf(to), foreignKeys: [], indexes: NONE, triggers: NONE };
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

/** A column of the source and of the target; `defaultSql` as PostgreSQL prints it. */
function defaults(source: string | undefined, target: string | undefined, generated: readonly ['' | 's', '' | 's'] = ['', '']): string[] {
  const side = (name_: string, i: 0 | 1, defaultSql: string | undefined): Catalog => {
    const one = { name: name_, identity: '', generated: generated[i], notNull: false, ...(defaultSql !== undefined && { defaultSql }) };
    return { tables: [{ ...table, columns: [one] }], types: [] } as unknown as Catalog;
  };
  const input = { tables: [mapping], source: side('mail', 0, source), target: side('email', 1, target), foreignKeys: [], indexes: NONE };
  return [...compareStructure({ ...input, triggers: NONE }).values()].flat().map(({ message }) => message);
}

test('a default that the target has not, or has with another value, is told', () => {
  expect(defaults(`'new'::text`, undefined)).toEqual([`column email has no default, at the source 'new'::text`]);
  expect(defaults('now()', undefined)).toHaveLength(1);
  expect(defaults(`'new'::text`, `'old'::text`)).toEqual([`the default of column email is 'old'::text, at the source 'new'::text`]);
  expect(defaults('0', '1')).toHaveLength(1);
  expect(defaults('lower(mail)', undefined, ['s', ''])).toEqual(['column email is not generated: after the cut-over nothing computes it']);
});

test('one default spelled in two ways is none to be told, nor one that the target alone has', () => {
  expect(defaults(`'new'::character varying`, `'new'::text`)).toEqual([]);
  expect(defaults('0', '0.00')).toEqual([]);
  expect(defaults(`'-1'::integer`, `'-1'::bigint`)).toEqual([]);
  expect(defaults('true', `'true'::text`)).toEqual([]);
  expect(defaults('now()', 'CURRENT_TIMESTAMP')).toEqual([]);
  expect(defaults('NULL::character varying', undefined)).toEqual([]);
  expect(defaults(undefined, '0')).toEqual([]);
  expect(defaults('lower(mail)', 'lower(email)', ['s', 's'])).toEqual([]);
});

test('a trigger that fires at the source is to be there, and to fire', () => {
  const trigger = (name_: string, enabled = true): TableTrigger => ({ schema: 'public', table: 'person', name: name_, enabled });
  const source = [trigger('stamp'), trigger('audit'), trigger('off', false)];
  const told = (target: readonly TableTrigger[]): string[] => {
    const input = { tables: [mapping], source: catalog, target: catalog, foreignKeys: [], indexes: NONE, triggers: { source, target } };
    return [...compareStructure(input).values()].flat().map(({ message }) => message);
  };
  expect(told([trigger('stamp', false), trigger('own', false)])).toEqual(['the trigger stamp is disabled', 'the trigger audit is missing']);
  expect(told([trigger('audit'), trigger('stamp')])).toEqual([]);
});
