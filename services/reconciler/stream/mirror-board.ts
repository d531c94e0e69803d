/**
 * What the mirror of the log was last found to be, equality by equality. Guarantee: a table that differed is told until a later comparison finds it
 * equal; what could not be judged since is neither.
 */
import type { MirrorStatus } from '#schemas/status/mirror-status.ts';
import type { Equality, MirrorSum, MirrorVerdict } from './mirror-verdict.ts';

/** A verdict that says something new of its table. */
export type Turn = 'begins to differ' | 'equal again' | undefined;

export class MirrorBoard {
  readonly #last = new Map<string, MirrorVerdict>();
  /** By equality and table. */
  readonly #differing = new Set<string>();
  #atMs: number | undefined;

  note(verdict: MirrorVerdict, atMs: number): Turn {
    const id = idOf(verdict);
    this.#last.set(id, verdict);
    this.#atMs = atMs;
    if (verdict.outcome === 'equal') return this.#differing.delete(id) ? 'equal again' : undefined;
    if (verdict.outcome === 'inconclusive' || this.#differing.has(id)) return undefined;
    this.#differing.add(id);
    return 'begins to differ';
  }

  /** What was found is of before. */
  clear(): void {
    this.#last.clear();
    this.#differing.clear();
    this.#atMs = undefined;
  }

  status(): MirrorStatus {
    return {
      comparedAt: this.#atMs === undefined ? null : new Date(this.#atMs).toISOString(),
      sourceLog: this.#counted('source-log'),
      logTarget: this.#counted('log-target'),
      unjudged: this.#unjudged(),
      sums: this.#sums(),
    };
  }

  #of(equality: Equality): readonly MirrorVerdict[] {
    return [...this.#last.values()].filter((one) => one.equality === equality);
  }

  #counted(equality: Equality): MirrorStatus['sourceLog'] {
    const all = this.#of(equality);
    const differing = all.filter((one) => this.#differing.has(idOf(one))).map(({ to }) => to);
    const count = (outcome: MirrorVerdict['outcome']): number =>
      all.filter((one) => one.outcome === outcome && !this.#differing.has(idOf(one))).length;
    return { equal: count('equal'), differs: differing.length, inconclusive: count('inconclusive'), differing };
  }

  /** Once for each reason. */
  #unjudged(): MirrorStatus['unjudged'] {
    const told = [...this.#last.values()].flatMap(({ from, to, inconclusive }) =>
      inconclusive === undefined ? [] : [{ from, to, why: inconclusive.message }],
    );
    return [...new Map(told.map((one) => [JSON.stringify(one), one])).values()];
  }

  /** The two comparisons are of two moments: each side stands beside the log as it was then. */
  #sums(): MirrorStatus['sums'] {
    return this.#of('log-target').flatMap(({ from, to, sums, lsn }) =>
      sums.map(({ column, log, side }) => ({
        table: to,
        column,
        log,
        target: side,
        lsn,
        source: this.#sourceSum({ from, to, column }),
      })),
    );
  }

  #sourceSum({ from, to, column }: Pick<MirrorVerdict, 'from' | 'to'> & Pick<MirrorSum, 'column'>): MirrorStatus['sums'][number]['source'] {
    const verdict = this.#last.get(idOf({ equality: 'source-log', from, to }));
    const sum = verdict?.sums.find((one) => one.column === column);
    return sum === undefined ? null : { log: sum.log, source: sum.side };
  }
}

function idOf({ equality, from, to }: Pick<MirrorVerdict, 'equality' | 'from' | 'to'>): string {
  return `${equality} ${from} ${to}`;
}
