/** The canonical digest is the same in SQL, of tables and of texts, and in TypeScript, of texts and of the change stream: every type, nasty values. */
import type pg from 'pg';
import { expect, test } from 'vitest';
import { digestSelect, newDigestPlan } from '#connectors/probe/postgres/row-sql.ts';
import { outputText } from '#connectors/probe/postgres/column-sql.ts';
import { connect, queryRows } from '#connectors/postgres/session.ts';
import { locateTuples, TAG } from '#schemas/pgoutput/message.ts';
import { RowDigester } from '#schemas/reconcile/row-digester.ts';
import { TupleDigester } from '#schemas/reconcile/tuple-digester.ts';
import { quoteIdent } from '#schemas/table.ts';
import { insertWide, makeZoo, type WideTable } from '#test/prove/types/zoo.ts';
import { execute } from '#test/support/application.ts';
import { goldenVectors } from '#test/support/golden-vectors.ts';
import { freshDatabase } from '#test/support/postgres.ts';
import { seeded, seedFromEnvironment } from '#test/support/random.ts';
import { digestInTypeScript, digestsOf, digestTextsInSql, lastDigest, type RowDigest, type TextRow } from '#test/support/row-digests.ts';

const VERSIONS = [14, 18] as const;
const seed = seedFromEnvironment();

async function session(url: string): Promise<pg.Client> {
  return connect(url, { applicationName: 'test', role: 'source' });
}

test.for(VERSIONS.flatMap((version) => [false, true].map((converted) => ({ version, converted }))))(
  'PostgreSQL $version gives the golden vectors (converted: $converted)',
  async ({ version, converted }) => {
    await using database = await freshDatabase(version);
    const client = await session(database.url);
    const { secrets, vectors } = goldenVectors();
    for (const { about, row, key, keyHash, a, b } of vectors) {
      expect([about, await digestTextsInSql(client, { secrets, converted }, [row], key)]).toEqual([about, [{ keyHash, a, b }]]);
    }
    await client.end();
  },
);

const NASTY: TextRow = [
  null, '', ' ', '-', 'NULL', '\\N', '\t', '\n', '\r\n', '\v\f', ',', '(', ')', '"', '""', '\\', '\\\\', "'", '1:a', '3:abc-', '|', '~',
  'w1025:1:2', 'ß', 'ÿ', '\u00a0', '\u0085', '{"a": null}', 'x'.repeat(1024), 'x'.repeat(1025), 'é'.repeat(512), 'é'.repeat(513), '0', '-0', 'NaN',
]; // prettier-ignore
const BEYOND_LATIN: TextRow = ['😀', 'e\u0301', '\u3000', '\u2028', 'İ', '\u{10ffff}', '\ufeff', '日本'.repeat(200)];

function pairs(texts: TextRow): TextRow[] {
  return texts.flatMap((one) => texts.map((other) => [one, other]));
}

test.for(VERSIONS)(
  'pairs of nasty texts have one digest in SQL and in TypeScript, and each pair its own, on PostgreSQL %i',
  async (version) => {
    await using database = await freshDatabase(version);
    const client = await session(database.url);
    const plan = newDigestPlan({ converted: false });
    const digester = new RowDigester(plan.secrets);
    const rows = pairs([...NASTY, ...BEYOND_LATIN]);
    for (const key of [[], [1], [1, 0]]) {
      const expected = rows.map((row) => digestInTypeScript(digester, row, key));
      expect(await digestTextsInSql(client, plan, rows, key)).toEqual(expected);
      expect(await digestTextsInSql(client, { ...plan, converted: true }, rows, key)).toEqual(expected);
      expect(new Set(expected.map(({ a }) => a)).size).toBe(rows.length);
    }
    await client.end();
  },
);

test.for(VERSIONS)('a database of another encoding has the same digests on PostgreSQL %i', async (version) => {
  await using database = await freshDatabase(version);
  const name = `latin_${version}`;
  await execute(database.url, `CREATE DATABASE ${name} ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'`);
  const client = await session(database.server.url(name));
  const plan = newDigestPlan({ converted: true });
  const digester = new RowDigester(plan.secrets);
  const rows = pairs(NASTY);
  expect(await digestTextsInSql(client, plan, rows, [0])).toEqual(rows.map((row) => digestInTypeScript(digester, row, [0])));
  await client.end();
});

const ROWS_PER_TABLE = 60;

test.for(VERSIONS)(
  `every type has one digest in its table, as texts, and in the stream, on PostgreSQL %i (seed ${seed})`,
  { timeout: 120_000 },
  async (version) => {
    await using database = await freshDatabase(version);
    const zoo = makeZoo(version, []);
    const random = seeded(seed);
    await execute(database.url, zoo.ddl);
    const tables = zoo.wide.map(({ name }) => name).join(', ');
    const slot = `digests_${version}`;
    await execute(
      database.url,
      `CREATE PUBLICATION p FOR TABLE ${tables}`,
      `SELECT pg_create_logical_replication_slot('${slot}', 'pgoutput')`,
    );
    for (const table of zoo.wide) {
      const ids = Array.from({ length: ROWS_PER_TABLE }, (_, i) => i);
      for (let from = 0; from < ROWS_PER_TABLE; from += 10)
        await execute(database.url, insertWide(random, table, ids.slice(from, from + 10)));
    }
    const client = await session(database.url);
    try {
      const inserted = await streamOf(client, slot);
      for (const table of zoo.wide) await checkTable(client, table, inserted);
    } finally {
      await client.query(`SELECT pg_drop_replication_slot('${slot}')`);
      await client.end();
    }
  },
);

/** Insert messages by the relation's OID. */
async function streamOf(client: pg.Client, slot: string): Promise<Map<number, Buffer[]>> {
  const options = `'proto_version', '1', 'publication_names', 'p'`;
  const rows = await queryRows(
    client,
    `SELECT encode(data, 'hex') AS data FROM pg_logical_slot_get_binary_changes('${slot}', NULL, NULL, ${options})`,
  );
  const messages = rows.map((row) => Buffer.from(row['data']!, 'hex')).filter((message) => message[0] === TAG.insert);
  return Map.groupBy(messages, (message) => message.readUInt32BE(1));
}

async function checkTable(client: pg.Client, table: WideTable, inserted: Map<number, Buffer[]>): Promise<void> {
  const [described] = await queryRows(client, 'SELECT $1::regclass::oid::text AS oid', [table.name]);
  const names = [...(table.keyless ? [] : ['id']), ...table.columns.map((column) => column.name)];
  const key = table.keyless ? [] : [0];
  const texts = names.map((name, i) => `${outputText(`t.${quoteIdent(name)}`)} AS x${i}`).join(', ');
  const rows = (await queryRows(client, `SELECT ${texts} FROM ${table.name} t ORDER BY ctid`)).map((row) =>
    names.map((_, i) => row[`x${i}`] ?? null),
  );
  expect(rows).toHaveLength(ROWS_PER_TABLE);
  const plan = newDigestPlan({ converted: false });
  const source = {
    from: `${table.name} t`,
    where: [],
    values: names.map((name) => `t.${quoteIdent(name)}`),
    key,
    extra: [{ expression: 't.ctid', name: 'n' }],
  };
  const digester = new RowDigester(plan.secrets);
  const expected = rows.map((row) => digestInTypeScript(digester, row, key));
  expect(await digestsOf(client, digestSelect(plan, source))).toEqual(expected);
  expect(await digestsOf(client, digestSelect({ ...plan, converted: true }, source))).toEqual(expected);
  const tuples = new TupleDigester(digester, { columns: names.map((_, i) => i), forms: names.map(() => 'exact'), key });
  const offsets = { old: 0, oldFull: false, next: 0 };
  const streamed = (inserted.get(Number(described?.['oid'])) ?? []).map((message): RowDigest => {
    locateTuples(message, offsets);
    expect(tuples.row({ buffer: message, at: offsets.next })).toBe(true);
    return lastDigest(digester);
  });
  // Pages fill in another order than rows come.
  const sorted = (digests: RowDigest[]): RowDigest[] => digests.toSorted((one, other) => (one.a < other.a ? -1 : 1));
  expect(sorted(streamed)).toEqual(sorted(expected));
}
