/**
 * Tables that the application writes on both sides (`conflict` in the file). There the target may be ahead of the state that it is compared at, by a write
 * of the application's own that the stream has not brought yet, and nothing says of a row of the target how far ahead it is. So a row counts as
 * different only if it differs in each of several comparisons, every one of a later state. Guarantee: what differs for good is found each
 * time and counted; a comparison that names not all that differs takes nothing away from the one after it; what is taken away is named, for nothing
 * has shown yet that it is equal.
 */
import { guarded } from '#schemas/test-hooks.ts';
import type { DifferenceSample, TableVerdict } from '#schemas/reconcile/verify-result.ts';
import type { TableProbe } from '#connectors/probe/postgres/table-scan.ts';

function differencesOf({ missing, extra, different }: TableVerdict): number {
  return missing + extra + different;
}

/** Whether another comparison may tell more. */
export function mayBeAhead({ mapping }: TableProbe, verdict: TableVerdict | undefined): boolean {
  return mapping.conflict !== undefined && verdict !== undefined && differencesOf(verdict) > 0 && guarded('written-ahead');
}

/** `now`: of a later state than `before`. */
export function inBoth(before: TableVerdict | undefined, now: TableVerdict): TableVerdict {
  if (before === undefined || before.inconclusive !== undefined || now.inconclusive !== undefined) return now;
  if (!namesAll(before) || !namesAll(now)) return now;
  const known = new Set(before.sample.map(idOf));
  const sample = now.sample.filter((one) => known.has(idOf(one)));
  const unsettled = now.sample.filter((one) => !known.has(idOf(one)));
  const count = (kind: DifferenceSample['kind']): number => sample.filter((one) => one.kind === kind).length;
  const held = sample.filter(({ cause }) => cause === 'held').length;
  const { held: _held, ...rest } = now;
  return {
    ...rest,
    missing: count('missing'),
    extra: count('extra'),
    different: count('different'),
    ...(held > 0 && { held }),
    sample,
    ...(unsettled.length > 0 && { unsettled }),
    ...(now.ranges !== undefined && sample.length === 0 && { ranges: now.ranges.map((range) => ({ ...range, differences: 0 })) }),
  };
}

/**
 * Comparisons of one table, each of a later state than the one before. One that says nothing takes nothing from what the others found; where
 * several could be made and one alone said anything, what it found may be ahead, and nothing is judged.
 */
export class Looks {
  #found: TableVerdict | undefined;
  #made = 0;
  #judged = 0;

  /** @returns what they say together so far. */
  add(now: TableVerdict): TableVerdict {
    this.#made++;
    if (now.inconclusive !== undefined) return now;
    this.#judged++;
    this.#found = inBoth(this.#found, now);
    return this.#found;
  }

  /** Whether what was found rests on one comparison, though others were tried. */
  get isSingle(): boolean {
    return this.#made > 1 && this.#judged === 1;
  }
}

function namesAll(verdict: TableVerdict): boolean {
  return verdict.sample.length === differencesOf(verdict);
}

/** A row may differ in another way by now: it differs all the same. */
function idOf({ key }: DifferenceSample): string {
  return JSON.stringify(key);
}
