import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import type { VerifyResult } from '#schemas/reconcile/verify-result.ts';
import { execute } from '#test/support/application.ts';
import { envelopeOf, runInProcess } from '#test/support/command-line.ts';
import { freshDatabase, versions } from '#test/support/postgres.ts';
import { byText } from '#test/support/random-source.ts';
import { startInstance } from '#test/support/running-instance.ts';

const WAIT = { timeout: 40_000, interval: 50 };

const SOURCE = `CREATE TABLE post (id numeric PRIMARY KEY, live boolean NOT NULL, lines jsonb, raw json, tags text[]);
  ALTER TABLE post REPLICA IDENTITY FULL;
  CREATE TABLE quote (id int PRIMARY KEY, n int, items jsonb);
  ALTER TABLE quote ALTER items SET STORAGE EXTERNAL`;
const FILL = `INSERT INTO post SELECT g / 2.0, g % 3 > 0, (SELECT jsonb_agg(jsonb_build_object('a', 'x' || i, 'n', i, 'at', now(),
    'deep', jsonb_build_object('v', CASE WHEN i % 2 = 0 THEN i END))) FROM generate_series(1, g % 5) i),
    '[ {"b":1,  "b":2}, null ]', CASE WHEN g % 4 = 0 THEN ARRAY['t', NULL, 'ü "q"', ''] END FROM generate_series(1, 200) g;
  INSERT INTO quote SELECT g, 0, (SELECT jsonb_agg(repeat('x', 300) || i) FROM generate_series(1, 10) i) FROM generate_series(1, 20) g`;
const TARGET = `CREATE TABLE line (post_id numeric, a text, n smallint, at timestamptz, v jsonb, n_th int, PRIMARY KEY (post_id, a));
  CREATE TABLE element (post_id numeric, n bigint, body json, PRIMARY KEY (post_id, n));
  CREATE TABLE item (big_id int, place int, text text, PRIMARY KEY (big_id, place));
  CREATE TABLE tag (post_id numeric, n bigint, tag text, PRIMARY KEY (post_id, n))`;
const REST = `heartbeatSeconds: 1\ntables:
  - from: public.post
    to: public.line
    columns: { id: post_id }
    unmapped: ignore
    where: { live: true }
    onRowError: set-aside
    explode: { column: lines, fields: { a: a, n: n, at: { to: at, cast: timestamptz }, /deep/v: v }, ordinal: n_th }
  - { from: public.post, to: public.element, columns: { id: post_id }, unmapped: ignore, explode: { column: raw, element: body, ordinal: n } }
  - { from: public.post, to: public.tag, columns: { id: post_id }, unmapped: ignore, explode: { column: tags, element: tag, ordinal: n, orphans: keep } }
  - { from: public.quote, to: public.item, columns: { id: big_id }, unmapped: ignore, explode: { column: items, element: text, ordinal: place } }
`;

test.each(versions(18))(
  'children of PostgreSQL %i are compared one by one, also those that the target has still to get',
  { timeout: 120_000 },
  async (version) => {
    await using from = await freshDatabase(version);
    await using to = await freshDatabase(18);
    await using stack = new AsyncDisposableStack();
    const [source, target] = [from.url, to.url];
    const directory = await mkdtemp(join(tmpdir(), 'crossfade-exploded-verify-'));
    stack.defer(() => rm(directory, { recursive: true, force: true }));
    const [file, dataDir] = [join(directory, 'm.yaml'), join(directory, 'data')];
    await execute(source, SOURCE, FILL);
    await execute(target, TARGET);
    await writeFile(file, `crossfade: 1\nname: scenario\nsource: { postgres: "${source}" }\ntarget: { postgres: "${target}" }\n${REST}`);
    const verify = async (exitCode: number): Promise<VerifyResult> => {
      const done = await runInProcess(['verify', '--json', '-f', file, '--data', dataDir]);
      expect(done.exitCode, done.stdout + done.stderr).toBe(exitCode);
      return envelopeOf(done).result as VerifyResult;
    };
    const first = await startInstance({ source, target, rest: REST }, dataDir);
    await vi.waitFor(() => expect(first.status()?.phase).toBe('following'), WAIT);
    const COUNTS = `SELECT (SELECT count(*) FROM post, jsonb_array_elements(CASE WHEN lines <> 'null' THEN lines END) WHERE live)::text AS line,
    (SELECT count(*) FROM post, json_array_elements(raw))::text AS element, (SELECT count(*) FROM post, unnest(tags))::text AS tag, (SELECT count(*) FROM quote, jsonb_array_elements(items))::text AS item`;
    const counts = async (): Promise<number[]> => Object.values((await execute(source, COUNTS))[0]!).map(Number);
    const clean = await verify(0);
    expect(clean.tables.map(({ to: name }) => name)).toEqual(['public.line', 'public.element', 'public.tag', 'public.item']);
    expect(clean.tables.map(({ rowsTarget }) => rowsTarget)).toEqual(await counts());
    expect(clean.tables.map(({ rowsSource }) => rowsSource)).toEqual(await counts());
    const before = await counts();
    await first.stop();

    // What the target lacks while nothing runs is taken from the stream, not held against it.
    await execute(
      source,
      `UPDATE post SET live = NOT live WHERE id = 2 OR id = 3`,
      `UPDATE post SET lines = lines || '[{"a":"new","n":7}]' WHERE id IN (4, 5)`,
      `UPDATE post SET id = 1000 WHERE id = 7`,
      `UPDATE post SET id = 1001, lines = '[]' WHERE id = 8`,
      `UPDATE post SET lines = NULL, tags = NULL WHERE id = 11`,
      `UPDATE post SET lines = '[{"a":"only"}]', live = true WHERE id = 2.5`,
      `UPDATE quote SET n = 1 WHERE id < 4`,
      `UPDATE quote SET id = id + 100 WHERE id IN (2, 10)`,
      `DELETE FROM post WHERE id IN (12, 13)`,
      `INSERT INTO post VALUES (2000, true, '[{"a":"p","n":1},{"a":"q","deep":{"v":null}}]', '[1]', '{u}'), (2001, true, 'null', NULL, NULL)`,
    );
    const behind = await verify(0);
    expect(behind.tables.map(({ rowsSource }) => rowsSource)).toEqual(before);

    await execute(
      target,
      `UPDATE line SET n = 99, v = '{}' WHERE (post_id, a) = (17, 'x1')`,
      `DELETE FROM line WHERE (post_id, a) = (17, 'x2')`,
      `INSERT INTO line VALUES (17, 'more', 1), (999, 'nobody', 1)`,
      `UPDATE line SET n = 99 WHERE (post_id, a) = (19, 'x1')`,
      `UPDATE element SET body = '{"b":1,"b":2}' WHERE (post_id, n) = (1, 1)`,
      `INSERT INTO tag VALUES (999, 1, 'kept')`,
      `UPDATE item SET text = 'y' WHERE (big_id, place) IN ((1, 3), (2, 4))`,
    );
    const drifted = await verify(11);
    const sample = drifted.tables.map((table) => table.sample.map(({ kind, key, columns }) => [kind, ...Object.values(key!), ...columns]));
    expect(sample[0]!.toSorted(byText)).toEqual([
      ['different', '17.0000000000000000', 'x1', 'n', 'v'],
      ['different', '19.0000000000000000', 'x1', 'n'],
      ['extra', '17', 'more'],
      ['extra', '999', 'nobody'],
      ['missing', '17.0000000000000000', 'x2'],
    ]);
    expect(sample[1]).toEqual([['different', '1.00000000000000000000', '1', 'body']]);
    expect(sample[3]!.toSorted(byText)).toEqual([
      ['different', '1', '3', 'text'],
      ['different', '102', '4', 'text'],
    ]);
    expect(drifted.tables[2]).toMatchObject({ missing: 0, extra: 0, different: 0 });
    expect(drifted.tables[2]!.kept).toBeGreaterThan(0);

    const second = stack.use(await startInstance({ source, target, rest: REST }, dataDir));
    await vi.waitFor(() => expect(second.status()?.phase).toBe('following'), WAIT);
    await verify(11);
    const repaired = await runInProcess(['repair', '--json', '-f', file, '--data', dataDir]);
    expect(repaired.exitCode, repaired.stdout).toBe(0);
    expect((await verify(0)).tables.map(({ rowsSource }) => rowsSource)).toEqual(await counts());

    await execute(source, `UPDATE post SET lines = '{"a":1}' WHERE id = 4`, `UPDATE post SET lines = lines || '["word"]' WHERE id = 17`);
    await vi.waitFor(() => expect(second.status()?.deadLetters).toBe(2), WAIT);
    const held = await verify(11);
    expect(held.tables[0]).toMatchObject({ held: held.differences });
    expect(held.tables[0]!.sample.map(({ cause }) => cause)).toEqual(held.tables[0]!.sample.map(() => 'held'));
    await execute(source, `UPDATE post SET lines = '[]' WHERE id IN (4, 17)`);
    const retried = await runInProcess(['dlq', 'retry', '--all', '--json', '-f', file, '--data', dataDir]);
    expect(retried.exitCode, retried.stdout).toBe(0);
    await vi.waitFor(() => expect(second.status()?.deadLetters).toBe(0), WAIT);
    await verify(0);
  },
);
