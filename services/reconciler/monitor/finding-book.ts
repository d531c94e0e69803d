/**
 * The life of every difference that comparisons find. Guarantee: a finding changes its state only by a comparison of its own rows at a later
 * source state, or by a repair that was asked for; a comparison that names not all it found ends nothing, nor does one that some rows never lay still for.
 */
import { parseLsn } from '#schemas/lsn.ts';
import { type DriftByCause, driftByCause } from '#schemas/reconcile/drift-cause.ts';
import { type DriftFinding, type FindingState, OPEN_STATES } from '#schemas/reconcile/drift-finding.ts';
import type { DifferenceSample, TableVerdict } from '#schemas/reconcile/verify-result.ts';
import type { RecopyRequest } from '#schemas/recopy.ts';

/** A re-copy that has not shown by then is told as a difference again. */
const REPAIR_MS_MAX = 600_000;

/** Rows of a table that are known by name, where a comparison finds more than it names. */
const OPEN_MAX = 10_000;

export interface Compared {
  readonly verdict: TableVerdict;
  /** When it was begun: what was asked for meanwhile it has not seen. */
  readonly beganMs: number;
  readonly atMs: number;
  /** Which keys were compared; absent: all. */
  readonly covers?: (finding: DriftFinding) => boolean;
}

export class FindingBook {
  readonly #open = new Map<string, DriftFinding>();

  /** @param open Of an earlier run. */
  constructor(open: readonly DriftFinding[] = []) {
    for (const one of open) this.#open.set(one.id, one);
  }

  /** Those that are not ended. */
  get open(): readonly DriftFinding[] {
    return [...this.#open.values()];
  }

  count(state: FindingState): number {
    let rows = 0;
    for (const finding of this.#open.values()) if (finding.state === state) rows += finding.rows;
    return rows;
  }

  /** Rows that differ, by what is known of why. */
  byCause(): DriftByCause {
    return driftByCause(this.#open.values());
  }

  /** What a comparison found, or no longer finds. @returns the findings that changed their state, ended ones among them. */
  compared({ verdict, beganMs, atMs, covers }: Compared): readonly DriftFinding[] {
    // Of a store without snapshots the rows that lay still were judged: what is said of those holds.
    const isHot = verdict.inconclusive?.cause === 'hot';
    if ((verdict.inconclusive !== undefined && !isHot) || verdict.lsn === null) return [];
    const at: Place = { beganMs, step: { atMs, lsn: verdict.lsn } };
    const changed: DriftFinding[] = [];
    const seen = new Set<string>();
    // A row that has a name may stand among those that were only counted.
    const isWhole = verdict.sample.length >= namedMost(verdict);
    let room = isWhole ? Infinity : OPEN_MAX - this.open.filter(({ from, to }) => from === verdict.from && to === verdict.to).length;
    for (const one of namesOf(verdict)) {
      // Which rows are named of too many changes from one comparison to the next: a table that lies in ruins is not written down row by row.
      if (one.key !== null && !this.#open.has(one.id) && room-- <= 0) continue;
      seen.add(one.id);
      const next = this.#seen(one.key === null ? this.#besides(one, seen) : one, at);
      if (next !== undefined) changed.push(next);
    }
    if (isHot) return changed;
    for (const finding of this.#open.values()) {
      if (finding.from !== verdict.from || finding.to !== verdict.to || seen.has(finding.id)) continue;
      // What has no name is known to be gone only when all was compared.
      if (finding.key === null ? covers !== undefined : !isWhole || covers?.(finding) === false) continue;
      const next = this.#gone(finding, at);
      if (next !== undefined) changed.push(next);
    }
    return changed;
  }

  /** Rows were asked for again. @param lsn The source's at that moment. @returns the findings that wait for it from now on. */
  repairAsked(request: RecopyRequest, at: Step): readonly DriftFinding[] {
    const table = `${request.schema}.${request.table}`;
    const asks = asksFor(request);
    return this.repairing((finding) => finding.from === table && asks(finding), at);
  }

  /** As `repairAsked`, of the findings named. */
  repairing(isAsked: (finding: DriftFinding) => boolean, at: Step): readonly DriftFinding[] {
    return this.open.filter(isAsked).map((finding) => this.#step(finding, 'repairing', at));
  }

  /** Of the rows that this comparison only counted, those that an earlier one named are told by their names. */
  #besides(counted: Named, seen: ReadonlySet<string>): Named {
    const { from, to, kind, rows } = counted;
    const named = this.open.filter(
      (one) => one.key !== null && one.from === from && one.to === to && one.kind === kind && !seen.has(one.id),
    );
    return { ...counted, rows: Math.max(1, rows - named.length) };
  }

  #seen(found: Named, at: Place): DriftFinding | undefined {
    const known = this.#open.get(found.id);
    if (known === undefined) {
      const first: DriftFinding = { ...found, state: 'suspected', steps: [{ state: 'suspected', ...at.step }] };
      this.#open.set(first.id, first);
      return first;
    }
    const now: DriftFinding = { ...found, state: known.state, steps: known.steps };
    this.#open.set(now.id, now);
    const last = known.steps.at(-1)!;
    if (known.state === 'suspected') return isLater(at, last) ? this.#step(now, 'confirmed', at.step) : undefined;
    if (known.state !== 'repairing' || at.beganMs - last.atMs < REPAIR_MS_MAX) return undefined;
    return this.#step(now, 'confirmed', at.step);
  }

  #gone(finding: DriftFinding, at: Place): DriftFinding | undefined {
    if (!isLater(at, finding.steps.at(-1)!)) return undefined;
    return this.#step(finding, finding.state === 'repairing' ? 'verified' : 'flapped', at.step);
  }

  #step(finding: DriftFinding, state: FindingState, at: Step): DriftFinding {
    const next: DriftFinding = { ...finding, state, steps: bounded([...finding.steps, { state, ...at }]) };
    if (OPEN_STATES.has(state)) this.#open.set(next.id, next);
    else this.#open.delete(next.id);
    return next;
  }
}

/** A row may be repaired again and again: the first step stays, and the last ones. */
const STEPS_MAX = 100;

function bounded(steps: DriftFinding['steps']): DriftFinding['steps'] {
  return steps.length <= STEPS_MAX ? steps : [steps[0]!, ...steps.slice(1 - STEPS_MAX)];
}

type Named = Omit<DriftFinding, 'state' | 'steps'>;
type Step = { readonly atMs: number; readonly lsn: string | null };

interface Place {
  readonly beganMs: number;
  readonly step: Step & { readonly lsn: string };
}

/**
 * The same source state twice says nothing new of the pipeline, but a later look at the target does. A clock that was set back (this step was
 * taken after what is known) leaves the source's order to decide; and a source whose positions went back (restored) is believed once no lag explains it.
 */
function isLater({ beganMs, step }: Place, than: Step): boolean {
  const reaches = than.lsn === null || parseLsn(step.lsn) >= parseLsn(than.lsn);
  if (step.atMs < than.atMs) return reaches;
  return beganMs > than.atMs && (reaches || beganMs - than.atMs >= REPAIR_MS_MAX);
}

/** Whether a request brings a finding's row; where that cannot be told it does not. */
function asksFor(request: RecopyRequest): (finding: DriftFinding) => boolean {
  if (request.kind === 'keys') {
    const keys = new Set(request.keys.map((key) => JSON.stringify(key)));
    return ({ sourceKey }) => sourceKey !== undefined && keys.has(JSON.stringify(sourceKey));
  }
  if (request.kind !== 'range') return () => true;
  const [from, to] = [request.from ?? '', request.to ?? ''];
  if (![from, to].every((bound) => bound === '' || INTEGER.test(bound))) return () => false;
  return ({ sourceKey: [first = ''] = [] }) =>
    INTEGER.test(first) && (from === '' || BigInt(first) >= BigInt(from)) && (to === '' || BigInt(first) <= BigInt(to));
}

const INTEGER = /^-?\d+$/;

function namedMost({ missing, extra, different }: TableVerdict): number {
  return missing + extra + different;
}

/** One for each row with a name, and of a whole table one for each kind of those without: ranges differ from round to round. */
function namesOf(verdict: TableVerdict): Named[] {
  const { from, to } = verdict;
  const left = { missing: verdict.missing, extra: verdict.extra, different: verdict.different };
  const named = verdict.sample.flatMap((one): Named[] => {
    if (one.key === null) return [];
    left[one.kind]--;
    return [{ id: idOf(verdict, one), from, to, ...one, key: one.key, rows: 1 }];
  });
  const rest = (['missing', 'extra', 'different'] as const).flatMap((kind): Named[] =>
    left[kind] > 0 && verdict.ranges === undefined
      ? [{ id: JSON.stringify([from, to, kind]), from, to, key: null, kind, columns: [], rows: left[kind] }]
      : [],
  );
  return [...named, ...rest];
}

/** Shards have the same keys in one target, and the halves of one row the same row. */
function idOf({ from, to }: TableVerdict, { key }: DifferenceSample): string {
  return JSON.stringify([from, to, Object.entries(key!)]);
}
