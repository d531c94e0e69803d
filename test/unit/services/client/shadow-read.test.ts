import { expect, test, vi } from 'vitest';
import { canonicalValue } from '#schemas/flags/canonical-value.ts';
import type { Observation } from '#schemas/flags/observation.ts';
import type { ReadStage, Side } from '#schemas/flags/read-rules.ts';
import { type ReadPair, type ShadowLimits, ShadowReads } from '#services/client/shadow-read.ts';

const LIMITS: ShadowLimits = { inFlight: 2, againMs: 1, againTimes: 2, timeoutMs: 1_000 };

interface Stage {
  readonly seen: Observation[];
  readonly reads: ShadowReads;
  readonly read: <T>(pair: ReadPair<T>, stage?: ReadStage, serves?: Side) => Promise<T>;
  /** Once that many observations are there. */
  readonly observed: (count: number) => Promise<readonly Observation[]>;
}

function stage(limits: Partial<ShadowLimits> = {}): Stage {
  const seen: Observation[] = [];
  const reads = new ShadowReads({ ...LIMITS, ...limits }, (observation) => seen.push(observation));
  return {
    seen,
    reads,
    read: async (pair, at = 'shadow', serves = 'source') => reads.read(pair, { stage: at, serves }, { unit: 'acme' }),
    observed: async (count) => {
      await vi.waitFor(() => expect(seen).toHaveLength(count), { timeout: 20_000, interval: 10 });
      return seen;
    },
  };
}

async function never(): Promise<never> {
  return new Promise(() => undefined);
}

test('nobody waits for the other store, not even when it never answers', async () => {
  const { read, observed } = stage({ timeoutMs: 20 });
  expect(await read<string>({ source: () => 'old', target: never })).toBe('old');
  expect(await observed(1)).toMatchObject([{ result: 'incomparable', target: { error: 'timeout' }, unit: 'acme' }]);
});

test('both begin at once, and the answer is of the store that serves', async () => {
  const begun: string[] = [];
  const begin = (side: Side): string => {
    begun.push(side);
    return side;
  };
  const pair: ReadPair<string> = {
    source: () => begin('source'),
    target: () => begin('target'),
  };
  const { read } = stage();
  expect(await read(pair, 'shadow', 'target')).toBe('target');
  expect(begun.slice(0, 2).toSorted()).toEqual(['source', 'target']);
});

test('equal by content; different only if it lasts; what becomes equal is settled', async () => {
  const { read, observed } = stage();
  await read<unknown>({ source: () => ({ b: 1, a: [new Date(0)] }), target: () => ({ a: [new Date(0)], b: 1, c: undefined }) });
  expect((await observed(1))[0]).toMatchObject({ result: 'equal' });
  await read<number>({ source: () => 1, target: () => 2 });
  const different = (await observed(2))[1]!;
  expect(different.result).toBe('different');
  expect(different.hashes![0]).not.toBe(different.hashes![1]);
  let lagging = 2;
  await read<number>({ source: () => 1, target: () => (lagging > 0 ? lagging-- + 1 : 1) });
  expect((await observed(3))[2]).toMatchObject({ result: 'settled' });
});

test('the application’s own comparison; one that throws compares nothing', async () => {
  const { read, observed } = stage();
  expect(await read<string>({ source: () => 'A', target: () => 'a', compare: (a, b) => a.toLowerCase() === b })).toBe('A');
  expect((await observed(1))[0]).toMatchObject({ result: 'equal' });
  const fail = (): never => {
    throw new Error('mine');
  };
  expect(await read<string>({ source: () => 'A', target: () => 'a', compare: fail })).toBe('A');
  expect((await observed(2))[1]).toMatchObject({ result: 'incomparable' });
});

test('a failure of the other store is counted by its code and never thrown; no text of it leaves', async () => {
  const { read, observed } = stage();
  const failing = (): never => {
    throw Object.assign(new Error('duplicate key (secret)'), { code: '23505' });
  };
  expect(await read<string>({ source: () => 'old', target: failing })).toBe('old');
  expect(await observed(1)).toMatchObject([{ result: 'incomparable', target: { error: '23505' } }]);
  expect(JSON.stringify(await observed(1))).not.toContain('secret');
  await expect(read<string>({ source: failing, target: () => 'new' })).rejects.toThrow('duplicate');
});

test('a read that fails where writes do not go is answered where they do; the other way round it fails', async () => {
  const { read } = stage();
  const failing = (): never => {
    throw new Error('down');
  };
  expect(await read<string>({ source: () => 'old', target: failing }, 'target', 'source')).toBe('old');
  await expect(read<string>({ source: () => 'old', target: failing }, 'target', 'target')).rejects.toThrow('down');
});

test('shadow reads are bounded: what is too many is left out and counted', async () => {
  const { read, reads, observed } = stage();
  const gate = Promise.withResolvers<string>();
  for (let i = 0; i < 5; i++) expect(await read<string>({ source: () => 'old', target: async () => gate.promise })).toBe('old');
  expect(reads.skipped).toBe(3);
  gate.resolve('old');
  expect((await observed(5)).filter(({ result }) => result === 'equal')).toHaveLength(2);
});

test('what is changed after it was answered was compared as it was', async () => {
  const { read, observed } = stage();
  const gate = Promise.withResolvers<{ n: number }>();
  const answer = await read<{ n: number }>({ source: () => ({ n: 1 }), target: async () => gate.promise });
  answer.n = 2;
  gate.resolve({ n: 1 });
  expect((await observed(1))[0]).toMatchObject({ result: 'equal' });
});

test('canonical values: what differs in type or place differs, what differs in order of keys does not', () => {
  const different = [
    1,
    '1',
    1n,
    true,
    'true',
    null,
    [],
    {},
    [null],
    [1, 2],
    [2, 1],
    { a: 1 },
    { a: '1' },
    new Date(0),
    '1970',
    Buffer.from('a'),
    new Map([[1, 2]]),
    new Set([1]),
  ];
  expect(new Set(different.map(canonicalValue)).size).toBe(different.length);
  expect(canonicalValue(['a,b'])).not.toBe(canonicalValue(['a', 'b']));
  expect(canonicalValue(new Set([2, 1]))).toBe(canonicalValue(new Set([1, 2])));
  expect(canonicalValue({ toJSON: () => 'x' })).toBe('"x"');
  expect(canonicalValue(new Uint8Array([97]))).toBe(canonicalValue(Buffer.from('a')));
});
