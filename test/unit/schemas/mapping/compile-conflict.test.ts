import { expect, test } from 'vitest';
import { buildCutover, cutoverSettings } from '#schemas/config/cutover-schema.ts';
import { warnOfUncounted } from '#schemas/mapping/compile-conflict.ts';
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { FindingList } from '#schemas/mapping/finding-list.ts';
import { compile, told } from '#test/support/compile.ts';

const TABLE = 'CREATE TABLE a (id int PRIMARY KEY, ver int, name text)';
const FULL = `${TABLE}; ALTER TABLE a REPLICA IDENTITY FULL`;

async function policy(rest: string, source = FULL, target = TABLE): Promise<unknown> {
  const { mapping, findings } = await compile({ source, target, tables: `  - from: public.a\n    ${rest}\n` });
  return mapping === undefined ? told(findings) : mapping.tables[0]!.conflict;
}

test('the policy of a table is what the file says', async () => {
  expect(await policy('existing: merge')).toBeUndefined();
  expect(await policy('conflict: source-wins')).toBe('source-wins');
  expect(await policy('conflict: target-wins')).toBe('target-wins');
  expect(await policy('conflict: { newer-wins: ver }')).toEqual({ version: 'ver' });
  expect(await policy('conflict: { newer-wins: v }\n    columns: { ver: v }', FULL, TABLE.replace('ver', 'v'))).toEqual({ version: 'v' });
});

test.each<[rest: string, finding: string, source?: string]>([
  ['conflict: source-wins', '7:5 CF-2008 `conflict` of public.a needs the whole former row of each change', TABLE],
  ['conflict: { newer-wins: vers }', '7:5 CF-1008 `newer-wins` names "vers", which is no moved column of public.a; did you mean "ver"?'],
  ['conflict: source-wins\n    where: { ver: 1 }', 'it is moved by a filter'],
  ['conflict: source-wins\n    deletes: ignore', 'rows that the source deletes stay'],
  ['conflict: source-wins\n    onRowError: set-aside', 'rows that are refused are set aside'],
  ['conflict: source-wins', 'it has no key', 'CREATE TABLE a (id int, ver int, name text); ALTER TABLE a REPLICA IDENTITY FULL'],
])('%s is refused: %s', async (rest, finding, source = FULL) => {
  const target = finding.includes('no key') ? TABLE.replace(' PRIMARY KEY', '') : TABLE;
  expect(await policy(rest, source, target)).toEqual(expect.arrayContaining([expect.stringContaining(finding)]));
});

test('with the strategy, tables without a policy are named', () => {
  const list = new FindingList('m.yaml');
  const tables = [
    { from: { schema: 'public', name: 'a' } },
    { from: { schema: 'public', name: 'b' }, conflict: 'source-wins' },
  ] as TableMapping[];
  warnOfUncounted({}, tables, list);
  expect(list.findings).toEqual([]);
  const cutover = buildCutover(cutoverSettings.parse({ strategy: 'dual-write' }));
  warnOfUncounted({ cutover }, tables, list);
  expect(list.findings.map(({ severity, message }) => [severity, message])).toEqual([
    ['warning', expect.stringMatching(/not counted: public.a$/)],
  ]);
});
