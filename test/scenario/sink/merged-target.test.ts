/** Two source tables into the same rows of one target: whatever the order, the target is the full outer join of what they hold. */
import { expect, test } from 'vitest';
import { chunkFrame } from '#test/support/sink-frames.ts';
import { plainRole } from '#test/support/plain-role.ts';
import { freshDatabase } from '#test/support/postgres.ts';
import { seeded, type Random } from '#test/support/random.ts';
import { sinkHarness, type HarnessOptions, type SinkHarness, type TableFrames } from '#test/support/sink-harness.ts';

const DDL =
  'CREATE TABLE a (id int PRIMARY KEY, name text NOT NULL, big text); CREATE TABLE b (id int PRIMARY KEY, town text NOT NULL, size int)';
const TARGET_DDL = `DROP TABLE a, b; CREATE TABLE item (id int PRIMARY KEY, name text, big text, town text, size int DEFAULT 7 CHECK (size < 1000), UNIQUE (name))`;
const ALL = 'SELECT id, name, big, town, size FROM new.item ORDER BY id';
const KEYS = 12;

function merged(url: string, more: Partial<HarnessOptions> = {}): Promise<SinkHarness> {
  const entries = ['a', 'b'].map((name) => ({ from: `old.${name}`, to: 'new.item' }));
  return sinkHarness({ url, ddl: DDL, targetDdl: TARGET_DDL, entries, ...more });
}

type Row = readonly (string | null)[];

/** What the sources hold, and the frames that bring them there. */
class Sources {
  readonly a = new Map<number, Row>();
  readonly b = new Map<number, Row>();
  readonly #random: Random;
  readonly #frames: { readonly a: TableFrames; readonly b: TableFrames };
  #value = 0;

  constructor(random: Random, a: TableFrames, b: TableFrames) {
    this.#random = random;
    this.#frames = { a, b };
  }

  /** As the target shows it. */
  joined(): (string | null)[][] {
    const keys = [...new Set([...this.a.keys(), ...this.b.keys()])].toSorted((one, other) => one - other);
    return keys.map((id) => [String(id), ...(this.a.get(id) ?? [null, null]), ...(this.b.get(id) ?? [null, '7'])]);
  }

  change(): Buffer[] {
    const side = this.#random.between(0, 1) === 0 ? 'a' : 'b';
    const [rows, frames] = [this[side], this.#frames[side]];
    const id = this.#random.between(0, KEYS - 1);
    const row = rows.get(id);
    if (this.#random.between(0, 59) === 0) {
      rows.clear();
      return [frames.truncate()];
    }
    if (row === undefined) {
      const next = this.#row(side);
      rows.set(id, next);
      return [frames.insert(id, ...next)];
    }
    return this.#changeRow({ side, id, row });
  }

  #changeRow({ side, id, row }: { readonly side: 'a' | 'b'; readonly id: number; readonly row: Row }): Buffer[] {
    const [rows, frames] = [this[side], this.#frames[side]];
    const what = this.#random.between(0, 3);
    const to = this.#random.between(0, KEYS - 1);
    if (what === 0) {
      rows.delete(id);
      return [frames.delete(id, null, null)];
    }
    const moves = what === 1 && !rows.has(to);
    // Its unique value goes along with a row that gets another key.
    const next = moves ? [row[0]!, ...this.#row(side).slice(1)] : this.#row(side);
    // A large value that was left alone is not in the stream.
    const partial = side === 'a' && what < 3;
    const stored = partial ? [next[0]!, row[1]!] : next;
    const sent = partial ? [next[0]!, undefined] : next;
    if (moves) {
      rows.delete(id);
      rows.set(to, stored);
      return [frames.updateFrom([id, null, null], [to, ...sent])];
    }
    rows.set(id, stored);
    return [frames.update(id, ...sent)];
  }

  #row(side: 'a' | 'b'): Row {
    const n = ++this.#value;
    return side === 'a' ? [`n${n}`, this.#random.between(0, 2) === 0 ? null : `big${n}`] : [`t${n}`, String(n % 900)];
  }
}

async function started(harness: SinkHarness): Promise<readonly [TableFrames, TableFrames]> {
  const [a, b] = [harness.table('a'), harness.table('b')];
  await harness.follow(a, b);
  harness.start();
  await harness.log.transaction(a.relation, b.relation);
  await harness.applied();
  return [a, b];
}

test.each([
  [1, 'any'],
  [2, 'any'],
  [3, 'plain'],
  [4, 'plain'],
])('random histories, seed %i, %s role: what shows is the join of what the sources hold', async (seed, kind) => {
  await using database = await freshDatabase();
  const { sinkUrl, ddl } = plainRole(database);
  const checked = {
    sinkUrl,
    targetDdl: `${TARGET_DDL}; CREATE TABLE land (id int PRIMARY KEY); ALTER TABLE item ADD land int REFERENCES land; ${ddl}`,
  };
  await using harness = await merged(database.url, kind === 'plain' ? checked : {});
  const sources = new Sources(seeded(seed), ...(await started(harness)));
  const random = seeded(seed + 1000);
  for (let round = 0; round < 40; round++) {
    const transactions = Array.from({ length: 1 + random.between(0, random.between(0, 2) === 0 ? 119 : 3) }, () =>
      Array.from({ length: random.between(1, 5) }, () => sources.change()).flat(),
    );
    await harness.log.transactions(transactions);
    await harness.applied();
    expect(await harness.rows(ALL), `round ${round}`).toEqual(sources.joined());
    if (random.between(0, 7) > 0) continue;
    await harness.stop();
    harness.start();
  }
  expect(harness.missing).toEqual([]);
  expect(harness.held).toEqual([]);
});

test('chunks of both come in any order beside changes; a resume takes one table’s columns away and no more', async () => {
  await using database = await freshDatabase();
  await using harness = await merged(database.url, { sink: { parallel: 2 } });
  const [a, b] = [harness.table('a'), harness.table('b')];
  harness.start();
  for (const { table } of [a, b]) await harness.log.state(table, 'copying');
  await harness.log.transaction(b.relation, a.relation, b.update(3, 'moved', 33), a.delete(2, null, null));
  const ids = Array.from({ length: 200 }, (_, i) => i);
  const chunk = (table: string, columns: string[], rows: (string | number)[][]): Promise<unknown> =>
    harness.log.transaction(chunkFrame({ schema: 'old', table, columns }, rows));
  await chunk(
    'b',
    ['id', 'town', 'size'],
    ids.filter((id) => id % 2 === 1).map((id) => [id, `t${id}`, id]),
  );
  await chunk(
    'a',
    ['id', 'name', 'big'],
    ids.filter((id) => id % 3 === 0).map((id) => [id, `n${id}`, 'x']),
  );
  for (const { table } of [a, b]) await harness.log.state(table, 'following');
  await harness.log.copyComplete();
  await harness.applied();
  expect(await harness.rows('SELECT count(*), count(name), count(town) FROM new.item')).toEqual([['134', '67', '100']]);
  await harness.log.transaction(b.update(3, 'wrong', 5000));
  await harness.applied();
  expect(harness.held.map(({ message }) => message)).toEqual(['new row for relation "item" violates check constraint "item_size_check"']);
  expect(await harness.sink.resumeTable({ schema: 'old', name: 'b' })).toBe(true);
  expect(await harness.rows('SELECT count(*), count(name), count(town), max(size) FROM new.item')).toEqual([['67', '67', '0', '7']]);
});

test('a row whose witness is null is one that cannot be mapped: it would stand there and nobody would have it', async () => {
  await using database = await freshDatabase();
  await using harness = await merged(database.url, { onRowError: 'set-aside' });
  const [a] = await started(harness);
  await harness.log.transaction(a.insert(1, 'one', 'x'), a.insert(2, null, 'y'), a.insert(3, 'three', 'z'));
  await harness.log.transaction(a.update(3, null, 'z'));
  const chunk = { schema: 'old', table: 'a', columns: ['id', 'name', 'big'], recopy: true };
  await harness.log.transaction(
    chunkFrame(chunk, [
      [4, null, 'w'],
      [5, 'five', 'v'],
    ]),
  );
  await harness.applied();
  expect(await harness.rows('SELECT id, name FROM new.item ORDER BY id')).toEqual([
    ['1', 'one'],
    ['3', 'three'],
    ['5', 'five'],
  ]);
  const keys = await harness.rows('SELECT key::text, message FROM crossfade.blocked ORDER BY 1');
  expect(keys).toEqual([2, 3, 4].map((id) => [`["${id}"]`, 'column "name" tells that the row is there, and is null']));
});

test('rows that nobody has are refused at the start, or taken away', async () => {
  await using database = await freshDatabase();
  const filled = `${TARGET_DDL}; INSERT INTO item VALUES (1, NULL, 'big')`;
  await using refusing = await merged(database.url, { targetDdl: filled });
  refusing.start();
  await expect(refusing.running).rejects.toMatchObject({ code: 'CF-5004' });
  await using other = await freshDatabase();
  await using harness = await merged(other.url, { targetDdl: filled, existing: 'truncate' });
  const [a, b] = await started(harness);
  await harness.log.transaction(a.insert(2, 'two', 'x'), b.insert(2, 't', 7));
  await harness.applied();
  await harness.rows(`INSERT INTO new.item VALUES (3, NULL, 'left over')`);
  await harness.log.transaction(a.delete(3, null, null), b.delete(2, null, null));
  await harness.applied();
  expect(await harness.rows(ALL)).toEqual([['2', 'two', 'x', null, '7']]);
});
