import { expect, test } from 'vitest';
import type { ColumnMapping } from '#schemas/mapping/compiled-mapping.ts';
import { columnSql } from '#connectors/probe/postgres/column-sql.ts';

const TEXT = { name: '=s', type: 'text', baseType: 'text' };

function sqlOf(column: object): readonly [boolean, string | undefined, string] {
  // The source knows a domain of that name, which may be another one.
  const { settled, onText, onTarget } = columnSql(column as ColumnMapping, () => true);
  return [settled, onText?.('u.c0'), onTarget('t.s')];
}

test('what is read by a domain of the target is read as what the domain rests on, so that the source judges by none of its own', () => {
  const price = { target: 's', targetType: 'public.price', targetBaseType: 'public.price' };
  expect(sqlOf({ ...price, targetUnderDomain: 'numeric', source: TEXT })).toEqual([true, 'trim_scale((u.c0)::numeric)', 'trim_scale(t.s)']);
  const cast = { fromType: 'numeric', sql: '($$)::numeric(12,4)' };
  const source = { name: 's', type: 'public.price', baseType: 'public.price' };
  expect(sqlOf({ ...price, cast, source })).toEqual([true, '(((u.c0)::numeric)::numeric(12,4))', 't.s']);
});
