import { afterEach, describe, expect, test } from 'vitest';
import type { ConflictEntry } from '#schemas/config/migration-file.ts';
import { CONFLICT_NAMES, type ConflictName } from '#schemas/conflict.ts';
import { installTestHooks } from '#schemas/test-hooks.ts';
import { openSession } from '#test/support/application.ts';
import { freshDatabase } from '#test/support/postgres.ts';
import { byText, interrupt } from '#test/support/random-source.ts';
import { chunkFrame, type Value } from '#test/support/sink-frames.ts';
import { sinkHarness, type HarnessOptions, type SinkHarness } from '#test/support/sink-harness.ts';
import { randomOf } from '#test/support/random.ts';

const DDL = 'CREATE TABLE item (id int PRIMARY KEY, ver int, name text, doc json); ALTER TABLE item REPLICA IDENTITY FULL';
const place = { line: 1, column: 1 };
const POLICIES = {
  'source-wins': { policy: 'source-wins', ...place },
  'target-wins': { policy: 'target-wins', ...place },
  'newer-wins': { policy: 'newer-wins', version: 'ver', ...place },
} as const satisfies Record<string, ConflictEntry>;
type Policy = keyof typeof POLICIES;
const NAMES = Object.keys(POLICIES) as readonly Policy[];

afterEach(() => installTestHooks({}));

async function open(url: string, policy: Policy, options: Partial<HarnessOptions> = {}): Promise<SinkHarness> {
  return sinkHarness({ url, ddl: DDL, conflict: POLICIES[policy], log: 'embedded', ...options });
}

const rowsOf = (harness: SinkHarness): Promise<(string | null)[][]> =>
  harness.rows('SELECT id::text, ver::text, name, doc::text FROM new.item ORDER BY item.id');

async function countsOf(harness: SinkHarness): Promise<Partial<Record<ConflictName, number>>> {
  const [[text]] = (await harness.rows('SELECT conflicts::text FROM crossfade.table_progress')) as [[string]];
  return JSON.parse(text) as Partial<Record<ConflictName, number>>;
}

/** The row as it stands on the source before and after, and what somebody else made of it on the target. */
describe.each(NAMES)('%s', (policy) => {
  test('settles each kind of conflict, counts it once, and nothing else', async () => {
    await using database = await freshDatabase(policy === 'newer-wins' ? 14 : 18);
    await using harness = await open(database.url, policy);
    const item = harness.table('item');
    const first = (id: number): Value[] => [String(id), '1', 'first', '{"a": 1}'];
    const second = (id: number): Value[] => [String(id), '3', 'second', '{"a": 2}'];
    await harness.follow(item);
    harness.start();
    const ids = [1, 2, 3, 4, 5, 6, 7, 8, 9];
    await harness.log.transaction(item.relation, ...ids.map((id) => item.insert(...first(id))));
    await harness.applied();
    expect(await countsOf(harness)).toEqual({});
    // Written by the application: 1 and 2 as the source will have them (2 is gone there), 3 to 7 otherwise, 8 newer, 9 and 11 between.
    await harness.rows(`UPDATE new.item SET ver = 3, name = 'second', doc = '{"a": 2}' WHERE id = 1`);
    await harness.rows('DELETE FROM new.item WHERE id IN (2, 3)');
    await harness.rows(`UPDATE new.item SET ver = 2, name = 'other' WHERE id IN (4, 5, 6)`);
    await harness.rows(`UPDATE new.item SET doc = '{"a": 3}' WHERE id = 7`);
    await harness.rows(`UPDATE new.item SET ver = 9, name = 'newer' WHERE id = 8`);
    await harness.rows(`INSERT INTO new.item VALUES (10, 1, 'first', '{"a": 1}'), (11, 9, 'newer', '{}'), (12, 0, 'older', '{}')`);
    await harness.rows(`UPDATE new.item SET ver = 2, name = 'between', doc = '{}' WHERE id = 9`);
    await harness.log.transaction(
      item.updateFrom(first(1), second(1), 'O'),
      item.deleteFull(...first(2)),
      ...[3, 4, 7, 8].map((id) => item.updateFrom(first(id), second(id), 'O')),
      item.deleteFull(...first(5)),
      item.updateFrom(first(9), ['9', '2', 'between', '{}'], 'O'),
      item.updateFrom(['9', '2', 'between', '{}'], second(9), 'O'),
      ...[10, 11, 12].map((id) => item.insert(...first(id))),
    );
    await harness.applied();
    const source = [1, 3, 4, 7, 8, 9].map((id) => second(id) as string[]);
    const theirs: Readonly<Record<string, string[]>> = {
      4: ['4', '2', 'other', '{"a": 1}'],
      5: ['5', '2', 'other', '{"a": 1}'],
      7: ['7', '1', 'first', '{"a": 3}'],
      8: ['8', '9', 'newer', '{"a": 1}'],
      11: ['11', '9', 'newer', '{}'],
      12: ['12', '0', 'older', '{}'],
    };
    const kept = { 'source-wins': [], 'target-wins': [4, 5, 7, 8, 11, 12], 'newer-wins': [5, 8, 11] }[policy] as number[];
    const gone = policy === 'target-wins' ? ['3'] : [];
    const expected = new Map(
      [...source, ['6', '2', 'other', '{"a": 1}'], ...[10, 11, 12].map((id) => first(id) as string[])].map((row) => [row[0]!, row]),
    );
    for (const id of kept) expected.set(String(id), theirs[id]!);
    for (const id of gone) expected.delete(id);
    expect((await rowsOf(harness)).toSorted(byText)).toEqual([...expected.values()].toSorted(byText));
    const names: Record<Policy, Partial<Record<ConflictName, number>>> = {
      'source-wins': { 'insert/source': 2, 'update/source': 3, 'delete/source': 1, 'missing/source': 1 },
      'target-wins': { 'insert/target': 2, 'update/target': 3, 'delete/target': 1, 'missing/target': 1 },
      'newer-wins': {
        'insert/source': 1,
        'insert/target': 1,
        'update/source': 2,
        'update/target': 1,
        'delete/target': 1,
        'missing/source': 1,
      },
    };
    expect(await countsOf(harness)).toEqual(names[policy]);
    expect(harness.sink.status().tables[0]!.conflicts).toEqual(names[policy]);
    expect([harness.held, harness.missing, harness.setAside]).toEqual([[], [], []]);
  });

  test('holds a chunk of the copy against rows that are there; what somebody asked for again is written', async () => {
    await using database = await freshDatabase();
    await using harness = await open(database.url, policy, { existing: 'merge' });
    const item = harness.table('item');
    await harness.rows(`INSERT INTO new.item VALUES (1, 1, 'same', NULL), (2, 1, 'older', NULL), (3, 9, 'newer', NULL)`);
    harness.start();
    await harness.log.state(item.table, 'copying');
    const header = { schema: 'old', table: 'item', columns: ['id', 'ver', 'name', 'doc'] };
    const rows = [['1', '1', 'same', null], ...['2', '3', '4'].map((id) => [id, '5', 'copied', null])];
    await harness.log.transaction(item.relation, chunkFrame(header, rows));
    await harness.log.state(item.table, 'following');
    await harness.log.copyComplete();
    await harness.applied();
    const [older, newer] = { 'source-wins': ['copied', 'copied'], 'target-wins': ['older', 'newer'], 'newer-wins': ['copied', 'newer'] }[
      policy
    ];
    expect((await rowsOf(harness)).map((row) => row[2])).toEqual(['same', older, newer, 'copied']);
    const counted = {
      'source-wins': { 'copy/source': 2 },
      'target-wins': { 'copy/target': 2 },
      'newer-wins': { 'copy/source': 1, 'copy/target': 1 },
    }[policy];
    expect(await countsOf(harness)).toEqual(counted);
    // The first copy reads a chunk again after a restart: nobody asked for its rows.
    await harness.rows(`UPDATE new.item SET ver = 9, name = 'theirs' WHERE id = 4`);
    await harness.log.transaction(chunkFrame({ ...header, recopy: true }, rows.slice(3)));
    await harness.applied();
    const isKept = policy !== 'source-wins';
    expect((await rowsOf(harness)).map((row) => row[2])).toEqual(['same', older, newer, isKept ? 'theirs' : 'copied']);
    const won = isKept ? 'copy/target' : 'copy/source';
    const again = { ...counted, [won]: ((counted as Partial<Record<ConflictName, number>>)[won] ?? 0) + 1 };
    expect(await countsOf(harness)).toEqual(again);
    await harness.log.transaction(chunkFrame({ ...header, recopy: true, asked: true }, rows));
    await harness.applied();
    expect((await rowsOf(harness)).map((row) => row[2])).toEqual(['same', 'copied', 'copied', 'copied']);
    expect(await countsOf(harness)).toEqual(again);
  });
});

test('newer-wins: a delete leaves the row that is newer than the one that went', async () => {
  await using database = await freshDatabase();
  await using harness = await open(database.url, 'newer-wins');
  const item = harness.table('item');
  await harness.follow(item);
  harness.start();
  await harness.log.transaction(item.relation, item.insert('1', '5', 'a', null), item.insert('2', '5', 'b', null));
  await harness.applied();
  await harness.rows(`UPDATE new.item SET ver = CASE id WHEN 1 THEN 4 ELSE 6 END, name = 'other'`);
  await harness.log.transaction(item.deleteFull('1', '5', 'a', null), item.deleteFull('2', '5', 'b', null));
  await harness.applied();
  expect(await rowsOf(harness)).toEqual([['2', '6', 'other', null]]);
  expect(await countsOf(harness)).toEqual({ 'delete/source': 1, 'delete/target': 1 });
});

test('a change without its former row halts the table instead of being taken for a conflict', async () => {
  await using database = await freshDatabase();
  await using harness = await open(database.url, 'source-wins');
  const item = harness.table('item');
  await harness.follow(item);
  harness.start();
  await harness.log.transaction(item.relation, item.insert('1', '1', 'a', null));
  await harness.log.transaction(item.update('1', '2', 'b', null));
  await harness.applied();
  expect(harness.held).toEqual([{ table: 'item', message: expect.stringContaining('REPLICA IDENTITY FULL') }]);
});

/** Only some names have one on the target. */
const mapped: NonNullable<HarnessOptions['set']> = {
  name: { from: ['name'], steps: [{ step: { map: { values: { good: 'fine' }, else: 'fail' } }, ...place }], ...place },
};

test('a row that the mapping made nothing of never stood on the target: it is mended or goes, and what others wrote there is a conflict', async () => {
  await using database = await freshDatabase();
  await using harness = await open(database.url, 'target-wins', { set: mapped, existing: 'merge' });
  const item = harness.table('item');
  await harness.follow(item);
  await harness.rows(`INSERT INTO new.item VALUES (2, 1, 'theirs', NULL), (4, 1, 'theirs', NULL)`);
  harness.start();
  const bad = (id: string): Value[] => [id, '1', 'bad', null];
  const changes = ['1', '2'].map((id) => item.updateFrom(bad(id), [id, '2', 'good', null], 'O'));
  await harness.log.transaction(item.relation, ...changes, item.deleteFull(...bad('3')), item.deleteFull(...bad('4')));
  await harness.applied();
  expect(await rowsOf(harness)).toEqual([
    ['1', '2', 'fine', null],
    ['2', '1', 'theirs', null],
    ['4', '1', 'theirs', null],
  ]);
  expect(await countsOf(harness)).toEqual({ 'update/target': 1, 'delete/target': 1 });
  // One that is no better holds its table, not the sink.
  await harness.log.transaction(item.updateFrom(bad('5'), ['5', '2', 'worse', null], 'O'));
  await harness.applied();
  expect(harness.held).toEqual([{ table: 'item', message: expect.stringContaining('none of the 1 that are listed') }]);
});

test('a row that the target’s types do not take never stood there: the rest of its batch is judged all the same', async () => {
  await using database = await freshDatabase();
  const targetDdl = 'ALTER TABLE item ALTER COLUMN ver TYPE smallint';
  const columns = { ver: { cast: 'smallint', drop: false, ...place } };
  await using harness = await open(database.url, 'target-wins', { targetDdl, columns, existing: 'merge' });
  const item = harness.table('item');
  await harness.follow(item);
  await harness.rows(`INSERT INTO new.item VALUES (2, 1, 'their', NULL), (3, 1, 'their', NULL)`);
  harness.start();
  const high = (id: string): Value[] => [id, '99999', 'a', null];
  const mended = ['1', '2'].map((id) => item.updateFrom(high(id), [id, '2', 'short', null], 'O'));
  const update = item.updateFrom(['3', '1', 'a', null], ['3', '2', 'b', null], 'O');
  await harness.log.transaction(item.relation, ...mended, update, item.deleteFull(...high('4')));
  await harness.applied();
  expect((await rowsOf(harness)).map((row) => row[2])).toEqual(['short', 'their', 'their']);
  expect(await countsOf(harness)).toEqual({ 'update/target': 2 });
  expect(harness.held).toEqual([]);
});

test('without the guard the target’s row is overwritten without a word', async () => {
  installTestHooks({ disabledGuards: ['conflict'] });
  await using database = await freshDatabase();
  await using harness = await open(database.url, 'target-wins');
  const item = harness.table('item');
  await harness.follow(item);
  harness.start();
  await harness.log.transaction(item.relation, item.insert('1', '1', 'a', null));
  await harness.applied();
  await harness.rows(`UPDATE new.item SET name = 'theirs'`);
  await harness.log.transaction(item.updateFrom(['1', '1', 'a', null], ['1', '2', 'b', null], 'O'));
  await harness.applied();
  expect(await rowsOf(harness)).toEqual([['1', '2', 'b', null]]);
  expect(await countsOf(harness)).toEqual({});
});

test('a row that the target refuses halts its table, as ever', async () => {
  await using database = await freshDatabase();
  await using harness = await open(database.url, 'source-wins', { targetDdl: 'ALTER TABLE item ADD CHECK (length(name) < 4)' });
  const item = harness.table('item');
  await harness.follow(item);
  harness.start();
  await harness.log.transaction(item.relation, item.insert('1', '1', 'abc', null), item.insert('2', '1', 'abcd', null));
  await harness.applied();
  expect(harness.held).toEqual([{ table: 'item', message: expect.stringContaining('check constraint') }]);
});

/** Somebody inserts the row between our look and our insert. */
test('a row that comes while we look is looked at, too', async () => {
  await using database = await freshDatabase();
  await using harness = await open(database.url, 'newer-wins');
  const item = harness.table('item');
  await harness.follow(item);
  harness.start();
  await using other = await openSession(database.url);
  await other.query(`BEGIN; INSERT INTO new.item VALUES (1, 9, 'newer', NULL), (2, 0, 'older', NULL)`);
  await harness.log.transaction(item.relation, ...['1', '2', '3'].map((id) => item.insert(id, '1', 'ours', null)));
  await expect
    .poll(async () => harness.rows(`SELECT FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'`), { timeout: 20_000 })
    .not.toEqual([]);
  await other.query('COMMIT');
  await harness.applied();
  expect((await rowsOf(harness)).map((row) => row[2])).toEqual(['newer', 'ours', 'ours']);
  expect(await countsOf(harness)).toEqual({ 'insert/target': 1, 'insert/source': 1 });
});

/** What stands under a key. */
type Item = readonly [id: string, ver: string, name: string, doc: string | null];

test.each(NAMES)(
  'a random history with writes of others, crashes and restarts ends as the rules say, each conflict counted once: %s',
  async (policy) => {
    const random = randomOf(policy.length);
    await using database = await freshDatabase(policy === 'target-wins' ? 14 : 18);
    await using harness = await open(database.url, policy, { existing: 'merge' });
    const item = harness.table('item');
    await harness.follow(item);
    harness.start();
    await harness.log.transaction(item.relation);
    const model = new Model(policy);
    for (let step = 0; step < 40; step++) {
      for (let n = random(4); n > 0; n--) await harness.rows(model.foreign(random));
      const { done } = interrupt(database.url, randomOf(step));
      const frames = model
        .transaction(random)
        .map(({ old, next }) =>
          old === undefined ? item.insert(...next!) : next === undefined ? item.deleteFull(...old) : item.updateFrom(old, next, 'O'),
        );
      await harness.log.transaction(...frames);
      if (random(6) === 0) {
        await harness.stop();
        harness.start();
      }
      await harness.applied();
      await done();
      installTestHooks({});
    }
    expect((await rowsOf(harness)).toSorted(byText)).toEqual([...model.target.values()].map((row) => [...row]).toSorted(byText));
    const counted = await countsOf(harness);
    expect(counted).toEqual(model.counts);
    expect(CONFLICT_NAMES.filter((name) => counted[name] !== undefined).length).toBeGreaterThan(2);
    expect(harness.held).toEqual([]);
  },
);

interface Step {
  readonly old: Item | undefined;
  readonly next: Item | undefined;
}

/** The rules once more, key by key, on maps. */
class Model {
  readonly source = new Map<string, Item>();
  readonly target = new Map<string, Item>();
  readonly counts: Partial<Record<ConflictName, number>> = {};
  readonly #policy: Policy;
  #serial = 0;

  constructor(policy: Policy) {
    this.#policy = policy;
  }

  /** SQL of somebody else's write on the target. */
  foreign(random: (below: number) => number): string {
    const id = String(random(12));
    if (random(4) === 0) {
      this.target.delete(id);
      return `DELETE FROM new.item WHERE id = ${id}`;
    }
    const own = this.source.get(id);
    const row: Item = random(4) === 0 && own !== undefined ? own : this.#row(id, random);
    this.target.set(id, row);
    return `INSERT INTO new.item VALUES (${row[0]}, ${row[1]}, '${row[2]}', ${row[3] === null ? 'NULL' : `'${row[3]}'`})
      ON CONFLICT (id) DO UPDATE SET ver = excluded.ver, name = excluded.name, doc = excluded.doc`;
  }

  #row(id: string, random: (below: number) => number): Item {
    return [id, String(random(30)), `n${this.#serial++}`, random(3) === 0 ? null : `{"n": ${random(3)}}`];
  }

  transaction(random: (below: number) => number): Step[] {
    const steps: Step[] = [];
    for (let n = 1 + random(6); n > 0; n--) steps.push(this.#step(random));
    const keys = new Set(steps.flatMap(({ old, next }) => [old?.[0], next?.[0]]).filter((id) => id !== undefined));
    for (const id of keys) this.#settle(id, steps);
    return steps;
  }

  #step(random: (below: number) => number): Step {
    const id = String(random(12));
    const old = this.source.get(id);
    let next: Item | undefined = old !== undefined && random(3) === 0 ? undefined : this.#row(id, random);
    const other = String(random(12));
    if (old !== undefined && next !== undefined && random(4) === 0 && !this.source.has(other)) next = [other, next[1], next[2], next[3]];
    if (old !== undefined) this.source.delete(id);
    if (next !== undefined) this.source.set(next[0], next);
    return { old, next };
  }

  #settle(id: string, steps: readonly Step[]): void {
    const states = steps.flatMap(({ old, next }) => {
      const [was, is] = [old?.[0] === id ? old : undefined, next?.[0] === id ? next : undefined];
      return was === undefined && is === undefined ? [] : [{ was, is }];
    });
    const before = states[0]!.was;
    const after = states.at(-1)!.is;
    const images = [before, ...states.map(({ is }) => is)];
    const found = this.target.get(id);
    const newest = images.findLast((image) => image !== undefined)!;
    if (!images.some((image) => image?.join() === found?.join()) && !(found === undefined && after === undefined)) {
      const kind = found === undefined ? 'missing' : after === undefined ? 'delete' : before === undefined ? 'insert' : 'update';
      const isNewer = found !== undefined && Number(found[1]) > Number(newest[1]);
      const winner = this.#policy === 'target-wins' || (this.#policy === 'newer-wins' && isNewer) ? 'target' : 'source';
      this.counts[`${kind}/${winner}`] = (this.counts[`${kind}/${winner}`] ?? 0) + 1;
      if (winner === 'target') return;
    }
    if (after === undefined) this.target.delete(id);
    else this.target.set(id, after);
  }
}
