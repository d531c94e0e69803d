import { describe, expect, test } from 'vitest';
import {
  type Conflict,
  type ConflictPolicy,
  createDualWriter,
  type DualStore,
  type DualWriter,
  type DualWriterOptions,
} from '#services/client/dual-write.ts';
import { MemoryRetryQueue } from '#services/client/retry-queue.ts';
import { DUAL_STAGES, type DualStage } from '#schemas/flags/dual-stages.ts';
import { seeded, seedFromEnvironment } from '#test/support/random.ts';

interface Row {
  readonly v: number;
}

/** A store that can be away. */
class Shelf implements DualStore<Row> {
  readonly rows = new Map<string, Row>();
  readonly log: string[];
  readonly #name: string;
  isAway = false;

  constructor(name: string, log: string[]) {
    this.#name = name;
    this.log = log;
  }

  async get(key: string): Promise<Row | undefined> {
    this.#open(`get ${key}`);
    return this.rows.get(key);
  }

  async put(key: string, row: Row, replacing?: { readonly row: Row | undefined }): Promise<boolean> {
    this.#open(`put ${key}`);
    if (replacing !== undefined && this.rows.get(key)?.v !== replacing.row?.v) return false;
    this.rows.set(key, row);
    return true;
  }

  async remove(key: string, replacing?: { readonly row: Row }): Promise<boolean> {
    this.#open(`remove ${key}`);
    if (replacing !== undefined && this.rows.get(key)?.v !== replacing.row.v) return false;
    this.rows.delete(key);
    return true;
  }

  #open(what: string): void {
    this.log.push(`${this.#name} ${what}`);
    if (this.isAway) throw new Error(`${this.#name} is away`);
  }
}

interface Stage {
  readonly source: Shelf;
  readonly target: Shelf;
  readonly log: string[];
  readonly writer: DualWriter<Row>;
  readonly conflicts: Conflict<Row>[];
  at: DualStage;
}

async function open(policy: ConflictPolicy<Row> = 'source-wins', more: Partial<DualWriterOptions<Row>> = {}): Promise<Stage> {
  const log: string[] = [];
  const [source, target] = [new Shelf('source', log), new Shelf('target', log)];
  const conflicts: Conflict<Row>[] = [];
  const stage: { at: DualStage } = { at: 'dualwrite' };
  const onConflict = (conflict: Conflict<Row>): void => void conflicts.push(conflict);
  const writer = await createDualWriter<Row>({ stage: () => stage.at, source, target, policy, onConflict, ...more });
  return Object.assign(stage, { source, target, log, writer, conflicts });
}

describe('six stages', () => {
  const expected: Readonly<Record<DualStage, readonly [answer: number, writes: readonly string[], reads: readonly string[]]>> = {
    off: [1, ['source put k'], ['source get k']],
    dualwrite: [1, ['source put k', 'target put k'], ['source get k']],
    shadow: [1, ['source put k', 'target put k'], ['source get k', 'target get k']],
    live: [2, ['target put k', 'source put k'], ['source get k', 'target get k']],
    rampdown: [2, ['target put k', 'source put k'], ['target get k']],
    complete: [2, ['target put k'], ['target get k']],
  };

  test.for(DUAL_STAGES)('%s', async (name) => {
    const stage = await open('source-wins', { shadow: { againTimes: 0 } });
    stage.at = name;
    stage.source.rows.set('k', { v: 1 });
    stage.target.rows.set('k', { v: 2 });
    const [answer, writes, reads] = expected[name];
    expect((await stage.writer.read('k'))!.v).toBe(answer);
    expect(stage.log.splice(0).toSorted()).toEqual(reads);
    await stage.writer.write('k', { v: 3 });
    expect(stage.log).toEqual(writes);
  });
});

test('the first store decides: what it refuses is written nowhere', async () => {
  const stage = await open();
  stage.source.isAway = true;
  await expect(stage.writer.write('k', { v: 1 })).rejects.toThrow('source is away');
  expect(stage.log).toEqual(['source put k']);
  expect(stage.writer.counts).toEqual({ conflicts: 0, carried: 0, secondFailed: 0, lost: 0, waiting: 0 });
});

test('a second write that fails is queued once, and settled when the store is back', async () => {
  const stage = await open();
  stage.target.isAway = true;
  await stage.writer.write('k', { v: 1 });
  await stage.writer.write('k', { v: 2 });
  await stage.writer.remove('gone');
  expect(stage.writer.counts).toMatchObject({ secondFailed: 3, waiting: 2 });
  expect(await stage.writer.retry()).toBe(2);
  stage.target.isAway = false;
  stage.target.rows.set('gone', { v: 9 });
  expect(await stage.writer.retry()).toBe(0);
  expect([...stage.target.rows]).toEqual([['k', { v: 2 }]]);
  expect(stage.conflicts).toHaveLength(2);
});

test('the policy says which row stays, and a conflict is counted', async () => {
  const newer = { newerWins: ({ v }: Row) => v };
  const cases: readonly (readonly [ConflictPolicy<Row>, number | undefined, number | undefined, number | undefined])[] = [
    ['source-wins', 1, 2, 1],
    ['source-wins', undefined, 2, undefined],
    ['target-wins', 1, 2, 2],
    ['target-wins', 1, undefined, undefined],
    [newer, 1, 2, 2],
    [newer, 3, 2, 3],
    [newer, undefined, 2, 2],
    [newer, 1, undefined, 1],
  ];
  for (const [policy, source, target, left] of cases) {
    const stage = await open(policy);
    if (source !== undefined) stage.source.rows.set('k', { v: source });
    if (target !== undefined) stage.target.rows.set('k', { v: target });
    expect(await stage.writer.settle('k')).toBe('settled');
    expect([stage.source.rows.get('k')?.v, stage.target.rows.get('k')?.v]).toEqual([left, left]);
    expect(stage.writer.counts.conflicts).toBe(1);
    expect(await stage.writer.settle('k')).toBe('equal');
  }
});

test('a row that another process writes while it is settled is not overwritten with what was read before', async () => {
  const stage = await open();
  stage.source.rows.set('k', { v: 1 });
  const put = stage.target.put.bind(stage.target);
  let others = 1;
  stage.target.put = async (key, row, replacing) => {
    if (others-- > 0) {
      stage.source.rows.set('k', { v: 5 });
      stage.target.rows.set('k', { v: 5 });
    }
    return put(key, row, replacing);
  };
  expect(await stage.writer.settle('k')).toBe('settled');
  expect(stage.target.rows.get('k')).toEqual({ v: 5 });
});

/** As the database says it; `until`: how many writes it refuses. */
function fence(shelf: Shelf, times = Infinity): void {
  const put = shelf.put.bind(shelf);
  let left = times;
  shelf.put = async (...args) => {
    if (left-- > 0) throw Object.assign(new Error('Crossfade: the other store serves now'), { code: '25006' });
    return put(...args);
  };
}

describe('the fence has the last word', () => {
  test('a first write that it refuses is made in the other store, and the pipeline carries it back', async () => {
    const stage = await open();
    stage.at = 'shadow';
    fence(stage.source);
    await stage.writer.write('k', { v: 1 });
    expect([stage.source.rows.get('k'), stage.target.rows.get('k')]).toEqual([undefined, { v: 1 }]);
    expect(stage.writer.counts).toMatchObject({ carried: 1, secondFailed: 0, waiting: 0 });
  });

  test('a second write that it refuses is the pipeline’s', async () => {
    const stage = await open();
    stage.at = 'live';
    fence(stage.source);
    await stage.writer.write('k', { v: 1 });
    expect(stage.target.rows.get('k')).toEqual({ v: 1 });
    expect(stage.writer.counts).toMatchObject({ carried: 1, secondFailed: 0, waiting: 0 });
  });

  test('a key that was queued before the flip does not take back what the target has since', async () => {
    const stage = await open('source-wins', { refresh: async () => void (stage.at = 'live') });
    stage.target.isAway = true;
    await stage.writer.write('k', { v: 1 });
    stage.target.isAway = false;
    stage.target.rows.set('k', { v: 2 });
    fence(stage.source);
    expect(await stage.writer.retry()).toBe(0);
    expect(stage.target.rows.get('k')).toEqual({ v: 2 });
  });

  test('what is queued waits while nobody knows the stage', async () => {
    const stage = await open('source-wins', { refresh: async () => Promise.reject(new Error('nobody answers')) });
    stage.target.isAway = true;
    await stage.writer.write('k', { v: 1 });
    stage.target.isAway = false;
    expect(await stage.writer.retry()).toBe(1);
    expect(stage.target.rows.size).toBe(0);
  });
});

test('newerWins: a second write that comes late leaves the newer row', async () => {
  const stage = await open({ newerWins: ({ v }) => v });
  stage.target.rows.set('k', { v: 5 });
  await stage.writer.write('k', { v: 3 });
  expect([stage.source.rows.get('k'), stage.target.rows.get('k')]).toEqual([{ v: 3 }, { v: 5 }]);
  await stage.writer.write('k', { v: 6 });
  expect(stage.target.rows.get('k')).toEqual({ v: 6 });
});

test.for([
  { at: 'dualwrite', policy: { newerWins: ({ v }: Row) => v } },
  { at: 'dualwrite', policy: 'target-wins' },
  { at: 'live', policy: { newerWins: ({ v }: Row) => v } },
] as const)('what was acknowledged is not settled away when only its second write is left: %o', async ({ at, policy }) => {
  const stage = await open(policy);
  stage.at = at;
  const [first, second] = at === 'live' ? [stage.target, stage.source] : [stage.source, stage.target];
  await stage.writer.write('gone', { v: 1 });
  await stage.writer.write('kept', { v: 1 });
  second.isAway = true;
  await stage.writer.remove('gone');
  await stage.writer.write('kept', { v: 2 });
  second.isAway = false;
  expect(await stage.writer.retry()).toBe(0);
  for (const { rows } of [first, second]) expect([...rows]).toEqual([['kept', { v: 2 }]]);
});

test('newerWins: a key that waits, and that another process writes while it is settled, keeps its new row', async () => {
  const stage = await open({ newerWins: ({ v }) => v });
  await stage.writer.write('k', { v: 1 });
  stage.target.isAway = true;
  await stage.writer.remove('k');
  stage.target.isAway = false;
  const [ofSource, ofTarget] = [stage.source.get.bind(stage.source), stage.target.get.bind(stage.target)];
  stage.source.get = async (key) => {
    const row = await ofSource(key);
    for (const { rows } of [stage.source, stage.target]) rows.set(key, { v: 2 });
    return row;
  };
  // So slow that of two reads at the same time it would be the later one.
  stage.target.get = async (key) => {
    for (let i = 0; i < 10; i++) await Promise.resolve();
    return ofTarget(key);
  };
  expect(await stage.writer.retry()).toBe(0);
  expect([stage.source.rows.get('k'), stage.target.rows.get('k')]).toEqual([{ v: 2 }, { v: 2 }]);
});

test('newerWins: a second removal that comes late leaves what another process wrote since', async () => {
  const stage = await open({ newerWins: ({ v }) => v });
  await stage.writer.write('k', { v: 1 });
  const remove = stage.source.remove.bind(stage.source);
  stage.source.remove = async (...args) => {
    const removed = await remove(...args);
    for (const { rows } of [stage.source, stage.target]) rows.set('k', { v: 2 });
    return removed;
  };
  await stage.writer.remove('k');
  expect([stage.source.rows.get('k'), stage.target.rows.get('k')]).toEqual([{ v: 2 }, { v: 2 }]);
});

test('newerWins: a second removal takes what is there if the first store has nothing, also where it has been written at that moment', async () => {
  const stage = await open({ newerWins: ({ v }) => v });
  stage.target.rows.set('k', { v: 7 });
  await stage.writer.remove('k');
  expect(stage.target.rows.size).toBe(0);
  await stage.writer.write('k', { v: 8 });
  const get = stage.source.get.bind(stage.source);
  stage.source.get = async (key) => {
    const row = await get(key);
    stage.source.get = get;
    for (const { rows } of [stage.source, stage.target]) rows.set(key, { v: 9 });
    return row;
  };
  await stage.writer.remove('k');
  expect([stage.source.rows.get('k'), stage.target.rows.get('k')]).toEqual([{ v: 9 }, { v: 9 }]);
});

test('a full queue is told, and the write has still succeeded', async () => {
  const told: boolean[] = [];
  const queue = await MemoryRetryQueue.open({ max: 1 });
  const stage = await open('source-wins', { queue, onSecondFailed: (_key, _error, queued) => told.push(queued) });
  stage.target.isAway = true;
  await stage.writer.write('a', { v: 1 });
  await stage.writer.write('b', { v: 1 });
  expect(told).toEqual([true, false]);
  expect(stage.writer.counts).toMatchObject({ secondFailed: 2, lost: 1, waiting: 1 });
});

test('a journal brings the keys over a restart', async () => {
  const kept = new Set<string>();
  const journal = {
    load: async () => [...kept],
    added: async (key: string) => void kept.add(key),
    removed: async (key: string) => void kept.delete(key),
  };
  const first = await open('source-wins', { queue: await MemoryRetryQueue.open({ journal }) });
  first.target.isAway = true;
  await first.writer.write('k', { v: 1 });
  const second = await open('source-wins', { queue: await MemoryRetryQueue.open({ journal }) });
  second.source.rows.set('k', { v: 1 });
  expect(await second.writer.retry()).toBe(0);
  expect(second.target.rows.get('k')).toEqual({ v: 1 });
  expect([...kept]).toEqual([]);
});

test('a key that is added while it is being removed from the journal stays there, and nobody is told before it does', async () => {
  const kept = new Set<string>();
  const removing = Promise.withResolvers<void>();
  const journal = {
    load: async () => ['k'],
    added: async (key: string) => void kept.add(key),
    removed: async (key: string) => {
      await removing.promise;
      kept.delete(key);
    },
  };
  const queue = await MemoryRetryQueue.open({ journal });
  const done = queue.done('k');
  const added = Promise.all([queue.add('k'), queue.add('k')]).then((all) => [all, kept.has('k')]);
  removing.resolve();
  await done;
  expect(await added).toEqual([[true, true], true]);
  expect([...kept]).toEqual(['k']);
});

test('whatever fails in between: once both answer again and nothing waits, both hold the same', async () => {
  const seed = seedFromEnvironment();
  const random = seeded(seed);
  const newest = { newerWins: ({ v }: Row) => v };
  const cases = (['source-wins', 'target-wins', newest] as const).flatMap((policy) =>
    (['dualwrite', 'live'] as const).map((at) => ({ policy, at })),
  );
  for (const { policy, at } of cases) {
    const stage = await open(policy);
    stage.at = at;
    const second = at === 'live' ? stage.source : stage.target;
    const acknowledged = new Map<string, number | undefined>();
    let version = 0;
    for (let step = 0; step < 300; step++) {
      second.isAway = random.chance(0.3);
      const key = `k${random.between(0, 9)}`;
      const v = random.chance(0.3) ? undefined : ++version;
      const done = v === undefined ? stage.writer.remove(key) : stage.writer.write(key, { v });
      await Promise.all([done, random.chance(0.3) ? stage.writer.retry() : undefined]);
      acknowledged.set(key, v);
    }
    second.isAway = false;
    expect(await stage.writer.retry(), `seed ${seed}`).toBe(0);
    for (const [key, v] of acknowledged)
      expect(
        [stage.source.rows.get(key)?.v, stage.target.rows.get(key)?.v],
        `seed ${seed}, ${at}, ${typeof policy === 'string' ? policy : 'newerWins'}`,
      ).toEqual([v, v]);
  }
});
