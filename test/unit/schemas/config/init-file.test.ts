import { describe, expect, test } from 'vitest';
import { renderInitFile } from '#schemas/config/init-file.ts';
import { readMigrationFile } from '#schemas/config/read-migration-file.ts';
import { compileMapping } from '#schemas/mapping/compile-mapping.ts';
import { catalogOf } from '#test/support/compile.ts';

const ENV = { SOURCE_URL: 'postgres://h/a', TARGET_URL: 'postgres://h/b' };

function linesOf(text: string): string[] {
  return text
    .trimEnd()
    .split('\n')
    .map((line) => line.replace(/, PostgreSQL .*/, ''));
}

describe('the first file', () => {
  test('is the smallest one when everything matches by name', async () => {
    const [source, target] = [
      await catalogOf('CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY)', 14),
      await catalogOf('CREATE TABLE b (id int PRIMARY KEY); CREATE TABLE a (id int PRIMARY KEY)'),
    ];
    const text = renderInitFile(source, target);
    expect(linesOf(text)).toEqual([
      'crossfade: 1',
      'name: postgres',
      'source: { postgres: "${SOURCE_URL}" } # postgres',
      'target: { postgres: "${TARGET_URL}" } # postgres',
      'tables:',
      '  - from: public.* # 2 tables match by name',
    ]);
    const { file, findings } = readMigrationFile({ path: 'x', text, env: ENV });
    expect(findings).toEqual([]);
    expect(compileMapping(file!, source, target).mapping?.tables).toHaveLength(2);
  });

  test('leaves nothing out without a question', async () => {
    const source = await catalogOf(
      'CREATE TABLE clients (id int PRIMARY KEY); CREATE TABLE a (id int PRIMARY KEY, p text); CREATE TABLE "Nobody.s" (id int PRIMARY KEY); CREATE UNLOGGED TABLE u (id int PRIMARY KEY)',
    );
    const target = await catalogOf(
      'CREATE TABLE client (id int PRIMARY KEY); CREATE TABLE a (id int PRIMARY KEY, p varchar(5)); CREATE TABLE u (id int PRIMARY KEY)',
    );
    const text = renderInitFile(source, target, { name: 'shop' });
    expect(linesOf(text).slice(4)).toEqual([
      'tables:',
      '  - from: public.* # 1 table matches by name',
      '    exclude:',
      '      - "public.\\"Nobody.s\\""',
      '      - public.clients',
      '      - public.u',
      '',
      '# Open questions:',
      '# - public."Nobody.s" has no table of that name on the target. Name its target with `to:`, or leave it out.',
      '# - public.clients has no table of that name on the target. Is it public.client? Then add:  - { from: public.clients, to: public.client }',
      '# - public.u is unlogged, so its changes cannot be followed. Leave it out, or SET LOGGED?',
      '# - "p" of public.a is text, "p" of public.a is character varying(5): longer values would be cut. Change the type on the target, or declare it under columns: `p: { cast: \'character varying(5)\' }`.'.replaceAll(
        "'",
        '',
      ),
    ]);
    expect(readMigrationFile({ path: 'x', text, env: ENV }).findings).toEqual([]);
  });

  test('finds tables that moved to another schema, and says when the target is empty', async () => {
    const source = await catalogOf('CREATE SCHEMA old; CREATE TABLE old.a (id int PRIMARY KEY); CREATE TABLE old.b (id int PRIMARY KEY)');
    const moved = renderInitFile(
      source,
      await catalogOf('CREATE SCHEMA new; CREATE TABLE new.a (id int PRIMARY KEY); CREATE TABLE new.b (id int PRIMARY KEY)'),
    );
    expect(linesOf(moved).slice(5)).toEqual(['  - from: old.* # 2 tables match by name', '    to: new.*']);
    const empty = renderInitFile(source, await catalogOf('SELECT 1'));
    expect(linesOf(empty).slice(5)).toEqual([
      '  - from: old.* # 2 tables, none on the target yet',
      '',
      '# Open questions:',
      '# - The target has no table yet. `crossfade check --ddl` prints CREATE TABLE for those of old.',
    ]);
  });
});
