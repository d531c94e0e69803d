/**
 * An application that writes through the client while a fence of Crossfade's kind stands now here, now there, and nobody tells it. The fence is a
 * trigger with the message and SQLSTATE of the real one, which belongs to the cut-over.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createCrossfadeClient } from '#services/client/client.ts';
import { type ApplicationSession, execute, openSession } from '#test/support/application.ts';
import { type FreshDatabase, freshDatabase } from '#test/support/postgres.ts';

const FENCE = `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  RAISE EXCEPTION USING ERRCODE = '25006', MESSAGE = 'Crossfade: ' || TG_OP || ' is refused here, because its writes have moved (migration shop)'; END $$`;
const UP = 'CREATE TRIGGER fence BEFORE INSERT OR UPDATE OR DELETE ON a FOR EACH ROW EXECUTE FUNCTION refuse()';
const DOWN = 'DROP TRIGGER IF EXISTS fence ON a';
const FLIPS = 10;
const WRITERS = 4;

let source: FreshDatabase;
let target: FreshDatabase;

beforeAll(async () => {
  [source, target] = [await freshDatabase(), await freshDatabase()];
  for (const { url } of [source, target]) await execute(url, 'CREATE TABLE a (id bigint PRIMARY KEY)', FENCE);
});

afterAll(async () => {
  for (const database of [source, target]) await database[Symbol.asyncDispose]();
});

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
  await execute(target.url, UP);
  const writers = Array.from({ length: WRITERS }, writer);
  for (let flip = 0; flip < FLIPS; flip++) {
    const [from, to] = flip % 2 === 0 ? [source, target] : [target, source];
    // As a cut-over does: refused at the one first, then let in at the other.
    await execute(from.url, UP);
    await execute(to.url, DOWN);
    const before = acknowledged.length + WRITERS;
    while (acknowledged.length < before + 20) await execute(to.url, 'SELECT 1');
  }
  done.abort();
  await Promise.all(writers);
  await client.close();
  const ids = async (url: string): Promise<number[]> => (await execute(url, 'SELECT id FROM a')).map(({ id }) => Number(id));
  const [here, there] = [await ids(source.url), await ids(target.url)];
  expect([...here, ...there].toSorted((a, b) => a - b)).toEqual(acknowledged.toSorted((a, b) => a - b));
  expect(Math.min(here.length, there.length)).toBeGreaterThanOrEqual((FLIPS / 2) * 20);
});
