import { describe, expect, test } from 'vitest';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { readMigrationFile } from '#schemas/config/read-migration-file.ts';
import { targetFiles } from '#schemas/config/target-files.ts';
import { compileMapping } from '#schemas/mapping/compile-mapping.ts';
import { draftMissingTables } from '#schemas/mapping/ddl.ts';
import { compileRedisMapping } from '#schemas/mapping/redis/compile-redis.ts';
import { catalogOf, compile, fileOf, told } from '#test/support/compile.ts';

const SOURCE = `CREATE TABLE customer (no int PRIMARY KEY, name text);
  CREATE TABLE invoice (no bigint PRIMARY KEY, customer int REFERENCES customer, note text);
  CREATE TABLE line (invoice bigint REFERENCES invoice, pos int, PRIMARY KEY (invoice, pos));
  CREATE TABLE entry (id int PRIMARY KEY, invoice bigint, pos int, FOREIGN KEY (invoice, pos) REFERENCES line, who int)`;
const TARGET = `CREATE TABLE customer (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, no int, name text);
  CREATE TABLE invoice (no uuid PRIMARY KEY, customer bigint, note text);
  CREATE TABLE line (invoice uuid, pos int, PRIMARY KEY (invoice, pos));
  CREATE TABLE entry (id int PRIMARY KEY, invoice uuid, pos int, who bigint)`;
const KEYS = `  - { from: public.customer, key: { surrogate: id } }
  - { from: public.invoice, key: { surrogate: no } }
  - { from: public.line }
  - { from: public.entry, refs: { who: public.customer } }
`;

test('foreign keys, chains of them, parts of composite ones and declared references hold ids; the old key is a copy', async () => {
  const { mapping, findings } = await compile({ source: SOURCE, target: TARGET, tables: KEYS });
  expect(told(findings)).toEqual([]);
  const ids = mapping!.tables.flatMap(({ to, columns }) =>
    columns.flatMap(({ target, keyMap }) => (keyMap === undefined ? [] : [[to.name, target, keyMap.domain, keyMap.own]])),
  );
  expect(ids).toEqual([
    ['customer', 'id', 'public.customer', true],
    ['entry', 'invoice', 'public.invoice', false],
    ['entry', 'who', 'public.customer', false],
    ['invoice', 'no', 'public.invoice', true],
    ['invoice', 'customer', 'public.customer', false],
    ['line', 'invoice', 'public.invoice', false],
  ]);
  const customer = mapping!.tables.find(({ to }) => to.name === 'customer')!;
  expect(customer).toMatchObject({ sourceKey: ['no'], targetKey: ['id'] });
  expect(customer.steps!.computed.map(({ target, steps }) => [target, steps])).toEqual([['no', []]]);
});

test('`refs: false` keeps what a foreign key says, and the second target of a table holds its ids, too', async () => {
  const { mapping, findings } = await compile({
    source: SOURCE,
    target: `${TARGET}; CREATE TABLE mirror (invoice_no uuid PRIMARY KEY, customer int, note text)`,
    tables: `${KEYS}  - { from: public.invoice, to: public.mirror, columns: { no: invoice_no }, refs: { customer: false } }\n`,
  });
  expect(told(findings)).toEqual([]);
  const mirror = mapping!.tables.find(({ to }) => to.name === 'mirror')!;
  expect(mirror.columns.map(({ target, keyMap }) => [target, keyMap?.domain])).toEqual([
    ['invoice_no', 'public.invoice'],
    ['customer', undefined],
    ['note', undefined],
  ]);
});

test('each of several targets has ids of its own for a table, or its keys; two entries of one target are still refused', async () => {
  const head = 'crossfade: 1\nname: test\nsource: { postgres: "postgres://h/a" }\n';
  const targets =
    'targets:\n  new: { postgres: "postgres://h/b" }\n  other: { postgres: "postgres://h/c" }\n  plain: { postgres: "postgres://h/d" }\n';
  const entryOf = (target: string, more = ''): string => `  - { from: public.customer, target: ${target}${more} }\n`;
  const key = ', key: { surrogate: id }';
  const entries = `${entryOf('new', key)}${entryOf('other', key)}${entryOf('plain')}`;
  const views = (tables: string): readonly MigrationFile[] =>
    targetFiles(readMigrationFile({ path: 'm.yaml', text: `${head}${targets}tables:\n${tables}`, env: {} }).file!);
  const [source, target, plain] = [await catalogOf(SOURCE), await catalogOf(TARGET), await catalogOf(SOURCE)];
  const compiled = views(entries).map((view) => compileMapping(view, source, view.targetName === 'plain' ? plain : target));
  expect(compiled.map(({ findings }) => told(findings))).toEqual([[], [], []]);
  expect(compiled.map(({ mapping }) => mapping!.tables.map(({ columns }) => columns[0]!.keyMap?.domain))).toEqual([
    ['public.customer'],
    ['public.customer'],
    [undefined],
  ]);
  const twice = views(`${entries}${entryOf('other', `${key}, to: public.again`)}`)[1]!;
  const both = await catalogOf(`${TARGET}; CREATE TABLE again (LIKE customer INCLUDING ALL)`);
  expect(told(compileMapping(twice, source, both).findings)).toContainEqual(
    expect.stringContaining('two entries give public.customer surrogate keys'),
  );
});

test('`check --ddl` drafts tables with ids, what refers to them, and the old key', async () => {
  const tables = `  - { from: public.customer, key: { surrogate: id }, columns: { no: legacy } }\n  - { from: public.invoice, key: { surrogate: id } }\n  - { from: public.line }\n`;
  const [source, target] = [await catalogOf(SOURCE), await catalogOf('SELECT 1')];
  const { sql } = draftMissingTables(fileOf(tables), source, target);
  const { mapping, findings } = await compile({ source: SOURCE, target: sql, tables });
  expect(told(findings)).toEqual([]);
  expect(mapping!.tables.map(({ columns }) => columns.map(({ target: name, targetType }) => `${name} ${targetType}`))).toEqual([
    ['id bigint', 'name text', 'legacy integer'],
    ['id bigint', 'customer bigint', 'note text'],
    ['invoice bigint', 'pos integer'],
  ]);
  expect(sql).toContain('FOREIGN KEY ("invoice") REFERENCES "public"."invoice" ("id")');
});

test('another table of ids, or a reference, is another mapping', async () => {
  const hash = async (tables: string): Promise<string> => (await compile({ source: SOURCE, target: TARGET, tables })).mapping!.hash;
  const kept = await hash(KEYS);
  expect(await hash(KEYS)).toBe(kept);
  expect(await hash(KEYS.replace('refs: { who: public.customer }', 'refs: { who: false }'))).not.toBe(kept);
});

describe('refused', () => {
  const A = 'CREATE TABLE a (k int PRIMARY KEY, v text)';
  const T = 'CREATE TABLE a (id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, v text)';
  const ENTRY = '  - { from: public.a, key: { surrogate: id } }\n';
  const cases: readonly (readonly [what: string, source: string, target: string, tables: string, message: string])[] = [
    ['a composite key', 'CREATE TABLE a (k int, l int, v text, PRIMARY KEY (k, l))', T, ENTRY, 'public.a gets surrogate keys, but its key is not one column'],
    ['a table without a key', 'CREATE TABLE a (k int, v text); ALTER TABLE a REPLICA IDENTITY FULL', T, ENTRY, 'public.a gets surrogate keys, but its key is not one column'],
    ['a key with several texts', 'CREATE TABLE a (k numeric PRIMARY KEY, v text)', T, ENTRY, 'the key "k" of public.a is numeric: two texts could be one key'],
    ['a column that hands out nothing', A, 'CREATE TABLE a (id bigint PRIMARY KEY, v text)', ENTRY, '"id" of public.a has no sequence that ids could come from'],
    ['a column that cannot be an id', A, 'CREATE TABLE a (id text PRIMARY KEY, v text)', ENTRY, '"id" of public.a is text: ids are whole numbers or UUIDs'],
    ['a column that is not there', A, T, '  - { from: public.a, key: { surrogate: ix } }\n', 'public.a of the target has no column "ix"; did you mean "id"?'],
    ['a column that is no key there', A, 'CREATE TABLE a (id bigserial, v text)', ENTRY, 'public.a has no unique index on exactly ("id"), the key of public.a; it has no primary key'],
    ['rows that are there already', A, T, '  - { from: public.a, key: { surrogate: id }, existing: merge }\n', 'public.a keeps the rows that it has, whose ids no key of public.a has'],
    ['two sets of ids', A, `${T}; CREATE TABLE b (LIKE a INCLUDING ALL)`, `${ENTRY}  - { from: public.a, to: public.b, key: { surrogate: id } }\n`, 'two entries give public.a surrogate keys'],
    ['a cast of the key', A, `${T}; ALTER TABLE a ADD old text`, '  - { from: public.a, key: { surrogate: id }, columns: { k: { to: old, cast: text } } }\n', 'the key "k" of public.a is replaced by an id, so it is not cast'],
    ['a trace to nowhere', A, T, '  - { from: public.a, key: { surrogate: id }, columns: { k: legacy } }\n', 'public.a of the target has no column "legacy"'],
    ['a trace that is computed', A, `${T}; ALTER TABLE a ADD old text`, '  - { from: public.a, key: { surrogate: id }, columns: { k: old }, set: { old: { value: x } } }\n', 'column "k" of public.a goes to "old", which `set` computes'],
    ['ids that are computed', A, T, '  - { from: public.a, key: { surrogate: id }, set: { id: { value: 1 } } }\n', 'column "k" of public.a goes to "id", which `set` computes without it'],
    ['a reference that is too narrow', `${A}; CREATE TABLE b (n int PRIMARY KEY, a int REFERENCES a)`, `${T}; CREATE TABLE b (n int PRIMARY KEY, a int)`, `${ENTRY}  - { from: public.b }\n`, '"a" of public.b is integer, the ids of public.a that it refers to are bigint'],
    ['a reference of another type', `${A}; CREATE TABLE b (n int PRIMARY KEY, a text)`, `${T}; CREATE TABLE b (n int PRIMARY KEY, a bigint)`, `${ENTRY}  - { from: public.b, refs: { a: public.a } }\n`, 'column "a" of public.b is text, the key of public.a that it refers to is integer'],
    ['a reference to nothing', `${A}; CREATE TABLE b (n int PRIMARY KEY, a int)`, `${T}; CREATE TABLE b (n int PRIMARY KEY, a bigint)`, `${ENTRY}  - { from: public.b, refs: { a: public.x } }\n`, '"a" refers to public.x, which is no source table of this file'],
    ['a reference to a table that keeps its keys', `${A}; CREATE TABLE b (n int PRIMARY KEY, a int)`, `${T}; CREATE TABLE b (n int PRIMARY KEY, a bigint)`, `${ENTRY}  - { from: public.b, refs: { a: public.b } }\n`, '"a" refers to public.b, which has no surrogate key'],
    ['a reference of no column', A, T, '  - { from: public.a, key: { surrogate: id }, refs: { x: public.a } }\n', 'public.a of the source has no column "x"'],
    ['two parents', `${A}; CREATE TABLE c (k int PRIMARY KEY); CREATE TABLE b (n int PRIMARY KEY, a int REFERENCES a REFERENCES c)`, `${T}; CREATE TABLE c (id bigserial PRIMARY KEY); CREATE TABLE b (n int PRIMARY KEY, a bigint)`, `${ENTRY}  - { from: public.c, key: { surrogate: id } }\n  - { from: public.b }\n`, 'column "a" of public.b refers to the keys of public.a and public.c, which have ids of their own'],
    ['a target that is shared', `${A}; CREATE TABLE b (n int PRIMARY KEY, a int REFERENCES a); CREATE TABLE c (n int PRIMARY KEY, a int REFERENCES a)`, `${T}; CREATE TABLE b (s text, n int, a bigint, PRIMARY KEY (s, n))`, `${ENTRY}  - { from: public.b, set: { s: { value: b } } }\n  - { from: public.c, to: public.b, set: { s: { value: c } } }\n`, '"a" of public.b holds ids of public.a, and public.b shares that table with others, which is not built yet'],
    ['children made of an array', A.replace(')', ', tags jsonb)'), `${T}; CREATE TABLE tag (a_id bigint, tag text, PRIMARY KEY (a_id, tag))`, `${ENTRY.replace('id }', 'id }, unmapped: ignore')}  - { from: public.a, to: public.tag, columns: { k: a_id }, explode: { column: tags, element: tag } }\n`, '"a_id" of public.tag holds ids of public.a, and its rows are made of the array "tags", which is not built yet'],
    ['rows that several tables feed', `${A}; CREATE TABLE b (a int PRIMARY KEY REFERENCES a, w text NOT NULL)`, `${T}; ALTER TABLE a ALTER id TYPE bigint, ADD w text`, `${ENTRY}  - { from: public.b, to: public.a, columns: { a: id } }\n`, '"id" of public.a holds ids of public.a, and public.b shares that table with others, which is not built yet'],
  ]; // prettier-ignore

  test.each(cases)('%s', async (...[, source, target, tables, message]) => {
    const { mapping, findings } = await compile({ source, target, tables });
    expect(mapping).toBeUndefined();
    expect(findings.filter(({ severity }) => severity === 'error').map((one) => one.message)).toContain(message);
    expect(findings.every(({ line, column, remedy }) => (line ?? 0) > 0 && (column ?? 0) > 0 && (remedy ?? '') !== '')).toBe(true);
  });

  test('Redis', async () => {
    const text = `crossfade: 1\nname: test\nsource: { postgres: "postgres://h/a" }\ntarget: { redis: "redis://h:1/0" }\ntables:\n${ENTRY}`;
    const { file } = readMigrationFile({ path: 'm.yaml', text, env: {} });
    const { mapping, findings } = compileRedisMapping(file!, await catalogOf(`${A}; ALTER TABLE a REPLICA IDENTITY FULL`));
    expect(mapping).toBeUndefined();
    expect(told(findings)).toEqual(['6:41 CF-4001 the keys of public.a cannot be replaced on a Redis target, which has no map of them']);
  });

  test('a reference to a filtered table is warned of', async () => {
    const { findings } = await compile({
      source: `${A}; CREATE TABLE b (n int PRIMARY KEY, a int REFERENCES a); ALTER TABLE a REPLICA IDENTITY FULL`,
      target: `${T}; CREATE TABLE b (n int PRIMARY KEY, a bigint)`,
      tables: `  - { from: public.a, key: { surrogate: id }, where: { v: x } }\n  - { from: public.b }\n`,
    });
    expect(told(findings)).toEqual([
      '7:13 warning CF-4001 column "a" of public.b refers to public.a, which is filtered: a row that is left out there has an id all the same, and nothing under it',
    ]);
  });
});

test('faults of the grammar have their places', () => {
  const text = `crossfade: 1\nname: test\nsource: { postgres: "postgres://h/a" }\ntarget: { postgres: "postgres://h/b" }\ntables:\n  - from: public.a\n    key: id\n    refs: { b: true }\n`;
  expect(told(readMigrationFile({ path: 'm.yaml', text, env: {} }).findings)).toEqual([
    '7:10 CF-1004 "tables[0].key": expected a block with surrogate: TARGET_COLUMN',
    '8:16 CF-1004 "tables[0].refs.b": expected the source table that it refers to, as schema.table, or false',
  ]);
  expect(fileOf(KEYS).tables[3]!.refs).toEqual({ who: { to: 'public.customer', line: 9, column: 35 } });
});
