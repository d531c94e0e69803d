/** What the mirror of the log finds, and which of the two equalities it says is broken. */
import { afterEach, expect, test, vi } from 'vitest';
import { installTestHooks } from '#schemas/test-hooks.ts';
import type { MirrorVerdict } from '#services/reconciler/stream/mirror-verdict.ts';
import { execute } from '#test/support/application.ts';
import { mirroredPipeline, type MirroredPipeline } from '#test/support/mirrored-pipeline.ts';
import { freshDatabase } from '#test/support/postgres.ts';

const SCHEMA = [
  'CREATE TABLE item (id int PRIMARY KEY, note text, price numeric(8,2), weight float8 DEFAULT 1.5e-07)',
  'CREATE TABLE part (region int, code text, title text, PRIMARY KEY (region, code))',
  'ALTER TABLE part REPLICA IDENTITY FULL',
  'CREATE TABLE doc (id int PRIMARY KEY, body text, more text, n int) WITH (toast_tuple_target = 128)',
  'ALTER TABLE doc ALTER body SET STORAGE EXTERNAL, ALTER more SET STORAGE EXTERNAL',
  'CREATE TABLE odd (id int PRIMARY KEY, what regclass)',
];
const TARGET = [
  'CREATE TABLE item (id int PRIMARY KEY, note text, price numeric(10,4), weight float8)',
  'CREATE TABLE part (region int, code text, title text, PRIMARY KEY (region, code))',
  'CREATE TABLE doc (id int PRIMARY KEY, body text, more text, n int)',
  'CREATE TABLE odd (id int PRIMARY KEY, what regclass)',
];
const ROWS = [
  `INSERT INTO item SELECT g, 'note ' || g, g FROM generate_series(1, 500) g`,
  `INSERT INTO part SELECT g % 3, 'c' || g, ' title ' || g FROM generate_series(1, 300) g`,
  `INSERT INTO doc SELECT g, repeat('d', 600 * (g % 4)), repeat('m', 5000), g FROM generate_series(1, 50) g`,
];
const TABLES = `
  - { from: public.item, columns: { price: { cast: "numeric(10,4)" } } }
  - { from: public.part, where: { region: [1, 2] }, set: { title: { from: title, steps: [trim, { case: upper }] } } }
  - { from: public.doc }
  - { from: public.odd }
`;
const CHECKS = `
  - { name: prices, table: public.item, sum: [price, weight] }
  - { name: regions, table: public.part, sum: [region], groupBy: [code] }
  - { name: numbers, table: public.doc, sum: [n] }
`;
const WAIT_MS = 120_000;
const WAIT = { timeout: 30_000, interval: 50 };
const ODD = ['public.odd'];

afterEach(() => installTestHooks({}));

interface World extends AsyncDisposable {
  readonly source: string;
  readonly target: string;
  readonly pipeline: MirroredPipeline;
}

async function world(alter?: (record: Buffer) => Buffer | undefined): Promise<World> {
  await using stack = new AsyncDisposableStack();
  const source = stack.use(await freshDatabase(18));
  const target = stack.use(await freshDatabase(18));
  await execute(source.url, ...SCHEMA, ...ROWS);
  await execute(target.url, ...TARGET);
  const options = { sourceUrl: source.url, targetUrl: target.url, tables: TABLES, checks: CHECKS };
  const pipeline = stack.use(await mirroredPipeline({ ...options, ...(alter !== undefined && { alter }) }));
  await pipeline.caughtUp();
  await pipeline.settled(ODD);
  const kept = stack.move();
  return { source: source.url, target: target.url, pipeline, [Symbol.asyncDispose]: async () => kept.disposeAsync() };
}

/** In one line a table: what differs, by its key. */
function told(verdicts: readonly MirrorVerdict[]): Record<string, string> {
  return Object.fromEntries(
    verdicts.map(({ from, outcome, differences, sample }) => {
      const rows = sample.map(({ kind, key }) => `${kind} ${JSON.stringify(key)}`).toSorted();
      return [from, outcome === 'differs' ? `${differences}: ${rows.join(', ')}` : outcome];
    }),
  );
}

/** By column: what the log makes of it, and what the side that was compared has. */
function sumsOf(verdicts: readonly MirrorVerdict[], table: string): Record<string, readonly (string | null)[]> {
  const { sums } = verdicts.find(({ from }) => from === table)!;
  return Object.fromEntries(sums.map(({ column, log, side }) => [column, [log, side]]));
}

const EQUAL = { 'public.item': 'equal', 'public.part': 'equal', 'public.doc': 'equal', 'public.odd': 'inconclusive' };

test(
  'a row changed, deleted or added on the target behind the pipeline is found by its key, and is not the log’s fault',
  { timeout: WAIT_MS },
  async () => {
    await using on = await world();
    const { mirror } = on.pipeline;
    await execute(on.source, `UPDATE item SET note = 'changed' WHERE id % 50 = 0`, `UPDATE part SET region = 0 WHERE code = 'c4'`);
    await on.pipeline.caughtUp();
    expect(told(await mirror.compareTarget())).toEqual(EQUAL);
    const refused = (await mirror.compareTarget()).find(({ from }) => from === 'public.odd');
    expect(refused?.inconclusive?.message).toContain('regclass');

    await execute(on.target, `UPDATE item SET price = price + 0.0001 WHERE id = 7`, `DELETE FROM item WHERE id IN (8, 50)`);
    await execute(on.target, `INSERT INTO part VALUES (1, 'new', 'X')`, `UPDATE part SET title = lower(title) WHERE code = 'c5'`);
    await execute(on.target, `UPDATE doc SET body = overlay(body placing 'x' from 9) WHERE id = 3`);
    await execute(on.target, 'ALTER TABLE doc DROP CONSTRAINT doc_pkey', `INSERT INTO doc SELECT * FROM doc WHERE id = 9`);
    const found = await mirror.compareTarget();
    expect(sumsOf(found, 'public.item')).toEqual({ price: ['125250', '125192.0001'], weight: ['0.000075', '0.0000747'] });
    expect(sumsOf(found, 'public.part')).toEqual({ region: ['299', '300'] });
    expect(told(found)).toEqual({
      ...EQUAL,
      'public.item': '3: different {"id":"7"}, missing {"id":"50"}, missing {"id":"8"}',
      'public.part': '2: different {"region":"2","code":"c5"}, extra {"region":"1","code":"new"}',
      'public.doc': '2: different {"id":"3"}, extra {"id":"9"}',
    });
    expect(told(await mirror.compareSource())).toEqual(EQUAL);
  },
);

test(
  'a change that the log lost, or altered, is a difference between source and log, and not the target’s',
  { timeout: WAIT_MS },
  async () => {
    await using on = await world((record) => {
      const text = record.toString('latin1');
      if (text.includes('DROP-ME!') && !text.includes('well')) return Buffer.from('O');
      return text.includes('ALTER-ME') ? Buffer.from(text.replace('ALTER-ME', 'ALTERED!'), 'latin1') : undefined;
    });
    const { mirror } = on.pipeline;
    await execute(on.source, `UPDATE item SET note = 'DROP-ME!' WHERE id = 11`, `UPDATE item SET note = 'ALTER-ME' WHERE id = 12`);
    await execute(on.source, `INSERT INTO part VALUES (2, 'late', 'DROP-ME!'), (2, 'too', 'kept')`);
    await on.pipeline.caughtUp();
    expect(told(await mirror.compareTarget())).toEqual(EQUAL);
    expect(told(await mirror.compareSource())).toEqual({
      ...EQUAL,
      'public.item': '2: different {"id":"11"}, different {"id":"12"}',
      'public.part': '1: extra {"region":"2","code":"late"}',
    });
    // Said of the row by digest, too: the source's own row is another one than the log's.
    const item = { from: { schema: 'public', name: 'item' }, to: { schema: 'public', name: 'item' } };
    expect(mirror.digestOf(item, ['11'])).toMatchObject({ a: expect.any(BigInt) });
    expect(mirror.digestOf(item, ['9999'])).toBe('no row');
    await execute(on.source, `UPDATE item SET note = 'well' WHERE id IN (11, 12)`, `UPDATE part SET title = 'well' WHERE code = 'late'`);
    await on.pipeline.caughtUp();
    expect(told(await mirror.compareSource())).toEqual(EQUAL);
  },
);

test(
  'a target that lags behind is held against the state that it shows; the same without that is a false alarm',
  { timeout: WAIT_MS },
  async () => {
    await using on = await world();
    const { mirror } = on.pipeline;
    const goOn = await on.pipeline.pauseSink();
    await execute(on.source, `UPDATE item SET note = 'later' WHERE id < 100`, `DELETE FROM item WHERE id BETWEEN 100 AND 120`);
    await execute(on.source, `INSERT INTO item SELECT g, 'n', 1 FROM generate_series(1000, 1100) g`);
    const last = async (): Promise<void> => expect(mirror.digestOf(ITEM, ['1100'])).toMatchObject({ a: expect.any(BigInt) });
    await vi.waitFor(last, WAIT);
    expect(told(await mirror.compareTarget())).toEqual(EQUAL);
    expect(told(await mirror.compareSource())).toEqual(EQUAL);
    installTestHooks({ disabledGuards: ['mirror-align'] });
    expect(told(await mirror.compareTarget())).not.toEqual(EQUAL);
    installTestHooks({});
    await goOn();
    await on.pipeline.caughtUp();
    expect(told(await mirror.compareTarget())).toEqual(EQUAL);
  },
);

const ITEM = { from: { schema: 'public', name: 'item' }, to: { schema: 'public', name: 'item' } };

test('truncates, large transactions and values that the log leaves out are no differences', { timeout: WAIT_MS }, async () => {
  await using on = await world();
  const { mirror } = on.pipeline;
  await execute(on.source, 'TRUNCATE item', `INSERT INTO item SELECT g, repeat('x', 200), 1 FROM generate_series(1, 60000) g`);
  await execute(
    on.source,
    'UPDATE doc SET n = n + 1',
    `UPDATE doc SET id = id + 1000 WHERE id < 9`,
    `UPDATE doc SET body = repeat('e', 3000) WHERE id = 20`,
  );
  await on.pipeline.caughtUp();
  const target = await mirror.compareTarget();
  expect(told(target)).toEqual(EQUAL);
  const before = target.find(({ from }) => from === 'public.doc');
  expect(before?.open).toBeGreaterThan(0);
  expect(told(await mirror.compareSource())).toEqual(EQUAL);
  // The source's own rows have settled what was open, and the sums are whole again.
  const settled = await mirror.compareTarget();
  expect(settled.find(({ from }) => from === 'public.doc')).toMatchObject({ open: 0, outcome: 'equal' });
  expect(sumsOf(settled, 'public.doc')).toEqual({ n: ['1325', '1325'] });
  // The large transaction is in them.
  expect(sumsOf(settled, 'public.item')).toEqual({ price: ['60000', '60000'], weight: ['0.009', '0.009'] });
});
