/** Aggregates kept from a real change stream are the sums that SQL computes of the table, bucket by bucket, after any transaction. */
import type pg from 'pg';
import { expect, test } from 'vitest';
import { connect, queryRows } from '#connectors/postgres/session.ts';
import { digestSelect, newDigestPlan, type DigestPlan } from '#connectors/probe/postgres/row-sql.ts';
import { ChangeAggregator } from '#schemas/reconcile/change-aggregator.ts';
import { RowDigester } from '#schemas/reconcile/row-digester.ts';
import { TableAggregate } from '#schemas/reconcile/table-aggregate.ts';
import { freshDatabase } from '#test/support/postgres.ts';
import { type Random, seeded, seedFromEnvironment } from '#test/support/random.ts';

const COLUMNS = ['id', 'part', 'amount', 'note', 'doc'];
const KEY = [0, 1];
const BUCKETS = 16;
const seed = seedFromEnvironment();

const CASES = ([14, 18] as const).flatMap((version) => [false, true].map((full) => ({ version, full })));

test.for(CASES)(
  `kept sums are SQL's on PostgreSQL $version, old rows in full: $full (seed ${seed})`,
  { timeout: 120_000 },
  async ({ version, full }) => {
    await using database = await freshDatabase(version);
    const client = await connect(database.url, { applicationName: 'test', role: 'source' });
    const random = seeded(seed);
    const plan = newDigestPlan({ converted: false });
    const aggregate = new TableAggregate({ buckets: BUCKETS, declared: 1, rowsMax: 10_000, notesMax: 10_000 });
    const relation = { columns: [0, 1, 2, 3, 4], forms: COLUMNS.map(() => 'exact' as const), key: KEY, declared: [2] };
    const changes = new ChangeAggregator(aggregate, relation, new RowDigester(plan.secrets));
    const slot = `sums_${version}_${full}`;
    try {
      await client.query(`CREATE TABLE public.t (id int, part text, amount numeric, note text, doc text, PRIMARY KEY (id, part)) WITH (toast_tuple_target = 128);
      ALTER TABLE public.t ALTER doc SET STORAGE EXTERNAL, ALTER note SET STORAGE EXTERNAL; CREATE PUBLICATION p FOR TABLE public.t`);
      if (full) await client.query('ALTER TABLE public.t REPLICA IDENTITY FULL');
      await client.query(`SELECT pg_create_logical_replication_slot('${slot}', 'pgoutput')`);
      const follow = async (): Promise<readonly string[]> => {
        const options = `NULL, NULL, 'proto_version', '1', 'publication_names', 'p'`;
        const stream = `SELECT encode(data, 'hex') AS data FROM pg_logical_slot_get_binary_changes('${slot}', ${options})`;
        for (const row of await queryRows(client, stream)) changes.feed(Buffer.from(row['data']!, 'hex'));
        expect(aggregate.void).toBeUndefined();
        return compare(client, plan, aggregate);
      };
      for (let round = 0; round < 25; round++) {
        for (let i = random.between(1, 20); i > 0; i--) await client.query(randomWrite(random));
        const open = await follow();
        if (full) expect(open).toEqual([]);
      }
      // Values left out are known from the row before, but for those too short to be kept; with the old row in full all are.
      await client.query(
        `TRUNCATE public.t; INSERT INTO public.t VALUES (1, 'wide', 1, 'n', repeat('d', 5000)), (2, 'both', 1, repeat('n', 600), repeat('d', 5000))`,
      );
      expect(await follow()).toEqual([]);
      await client.query(`UPDATE public.t SET amount = 2; UPDATE public.t SET id = 3 WHERE id = 1`);
      expect(await follow()).toEqual(full ? [] : ['2,both']);
      await client.query(`UPDATE public.t SET doc = 'short' WHERE id = 2; UPDATE public.t SET amount = 3, note = 'm' WHERE id = 3`);
      expect(await follow()).toEqual(full ? [] : ['2,both']);
      await client.query(`UPDATE public.t SET note = 'whole again' WHERE id = 2`);
      expect(await follow()).toEqual([]);
    } finally {
      await client.query(`SELECT pg_drop_replication_slot('${slot}')`).catch(() => undefined);
      await client.end();
    }
  },
);

/** Long documents are stored out of line: an update that leaves them alone does not carry them. */
function randomWrite(random: Random): string {
  const id = random.between(0, 30);
  const part = ['a', 'b|c', '', 'ü'][random.between(0, 3)]!;
  const amount = ['NULL', '1.50', '-3', `'NaN'`, '1e20', '0.001'][random.between(0, 5)]!;
  const doc = ['NULL', `''`, `repeat('d', ${random.between(2000, 9000)})`, `repeat('ü~|', 900)`][random.between(0, 3)]!;
  const note = random.chance(0.1) ? `repeat('n', 600)` : `'note ${random.between(0, 9)}'`;
  const where = `WHERE id = ${id} AND part = '${part}'`;
  const dice = random.between(0, 99);
  if (dice < 2) return 'TRUNCATE public.t';
  if (dice < 20) return `DELETE FROM public.t ${where}`;
  if (dice < 35)
    return `UPDATE public.t SET id = ${random.between(100, 130)} ${where} AND NOT EXISTS (SELECT FROM public.t WHERE id >= 100)`;
  if (dice < 40) return `DELETE FROM public.t WHERE id >= 100`;
  if (dice < 65) return `UPDATE public.t SET amount = ${amount}, note = ${note} ${where}`;
  return `INSERT INTO public.t VALUES (${id}, '${part}', ${amount}, ${note}, ${doc})
    ON CONFLICT (id, part) DO UPDATE SET amount = excluded.amount, doc = excluded.doc`;
}

/** @returns the open keys. */
async function compare(client: pg.Client, plan: DigestPlan, aggregate: TableAggregate): Promise<readonly string[]> {
  const open = Array.from({ length: BUCKETS }, (_, bucket) => aggregate.openKeys(bucket)).flat();
  const select = digestSelect(plan, {
    from: 'public.t AS t LEFT JOIN unnest($1::int[], $2::text[]) AS o(id, part) ON o.id = t.id AND o.part = t.part',
    where: ['o.id IS NULL'],
    values: COLUMNS.map((name) => `t."${name}"`),
    key: KEY,
    extra: [{ expression: 't.amount', name: 'amount' }],
  });
  const rows = await queryRows(
    client,
    `SELECT (d.hk & ${BUCKETS - 1})::text AS bucket, count(1)::text AS rows, sum(d.a)::text AS a, sum(d.b)::text AS b, trim_scale(sum(d.amount))::text AS amount
     FROM (${select}) d GROUP BY d.hk & ${BUCKETS - 1}`,
    [open.map(([id]) => id), open.map(([, part]) => part)],
  );
  const byBucket = new Map(rows.map((row) => [Number(row['bucket']), row]));
  for (let bucket = 0; bucket < BUCKETS; bucket++) {
    const row = byBucket.get(bucket);
    const sum = (text: string | null | undefined): bigint => BigInt.asUintN(64, BigInt(text ?? '0'));
    expect(aggregate.bucket(bucket)).toEqual({
      rows: Number(row?.['rows'] ?? 0),
      a: sum(row?.['a']),
      b: sum(row?.['b']),
      sums: [row?.['amount'] ?? null],
    });
  }
  return open.map((key) => key.join(','));
}
