import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { openEmbeddedLog } from '#connectors/change-log/embedded/log.ts';
import type { CompiledMapping } from '#schemas/mapping/compiled-mapping.ts';
import { TouchedKeys, type Touched } from '#services/reconciler/monitor/touched-keys.ts';
import { silentLogger } from '#services/runtime/service.ts';
import { catalogOf, compile } from '#test/support/compile.ts';
import { batchOf } from '#test/support/log-records.ts';
import { chunkFrame, deleteFrame, insertFrame, relationFrame, truncateFrame, updateFrame } from '#test/support/sink-frames.ts';

const SQL = `CREATE TABLE a (v text, id int8 PRIMARY KEY); CREATE TABLE b (part text, n int4, PRIMARY KEY (part, n)); CREATE TABLE keyless (v text); ALTER TABLE keyless REPLICA IDENTITY FULL;
CREATE TABLE other (id int4 PRIMARY KEY);`;

const WAIT = { timeout: 20_000, interval: 10 };

interface Stage extends AsyncDisposable {
  write(...frames: readonly Buffer[]): Promise<void>;
  /** Everything told until the last of it was seen. */
  told(last: string): Promise<Record<string, Touched>>;
  readonly touched: TouchedKeys;
}

async function stage(mapping: CompiledMapping): Promise<Stage> {
  const directory = await mkdtemp(join(tmpdir(), 'crossfade-touched-'));
  const log = await openEmbeddedLog({ directory });
  const raw = await log.topic('raw', { partitions: 1 });
  const touched = new TouchedKeys(raw, mapping.tables, silentLogger);
  const stop = new AbortController();
  const ran = touched.run(stop.signal);
  const all = new Map<string, Touched>();
  return {
    touched,
    write: async (...frames) => {
      await raw.append(0, batchOf(...frames));
    },
    told: async (last) => {
      await vi.waitFor(() => {
        for (const [name, keys] of touched.drain()) {
          const before = all.get(name);
          all.set(name, keys === 'all' || before === 'all' ? 'all' : new Set([...(before ?? []), ...keys]));
        }
        expect([...all.keys()]).toContain(last);
      }, WAIT);
      return Object.fromEntries(all);
    },
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await ran;
      await log.close();
      await rm(directory, { recursive: true });
    },
  };
}

const catalog = await catalogOf(SQL);
const [a, b, keyless, other] = ['a', 'b', 'keyless', 'other'].map((name) => catalog.tables.find((table) => table.name === name)!);
const tables = '  - from: public.a\n  - from: public.b\n  - from: public.keyless\n';
const { mapping } = await compile({ source: SQL, target: SQL, tables });

test("each changed row is told by its key's first column, the old key and the new one alike, of a table that has ranges", async () => {
  await using one = await stage(mapping!);
  await one.write(
    ...[a!, b!, other!].map((table) => relationFrame(table)),
    insertFrame(a!.oid, ['x', 1]),
    updateFrame(a!.oid, ['x', 3], { kind: 'K', row: [null, 2] }),
    deleteFrame(a!.oid, [null, 4]),
    insertFrame(other!.oid, [9]),
    insertFrame(b!.oid, ['p', 7]),
  );
  expect(await one.told('public.b')).toEqual({ 'public.a': new Set(['1', '2', '3', '4']), 'public.b': 'all' });
});

test('a truncate, rows that are copied and rows without a key are told as their whole table', async () => {
  await using one = await stage(mapping!);
  await one.write(
    ...[a!, b!, keyless!].map((table) => relationFrame(table)),
    insertFrame(a!.oid, ['x', 1]),
    truncateFrame([a!.oid]),
    chunkFrame({ schema: 'public', table: 'b', columns: ['part', 'n'] }, [['p', 1]]),
    insertFrame(keyless!.oid, ['x']),
  );
  expect(await one.told('public.keyless')).toEqual({ 'public.a': 'all', 'public.b': 'all', 'public.keyless': 'all' });
});

test('a partition is told as its table, and what it brought before it was known as all of it', async () => {
  await using one = await stage(mapping!);
  const leaf = { oid: 77_777, name: 'a_1' };
  await one.write(relationFrame(a!, leaf), insertFrame(leaf.oid, ['x', 1]), relationFrame(b!), insertFrame(b!.oid, ['p', 1]));
  expect(await one.told('public.b')).not.toHaveProperty(['public.a']);
  one.touched.learn({ schema: 'public', name: 'a' }, [leaf.oid]);
  expect(await one.told('public.a')).toMatchObject({ 'public.a': 'all' });
  await one.write(insertFrame(leaf.oid, ['x', 5]));
  await vi.waitFor(() => expect(one.touched.drain().get('public.a')).toEqual(new Set(['5'])), WAIT);
});

test('what is written between its making and its start is told as well, and a row that nothing describes as any table', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'crossfade-touched-'));
  const log = await openEmbeddedLog({ directory });
  const raw = await log.topic('raw', { partitions: 1 });
  const touched = new TouchedKeys(raw, mapping!.tables, silentLogger);
  await raw.append(0, batchOf(relationFrame(a!), insertFrame(a!.oid, ['x', 1])));
  const stop = new AbortController();
  const ran = touched.run(stop.signal);
  await vi.waitFor(() => expect(touched.drain().get('public.a')).toEqual(new Set(['1'])), WAIT);
  await raw.append(0, batchOf(insertFrame(b!.oid, ['p', 7])));
  await vi.waitFor(() => expect(touched.drain().get('public.b')).toBe('all'), WAIT);
  stop.abort();
  await ran;
  await log.close();
  await rm(directory, { recursive: true });
});
