/** An application that writes through the client while Crossfade's fence stands now here, now there, and nobody tells it. */
import type { FenceOptions, Side } from '#connectors/fence/fence.ts';
import { postgresFences } from '#connectors/fence/postgres/fences.ts';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createCrossfadeClient } from '#services/client/client.ts';
import { type ApplicationSession, execute, openSession } from '#test/support/application.ts';
import { type FreshDatabase, freshDatabase } from '#test/support/postgres.ts';

const FLIPS = 10;
const WRITERS = 4;

let source: FreshDatabase;
let target: FreshDatabase;

beforeAll(async () => {
  [source, target] = [await freshDatabase(), await freshDatabase()];
  for (const { url } of [source, target]) await execute(url, 'CREATE TABLE a (id bigint PRIMARY KEY)');
});

afterAll(async () => {
  for (const database of [source, target]) await database[Symbol.asyncDispose]();
});

function fenceOf(side: Side): FenceOptions {
  return {
    url: (side === 'source' ? source : target).url,
    name: 'shop',
    side,
    tables: [{ schema: 'public', name: 'a' }],
    servesElsewhere: 'the other store',
    lockTimeoutMs: 500,
    holdMs: 5_000,
  };
}

test('every acknowledged write is in the store that served when it was made; none is in two, and the application sees no fence', async () => {
  // Nobody answers there: the client has the fences alone to go by.
  const client = createCrossfadeClient({ name: 'shop', url: 'http://127.0.0.1:1', token: 'none' });
  const done = new AbortController();
  let next = 0;
  const acknowledged: number[] = [];
  const writer = async (): Promise<void> => {
    await using old = await openSession(source.url);
    await using young = await openSession(target.url);
    const insert = (session: ApplicationSession, id: number) => async (): Promise<unknown> => session.query(`INSERT INTO a VALUES (${id})`);
    while (!done.signal.aborted) {
      const id = ++next;
      await client.write({ source: insert(old, id), target: insert(young, id) });
      acknowledged.push(id);
    }
  };
  const fences = { source: fenceOf('source'), target: fenceOf('target') };
  for (const side of ['source', 'target'] as const) await postgresFences.prepare(fences[side]);
  const writers = Array.from({ length: WRITERS }, writer);
  for (let flip = 0; flip < FLIPS; flip++) {
    const [from, to]: [Side, Side] = flip % 2 === 0 ? ['source', 'target'] : ['target', 'source'];
    const held = await postgresFences.open(fences[from], BigInt(flip + 1));
    await held.commit({ marker: `m${flip}` });
    await postgresFences.lift(fences[to], BigInt(flip + 1));
    const before = acknowledged.length + WRITERS;
    while (acknowledged.length < before + 20) await execute(target.url, 'SELECT 1');
  }
  done.abort();
  await Promise.all(writers);
  await client.close();
  const ids = async (url: string): Promise<number[]> => (await execute(url, 'SELECT id FROM a')).map(({ id }) => Number(id));
  const [here, there] = [await ids(source.url), await ids(target.url)];
  expect([...here, ...there].toSorted((a, b) => a - b)).toEqual(acknowledged.toSorted((a, b) => a - b));
  expect(Math.min(here.length, there.length)).toBeGreaterThanOrEqual((FLIPS / 2) * 20);
});
