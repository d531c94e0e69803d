/** The reverse file: compiled as any other, against the catalogues the other way round, and held against the forward mapping row by row. */
import { describe, expect, test } from 'vitest';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { compileMapping } from '#schemas/mapping/compile-mapping.ts';
import { invertMapping, type TableInverse } from '#schemas/mapping/inverse/invert-table.ts';
import { randomRoundTrips } from '#schemas/mapping/inverse/round-trip.ts';
import { mapRow, SERVER_ONLY } from '#schemas/mapping/map-row.ts';
import { deriveReverse, type ReverseCatalogs, type ReverseDerivation } from '#schemas/mapping/reverse/derive-reverse.ts';
import { reverseName } from '#schemas/mapping/reverse/reverse-name.ts';
import { catalogOf, fileOf } from '#test/support/compile.ts';
import { seedFromEnvironment } from '#test/support/random.ts';

const seed = seedFromEnvironment();

interface Derived extends ReverseDerivation {
  readonly forward: MigrationFile;
  readonly catalogs: ReverseCatalogs;
  readonly inverse: TableInverse;
}

async function derive(sourceSql: string, targetSql: string, tables = '  - from: public.*\n'): Promise<Derived> {
  const [source, target] = [await catalogOf(sourceSql), await catalogOf(targetSql)];
  const forward = fileOf(tables);
  const { mapping, findings } = compileMapping(forward, source, target);
  expect(findings.filter(({ severity }) => severity === 'error')).toEqual([]);
  const catalogs = { source, target };
  return { ...deriveReverse(forward, mapping!, catalogs), forward, catalogs, inverse: invertMapping(mapping!.tables, source)[0]! };
}

/** One line for each table, as a person would be told. */
function told({ tables, why }: ReverseDerivation): string[] {
  const lines = tables.map(({ from, kind, why: reason, lost }) =>
    [from, kind, reason, ...lost.map((one) => `${one.column}: ${one.why}`)].filter((part) => part !== undefined).join(' | '),
  );
  return why === undefined ? lines : [...lines, why];
}

/** What the reverse file makes of a target row stands in for the inverse. */
function byFile({ mapping, inverse, tables }: Derived): TableInverse {
  const lost = new Set(tables[0]!.lost.map(({ column }) => column));
  return {
    ...inverse,
    kept: inverse.kept.filter(({ column }) => !lost.has(column)),
    down: ([row]) => {
      const given = new Map([...row!.values].map(([name, value]) => [name, value === SERVER_ONLY ? null : value]));
      const outcome = mapRow(mapping!.tables, given);
      if (outcome.kind === 'refused') throw new Error(outcome.message);
      const back = new Map(outcome.rows[0]!.values);
      for (const [name, value] of row!.values) {
        if (value !== SERVER_ONLY) continue;
        for (const { column, from } of inverse.kept) if (from.includes(name)) back.delete(column);
      }
      return new Map([...back].map(([name, value]) => [name, value === SERVER_ONLY ? '' : value]));
    },
  };
}

describe('a table that is moved as it is', () => {
  test('comes back as it is', async () => {
    const sql = 'CREATE TABLE a (id int PRIMARY KEY, v text, n numeric(10,2), at timestamptz)';
    const derived = await derive(sql, sql);
    expect(told(derived)).toEqual(['public.a | reversible']);
    expect(derived.file).toMatchObject({
      name: 'test_reverse',
      source: { postgres: 'postgres://h/b' },
      target: { postgres: 'postgres://h/a' },
    });
    expect(derived.mapping!.tables[0]).toMatchObject({ sourceKey: ['id'], targetKey: ['id'], existing: 'merge', dropped: [] });
    expect(randomRoundTrips(byFile(derived), derived.catalogs.source, { seed, rows: 500 })).toMatchObject({ faults: [] });
  });

  test('may have more columns on the target, and lose some that the source can do without', async () => {
    const derived = await derive(
      'CREATE TABLE a (id int PRIMARY KEY, v text, gone text, made timestamptz NOT NULL DEFAULT now())',
      'CREATE TABLE a (id int PRIMARY KEY, v text, since timestamptz DEFAULT now(), note text)',
      '  - from: public.a\n    drop: [gone, made]\n',
    );
    expect(told(derived)).toEqual([
      'public.a | partial | gone: it goes to no column of the target | made: it goes to no column of the target',
    ]);
    expect(derived.mapping!.tables[0]!.columns.map(({ target }) => target)).toEqual(['id', 'v']);
  });

  test('is one-way where the source needs what is lost', async () => {
    const derived = await derive(
      'CREATE TABLE a (id int PRIMARY KEY, gone text NOT NULL)',
      'CREATE TABLE a (id int PRIMARY KEY)',
      '  - from: public.a\n    drop: [gone]\n',
    );
    expect(told(derived)).toEqual([
      'public.a | one-way | "gone" of the source is NOT NULL without a default, and is lost: it goes to no column of the target',
      'none of its tables goes back',
    ]);
    expect(derived.file).toBeUndefined();
  });
});

test('renames, wider types, steps and a filter come back as they went: 2,000 random rows', async () => {
  const derived = await derive(
    `CREATE TABLE a (id integer PRIMARY KEY, small smallint NOT NULL, price numeric(10,2) NOT NULL, ok boolean NOT NULL, code char(3),
       local timestamp, label text NOT NULL, maybe text, tenant integer NOT NULL, big bigint NOT NULL, short varchar(8));
     ALTER TABLE a REPLICA IDENTITY FULL`,
    `CREATE TABLE moved (key bigint PRIMARY KEY, small integer, ok text, code text, local timestamptz, label text, maybe text, cents bigint,
       number numeric(20,0), short text)`,
    `  - from: public.a
    to: public.moved
    where: { tenant: 7 }
    drop: [tenant]
    columns: { id: key }
    set:
      ok: { from: ok, steps: [{ map: { values: { true: yes, false: no } } }] }
      code: { from: code, steps: [{ map: { values: { A: alpha, B: beta } } }] }
      local: { from: local, steps: [{ zone: { from: Europe/Berlin } }] }
      label: { from: label, steps: [{ default: none }] }
      cents: { from: price, steps: [{ decimal: { multiply: 100, scale: 0 } }] }
      number: { from: big, steps: [{ cast: 'numeric(20,0)' }] }
      maybe: { from: maybe, steps: [{ default: none }] }
`,
  );
  expect(told(derived)).toEqual(['public.a | partial | maybe: "maybe": a null comes back as the default']);
  const { rows, faults } = randomRoundTrips(byFile(derived), derived.catalogs.source, { seed, rows: 2000 });
  expect({ seed, faults }).toEqual({ seed, faults: [] });
  expect(rows).toBeGreaterThan(100);
});

describe('local times that the clocks show twice', () => {
  const [source, target] = [
    'CREATE TABLE a (id int PRIMARY KEY, local timestamp)',
    'CREATE TABLE a (id int PRIMARY KEY, local timestamptz)',
  ];
  // Europe/Berlin showed 02:30 twice on 2025-10-26, and never on 2025-03-30.
  const twice = ['2025-10-26 00:30:00+00', '2025-10-26 01:30:00+00'];
  const back = ({ mapping }: Derived, moment: string): string | null => {
    const outcome = mapRow(mapping!.tables, new Map([['id', '1'], ['local', moment]])); // prettier-ignore
    return outcome.kind === 'refused' ? null : String(outcome.rows[0]!.values.get('local'));
  };

  test.each([
    ['earlier', ['2025-10-26 02:30:00', null]],
    ['later', [null, '2025-10-26 02:30:00']],
    ['fail', [null, null]],
  ])('come back where `ambiguous: %s` stands for them, and are refused elsewhere', async (ambiguous, expected) => {
    const derived = await derive(source, target, `  - from: public.a\n    set: { local: { from: local, steps: [{ zone: { from: Europe/Berlin, ambiguous: ${ambiguous} } }] } }\n`); // prettier-ignore
    expect(told(derived)).toEqual(['public.a | reversible']);
    expect(twice.map((moment) => back(derived, moment))).toEqual(expected);
    expect(back(derived, '2025-07-01 12:00:00+00')).toBe('2025-07-01 14:00:00');
    expect(randomRoundTrips(byFile(derived), derived.catalogs.source, { seed, rows: 500 })).toMatchObject({ faults: [] });
    const up = compileMapping(derived.forward, derived.catalogs.source, derived.catalogs.target).mapping!.tables;
    const went = mapRow(up, new Map([['id', '1'], ['local', '2025-10-26 02:30:00']])); // prettier-ignore
    if (went.kind === 'rows') expect(back(derived, String(went.rows[0]!.values.get('local')))).toBe('2025-10-26 02:30:00');
    else expect(ambiguous).toBe('fail');
  });

  test('are lost where skipped ones become others', async () => {
    const derived = await derive(source, target, '  - from: public.a\n    set: { local: { from: local, steps: [{ zone: { from: Europe/Berlin, ambiguous: later, skipped: later } }] } }\n'); // prettier-ignore
    expect(told(derived)).toEqual([
      'public.a | partial | local: "local": local times that the clocks of Europe/Berlin leave out come back as others',
    ]);
  });
});

describe('rows that are put together from several source tables', () => {
  const source = `CREATE TABLE person (id int PRIMARY KEY, name text NOT NULL, born date); CREATE TABLE account (id int PRIMARY KEY, plan text NOT NULL, cents bigint);
    CREATE TABLE vip (id int PRIMARY KEY)`;
  const target = `CREATE TABLE customer (id int PRIMARY KEY, name text, born date, plan text, cents numeric(20,0), is_vip boolean)`;
  const tables = `  - { from: public.person, to: public.customer }
  - { from: public.account, to: public.customer, set: { cents: { from: cents, steps: [{ cast: 'numeric(20,0)' }] } } }
  - { from: public.vip, to: public.customer, set: { is_vip: { value: true } } }
`;

  test('go back to each that has its part of them', async () => {
    const derived = await derive(source, `${target}; ALTER TABLE customer REPLICA IDENTITY FULL`, tables);
    expect(told(derived)).toEqual(['public.account | reversible', 'public.person | reversible', 'public.vip | reversible']);
    const down = (row: Record<string, string | null>): string[] => {
      const outcome = mapRow(derived.mapping!.tables, new Map(Object.entries(row)));
      return outcome.kind === 'refused' ? [outcome.message] : outcome.rows.map(({ to, values }) => `${to.name} ${[...values].map(([name, value]) => `${name}=${String(value)}`).join(' ')}`); // prettier-ignore
    };
    const nobody = { id: '1', name: null, born: null, plan: null, cents: null, is_vip: null };
    expect(down(nobody)).toEqual([]);
    expect(down({ ...nobody, name: 'Ada' })).toEqual(['person id=1 name=Ada born=null']);
    expect(down({ ...nobody, name: 'Ada', plan: 'gold', cents: '7', is_vip: 't' })).toEqual([
      'account id=1 plan=gold cents=7', 'person id=1 name=Ada born=null', 'vip id=1',
    ]); // prettier-ignore
  });

  test('come back as they went: 1,000 random rows of each', async () => {
    const derived = await derive(source, `${target}; ALTER TABLE customer REPLICA IDENTITY FULL`, tables);
    const up = compileMapping(derived.forward, derived.catalogs.source, derived.catalogs.target).mapping!;
    for (const inverse of invertMapping(up.tables, derived.catalogs.source)) {
      const { name } = inverse.tables[0]!.from;
      const only = derived.mapping!.tables.filter(({ to }) => to.name === name);
      // The others have no part of it.
      const nobody = ['name', 'born', 'plan', 'cents', 'is_vip'].map((column): [string, null] => [column, null]);
      const byReverse: TableInverse = {
        ...inverse,
        down: ([row]) => {
          const given = new Map<string, string | null>([...nobody, ...[...row!.values].map(([column, value]): [string, string | null] => [column, value as string | null])]); // prettier-ignore
          const outcome = mapRow(derived.mapping!.tables, given);
          if (outcome.kind === 'refused') throw new Error(outcome.message);
          expect(outcome.rows.map(({ to }) => to.name)).toEqual([name]);
          return new Map([...outcome.rows[0]!.values].map(([column, value]) => [column, value as string | null]));
        },
      };
      expect([name, only.length]).toEqual([name, 1]);
      const { rows, faults } = randomRoundTrips(byReverse, derived.catalogs.source, { seed, rows: 1000 });
      expect({ seed, faults, rows }).toEqual({ seed, faults: [], rows: 1000 });
    }
  });

  test('need the whole old row, where a part may be left out of an update', async () => {
    const { tables: reports } = await derive(source, target, tables);
    expect(reports[0]).toMatchObject({
      kind: 'one-way',
      remedy: 'Run on the target: ALTER TABLE "public"."customer" REPLICA IDENTITY FULL;',
    });
  });
});

describe('a value of the target that the source cannot hold', () => {
  test.each([
    ['price', '12.345'],
    ['whole', '1.5'],
    ['code', 'other'],
  ])('is refused in %s', async (column, value) => {
    const { mapping } = await derive(
      'CREATE TABLE a (id int PRIMARY KEY, price numeric(10,2), whole int, code text)',
      'CREATE TABLE a (id int PRIMARY KEY, price numeric(12,4), whole numeric(12,2), code text)',
      `  - from: public.a\n    set: { code: { from: code, steps: [{ map: { values: { a: b } } }] } }\n`,
    );
    const row = new Map<string, string | null>([['id', '1'], ['price', '1.0000'], ['whole', '2.00'], ['code', 'b']]); // prettier-ignore
    expect(mapRow(mapping!.tables, row)).toMatchObject({ kind: 'rows' });
    expect(mapRow(mapping!.tables, row.set(column, value))).toMatchObject({ kind: 'refused' });
  });
});

describe('a filter', () => {
  const target = 'CREATE TABLE a (tenant int NOT NULL, id int NOT NULL, PRIMARY KEY (tenant, id))';

  test('keeps what other migrations write on the target out of the way back', async () => {
    const derived = await derive(target, target, '  - from: public.a\n    where: { tenant: 7 }\n');
    expect(told(derived)).toEqual(['public.a | reversible']);
    expect(derived.mapping!.tables[0]!.filter).toEqual({ conditions: [{ column: 'tenant', op: 'in', values: ['7'], type: 'bigint' }] });
  });

  test('whose column is lost tells only one value', async () => {
    const source = 'CREATE TABLE a (id int PRIMARY KEY, tenant int NOT NULL)';
    const plain = 'CREATE TABLE a (id int PRIMARY KEY)';
    const drop = 'drop: [tenant]\n    where: { tenant: ';
    expect(told(await derive(source, plain, `  - from: public.a\n    ${drop}7 }\n`))).toEqual(['public.a | reversible']);
    expect(told(await derive(source, plain, `  - from: public.a\n    ${drop}[7, 8] }\n`))[0]).toBe(
      'public.a | one-way | "tenant" says which rows are moved, and is lost on the way',
    );
  });

  test('leaves out rows that were softly deleted', async () => {
    const derived = await derive(
      'CREATE TABLE a (id int PRIMARY KEY)',
      'CREATE TABLE a (id int PRIMARY KEY, deleted boolean NOT NULL DEFAULT false)',
      '  - from: public.a\n    deletes: { soft: { column: deleted } }\n',
    );
    expect(told(derived)).toEqual(['public.a | reversible']);
    expect(derived.mapping!.tables[0]!.filter!.conditions).toMatchObject([{ column: 'deleted', values: ['f'] }]);
  });
});

describe('what the file says of the way back', () => {
  const source = 'CREATE TABLE a (id int PRIMARY KEY, name text NOT NULL, mail text)';
  const target = 'CREATE TABLE a (id int PRIMARY KEY, first text, last text, mail text)';
  const split = `  - from: public.a
    set:
      first: { from: name, steps: [{ split: { by: ' ', take: 1 } }] }
      last: { from: name, steps: [{ split: { by: ' ', take: 2 } }] }
`;

  test('is none: nothing goes back, and nobody is told of a loss', async () => {
    expect(told(await derive(source, target, `${split}    reverse: none\n`))).toEqual(['public.a | none', 'none of its tables goes back']);
  });

  test('is how a column is made again', async () => {
    const file = `${split}    reverse: { set: { name: { from: [first, last], steps: [{ concat: ' ' }] } } }\n`;
    expect((await derive(source, target, file)).tables[0]).toMatchObject({
      kind: 'one-way',
      remedy: 'Run on the target: ALTER TABLE "public"."a" REPLICA IDENTITY FULL;',
    });
    const derived = await derive(source, `${target}; ALTER TABLE a REPLICA IDENTITY FULL`, file);
    expect(told(derived)).toEqual(['public.a | reversible']);
    const row = new Map([['id', '1'], ['first', 'Ada'], ['last', 'Lovelace'], ['mail', null]]); // prettier-ignore
    expect(mapRow(derived.mapping!.tables, row)).toMatchObject({ rows: [{ values: new Map([['id', '1'], ['mail', null], ['name', 'Ada Lovelace']]) }] }); // prettier-ignore
  });

  test('names a column that the source does not have', async () => {
    expect(told(await derive(source, target, `${split}    reverse: { set: { nam: { from: first } } }\n`))[0]).toBe(
      'public.a | one-way | `reverse` sets "nam", which public.a does not have',
    );
  });
});

describe('what is one-way', () => {
  const source = 'CREATE TABLE a (id int PRIMARY KEY)';
  const ids = 'CREATE TABLE a (id bigint PRIMARY KEY GENERATED BY DEFAULT AS IDENTITY, old int UNIQUE NOT NULL)';

  test.each([
    ['ids of the target', ids, 'columns: { id: old }\n    key: { surrogate: id }', 'its rows have ids that the target gave them'],
    ['rows that stay', source, 'deletes: ignore', 'rows that the source deleted stay on the target, and would come back'],
    [
      'rows under a constant of the key',
      'CREATE TABLE a (id int, shard text, PRIMARY KEY (shard, id))',
      'set: { shard: { value: x } }',
      "its rows are told from others by a constant of the target's key, by which the way back finds none",
    ],
    ['another key', ids, 'columns: { id: old }', 'key column "id" of public.a is not mapped'],
  ])('%s', async (_what, target, entry, why) => {
    expect(told(await derive(source, target, `  - from: public.a\n    ${entry}\n`))[0]).toBe(`public.a | one-way | ${why}`);
  });

  test('the whole, where the file says so', async () => {
    const sql = 'CREATE TABLE a (id int PRIMARY KEY)';
    const { forward, catalogs } = await derive(sql, sql);
    const { mapping } = compileMapping(forward, catalogs.source, catalogs.target);
    expect(told(deriveReverse({ ...forward, reverse: 'off' }, mapping!, catalogs))).toEqual(['the file says `reverse: off`']);
  });
});

test('a name stays as long as a name may be', () => {
  expect(reverseName('shop')).toBe('shop_reverse');
  const [a, b] = [reverseName(`${'x'.repeat(47)}a`), reverseName(`${'x'.repeat(47)}b`)];
  expect([a.length, a === b, /^x+_[0-9a-f]{8}_reverse$/.test(a)]).toEqual([48, false, true]);
});
