/**
 * Where and when the kill test strikes. Guarantee: the plan is a function of the number of kills and the seed; every group that the
 * proof counts gets its quota, and the rest falls at random times from outside.
 */
import type { Failpoint } from '#schemas/test-hooks.ts';
import type { Random } from '#test/support/random.ts';

export const GROUPS = {
  start: ['start.connected', 'start.log-recovered', 'start.epoch-written'],
  chunk: ['chunk.read', 'chunk.rows-read', 'chunk.high-watermark', 'chunk.durable'],
  log: ['log.append', 'log.written', 'log.synced'],
  sink: ['sink.begin', 'sink.applied', 'sink.commit', 'sink.committed'],
  slot: ['slot.confirm'],
  changeover: ['changeover'],
} as const satisfies Record<string, readonly Failpoint[]>;
export type Group = keyof typeof GROUPS;

export type Strike =
  /** The process kills itself when it comes by for the `count`-th time. */
  | { readonly kind: 'failpoint'; readonly group: Group; readonly point: Failpoint; readonly count: number }
  /** SIGKILL from outside, so long after the start. */
  | { readonly kind: 'outside'; readonly afterMs: number };

export interface KillPlan {
  readonly copying: readonly Strike[];
  readonly following: readonly Strike[];
}

/** Of 100 kills; the groups that must reach ten get a reserve, for a strike that does not come to pass. */
const SHARES: readonly { readonly group: Group; readonly copying: number; readonly following: number }[] = [
  { group: 'start', copying: 6, following: 6 },
  { group: 'chunk', copying: 13, following: 0 },
  { group: 'log', copying: 6, following: 7 },
  { group: 'sink', copying: 5, following: 8 },
  { group: 'slot', copying: 1, following: 3 },
  { group: 'changeover', copying: 0, following: 2 },
];
const OUTSIDE_AFTER_MS_MAX = 2_500;
/** Passes before the strike: deep enough to be in the middle of the work, shallow enough to come soon (the slot moves every few seconds). */
const COUNT_MAX_ELSE = 6;
const COUNT_MAX: Partial<Record<Group, number>> = { start: 1, changeover: 1, slot: 2 };

/** @param copyingPart how much of the kills falls while the copy is under way. */
export function planKills(kills: number, copyingPart: number, random: Random): KillPlan {
  const scale = kills / 100;
  const strikes = (phase: 'copying' | 'following', total: number): readonly Strike[] => {
    const placed = SHARES.flatMap((share) => failpoints(share.group, quota(share[phase] * scale), random)).slice(0, total);
    const outside = Array.from({ length: total - placed.length }, (): Strike => ({
      kind: 'outside',
      afterMs: random.between(50, OUTSIDE_AFTER_MS_MAX),
    }));
    const all = shuffled([...placed, ...outside], random);
    // The change-over happens once the copy is complete, at the first start of the second phase that gets so far.
    return all.toSorted((a, b) => Number(isChangeover(b)) - Number(isChangeover(a)));
  };
  const copying = Math.round(kills * copyingPart);
  return { copying: strikes('copying', copying), following: strikes('following', kills - copying) };
}

function quota(share: number): number {
  return share === 0 ? 0 : Math.max(1, Math.round(share));
}

function isChangeover(strike: Strike): boolean {
  return strike.kind === 'failpoint' && strike.group === 'changeover';
}

function failpoints(group: Group, amount: number, random: Random): readonly Strike[] {
  const points = GROUPS[group];
  return Array.from({ length: amount }, (_, at): Strike => {
    const point = points[at % points.length] ?? points[0];
    return { kind: 'failpoint', group, point, count: random.between(1, COUNT_MAX[group] ?? COUNT_MAX_ELSE) };
  });
}

function shuffled<T>(values: readonly T[], random: Random): readonly T[] {
  return values
    .map((value) => ({ value, order: random.next() }))
    .toSorted((a, b) => a.order - b.order)
    .map(({ value }) => value);
}

export function showStrike(strike: Strike): string {
  return strike.kind === 'failpoint' ? `${strike.point}:${strike.count}` : `outside, ${strike.afterMs} ms after the start`;
}
