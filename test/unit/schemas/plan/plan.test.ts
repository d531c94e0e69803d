import { describe, expect, test } from 'vitest';
import { compileRedisMapping } from '#schemas/mapping/redis/compile-redis.ts';
import { buildPlan } from '#schemas/plan/build-plan.ts';
import { comparePlans } from '#schemas/plan/compare-plans.ts';
import { layoutPlan } from '#schemas/plan/layout-plan.ts';
import type { PlanDocument } from '#schemas/plan/plan-document.ts';
import { renderHtml, renderMarkdown } from '#schemas/document/render-document.ts';
import type { Catalog } from '#schemas/table.ts';
import { catalogOf } from '#test/support/compile.ts';
import { HEAD, planFile, planOf } from '#test/support/plan.ts';

const SOURCE = `CREATE TYPE mood AS ENUM ('sad', 'ok');
  CREATE TABLE person (id int PRIMARY KEY, tenant text, first_name text, last_name text, email text, phone text, st text, cents bigint, born date,
    created timestamp, seen timestamp, details jsonb, vip boolean, feeling mood, nick varchar(50), legacy text, ssn text, twice int GENERATED ALWAYS AS (id * 2) STORED);
  ALTER TABLE person REPLICA IDENTITY FULL;
  CREATE TABLE log (at timestamptz, what text); ALTER TABLE log REPLICA IDENTITY FULL;
  CREATE TABLE part (id int PRIMARY KEY, n int) PARTITION BY RANGE (id); CREATE TABLE part1 PARTITION OF part DEFAULT;
  CREATE TABLE left_out (id int PRIMARY KEY); CREATE VIEW v AS SELECT 1 AS one; CREATE SEQUENCE s`;
const TARGET = `CREATE TYPE mood AS ENUM ('sad', 'ok', 'great');
  CREATE TABLE customer (customer_id bigint PRIMARY KEY, tenant text, name text, email text, phone_token text, state text, balance numeric(14,2), birth_year text,
    created_at timestamptz, seen timestamptz, town text, tier text, feeling text, nick varchar(10), origin text, note text, level int DEFAULT 1, vip boolean NOT NULL);
  CREATE TABLE log (at timestamptz, what text); CREATE TABLE part (id bigint PRIMARY KEY, n int)`;
const TABLES = `  - from: public.*
    exclude: [public.left_out]
  - from: public.person
    to: public.customer
    where: { tenant: [t1, null] }
    existing: merge
    onRowError: set-aside
    columns: { id: customer_id, seen: { zone: Europe/Berlin }, feeling: { cast: text }, nick: { cast: varchar(10) } }
    drop: [legacy, ssn]
    set:
      name: { from: [first_name, last_name], steps: [{ concat: " " }, trim, { normalise: NFC }] }
      email: { from: email, steps: [lower, { mask: { keepStart: 1 } }] }
      phone_token: { from: phone, steps: [{ tokenise: { key: "\${PII_KEY}" } }] }
      state: { from: st, steps: [{ map: { values: { A: active, S: suspended }, else: { value: closed } } }] }
      balance: { from: cents, steps: [{ decimal: { divide: 100, scale: 2, round: half-even } }] }
      birth_year: { from: born, steps: [{ split: { by: "-", take: 1 } }] }
      created_at: { from: created, steps: [{ zone: { from: America/New_York, ambiguous: earlier, skipped: later } }] }
      town: { from: details, steps: [{ extract: /address/town }, { default: "\${ORIGIN}" }] }
      tier: { from: [vip], steps: [{ cel: 'row.vip ? "gold" : "std"' }] }
      origin: { value: "\${ORIGIN}" }
`;

describe('a plan', () => {
  test('tells all that becomes of each table (plan.md; vitest -u writes it anew)', async () => {
    const plan = planOf(TABLES, await catalogOf(SOURCE), await catalogOf(TARGET), 'slot: { budgetBytes: 20GiB, onBudget: drop }\n');
    const text = renderMarkdown(layoutPlan(plan))
      .replaceAll(/PostgreSQL 18\.\d+/g, 'PostgreSQL 18')
      .replaceAll(/\d+ (?:B|KiB)/g, 'N KiB');
    await expect(text).toMatchFileSnapshot('plan.md');
  });

  test('holds nothing secret, in no form: no credentials, no key, nothing of the environment', async () => {
    const [source, target] = [await catalogOf(SOURCE), await catalogOf(TARGET)];
    const plan = planOf(TABLES.replace('[t1, null]', '[t1, "${TENANT}"]'), source, target);
    expect(plan.tables.find(({ filter }) => filter.length > 0)?.filter).toEqual(['tenant is a value from the environment']);
    const file = planFile(
      `${HEAD}target: { redis: "redis://me:hunter2@cache:6379/1" }\ntables:\n  - { from: public.left_out, redis: { key: "\${TENANT}:{id}" } }\n`,
    );
    const redis = compileRedisMapping(file, source);
    const toRedis = buildPlan({
      ...redis,
      file,
      mapping: redis.mapping!,
      source,
      target: redis.catalog,
      versions: { crossfade: '1', timeZones: '' },
    });
    expect(toRedis.target).toEqual({ server: 'Redis', address: 'redis://cache:6379/1' });
    expect(toRedis.tables[0]?.redis).toEqual({ key: 'from the environment', form: 'hash', ttlSeconds: null, sets: [] });
    expect(toRedis.method.join(' ')).toMatch(/verify compares every row of the source with what stands under its key in Redis/);
    expect(toRedis.method.join(' ')).not.toMatch(/exactly once|at one point of the WAL/);
    for (const one of [plan, toRedis]) {
      const blocks = layoutPlan(one);
      for (const text of [JSON.stringify(one), renderMarkdown(blocks), renderHtml('plan', blocks)])
        expect(text).not.toMatch(/hunter|\bme[:@]/);
    }
  });

  test('is one HTML file that loads nothing, runs nothing, and shows every name as it is', async () => {
    const ddl = `CREATE TABLE "<script>alert(1)</script>" (id int PRIMARY KEY, "a|b\`c\`\`" text, "</td><img src=x onerror=alert(1)>" text, "x\u202Ey" text, "&amp;" text)`;
    const catalog = await catalogOf(ddl);
    const blocks = layoutPlan(planOf('  - from: public.*\n', catalog, catalog));
    const html = renderHtml('<plan>', blocks);
    expect(html).toContain('<title>&lt;plan&gt;</title>');
    expect(html.match(/<(?:script|img|link|iframe)|\b(?:src|href)\s*=\s*"/g)).toEqual(null);
    expect(html).toContain('<code>&lt;/td&gt;&lt;img src=x onerror=alert(1)&gt;</code>');
    expect(html).toContain('<code>&amp;amp;</code>');
    expect(html).toContain("default-src 'none'");
    const markdown = renderMarkdown(blocks);
    expect(markdown).toContain(String.raw`| ${'```'} a\|b${'`'}c${'``'} ${'```'} |`);
    for (const text of [html, markdown]) expect(text).not.toContain('\u202e');
    const rows = markdown.split('\n').filter((line) => line.startsWith('| ') && line.includes('as it is'));
    expect(rows.map((line) => line.replaceAll(String.raw`\|`, '').split('|').length)).toEqual([8, 8, 8, 8, 8]);
  });
});

describe('a plan tells', () => {
  const rows = 'CREATE TABLE a (id int PRIMARY KEY, n int, gone boolean, gone_at timestamptz)';
  const schemaSteps =
    'schemaSteps:\n  - { name: index, up: "CREATE INDEX i ON a (n) WHERE n = ${TENANT}", down: DROP INDEX i, verify: SELECT true }\n';

  test('what becomes of deleted rows, and of what else the file has done on the target', async () => {
    const source = await catalogOf('CREATE TABLE a (id int PRIMARY KEY, n int); CREATE TABLE b (id int PRIMARY KEY, n int)');
    const target = await catalogOf(`${rows}; CREATE TABLE b (id int UNIQUE NOT NULL, n int, uid uuid PRIMARY KEY)`);
    const tables = `  - { from: public.a, truncates: halt, deletes: { soft: { column: gone, at: gone_at } } }
  - { from: public.b, deletes: ignore, set: { uid: { from: id, steps: [{ uuid5: dns }] } } }\n`;
    const plan = planOf(tables, source, target, schemaSteps.replace('${TENANT}', '7'));
    expect(plan.tables.map(({ policies, unfed, key }) => [policies.deletes, policies.truncates, unfed, key.primary])).toEqual([
      [
        'it stays on the target, with true in "gone" (false on every other row) and with the time of the delete in "gone_at"',
        'it halts the table',
        [],
        [],
      ],
      ['it stays on the target as it is', 'it changes nothing on the target', [], ['uid']],
    ]);
    const text = renderMarkdown(layoutPlan(plan));
    expect(text).toContain('| `index` | `CREATE INDEX i ON a (n) WHERE n = 7` | `DROP INDEX i` | `SELECT true` |');
    expect(text).toContain("The target's own primary key is `uid`.");
    const without = planOf(tables, source, target);
    expect(comparePlans(without, plan)).toEqual(['The schema steps on the target.']);
    const hidden = planOf(tables, source, target, schemaSteps);
    expect(renderMarkdown(layoutPlan(hidden))).not.toContain('hunter');
    expect(comparePlans(planOf('  - from: public.a\n', source, target), planOf(tables, source, target)).join()).toContain(
      'deletes is it stays',
    );
  });

  test('which queries run on both stores, and nothing of what came out of the environment; they are not in its hash', async () => {
    const catalog = await catalogOf('CREATE TABLE a (id int PRIMARY KEY, n int)');
    const tables = '  - from: public.a\n';
    const shadow = `shadow:
  - { name: top, sql: "select n from {public.a} where id = $1", parameters: [[1], [2]], order: respected, ignore: [at, by], tolerance: 0.5%, latencyTolerance: 20% }
  - { name: hidden, sql: { source: "select 1 from {public.a} where n = 1", target: "select 1 from {public.a} where n = $1" }, parameters: ["\${TENANT}"] }\n`;
    const plan = planOf(tables, catalog, catalog, shadow);
    const text = renderMarkdown(layoutPlan(plan));
    expect(text).toContain(
      '| `top` | `select n from {public.a} where id = $1` | the same | in the same order, without at, by, numbers within 0.5 %, 2 sets of parameters, at most 20 % slower |',
    );
    expect(text).toContain('| `hidden` | `from the environment` | the same |');
    expect(text).not.toContain('hunter');
    expect(plan.hash).toBe(planOf(tables, catalog, catalog).hash);
  });
});

describe('of tables that others share, a plan tells', () => {
  const ddl = `CREATE TABLE film (id int PRIMARY KEY, title text NOT NULL, rate numeric(4,2), code int, secret text); CREATE TABLE genre (film int PRIMARY KEY, genre int NOT NULL);
    CREATE TABLE eu (id int PRIMARY KEY, name text); CREATE TABLE us (id int PRIMARY KEY, name text)`;
  const targetDdl = `CREATE TABLE film (id int PRIMARY KEY, title text, genre int, tongue text); CREATE TABLE price (id int PRIMARY KEY, rate numeric(4,2));
    CREATE TABLE shop (land text, id int, name text, PRIMARY KEY (land, id))`;
  const tables = `  - { from: public.film, drop: [code, secret] }
  - { from: public.film, to: public.price }
  - { from: public.genre, to: public.film, columns: { film: id } }
  - { from: public.eu, to: public.shop, set: { land: { value: eu } } }
  - { from: public.us, to: public.shop, set: { land: { value: us } } }
`;

  test('where each column goes, whose the rows are, and what a delete or truncate leaves', async () => {
    const plan = planOf(tables, await catalogOf(ddl), await catalogOf(targetDdl));
    const of = (from: string, to: string): PlanDocument['tables'][number] => plan.tables.find((one) => one.from === from && one.to === to)!;
    const [film, price, genre] = [of('public.film', 'public.film'), of('public.film', 'public.price'), of('public.genre', 'public.film')];
    expect(film.elsewhere).toEqual([{ column: 'rate', type: 'numeric(4,2)', to: ['public.price'] }]);
    expect(price.elsewhere.map(({ column, to }) => [column, to])).toEqual([['title', ['public.film']]]);
    const elsewhere = 'dropped by the file, in another entry for the table';
    expect(price.dropped.map(({ column, why }) => [column, why])).toEqual([
      ['code', elsewhere],
      ['secret', elsewhere],
    ]);
    expect(film.unfed.map(({ column, becomes }) => [column, becomes])).toEqual([
      ['genre', 'from public.genre'],
      ['tongue', 'null'],
    ]);
    expect(genre.policies.deletes).toBe(
      'its columns become null or their default on the target, and the row goes with the last table that has it',
    );
    expect(of('public.eu', 'public.shop').policies.truncates).toBe('its rows go from the target table, those of others stay');
    const text = renderMarkdown(layoutPlan(plan));
    expect(text).toContain('- `rate` (numeric(4,2)): to `public.price`');
    expect(text).toContain(
      'Shared: in `public.film`, its rows are put together with those of public.film: a row is there as long as one of them has it; "genre" is null where public.genre does not.',
    );
    expect(text).toContain('Shared: in `public.shop`, public.us goes there too; its own rows are those where "land" is "eu".');
    expect(plan.scope).toMatchObject({ tables: 4 });
  });
});

describe('its hash', () => {
  const ddl = 'CREATE TABLE a (id int PRIMARY KEY, n int, tenant int); CREATE TABLE b (id int PRIMARY KEY, n int)';
  const catalogs = async (): Promise<readonly [Catalog, Catalog]> => [
    await catalogOf(ddl),
    await catalogOf('CREATE TABLE a (id int PRIMARY KEY, n int, m int, tenant int); CREATE TABLE b (id int PRIMARY KEY, n int)'),
  ];
  const FIRST = '  - { from: public.a, where: { tenant: [1, 2], n: 1 } }\n  - from: public.b\n';

  test('is the same whatever the order, the comments, the volumes and the addresses', async () => {
    const [source, target] = await catalogs();
    const { hash } = planOf(FIRST, source, target);
    const grown = { ...source, tables: source.tables.map((table) => ({ ...table, rowEstimate: 1000, bytes: 1e6 })) };
    const other =
      '  - from: public.b # in another order\n  - from: "*.*"\n    existing: refuse\n    exclude: [public.b]\n    where: { n: 1, tenant: [2, 1, 02] }\n';
    expect(planOf(other, grown, target, 'copy: { parallel: 7 }\n').hash).toBe(hash);
  });

  test('is the same whatever the order of entries that have a source, or a target, in common', async () => {
    const keyed = ['a', 'b', 'c'].map((name) => `CREATE TABLE ${name} (id int PRIMARY KEY, ${name}1 int NOT NULL, e int[]);`).join('');
    const source = await catalogOf(keyed);
    const target = await catalogOf(`CREATE TABLE all_of (id int PRIMARY KEY, a1 int, b1 int, c1 int);
      CREATE TABLE a_again (id int PRIMARY KEY, a1 int); CREATE TABLE e (id int, e int, n int, PRIMARY KEY (id, n));`);
    const entries = [
      ...['a', 'b', 'c'].map((name) => `  - { from: public.${name}, to: public.all_of, drop: [${name === 'a' ? '' : 'e'}] }`),
      '  - { from: public.a, to: public.a_again }',
      '  - { from: public.a, to: public.e, explode: { column: e, element: e, ordinal: n } }',
    ];
    const { hash } = planOf(entries.join('\n'), source, target);
    expect(planOf(entries.toReversed().join('\n'), source, target).hash).toBe(hash);
  });

  test.for([
    ['a rename', FIRST.replace('where', 'columns: { n: m }, where')],
    ['a filter', FIRST.replace('[1, 2]', '[1, 3]')],
    ['a policy for rows that are there', FIRST.replace('where', 'existing: merge, where')],
    ['a policy for rows that do not fit', FIRST.replace('where', 'onRowError: set-aside, where')],
    ['a policy for columns to come', FIRST.replace('where', 'unmapped: ignore, where')],
    ['a dropped column', FIRST.replace('where', 'drop: [n], where')],
    ['a table less', FIRST.replace('  - from: public.b\n', '')],
  ] as const)('is another with %s, and what changed is told', async ([, changed]) => {
    const [source, target] = await catalogs();
    const [before, after] = [planOf(FIRST, source, target), planOf(changed, source, target)];
    expect(after.hash).not.toBe(before.hash);
    const told = comparePlans(before, after);
    expect(told).not.toEqual([]);
    expect(told.join()).not.toContain('does not spell out');
    expect(comparePlans(before, before)).toEqual([]);
  });

  test('what changed is told in words, table by table and column by column', async () => {
    const [source, target] = await catalogs();
    const changed =
      '  - { from: public.a, columns: { n: m }, existing: merge }\n  - { from: public.b, set: { n: { from: n, steps: [{ default: 0 }] } } }\n';
    expect(comparePlans(planOf(FIRST, source, target), planOf(changed, source, target))).toEqual([
      'public.a → public.a: the filter is none, was n is "1" and tenant is one of "1", "2".',
      'public.a → public.a: existing is merge, was refuse.',
      'public.a → public.a: nothing goes to "n" any more.',
      'public.a → public.a: "m" is fed, n (integer) → integer: renamed; then as it is.',
      'public.b → public.b: "n" is n (integer) → integer: null becomes "0", was n (integer) → integer: as it is.',
    ]);
  });
});

test('rows made of an array stand in the document with what each column comes from, and what becomes of orphans', async () => {
  const source = await catalogOf('CREATE TABLE orders (id int PRIMARY KEY, items jsonb)');
  const target = await catalogOf('CREATE TABLE line (order_id int, email text, price numeric(12,2), n int, PRIMARY KEY (order_id, n))');
  const explode =
    "{ column: items, fields: { email: email, /price/net: { to: price, cast: 'numeric(12,2)' } }, ordinal: n, orphans: keep }";
  const tables = `  - { from: public.orders, to: public.line, columns: { id: order_id }, explode: ${explode} }\n`;
  const [table] = planOf(tables, source, target).tables;
  expect(table).toMatchObject({
    key: { source: ['id'], target: ['order_id', 'n'], primary: [] },
    policies: {
      deletes: 'its children stay on the target, as do those whose element is gone',
      truncates: 'it changes nothing on the target',
    },
    unfed: [],
  });
  expect(
    table!.columns.map(({ target: name, from, conversion, lossy, personal }) => [
      name,
      from[0]!.column,
      conversion,
      lossy.length,
      personal?.kind,
    ]),
  ).toEqual([
    ['order_id', 'id', ['renamed', 'as it is'], 0, undefined],
    ['email', 'items', ['"email" of the element', 'as it is, into text'], 0, 'e-mail address'],
    ['price', 'items', ['"price" in "net" of the element', 'cast text → numeric(12,2), as PostgreSQL casts'], 1, undefined],
    ['n', 'items', ["the element's place, from 1 on"], 0, undefined],
  ]);
});
