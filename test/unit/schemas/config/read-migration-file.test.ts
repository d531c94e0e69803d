import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { migrationJsonSchema, parseBytes } from '#schemas/config/migration-schema.ts';
import { readMigrationFile, type MigrationReading } from '#schemas/config/read-migration-file.ts';

const SMALLEST = `crossfade: 1
name: chinook
source: { postgres: "postgres://user@host:5432/old" }
target: { postgres: "postgres://user@host:5432/new" }
tables:
  - from: public.*
`;

function read(text: string, env: Record<string, string> = {}): MigrationReading {
  return readMigrationFile({ path: 'm.yaml', text, env });
}

function told(text: string, env: Record<string, string> = {}): string[] {
  return read(text, env).findings.map((one) => `${one.line}:${one.column} ${one.code} ${one.message}`);
}

describe('the smallest file', () => {
  test('is enough, and every setting has a safe default', () => {
    const { file, findings } = read(SMALLEST);
    expect(findings).toEqual([]);
    expect(file?.tables).toEqual([
      { from: 'public.*', exclude: [], columns: {}, unmapped: 'error', existing: 'refuse', line: 6, column: 11 },
    ]);
    expect(file?.settings).toEqual({
      copy: { parallel: 2, chunkRows: 20_000, chunkTargetMs: 500 },
      sink: { parallel: 2, synchronousCommit: false, batchRows: 20_000 },
      slot: { create: true, failover: false, onBudget: 'warn' },
      publication: { create: true },
      reconcile: { enabled: true, budgetPercent: 10, startAfterSeconds: 15, sweepHours: 6, checkMinutes: 60, stream: false },
      heartbeatSeconds: 10,
      log: { retainBytes: 1024 ** 3 },
    });
  });

  test('sets rows aside where a table says so, or the file and not the table', () => {
    const both = `${SMALLEST}    onRowError: halt\n  - { from: other.* }\nsink: { onRowError: set-aside }\n`;
    expect(read(both).file?.tables.map((table) => table.onRowError)).toEqual([undefined, 'set-aside']);
    const one = `${SMALLEST}    onRowError: set-aside\n  - { from: other.* }\n`;
    expect(read(one).file?.tables.map((table) => table.onRowError)).toEqual(['set-aside', undefined]);
    expect(told(`${SMALLEST}    onRowError: skip\n`)).toEqual([expect.stringContaining('expected halt or set-aside')]);
  });

  test('takes its URLs from the environment', () => {
    const text = SMALLEST.replace('postgres://user@host:5432/old', '${OLD}');
    expect(read(text, { OLD: 'postgres://me:secret@h/db' }).file?.source.postgres).toBe('postgres://me:secret@h/db');
    expect(told(text)).toEqual(['3:21 CF-1005 the environment variable OLD is not set']);
    expect(told(text, { OLD: '' })).toEqual(['3:21 CF-1005 the environment variable OLD is empty']);
  });

  test('a value of the environment cannot change the structure of the file', () => {
    const text = SMALLEST.replace('name: chinook', 'name: "${NAME}"');
    expect(told(text, { NAME: 'x\ntables: []' })).toEqual([
      '2:7 CF-1004 "name": expected a name of small letters, digits and underscores that begins with a letter',
    ]);
  });

  test('references in comments are not read, and $${ stands for itself', () => {
    const text = SMALLEST.replace('public.*', () => 'public.a # ${NOT_SET}\n    where: { note: "$${x}" }');
    expect(read(text).file?.tables[0]?.where?.['note']?.values).toEqual(['${x}']);
  });
});

describe('a wrong file', () => {
  test('has all its faults told at once, each with its place and the nearest name', () => {
    const text = `crossfade: 1
nam: shop
source: { postgres: "mysql://h/db" }
target: { postgress: "postgres://h/db" }
tables:
  - from: public.*
    unmapped: none
    columns: { a: { tto: x } }
  - too: x
copy: { parallel: 0 }
`;
    expect(told(text)).toEqual([
      '2:1 CF-1004 unknown key "nam"; did you mean "name"?',
      '3:21 CF-1004 "source.postgres": expected a URL like postgres://user@host:5432/database (percent-encode special characters of a password)',
      '4:11 CF-1004 unknown key "postgress" in "target"; did you mean "postgres"?',
      '7:15 CF-1004 "tables[0].unmapped": expected error or ignore',
      '8:21 CF-1004 unknown key "tto" in "tables[0].columns.a"; did you mean "to"?',
      '9:5 CF-1004 "tables[1].from" is missing; expected a table as schema.table, for example public.orders or public.*',
      '9:5 CF-1004 unknown key "too" in "tables[1]"; did you mean "to"?',
      '10:19 CF-1004 "copy.parallel": expected a whole number from 1 to 32',
    ]);
  });

  test('is not told to lack what is only misspelt in it', () => {
    const text = SMALLEST.replace(
      '- from: public.*',
      '- { from: public.a, set: { b: { from: b, steps: [{ map: { vals: {} } }] } } }',
    ).replace('tables', 'tabels');
    expect(told(text)).toEqual(['5:1 CF-1004 unknown key "tabels"; did you mean "tables"?']);
    expect(told(text.replace('tabels', 'tables'))).toEqual([
      '6:61 CF-1004 unknown key "vals" in "tables[0].set.b.steps[0].map"; did you mean "values"?',
    ]);
    expect(told(SMALLEST.replace('tables', 'contents'))).toContain(
      '1:1 CF-1004 "tables" is missing; expected a list of tables, each as - from: schema.table',
    );
  });

  test.each([
    ['a tab as indentation', 'crossfade: 1\nname:\n\t- x\n', 'CF-1003'],
    ['a key that stands twice', 'name: a\nname: b\n', 'CF-1003'],
    ['two documents', 'a: 1\n---\nb: 2\n', 'CF-1003'],
    ['an unknown tag', 'a: !!js/function x\n', 'CF-1003'],
    ['nothing in it', '# only a comment\n', 'CF-1003'],
    ['a list in place of a block', '- a\n', 'CF-1004'],
    ['a merge key', 'base: &b { a: 1 }\n<<: *b\n', 'CF-1004'],
  ])('with %s is refused', (_what, text, code) => {
    const { file, findings } = read(text);
    expect(file).toBeUndefined();
    expect(findings.map((one) => one.code)).toContain(code);
  });

  test('never has a secret in what is told', () => {
    const secret = 'hunter2';
    const texts = [
      SMALLEST.replace('postgres://user@host:5432/old', `postgres:/user:${secret}@host/old`),
      SMALLEST.replace('"postgres://user@host:5432/old"', '"${URL}"').replace('chinook', '"${URL}"'),
      SMALLEST.replace('{ postgres: "postgres://user@host:5432/old" }', `"postgres://u:${secret}@h/d"`),
      SMALLEST.replace('public.*', '"${URL}"'),
    ];
    for (const text of texts) expect(told(text, { URL: `mongo://u:${secret}@h/d` }).join('\n')).not.toContain(secret);
  });

  test('says which keys a later version will know', () => {
    expect(told(`${SMALLEST}owners: []\ncopy: { hooks: {} }\n`)).toEqual([
      '7:1 CF-1004 "owners" is not supported yet by this version',
      '8:9 CF-1004 "hooks" in "copy" is not supported yet by this version',
    ]);
  });

  test('has the stars of a glob put in quotes', () => {
    expect(told(SMALLEST.replace('public.*', '*.*'))).toEqual([
      '6:11 CF-1003 there is no anchor ".*"; a text that begins with a star needs quotes: "*.*"',
    ]);
  });

  test('has no key named __proto__, which would be passed over: a filter, say, that lets all rows through', () => {
    expect(told(`${SMALLEST}__proto__: { polluted: true }\n`)).toEqual(['7:1 CF-1004 no key can be called __proto__']);
    expect(told(SMALLEST.replace('from: public.*', 'from: public.a\n    where: { __proto__: 1 }'))).toEqual([
      '7:14 CF-1004 no key can be called __proto__',
    ]);
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
  });
});

describe('a hostile file', () => {
  const bomb = `a: &a [x,x,x,x,x,x,x,x,x,x]\n${Array.from('bcdefghij')
    .map((to, i) => `${to}: &${to} [${Array(10).fill(`*${'abcdefghi'[i]}`).join(',')}]`)
    .join('\n')}\n`;

  test.each([
    ['an alias bomb', bomb],
    ['an alias to itself', 'a: &a [*a]\n'],
    ['more than a mebibyte', `# ${'x'.repeat(1024 * 1024)}\n`],
    ['brackets without end', '['.repeat(1_000_000)],
    ['lists in lists without end', `${'- '.repeat(400_000)}x\n`],
    ['keys in keys without end', `${'? '.repeat(400_000)}x\n`],
    ['newlines without end', '\n'.repeat(1_000_000)],
    ['brackets side by side', '[]'.repeat(500_000)],
    ['blocks in blocks', Array.from({ length: 1400 }, (_, i) => `${' '.repeat(i)}a:\n`).join('')],
  ])('with %s is refused at once', (_what, text) => {
    const before = performance.now();
    const { file, findings } = read(text);
    expect(file).toBeUndefined();
    expect(findings.map((one) => one.code)).toContain('CF-1006');
    expect(performance.now() - before).toBeLessThan(2000);
  });
});

describe('entries', () => {
  test('columns are renamed, cast, zoned and dropped', () => {
    const { file } = read(
      SMALLEST.replace(
        'public.*',
        'public.a\n    columns: { id: key, price: { cast: "numeric(12,2)" }, at: { zone: Europe/Berlin } }\n    drop: [old]',
      ),
    );
    expect(file?.tables[0]?.columns).toMatchObject({
      id: { to: 'key', drop: false },
      price: { cast: 'numeric(12,2)' },
      at: { zone: 'Europe/Berlin' },
      old: { drop: true, line: 8, column: 12 },
    });
  });

  test('a column both mapped and dropped is refused', () => {
    const text = SMALLEST.replace(
      'public.*',
      'public.a\n    columns: { a: b, c: { drop: true, to: d }, e: { cast: int, zone: UTC } }\n    drop: [a]',
    );
    expect(told(text).map((one) => one.slice(one.indexOf(' ') + 1))).toEqual([
      'CF-1004 column "c" is dropped, so it has no to, cast or zone',
      'CF-1004 column "e" has both cast and zone: write one of them',
      'CF-1004 column "a" stands under both columns and drop',
    ]);
  });

  test('filter values keep the text of the file', () => {
    const { file } = read(
      SMALLEST.replace('public.*', 'public.a\n    where: { a: 7.50, b: [9007199254740993, null], c: { not: [true] }, d: 0x10 }'),
    );
    const where = file?.tables[0]?.where ?? {};
    expect(Object.values(where).map(({ op, values }) => [op, values])).toEqual([
      ['in', ['7.50']],
      ['in', ['9007199254740993', null]],
      ['not-in', ['true']],
      ['in', ['0x10']],
    ]);
  });

  test('amounts of bytes have units', () => {
    expect([parseBytes('20GiB'), parseBytes('1.5 MB'), parseBytes(4096), parseBytes('-1'), parseBytes('many')]).toEqual([
      20 * 1024 ** 3,
      1_500_000,
      4096,
      undefined,
      undefined,
    ]);
  });

  test('the grammar has a JSON Schema for editors', () => {
    const schema = migrationJsonSchema();
    expect(schema).toMatchObject({ $schema: 'http://json-schema.org/draft-07/schema#', additionalProperties: false });
    expect(schema['required']).toEqual(['crossfade', 'name', 'source', 'tables']);
    expect(schema['anyOf']).toEqual([{ required: ['target'] }, { required: ['targets'] }]);
  });

  test('the JSON Schema in the tree is that of the grammar (node scripts/write-schema.mjs writes it anew)', () => {
    const path = join(import.meta.dirname, '..', '..', '..', '..', 'schemas', 'config', 'migration.schema.json');
    expect(JSON.parse(readFileSync(path, 'utf8'))).toEqual(JSON.parse(JSON.stringify(migrationJsonSchema())));
  });
});
