import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { explain, runCommand, type VerifyResult } from '#services/demo/pipeline/command.ts';
import { Pipeline } from '#services/demo/pipeline/pipeline.ts';
import { execute } from '#test/support/application.ts';
import { freshDatabase } from '#test/support/postgres.ts';
import { startInstance } from '#test/support/running-instance.ts';

const LONG_MS = 180_000;

/** Under REPLICA IDENTITY FULL, so that what is made of several columns can be made of an update that leaves one out. */
const SOURCE = `CREATE TABLE person (
    id int PRIMARY KEY, first_name text, last_name text, state char(1) NOT NULL, cents bigint, born timestamp,
    phone text, note text, details jsonb, tags text[], body text);
  ALTER TABLE person REPLICA IDENTITY FULL;
  CREATE TABLE page (id bigint PRIMARY KEY, title text, body text, views int)`;

const TARGET = `CREATE TABLE customer (
    customer_id int PRIMARY KEY, name text, state text NOT NULL, balance numeric(12,2), born timestamptz, phone_token text,
    note text NOT NULL, town text, summary jsonb, first_tag text, body_sha text, body text, origin text NOT NULL, masked text);
  CREATE TABLE page (id bigint PRIMARY KEY, title text NOT NULL, body_md5 char(32), views int, area text)`;

const TABLES = `tables:
  - from: public.person
    to: public.customer
    columns: { id: customer_id, body: body }
    set:
      name: { from: [first_name, last_name], steps: [{ concat: " " }, trim, { normalise: NFC }] }
      state: { from: state, steps: [{ map: { values: { A: active, S: suspended }, else: { value: closed } } }] }
      balance: { from: cents, steps: [{ decimal: { divide: 100, scale: 2 } }] }
      born: { from: born, steps: [{ zone: { from: America/New_York, ambiguous: later, skipped: later } }] }
      phone_token: { from: phone, steps: [{ tokenise: { key: "\${TOKEN_KEY}" } }] }
      note: { from: note, steps: [trim, { nullIf: "" }, { default: none }] }
      town: { from: details, steps: [{ extract: /address/town }, upper] }
      summary: { from: [id, first_name, details], steps: [object] }
      first_tag: { from: tags, steps: [{ element: 1 }] }
      body_sha: { from: body, steps: [{ hash: sha256 }] }
      origin: { value: legacy }
      masked: { from: phone, steps: [{ mask: { keepEnd: 2 } }] }
    drop: []
  - from: public.page
    set:
      title: { from: title, steps: [{ default: untitled }, lower] }
      body_md5: { from: body, steps: [{ hash: md5 }] }
      area: { from: title, steps: [{ split: { by: "/", take: 2 } }] }
`;

const FILL = `INSERT INTO person SELECT g, 'Ann' || g, CASE WHEN g % 7 > 0 THEN 'Smith ' END, substr('ASX', 1 + g % 3, 1), g * 101 - 5000,
    timestamp '2024-03-10 01:00' + g * interval '7 minutes', '+1 555 ' || g, CASE g % 3 WHEN 0 THEN '  ' WHEN 1 THEN ' x ' END,
    jsonb_build_object('address', jsonb_build_object('town', 'town' || g), 'n', g::numeric * 12345678901234567890),
    CASE WHEN g % 5 > 0 THEN ARRAY['a,"' || g, NULL] END, (SELECT string_agg(md5(i::text || g), '') FROM generate_series(1, 300) i)
  FROM generate_series($1::int, $2::int) g`;
const FILL_PAGES = `INSERT INTO page SELECT g, CASE WHEN g % 4 > 0 THEN 'Home/Area' || g || '/x' END,
    (SELECT string_agg(md5(i::text || g), '') FROM generate_series(1, 300) i), 0 FROM generate_series(1, 500) g`;

/** What SQL makes of the source's rows where it can say the same. */
const EXPECTED = `SELECT id AS customer_id, trim(concat_ws(' ', first_name, last_name)) AS name,
    CASE state WHEN 'A' THEN 'active' WHEN 'S' THEN 'suspended' ELSE 'closed' END AS state, (cents / 100.0)::numeric(12,2)::text AS balance,
    (born AT TIME ZONE 'America/New_York')::text AS born, coalesce(nullif(trim(note), ''), 'none') AS note,
    upper(details #>> '{address,town}') AS town, jsonb_build_object('id', id, 'first_name', first_name, 'details', details)::text AS summary,
    tags[1] AS first_tag, encode(sha256(convert_to(body, 'UTF8')), 'hex') AS body_sha, 'legacy' AS origin FROM person ORDER BY 1`;
const FOUND = `SELECT customer_id, name, state, balance::text, born::text, note, town, summary::text, first_tag, body_sha, origin FROM customer ORDER BY 1`;

test(
  'computed columns are copied, followed and verified clean under load, through a SIGKILL and unchanged TOAST',
  { timeout: LONG_MS },
  async () => {
    await using from = await freshDatabase(18);
    await using to = await freshDatabase(18);
    await using stack = new AsyncDisposableStack();
    const directory = await mkdtemp(join(tmpdir(), 'crossfade-set-'));
    stack.defer(() => rm(directory, { recursive: true, force: true }));
    const [file, dataDir] = [join(directory, 'm.yaml'), join(directory, 'data')];
    const head = `crossfade: 1\nname: computed\nsource: { postgres: "${from.url}" }\ntarget: { postgres: "${to.url}" }\nheartbeatSeconds: 1\n`;
    await writeFile(file, head + TABLES);
    await execute(from.url, SOURCE, FILL.replace('$1', '1').replace('$2', '3000'), FILL_PAGES);
    await execute(to.url, TARGET);
    const key = { TOKEN_KEY: 'a key that is long enough' };
    const start = (env: Record<string, string>): Pipeline =>
      stack.use(Pipeline.start({ file, dataDir, logFile: join(directory, 'up.log'), env: { ...key, ...env } }));
    const first = start({ CROSSFADE_TEST_FAILPOINT: 'sink.applied:3' });
    let round = 0;
    const write = async (): Promise<void> => {
      const n = (round++ * 37) % 3000;
      await execute(
        from.url,
        `UPDATE person SET cents = cents + 1, last_name = 'L${n}' WHERE id % 50 = ${n % 50}`,
        `UPDATE page SET views = views + 1 WHERE id % 20 = ${n % 20}`,
        `UPDATE page SET title = 'New/Part${n}' WHERE id = ${1 + (n % 500)}`,
        `DELETE FROM person WHERE id = ${n}`,
        `UPDATE person SET id = id + 100000 WHERE id = ${n + 1}`,
      );
    };
    const writing = (async () => {
      while (first.result === undefined) await write();
    })();
    expect(await first.ended(), first.logTail(20)).toMatchObject({ signal: 'SIGKILL' });
    await writing;
    const second = start({});
    await second.waitFor(({ phase }) => phase === 'following', { what: 'following', timeoutMs: 60_000 });
    for (let i = 0; i < 20; i++) await write();
    const verifying = runCommand<VerifyResult>(['verify'], { file, dataDir, env: key });
    for (let i = 0; i < 20; i++) await write();
    const verified = await verifying;
    expect(verified.code, explain(verified)).toBe(0);
    expect(await execute(to.url, FOUND)).toEqual(await execute(from.url, EXPECTED));
    const pages = `SELECT id, coalesce(lower(title), 'untitled') AS title, md5(body) AS body_md5, views, nullif(split_part(title, '/', 2), '') AS area FROM page ORDER BY 1`;
    expect(await execute(to.url, 'SELECT id, title, body_md5, views, area FROM page ORDER BY 1')).toEqual(await execute(from.url, pages));
    await execute(to.url, `UPDATE customer SET name = name || '!' WHERE customer_id = 42`);
    const drifted = await runCommand<VerifyResult>(['verify'], { file, dataDir, env: key });
    expect(drifted.code, explain(drifted)).toBe(11);
    expect(drifted.envelope?.result?.tables.flatMap((table) => table.sample)).toEqual([
      { key: { customer_id: '42' }, kind: 'different', columns: ['name'], sourceKey: ['42'] },
    ]);
    expect(await second.stop()).toEqual({ code: 0, signal: null });
  },
);

const WAIT = { timeout: 30_000, interval: 50 };

test('a row that a step refuses holds its table, copied or changed, with table, key and column named and no value; resume goes on', async () => {
  await using from = await freshDatabase(18);
  await using to = await freshDatabase(18);
  const [source, target] = [from.url, to.url];
  const tables = [
    'CREATE TABLE a (id int PRIMARY KEY, v text)',
    'CREATE TABLE b (id int PRIMARY KEY, v text)',
    'CREATE TABLE c (id int PRIMARY KEY, v text)',
  ];
  await execute(source, ...tables, `INSERT INTO a VALUES (1, 'x')`, `INSERT INTO b VALUES (7, 'hunter2')`);
  await execute(target, ...tables);
  const rest = `heartbeatSeconds: 1\ntables:\n  - from: public.*\n  - { from: public.a, set: { v: { from: v, steps: [{ map: { values: { x: y } } }] } } }
  - { from: public.b, set: { v: { from: v, steps: [trim, { cast: { to: integer } }] } } }\n`;
  await using instance = await startInstance({ source, target, rest });
  const held = (): readonly (string | undefined)[] =>
    instance.status()?.tables.flatMap(({ phase, error }) => (phase === 'held' ? [error] : [])) ?? [];
  const copied = 'the row with key (7) of public.b cannot be mapped: column "v", step 2 (cast): the value is no integer';
  await vi.waitFor(() => expect(held()).toEqual([copied]), WAIT);
  await execute(source, `INSERT INTO a VALUES (2, 'x'), (3, 'secret'), (4, 'x')`, `INSERT INTO c VALUES (1, 'on')`);
  const changed = 'the row with key (3) of public.a cannot be mapped: column "v", step 1 (map): the value is none of the 1 that are listed';
  await vi.waitFor(() => expect(held()).toEqual([changed, copied]), WAIT);
  await vi.waitFor(async () => expect(await execute(target, 'SELECT id FROM c')).toEqual([{ id: '1' }]), WAIT);
  await execute(source, `UPDATE a SET v = 'x' WHERE id = 3`, `UPDATE b SET v = ' 8 '`);
  await instance.post('/v1/resume', {});
  await vi.waitFor(() => expect(held()).toEqual([]), WAIT);
  await vi.waitFor(
    async () => expect(await execute(target, 'SELECT count(*) AS n, min(v) AS v FROM a')).toEqual([{ n: '4', v: 'y' }]),
    WAIT,
  );
  await vi.waitFor(async () => expect(await execute(target, 'SELECT id, v FROM b')).toEqual([{ id: '7', v: '8' }]), WAIT);
});

test('a table without a key counts computed rows one by one', async () => {
  await using from = await freshDatabase(18);
  await using to = await freshDatabase(18);
  const [source, target] = [from.url, to.url];
  await execute(
    source,
    'CREATE TABLE k (v text, n int)',
    'ALTER TABLE k REPLICA IDENTITY FULL',
    `INSERT INTO k VALUES ('A', 1), ('A', 1), (NULL, 2)`,
  );
  await execute(target, 'CREATE TABLE k (v text, n int, w text)');
  const rest = `heartbeatSeconds: 1\ntables:\n  - { from: public.k, set: { v: { from: v, steps: [lower] }, w: { from: [v, n], steps: [{ concat: { sep: "-", nulls: empty } }] } } }\n`;
  await using instance = await startInstance({ source, target, rest });
  await vi.waitFor(() => expect(instance.status()?.phase).toBe('following'), WAIT);
  await execute(
    source,
    `INSERT INTO k VALUES ('B', 3)`,
    `UPDATE k SET n = 9 WHERE n = 2`,
    'DELETE FROM k WHERE ctid = (SELECT min(ctid) FROM k WHERE n = 1)',
  );
  const rows = [
    { v: 'a', n: '1', w: 'A-1' },
    { v: 'b', n: '3', w: 'B-3' },
    { v: null, n: '9', w: '-9' },
  ];
  await vi.waitFor(async () => expect(await execute(target, 'SELECT v, n, w FROM k ORDER BY n')).toEqual(rows), WAIT);
});
