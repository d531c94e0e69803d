import { describe, expect, test } from 'vitest';
import { compileMapping } from '#schemas/mapping/compile-mapping.ts';
import { catalogOf, compile, fileOf, told } from '#test/support/compile.ts';

describe('tables', () => {
  test('match themselves by name, and a name beats a glob', async () => {
    const { mapping, findings } = await compile({
      source: 'CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY); CREATE TABLE c (id int PRIMARY KEY)',
      target: 'CREATE TABLE a (id int PRIMARY KEY); CREATE SCHEMA s; CREATE TABLE s.bb (id int PRIMARY KEY)',
      tables: '  - from: "*.*"\n    exclude: [public.c]\n  - from: public.b\n    to: s.bb\n',
    });
    expect(findings).toEqual([]);
    expect(mapping?.tables.map(({ from, to }) => [from.name, to])).toEqual([
      ['a', { schema: 'public', name: 'a' }],
      ['b', { schema: 's', name: 'bb' }],
    ]);
  });

  test('are renamed by a pattern', async () => {
    const { mapping } = await compile({
      source: 'CREATE TABLE "Odd.Name" (id int PRIMARY KEY); CREATE TABLE x (id int PRIMARY KEY)',
      target: 'CREATE SCHEMA n; CREATE TABLE n."new_Odd.Name" (id int PRIMARY KEY); CREATE TABLE n.new_x (id int PRIMARY KEY)',
      tables: '  - from: public.*\n    to: n.new_*\n',
    });
    expect(mapping?.tables.map(({ to }) => to.name)).toEqual(['new_Odd.Name', 'new_x']);
  });

  test('that do not exist are told with the nearest name, line and column', async () => {
    const { mapping, findings } = await compile({
      source:
        'CREATE TABLE orders (id int PRIMARY KEY, total int); CREATE VIEW v AS SELECT 1; CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (9)',
      target: 'CREATE TABLE orders (id int PRIMARY KEY, total int)',
      tables:
        '  - from: public.order\n  - from: pubic.*\n  - from: public.v\n  - from: public.p1\n  - from: public.x_*\n  - { from: public.orders, to: public.ordesr, columns: { totl: x } }\n',
    });
    expect(mapping).toBeUndefined();
    expect(told(findings)).toEqual([
      '6:11 CF-1008 the source has no table public.order; did you mean "public.orders"?',
      '7:11 CF-1008 the source has no schema "pubic"; did you mean "public"?',
      '8:11 CF-4001 public.v is a view; only tables can be moved',
      '9:11 CF-4001 public.p1 is a partition of public.p',
      '10:11 CF-1008 no table of the source matches public.x_*',
      '11:32 CF-1008 the target has no table public.ordesr; did you mean "public.orders"?',
      '11:58 CF-1008 public.orders of the source has no column "totl"; did you mean "total"?',
    ]);
  });

  test('matched twice, or sharing a target, are refused', async () => {
    const { findings } = await compile({
      source: 'CREATE TABLE a1 (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY); CREATE TABLE c (id int PRIMARY KEY)',
      target: 'CREATE TABLE a1 (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY)',
      tables: '  - from: public.a*\n  - from: public.*1\n  - from: public.b\n  - { from: public.c, to: public.b }\n',
    });
    expect(told(findings)).toEqual([
      '7:11 CF-4001 public.a1 is matched twice: by public.a* (line 6) and by public.*1 (line 7)',
      '9:27 CF-4001 public.b and public.c both go to public.b',
    ]);
  });
});

describe('one table to several', () => {
  const source = 'CREATE TABLE person (id int PRIMARY KEY, name text, town text, secret text)';
  const target = 'CREATE TABLE customer (id int PRIMARY KEY, name text); CREATE TABLE address (person_id int PRIMARY KEY, town text)';

  test('each entry has its columns, and what one takes or drops the others need not drop', async () => {
    const tables = `  - { from: public.person, to: public.customer }
  - { from: public.person, to: public.address, drop: [secret], columns: { id: person_id } }
`;
    const { mapping, findings } = await compile({ source, target, tables });
    expect(told(findings)).toEqual([]);
    expect(mapping?.tables.map(({ to, columns, dropped }) => [to.name, columns.map((column) => column.target), dropped])).toEqual([
      ['customer', ['id', 'name'], ['town', 'secret']],
      ['address', ['person_id', 'town'], ['name', 'secret']],
    ]);
  });

  test('a column that no entry takes is told by each', async () => {
    const tables = `  - { from: public.person, to: public.customer }
  - { from: public.person, to: public.address, columns: { id: person_id } }
`;
    const { findings } = await compile({ source, target, tables });
    expect(told(findings)).toEqual([
      '6:13 CF-4001 column "secret" of public.person has no column of that name in public.customer',
      '7:13 CF-4001 column "secret" of public.person has no column of that name in public.address',
    ]);
  });

  test('the same target twice and globs that overlap are refused', async () => {
    const twice = `  - { from: public.person, to: public.customer, unmapped: ignore }\n`.repeat(2);
    expect(told((await compile({ source, target, tables: twice })).findings)).toEqual([
      '7:32 CF-4001 public.person goes to public.customer twice',
    ]);
    const globs = '  - { from: public.per*, to: public.customer }\n  - { from: public.*son, to: public.address }\n';
    expect(told((await compile({ source, target, tables: globs })).findings)).toContain(
      '7:13 CF-4001 public.person is matched twice: by public.per* (line 6) and by public.*son (line 7)',
    );
  });
});

describe('several tables to one', () => {
  const source = 'CREATE TABLE eu (id int PRIMARY KEY, name text); CREATE TABLE us (id int PRIMARY KEY, name text)';
  const target = 'CREATE TABLE item (shard text, id int, name text, PRIMARY KEY (shard, id))';
  const entry = (from: string, shard: string): string => `  - { from: public.${from}, to: public.item, set: { shard: { ${shard} } } }\n`;

  test('share it where a constant of its own in the key tells each one’s rows', async () => {
    const { mapping, findings } = await compile({ source, target, tables: entry('eu', 'value: eu') + entry('us', 'value: us') });
    expect(told(findings)).toEqual([]);
    expect(mapping?.tables.map(({ targetKey, share }) => [targetKey, share])).toEqual([
      [['id'], [{ target: 'shard', type: 'text', value: 'eu' }]],
      [['id'], [{ target: 'shard', type: 'text', value: 'us' }]],
    ]);
  });

  test('are refused with one constant for both, one that is written otherwise, or a key without it', async () => {
    const both = '7:28 CF-4001 public.eu and public.us both go to public.item';
    expect(told((await compile({ source, target, tables: entry('eu', 'value: x') + entry('us', 'value: x') })).findings)).toEqual([both]);
    const number = target.replace('shard text', 'shard int');
    const [one, other] = [entry('eu', 'value: 1'), entry('us', 'value: "01"')];
    expect(told((await compile({ source, target: number, tables: one + other })).findings)).toEqual([both]);
    const alone = target.replace('(shard, id)', '(id)');
    expect(told((await compile({ source, target: alone, tables: entry('eu', 'value: a') + entry('us', 'value: b') })).findings)).toEqual([
      both,
    ]);
  });

  test('feed the same rows where they have nothing but the key in common, and each has a column that tells of its row', async () => {
    const two = 'CREATE TABLE a (id int PRIMARY KEY, name text NOT NULL, x int); CREATE TABLE b (id int PRIMARY KEY, town text, y int)';
    const row = 'CREATE TABLE item (id int PRIMARY KEY, x int, name text, town text, y int, has_b boolean)';
    const into = (from: string, more = ''): string => `  - { from: public.${from}, to: public.item${more} }\n`;
    const witness = ', set: { has_b: { value: true } }';
    const { mapping, findings } = await compile({ source: two, target: row, tables: into('a') + into('b', witness) });
    expect(told(findings)).toEqual([]);
    expect(mapping?.tables.map(({ merge }) => merge)).toEqual([
      { witness: 'name', others: ['has_b'] },
      { witness: 'has_b', others: ['name'] },
    ]);
    expect(told((await compile({ source: two, target: row, tables: into('a') + into('b') })).findings)).toEqual([
      '7:27 CF-4001 nothing in public.item would tell whether public.b has the row',
    ]);
    const both = into('a') + into('b', ', columns: { y: x }, drop: [town]');
    expect(told((await compile({ source: two, target: row, tables: both })).findings)).toEqual([
      '7:27 CF-4001 public.a and public.b both go to public.item',
    ]);
  });

  test('are refused where rows would meet: a constant that the column cuts, keys with several spellings', async () => {
    const short = target.replace('shard text', 'shard varchar(3)');
    const found = await compile({ source, target: short, tables: entry('eu', 'value: "eu  "') + entry('us', 'value: "eu   "') });
    expect(told(found.findings).at(-1)).toBe('7:28 CF-4001 public.eu and public.us both go to public.item');
    const into = (from: string): string => `  - { from: public.${from}, to: public.item }\n`;
    const halves = (type: string): string =>
      `CREATE TABLE a (id ${type} PRIMARY KEY, x text NOT NULL); CREATE TABLE b (id ${type} PRIMARY KEY, y text NOT NULL)`;
    const whole = (type: string): string => `CREATE TABLE item (id ${type} PRIMARY KEY, x text, y text)`;
    const merged = async (type: string): Promise<string[]> =>
      told((await compile({ source: halves(type), target: whole(type), tables: into('a') + into('b') })).findings);
    expect(await merged('uuid')).toEqual([]);
    expect(await merged('numeric')).toEqual([
      '6:27 CF-4001 "id" of public.item has several spellings of one value, so rows of public.a and of others cannot be put together by it',
    ]);
  });

  test('are not told apart by a witness that may be filled without a row: a domain has a default of its own', async () => {
    const domain = 'CREATE DOMAIN public.flag AS boolean DEFAULT false';
    const { findings } = await compile({
      source: 'CREATE TABLE a (id int PRIMARY KEY, x text NOT NULL); CREATE TABLE b (id int PRIMARY KEY, y text)',
      target: `${domain}; CREATE TABLE item (id int PRIMARY KEY, x text, y text, has_b flag)`,
      tables: '  - { from: public.a, to: public.item }\n  - { from: public.b, to: public.item, set: { has_b: { value: true } } }\n',
    });
    expect(told(findings)).toEqual(['7:27 CF-4001 nothing in public.item would tell whether public.b has the row']);
  });

  test('are refused `deletes` and `truncates` of their own', async () => {
    const soft = entry('us', 'value: us').replace(' }\n', ', deletes: ignore }\n');
    expect(told((await compile({ source, target, tables: entry('eu', 'value: eu') + soft })).findings)).toEqual([
      '7:13 CF-4001 public.us shares public.item with others, where `deletes` and `truncates` are not built yet',
    ]);
    const halves = 'CREATE TABLE a (id int PRIMARY KEY, x text NOT NULL); CREATE TABLE b (id int PRIMARY KEY, y text NOT NULL)';
    const into = (from: string, more = ''): string => `  - { from: public.${from}, to: public.item${more} }\n`;
    const item = 'CREATE TABLE item (id int PRIMARY KEY, x text, y text)';
    expect(told((await compile({ source: halves, target: item, tables: into('a', ', truncates: halt') + into('b') })).findings)).toEqual([
      '6:13 CF-4001 public.a shares public.item with others, where `deletes` and `truncates` are not built yet',
    ]);
  });

  test('are refused over Kafka', async () => {
    const file = fileOf(entry('eu', 'value: eu'));
    const kafka = { brokers: [], partitions: 1, format: 'avro', compression: 'none' } as const;
    const overKafka = { ...file, settings: { ...file.settings, log: { retainBytes: 0, kafka } } };
    expect(told(compileMapping(overKafka, await catalogOf(source), await catalogOf(target)).findings)).toEqual([
      '6:13 CF-4001 public.eu shares public.item with others, which a log on Kafka does not carry yet',
    ]);
  });
});

describe('columns', () => {
  test('without a place on the target are told, unless dropped or ignored', async () => {
    const source = 'CREATE TABLE a (id int PRIMARY KEY, old int, gone text)';
    const target = 'CREATE TABLE a (id int PRIMARY KEY, olds int)';
    expect(told((await compile({ source, target })).findings)).toEqual([
      '6:11 CF-4001 column "old" of public.a has no column of that name in public.a; did you mean "olds"?',
      '6:11 CF-4001 column "gone" of public.a has no column of that name in public.a',
    ]);
    const { mapping } = await compile({ source, target, tables: '  - { from: public.a, columns: { old: olds }, drop: [gone] }\n' });
    expect(mapping?.tables[0]).toMatchObject({ dropped: ['gone'], unmapped: 'error' });
    expect(mapping?.tables[0]?.columns.map((column) => [column.source.name, column.target])).toEqual([
      ['id', 'id'],
      ['old', 'olds'],
    ]);
    expect((await compile({ source, target, tables: '  - { from: public.a, unmapped: ignore }\n' })).mapping?.tables[0]?.dropped).toEqual([
      'old',
      'gone',
    ]);
  });

  test('of the target that must not be empty have to be fed', async () => {
    const { findings } = await compile({
      source: 'CREATE TABLE a (id int PRIMARY KEY, n int)',
      target:
        'CREATE TABLE a (id int PRIMARY KEY, n int NOT NULL, must int NOT NULL, d int NOT NULL DEFAULT 1, s serial, g int GENERATED ALWAYS AS (n + 1) STORED)',
    });
    expect(told(findings)).toEqual([
      '6:11 warning CF-4001 "n" of public.a is NOT NULL, "n" of public.a is not: a row with NULL would halt the table',
      '6:11 CF-4001 "must" of public.a is NOT NULL without a default, and no column of public.a goes to it',
    ]);
  });

  test('that are generated on the source are not moved, on the target not written', async () => {
    const source =
      'CREATE TABLE a (id int PRIMARY KEY, g int GENERATED ALWAYS AS (id + 1) STORED, v int GENERATED ALWAYS AS (id + 1) STORED, t int)';
    const target =
      'CREATE TABLE a (id int PRIMARY KEY, g int GENERATED ALWAYS AS (id + 1) STORED, v int, t int GENERATED ALWAYS AS (id) STORED)';
    expect(told((await compile({ source, target })).findings)).toEqual([
      '6:11 CF-4001 column "v" of public.a is generated, so its changes are not in the stream; public.a expects a value',
      '6:11 CF-4001 column "t" of public.a is generated and cannot be written',
    ]);
    expect((await compile({ source, target, tables: '  - { from: public.a, drop: [v, t] }\n' })).mapping?.tables[0]?.columns).toHaveLength(
      1,
    );
  });

  test('that are identity on the target are overridden, if they are the key', async () => {
    const source = 'CREATE TABLE a (id int PRIMARY KEY, n int)';
    const key = await compile({ source, target: 'CREATE TABLE a (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n int)' });
    expect(key.mapping?.tables[0]?.overridesIdentity).toBe(true);
    const other = await compile({
      source: `${source}; UPDATE a SET n = 0`,
      target: 'CREATE TABLE a (id int PRIMARY KEY, n int GENERATED ALWAYS AS IDENTITY)',
    });
    expect(other.findings.find((one) => one.severity === 'error')?.remedy).toContain(
      'ALTER TABLE "public"."a" ALTER COLUMN "n" SET GENERATED BY DEFAULT',
    );
  });
});

describe('keys', () => {
  test('need a unique index on exactly their columns, in any order', async () => {
    const source = 'CREATE TABLE a (x int, y int, n int, PRIMARY KEY (x, y))';
    const { findings } = await compile({ source, target: 'CREATE TABLE a (x int PRIMARY KEY, y int, n int)' });
    expect(told(findings)).toContain(
      '6:11 CF-4001 public.a has no unique index on exactly ("x", "y"), the key of public.a; it has the primary key (x)',
    );
    expect(findings.find((one) => one.severity === 'error')?.remedy).toBe(
      'Run on the target: CREATE UNIQUE INDEX ON "public"."a" ("x", "y");' +
        ' Or, where ("x") alone tells the rows of public.a apart, on the source: CREATE UNIQUE INDEX "a_identity" ON "public"."a" ("x");' +
        ' ALTER TABLE "public"."a" REPLICA IDENTITY USING INDEX "a_identity";',
    );
    const { mapping } = await compile({ source, target: 'CREATE TABLE a (x int, y int, n int, UNIQUE (y, x))' });
    expect(mapping?.tables[0]).toMatchObject({ sourceKey: ['x', 'y'], targetKey: ['x', 'y'] });
  });

  test('may be widened but not cast', async () => {
    const wider = await compile({ source: 'CREATE TABLE a (id int PRIMARY KEY)', target: 'CREATE TABLE a (id bigint PRIMARY KEY)' });
    expect(wider.findings).toEqual([]);
    const tables = '  - { from: public.a, columns: { id: { cast: int } } }\n';
    const cast = await compile({
      source: 'CREATE TABLE a (id numeric PRIMARY KEY)',
      target: 'CREATE TABLE a (id int PRIMARY KEY)',
      tables,
    });
    expect(told(cast.findings)).toEqual(['6:34 CF-4001 key column "id" of public.a cannot be cast to integer: two keys could become one']);
  });

  test('that are not in the stream are asked for with the SQL that gives them', async () => {
    const target = 'CREATE TABLE a (id int NOT NULL)';
    const remedy = async (source: string): Promise<string | undefined> =>
      (await compile({ source, target })).findings.find((one) => one.code === 'CF-2008')?.remedy;
    expect(await remedy('CREATE TABLE a (id int)')).toBe('Run on the source: ALTER TABLE "public"."a" REPLICA IDENTITY FULL;');
    expect(await remedy('CREATE TABLE a (id int NOT NULL UNIQUE)')).toBe(
      'Run on the source: ALTER TABLE "public"."a" REPLICA IDENTITY USING INDEX "a_id_key";',
    );
    expect(await remedy('CREATE TABLE a (id int PRIMARY KEY); ALTER TABLE a REPLICA IDENTITY NOTHING')).toBe(
      'Run on the source: ALTER TABLE "public"."a" REPLICA IDENTITY DEFAULT;',
    );
    const keyless = await compile({
      source: 'CREATE TABLE a (id int); ALTER TABLE a REPLICA IDENTITY FULL',
      target: 'CREATE TABLE a (id int)',
    });
    expect(keyless.mapping?.tables[0]).toMatchObject({ sourceKey: [], targetKey: [] });
    const byIndex = await compile({
      source: 'CREATE TABLE a (id int NOT NULL UNIQUE); ALTER TABLE a REPLICA IDENTITY USING INDEX a_id_key',
      target: 'CREATE TABLE a (id int UNIQUE)',
    });
    expect(byIndex.mapping?.tables[0]).toMatchObject({ sourceKey: ['id'] });
  });

  test('of partitions are looked at leaf by leaf', async () => {
    const source = `CREATE TABLE p (id int PRIMARY KEY, n int) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (9) PARTITION BY LIST (id);
      CREATE TABLE p2 PARTITION OF p DEFAULT; CREATE TABLE p11 PARTITION OF p1 DEFAULT; ALTER TABLE p11 REPLICA IDENTITY NOTHING`;
    const { findings } = await compile({ source, target: 'CREATE TABLE p (id int PRIMARY KEY, n int)' });
    expect(told(findings)).toEqual([
      '6:11 CF-2008 public.p11: its replica identity is NOTHING, so updates and deletes cannot be replicated',
    ]);
    expect(findings[0]?.remedy).toBe('Run on the source: ALTER TABLE "public"."p11" REPLICA IDENTITY DEFAULT;');
  });
});

describe('filters', () => {
  const table = 'CREATE TABLE a (id int PRIMARY KEY, tenant int, t text, p numeric)';

  test('need whole rows only where a value can be stored outside of its row', async () => {
    const tables = '  - { from: public.a, where: { tenant: 7 } }\n';
    const asked = async (type: string): Promise<readonly string[]> => {
      const ddl = `CREATE DOMAIN short AS numeric(9,2); CREATE TABLE a (id int PRIMARY KEY, tenant int, t ${type})`;
      return told((await compile({ source: ddl, target: ddl, tables })).findings);
    };
    for (const type of ['numeric(5,2)', 'numeric(32,4)', 'numeric(2,-3)', 'varchar(5)', 'char(5)', 'short'])
      expect(await asked(type)).toEqual([]);
    for (const type of ['numeric', 'numeric(32,5)', 'varchar', 'varchar(6)', 'char(6)', 'numeric(5,2)[]', 'short[]', 'bit varying(4)'])
      expect(await asked(type)).toEqual([expect.stringContaining('"t" may be left out of an update (unchanged TOAST)')]);
  });

  test('need whole rows where a value can be absent', async () => {
    const tables = '  - { from: public.a, where: { tenant: 007 } }\n';
    const { findings } = await compile({ source: table, target: table, tables });
    expect(told(findings)).toEqual([
      '6:13 CF-2008 public.a: it has a row filter, and "t" may be left out of an update (unchanged TOAST), so its replica identity must be FULL',
    ]);
    const full = await compile({ source: `${table}; ALTER TABLE a REPLICA IDENTITY FULL`, target: table, tables });
    expect(full.mapping?.tables[0]?.filter).toEqual({ conditions: [{ column: 'tenant', op: 'in', values: ['7'], type: 'bigint' }] });
  });

  test('compare only types with one text for each value', async () => {
    const tables = '  - { from: public.a, where: { tenant: x, tt: 1, p: 1.5, t: null } }\n';
    const { findings } = await compile({ source: `${table}; ALTER TABLE a REPLICA IDENTITY FULL`, target: table, tables });
    expect(told(findings)).toEqual([
      '6:32 CF-1004 `where` compares column "tenant" with a value that is no integer',
      '6:43 CF-1008 `where` names column "tt", which public.a does not have; did you mean "t"?',
      '6:50 CF-4001 `where` cannot compare column "p" of type numeric',
    ]);
  });
});

test('the hash changes with the meaning of the file and with nothing else', async () => {
  const source = 'CREATE TABLE a (id int PRIMARY KEY, n int); CREATE TABLE b (id int PRIMARY KEY)';
  const target = 'CREATE TABLE a (id int PRIMARY KEY, n bigint, m bigint); CREATE TABLE b (id int PRIMARY KEY)';
  const hash = async (tables: string): Promise<string | undefined> => (await compile({ source, target, tables })).mapping?.hash;
  const first = await hash('  - from: public.*\n');
  expect(await hash('  - from: public.b # in another order\n  - from: "*.*"\n    existing: merge\n')).toBe(first);
  expect(await hash('  - from: public.*\n    columns: { n: m }\n')).not.toBe(first);
  const filtered = await hash('  - { from: public.a, where: { n: [1, 2, null], id: 1 } }\n');
  expect(filtered).not.toBe(await hash('  - { from: public.a, where: { n: [1, 2, 3], id: 1 } }\n'));
  expect(filtered).toBe(await hash('  - { from: public.a, where: { id: 1, n: [null, 2, 1] } }\n'));
});

test('a table without a key that is to set rows aside halts all the same, and that is said', async () => {
  const ddl = 'CREATE TABLE u (id int); ALTER TABLE u REPLICA IDENTITY FULL';
  const { mapping, findings } = await compile({ source: ddl, target: ddl, tables: '  - { from: public.u, onRowError: set-aside }\n' });
  expect(told(findings)).toEqual(['6:13 warning CF-4003 public.u has no key: a row that the target refuses halts it all the same']);
  expect(mapping?.tables[0]?.targetKey).toEqual([]);
});

test('unlogged tables are never left out without a word', async () => {
  const { findings } = await compile({
    source: 'CREATE UNLOGGED TABLE u (id int PRIMARY KEY)',
    target: 'CREATE TABLE u (id int PRIMARY KEY)',
  });
  expect(told(findings)).toEqual(['6:11 CF-2008 public.u is unlogged: its changes are not in the stream']);
});
