/** Critical queries on both stores: no false alarm under writes and lag, and what differs, writes, takes long or changes by itself is told. */
import { afterEach, expect, test } from 'vitest';
import { connect } from '#connectors/postgres/session.ts';
import { readMigrationFile } from '#schemas/config/read-migration-file.ts';
import { compileShadow } from '#schemas/reconcile/shadow/compile-shadow.ts';
import type { ShadowVerdict } from '#schemas/reconcile/shadow/shadow-verdict.ts';
import { installTestHooks } from '#schemas/test-hooks.ts';
import { shadowCompare } from '#services/reconciler/shadow/shadow-compare.ts';
import { silentLogger } from '#services/runtime/service.ts';
import { seeded, seedFromEnvironment } from '#test/support/random.ts';
import { play, type Played } from './played-pipeline.ts';

const SOURCE = `
CREATE TABLE customer (id int PRIMARY KEY, region text NOT NULL, credit numeric(12,2) NOT NULL);
CREATE TABLE ord (id int PRIMARY KEY, customer_id int NOT NULL, total numeric(12,2) NOT NULL, touched timestamptz DEFAULT '2026-01-01');
INSERT INTO customer SELECT g, 'r' || g % 3, g FROM generate_series(1, 20) g;
INSERT INTO ord SELECT g, 1 + g % 20, g * 1.5 FROM generate_series(1, 200) g`;
const TARGET = `
CREATE SCHEMA shop; CREATE TABLE shop.client (id int PRIMARY KEY, area text NOT NULL, credit numeric(12,2) NOT NULL);
CREATE TABLE shop.ord (id int PRIMARY KEY, customer_id int NOT NULL, total numeric(12,2) NOT NULL, touched timestamptz);
INSERT INTO shop.client SELECT g, 'r' || g % 3, g FROM generate_series(1, 20) g;
INSERT INTO shop.ord SELECT g, 1 + g % 20, g * 1.5, '2026-01-01' FROM generate_series(1, 200) g`;
const TABLES = `  - { from: public.customer, to: shop.client, columns: { region: area } }
  - { from: public.ord, to: shop.ord }
`;
const BRIEF = 'repetitions: 10, seconds: 30';
const SHADOW = `shadow:
  - name: orders of a customer
    sql: { source: "select id, total from {public.ord} where customer_id = $1 order by id", target: "select id, total from {shop.ord} where customer_id = $1 order by id" }
    parameters: [[3], [7], [99]]
    order: respected
    ${BRIEF.replace(', ', '\n    ')}
  - name: turnover
    sql:
      source: select c.region, sum(o.total), max(o.touched) as latest from {public.ord} o join {public.customer} c on c.id = o.customer_id group by 1
      target: select c.area, sum(o.total), max(o.touched) as latest from {shop.ord} o join {shop.client} c on c.id = o.customer_id group by 1
    ignore: [latest]
    ${BRIEF.replace(', ', '\n    ')}
`;

async function compare(pipeline: Played, yaml: string): Promise<readonly ShadowVerdict[]> {
  const { sourceUrl, targetUrl, mapping } = pipeline;
  const text = `crossfade: 1\nname: played\nsource: { postgres: "${sourceUrl}" }\ntarget: { postgres: "${targetUrl}" }\ntables:\n${TABLES}${yaml}`;
  const { file, findings: broken } = readMigrationFile({ path: 'test.yaml', text, env: {} });
  if (file === undefined) throw new Error(JSON.stringify(broken));
  const { queries, findings } = compileShadow(file, mapping);
  expect(findings).toEqual([]);
  const names = { name: 'played', slot: 'played', publication: 'played' };
  return shadowCompare({ sourceUrl, targetUrl, mapping, ...names, logger: silentLogger, queries });
}

const both = (source: string, more = ''): string =>
  `shadow:\n  - { name: q, sql: { source: "${source}", target: "${source.replaceAll('public.ord', 'shop.ord').replaceAll('public.customer', 'shop.client')}" }, ${BRIEF}${more} }\n`;

const start = async (): Promise<Played> => play({ sourceSql: SOURCE, targetSql: TARGET, tables: TABLES });

async function withWriter<T>(pipeline: Played, body: () => Promise<T>): Promise<T> {
  const random = seeded(seedFromEnvironment());
  const stop = new AbortController();
  const client = await connect(pipeline.sourceUrl, { applicationName: 'writer', role: 'source', settings: { search_path: 'public' } });
  const writing = (async () => {
    while (!stop.signal.aborted) {
      const id = random.between(1, 250);
      await client.query(
        random.chance(0.2)
          ? `DELETE FROM ord WHERE id = ${id}`
          : `INSERT INTO ord VALUES (${id}, ${random.between(1, 20)}, ${random.between(1, 999)}, now()) ON CONFLICT (id) DO UPDATE SET customer_id = excluded.customer_id, total = excluded.total, touched = now()`,
      );
      await pipeline.caughtUp();
    }
    await client.end();
  })();
  try {
    return await body();
  } finally {
    stop.abort();
    await writing;
  }
}

afterEach(() => installTestHooks({}));

test('no false alarm while rows change and the target lags; what somebody changed on the target is a difference', async () => {
  await using pipeline = await start();
  await pipeline.follow();
  await withWriter(pipeline, async () => {
    for (let round = 0; round < 6; round++) {
      if (round % 3 === 2) await pipeline.stopFollowing();
      for (const { name, answers, latency } of await compare(pipeline, SHADOW)) {
        expect([name, answers.verdict, answers.message, round]).toEqual([name, 'equal', expect.any(String), round]);
        expect(answers.lsn).toMatch(/^[0-9A-F]+\/[0-9A-F]+$/);
        expect(latency).toMatchObject({ source: { executions: 10 }, target: { executions: 10 } });
      }
      if (round % 3 === 2) await pipeline.follow();
    }
    await pipeline.source.query(`INSERT INTO ord VALUES (1000, 7, 5)`);
    await expect
      .poll(async () => (await pipeline.target.query('SELECT FROM shop.ord WHERE id = 1000')).rowCount, { timeout: 30_000 })
      .toBe(1);
    await pipeline.target.query(`UPDATE shop.ord SET total = total + 1 WHERE id = 1000`);
    const [orders, turnover] = await compare(pipeline, SHADOW);
    expect(orders).toMatchObject({
      verdict: 'differs',
      answers: { message: expect.stringMatching(/differs? in total for 1 of 3 sets of parameters, the first of them set 2$/) as string },
    });
    expect(turnover!.verdict).toBe('differs');
    expect(JSON.stringify([orders, turnover])).not.toMatch(/"6(\.00)?"|r[012]/);
  });
});

test('without the changes between the two states the same writes raise false alarms', async () => {
  await using pipeline = await start();
  await pipeline.follow();
  installTestHooks({ disabledGuards: ['verify-changes'] });
  await withWriter(pipeline, async () => {
    let differing = 0;
    for (let round = 0; round < 50 && differing === 0; round++)
      differing = (await compare(pipeline, SHADOW)).filter(({ verdict }) => verdict === 'differs').length;
    expect(differing).toBeGreaterThan(0);
  });
});

test('rules: order, columns left out, tolerance', async () => {
  await using pipeline = await start();
  await pipeline.target.query(`UPDATE shop.ord SET total = total + 0.01 WHERE id = 4`);
  const verdictOf = async (yaml: string): Promise<unknown> => {
    const [only] = await compare(pipeline, yaml);
    return [only!.verdict, only!.answers.message];
  };
  const query = 'select id, total from {public.ord} where id in (4, 5)';
  expect(await verdictOf(both(query))).toEqual(['differs', 'one row differs in total']);
  expect(await verdictOf(both(query, ', tolerance: 0.01'))).toEqual(['equal', 'the answers are equal']);
  expect(await verdictOf(both(query, ', ignore: [total]'))).toEqual(['equal', 'the answers are equal']);
  expect(await verdictOf(both(query, ', ignore: [totl]'))).toEqual([
    'inconclusive',
    'no answer has a column "totl" to ignore: there are id, total',
  ]);
  const turned = `shadow:\n  - { name: q, ${BRIEF}, sql: { source: "select id from {public.ord} order by id", target: "select id from {shop.ord} order by id desc" }`;
  expect(await verdictOf(`${turned}, order: ignored }\n`)).toEqual(['equal', 'the answers are equal']);
  expect(await verdictOf(`${turned}, order: respected }\n`)).toEqual(['differs', 'the same rows come in another order']);
});

test('a query that writes is refused, one that answers otherwise each time accuses nobody, one that takes too long is given up', async () => {
  await using pipeline = await start();
  await pipeline.source.query(
    `CREATE SEQUENCE own; CREATE FUNCTION spend() RETURNS int LANGUAGE sql AS 'DELETE FROM public.ord RETURNING id'`,
  );
  await pipeline.target.query(
    `CREATE SEQUENCE public.own; CREATE FUNCTION public.spend() RETURNS int LANGUAGE sql AS 'DELETE FROM shop.ord RETURNING id'`,
  );
  for (const query of [
    `select nextval('public.own') from {public.ord}`,
    'select public.spend() from {public.ord}',
    'with gone as (delete from public.ord returning id) select 1 from {public.ord}',
  ]) {
    const [only] = await compare(pipeline, both(query));
    expect([query, only!.verdict, only!.latency]).toEqual([query, 'inconclusive', undefined]);
    expect(only!.answers.message).toContain('the query was refused (SQLSTATE');
  }
  expect((await pipeline.source.query('SELECT FROM ord')).rowCount).toBe(200);
  expect((await pipeline.target.query('SELECT FROM shop.ord')).rowCount).toBe(200);
  const [otherwise] = await compare(pipeline, both('select random() from {public.ord} limit 2'));
  expect(otherwise!.answers).toMatchObject({
    verdict: 'inconclusive',
    message: expect.stringContaining('another answer each time') as string,
  });
  const [slow] = await compare(pipeline, both('select pg_sleep(9) from {public.ord} limit 1', ', timeoutSeconds: 1'));
  expect(slow!.answers).toMatchObject({ verdict: 'inconclusive', message: expect.stringContaining('gave no answer within 1 s') as string });
});

test('a target that is slower is told, and what it answers is equal all the same', async () => {
  await using pipeline = await start();
  const yaml = `shadow:
  - name: q
    repetitions: 60
    latencyTolerance: 100%
    sql:
      source: select count(*) from {public.ord}
      target: select count(*) from {shop.ord} where (select pg_sleep(0.02))::text = ''
`;
  const [slow] = await compare(pipeline, yaml);
  expect(slow).toMatchObject({
    verdict: 'slower',
    answers: { verdict: 'equal' },
    latency: { verdict: 'slower', source: { executions: 60 } },
  });
  expect(slow!.latency!.target.p50).toBeGreaterThan(20);
});
