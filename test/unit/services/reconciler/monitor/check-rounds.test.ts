/** The file's checks beside a running instance: what is told of them, when they are made again, and what a failure changes. */
import { expect, test, vi } from 'vitest';
import type { CheckVerdict } from '#schemas/reconcile/checks/check-verdict.ts';
import { CheckRounds, type CheckRoundsOptions } from '#services/reconciler/monitor/check-rounds.ts';
import { silentLogger } from '#services/runtime/service.ts';

const NEVER = new AbortController().signal;
const MINUTE = 60_000;

function verdictOf(verdict: CheckVerdict['verdict'], kind: CheckVerdict['kind'] = 'sum'): CheckVerdict {
  return { name: 'balance', kind, verdict, source: '1', target: '2', message: 'in words', lsn: '0/10', declared: true };
}

function roundsOf(options: Partial<CheckRoundsOptions>): CheckRounds {
  return new CheckRounds({
    checks: ['balance'],
    queries: [],
    make: async () => [verdictOf('equal')],
    record: async () => undefined,
    everyMs: 60 * MINUTE,
    budget: 1,
    logger: silentLogger,
    ...options,
  });
}

test('one that differed is told until it is judged and equal, and each turn is logged once', async () => {
  const verdicts = (['equal', 'differs', 'differs', 'inconclusive', 'inconclusive', 'equal'] as const).map((one) => verdictOf(one));
  const told: string[] = [];
  const tell = (_details: object, message: string): void => void told.push(message);
  const rounds = roundsOf({ make: async () => [verdicts.shift()!], logger: { info: tell, warn: tell, error: tell, debug: tell } });
  expect(rounds.status()).toEqual({ checks: { declared: 1, equal: 0, differs: 0, inconclusive: 0, differing: [], madeAt: null } });
  const seen: unknown[] = [];
  while (verdicts.length > 0) {
    await rounds.round(NEVER);
    const { equal, differs, inconclusive, differing } = rounds.status().checks!;
    seen.push([equal, differs, inconclusive, ...differing]);
  }
  const differing = [0, 1, 0, 'balance'];
  expect(seen).toEqual([[1, 0, 0], differing, differing, differing, differing, [1, 0, 0]]);
  expect(told).toEqual(['a check of the file differs', 'a check of the file could not be judged', 'a check of the file is equal again']);
});

test('checks and queries of one name are two things, and both are written down', async () => {
  const record = vi.fn<CheckRoundsOptions['record']>(async () => undefined);
  const rounds = roundsOf({ queries: ['balance'], record, make: async () => [verdictOf('equal'), verdictOf('differs', 'shadow')] });
  await rounds.round(NEVER);
  expect(rounds.status()).toMatchObject({ checks: { equal: 1, differing: [] }, queries: { equal: 0, differing: ['balance'] } });
  expect(record.mock.calls.map(([verdicts]) => verdicts.map(({ verdict }) => verdict))).toEqual([['equal', 'differs']]);
});

test.each<readonly [string, Partial<CheckRoundsOptions>, number]>([
  ['as the file says', {}, 60 * MINUTE],
  ['sooner where one could not be judged', { make: async () => [verdictOf('inconclusive')] }, MINUTE],
  ['sooner where none could', { make: async () => Promise.reject(new Error('the target serves')) }, MINUTE],
  ['as ever where it could not be written down', { record: async () => Promise.reject(new Error('read only')) }, 60 * MINUTE],
])('they are made again %s', async (_how, options, afterMs) => {
  vi.useFakeTimers({ toFake: ['Date'] });
  try {
    const rounds = roundsOf(options);
    expect(rounds.isDue(Date.now())).toBe(true);
    await rounds.round(NEVER);
    expect([rounds.isDue(Date.now() + afterMs - 1), rounds.isDue(Date.now() + afterMs)]).toEqual([false, true]);
    rounds.again();
    expect(rounds.isDue(Date.now())).toBe(true);
  } finally {
    vi.useRealTimers();
  }
});

test('rounds that take long take their share of the time', async () => {
  vi.useFakeTimers({ toFake: ['Date'] });
  try {
    const make = async (): Promise<CheckVerdict[]> => {
      vi.setSystemTime(Date.now() + 10 * MINUTE);
      return [verdictOf('equal')];
    };
    const rounds = roundsOf({ make, budget: 0.04 });
    await rounds.round(NEVER);
    expect([rounds.isDue(Date.now() + 239 * MINUTE), rounds.isDue(Date.now() + 241 * MINUTE)]).toEqual([false, true]);
  } finally {
    vi.useRealTimers();
  }
});

test('an instance that stops waits for no record', async () => {
  const stop = new AbortController();
  const rounds = roundsOf({
    record: async () => {
      stop.abort();
      return new Promise<never>(() => undefined);
    },
  });
  await rounds.round(stop.signal);
  expect(rounds.status().checks).toMatchObject({ equal: 1 });
});

test('a clock that was set back does not put the next round off', async () => {
  const rounds = roundsOf({});
  const beforeMs = Date.now();
  await rounds.round(NEVER);
  expect([rounds.isDue(Date.now()), rounds.isDue(beforeMs - 30 * MINUTE)]).toEqual([false, true]);
});
