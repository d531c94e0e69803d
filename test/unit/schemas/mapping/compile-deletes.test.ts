import { describe, expect, test } from 'vitest';
import { readMigrationFile } from '#schemas/config/read-migration-file.ts';
import { momentText } from '#schemas/mapping/kept-rows.ts';
import { compile, told } from '#test/support/compile.ts';

const SOURCE = 'CREATE TABLE a (id int PRIMARY KEY, name text)';
const MARKED =
  'CREATE TABLE a (id int PRIMARY KEY, name text, deleted boolean NOT NULL, deleted_at timestamptz, state text, plain timestamp)';

const entry = (rest: string): string => `  - from: public.a\n    ${rest}\n`;

async function fates(rest: string, target = MARKED): Promise<unknown> {
  const { mapping, findings } = await compile({ source: SOURCE, target, tables: entry(rest) });
  if (mapping === undefined) return told(findings);
  const [{ deletes, truncates } = {}] = mapping.tables;
  return [deletes, truncates];
}

describe('deletes and truncates of a table', () => {
  test('are what the file says, and truncates are ignored where deletes are', async () => {
    const flag = { column: 'deleted', dead: 't', alive: 'f', type: 'boolean' };
    const target = MARKED.replace('deleted boolean NOT NULL', 'deleted boolean NOT NULL DEFAULT false');
    expect(await fates('deletes: hard', target)).toEqual([undefined, undefined]);
    expect(await fates('deletes: ignore', target)).toEqual(['ignore', 'ignore']);
    expect(await fates('deletes: ignore\n    truncates: apply', target)).toEqual(['ignore', undefined]);
    expect(await fates('truncates: halt', target)).toEqual([undefined, 'halt']);
    expect(await fates('deletes: { soft: { column: deleted, at: deleted_at } }')).toEqual([
      { flag, at: { column: 'deleted_at', zoned: true } },
      undefined,
    ]);
    expect(await fates('deletes: { soft: { at: plain } }', target)).toEqual([{ at: { column: 'plain', zoned: false } }, undefined]);
    expect(await fates('deletes: { soft: { column: state, value: removed, alive: active } }', target)).toEqual([
      { flag: { column: 'state', dead: 'removed', alive: 'active', type: 'text' } },
      undefined,
    ]);
    const texts = { flag: { dead: '007', alive: 'TRUE' } };
    expect(await fates('deletes: { soft: { column: state, value: 007, alive: TRUE } }', target)).toMatchObject([texts, undefined]);
    expect(await fates('deletes: { soft: { column: state, value: x } }', target)).toMatchObject([{ flag: { alive: null } }, undefined]);
  });

  test.each<[string, string]>([
    [
      'deletes: { soft: { column: delete } }',
      '7:5 CF-1008 `deletes` marks rows by "delete", which public.a does not have; did you mean "deleted"?',
    ],
    [
      'deletes: { soft: { column: id } }',
      '7:5 CF-4001 "id" of public.a is integer, which does not take the values that `deletes` gives it',
    ],
    ['deletes: { soft: { column: deleted, value: 7 } }', 'CF-4001 "deleted" of public.a is boolean, which does not take the values'],
    [
      'deletes: { soft: { column: deleted, alive: true } }',
      'CF-4001 "deleted" of public.a would be the same on deleted rows and on others',
    ],
    ['deletes: { soft: { column: deleted, alive: null } }', 'CF-4001 "deleted" of public.a is NOT NULL, and `deletes` does not say'],
    [
      'deletes: { soft: { at: state } }',
      'CF-4001 "state" of public.a is text; a deleted row\'s time needs timestamptz (or timestamp, in UTC)',
    ],
    [
      'deletes: { soft: { column: name, value: x } }',
      'CF-4001 "name" of public.a tells which rows are deleted, and is fed from the source too',
    ],
    ['deletes: { soft: { column: id, value: 0 } }', 'CF-4001 `deletes` marks rows by "id" of public.a, which is a key column'],
  ])('cannot be %s', async (rest, message) => {
    const target = MARKED.replace('NOT NULL', 'NOT NULL DEFAULT false');
    expect((await fates(rest, target)) as string[]).toContainEqual(expect.stringContaining(message));
  });

  test('do not ask for REPLICA IDENTITY FULL, and need a key', async () => {
    const wide = 'CREATE TABLE a (id int PRIMARY KEY, name text)';
    const soft = await compile({
      source: wide,
      target: MARKED.replace('NOT NULL', ''),
      tables: entry('deletes: { soft: { at: deleted_at } }'),
    });
    expect(told(soft.findings)).toEqual([]);
    const keyless = { source: 'CREATE TABLE a (x int); ALTER TABLE a REPLICA IDENTITY FULL', target: 'CREATE TABLE a (x int)' };
    const message = '7:5 CF-4001 public.a has no key, so a row of it that is kept could not be found again';
    expect(told((await compile({ ...keyless, tables: entry('deletes: ignore') })).findings)).toEqual([message]);
    expect((await compile({ ...keyless, tables: entry('truncates: halt') })).findings).toEqual([]);
  });

  test('warn of unique indexes that count deleted rows, and of parents that go', async () => {
    const source = `${SOURCE}; CREATE TABLE p (id int PRIMARY KEY)`;
    const target = `CREATE TABLE p (id int PRIMARY KEY);
      CREATE TABLE a (id int PRIMARY KEY REFERENCES p, name text, deleted_at timestamptz, UNIQUE (name), UNIQUE (name, deleted_at));
      CREATE UNIQUE INDEX fine ON a (name) WHERE deleted_at IS NULL`;
    const tables = '  - from: public.p\n  - from: public.a\n    deletes: { soft: { at: deleted_at } }\n';
    const { findings } = await compile({ source, target, tables });
    expect(told(findings)).toEqual([
      '8:5 warning CF-4001 the unique index "a_name_key" of public.a counts softly deleted rows too: a value used again at the source would halt the table',
      '8:5 warning CF-4001 rows of public.a that are softly deleted may refer (a_id_fkey) to rows of public.p that are gone',
    ]);
    expect(findings[0]!.remedy).toBe(
      'Put in its place on the target: CREATE UNIQUE INDEX ON "public"."a" ("name") WHERE "deleted_at" IS NULL;',
    );
  });

  test('do not warn of a key that is another spelling of the source’s: its values come again with the row itself', async () => {
    const warned = async (key: string): Promise<readonly string[]> => {
      const tables = `  - from: public.a
    columns: { id: legacy }
    set: { uid: { from: ${key}, steps: [{ uuid5: dns }] } }
    deletes: { soft: { at: deleted_at } }
`;
      const source = `${SOURCE}; ALTER TABLE a REPLICA IDENTITY FULL`;
      const target = 'CREATE TABLE a (uid uuid PRIMARY KEY, legacy int UNIQUE NOT NULL, name text, deleted_at timestamptz)';
      return told((await compile({ source, target, tables })).findings).filter((line) => line.includes('counts softly deleted'));
    };
    expect(await warned('id')).toEqual([]);
    expect(await warned('name')).toEqual([expect.stringContaining('the unique index "a_pkey" of public.a counts softly deleted rows too')]);
    expect(await warned('[id, name]')).toHaveLength(1);
  });

  test('of rows that refer to what several tables feed leave one thing to do', async () => {
    const source = `${SOURCE}; CREATE TABLE p (id int PRIMARY KEY, x int NOT NULL); CREATE TABLE q (id int PRIMARY KEY, y int NOT NULL)`;
    const target = `CREATE TABLE p (id int PRIMARY KEY, x int, y int); CREATE TABLE a (id int PRIMARY KEY REFERENCES p, name text, deleted_at timestamptz)`;
    const tables = `  - from: public.p\n  - { from: public.q, to: public.p }\n  - from: public.a\n    deletes: { soft: { at: deleted_at } }\n`;
    const { findings } = await compile({ source, target, tables });
    expect(findings.map(({ remedy }) => remedy)).toEqual(['Drop the foreign key on the target.']);
  });

  test('are part of the mapping’s hash', async () => {
    const hashOf = async (rest: string): Promise<string> => {
      const { mapping } = await compile({ source: SOURCE, target: MARKED.replace('NOT NULL', ''), tables: entry(rest) });
      return mapping!.hash;
    };
    const all = ['deletes: hard', 'deletes: ignore', 'truncates: halt', 'deletes: { soft: { at: deleted_at } }', 'truncates: ignore'];
    expect(new Set(await Promise.all(all.map(hashOf))).size).toBe(all.length);
  });
});

test('what is wrong with the block is told at its place', () => {
  const read = (rest: string): string[] => {
    const head = 'crossfade: 1\nname: t\nsource: { postgres: "postgres://h/a" }\ntarget: { postgres: "postgres://h/b" }\ntables:\n';
    return told(readMigrationFile({ path: 'm.yaml', text: head + entry(rest), env: {} }).findings);
  };
  expect(read('deletes: { soft: { value: x } }')).toEqual([
    '7:22 CF-1004 "tables[0].deletes.soft": expected column, the one that tells a deleted row, or at, the one with its time',
    '7:31 CF-1004 "tables[0].deletes.soft.value": has no meaning without column',
  ]);
  expect(read('deletes: softly')).toEqual(['7:14 CF-1004 "tables[0].deletes": expected hard or ignore']);
  expect(read('deletes: { soft: { colum: x } }')[0]).toContain('unknown key "colum" in "tables[0].deletes.soft"; did you mean "column"?');
  expect(read('truncate: ignore')[0]).toContain('did you mean "truncates"?');
  expect(read('truncates: drop')).toEqual(['7:16 CF-1004 "tables[0].truncates": expected apply, ignore or halt']);
});

test('a time of the log is that moment in UTC, to the microsecond', () => {
  expect(momentText(0n)).toBe('2000-01-01 00:00:00.000000+00');
  expect(momentText(848_696_400_123_456n)).toBe('2026-11-22 21:00:00.123456+00');
});
