/** One pair of tables, and what has to be compared of it at the fence. */
import type { Lsn } from '#schemas/lsn.ts';
import type { Inconclusive, TableVerdict } from '#schemas/reconcile/verify-result.ts';
import type { Shape } from '#connectors/probe/postgres/shape.ts';
import type { TableProbe } from '#connectors/probe/postgres/table-scan.ts';
import { Touches } from './touches.ts';

export interface Shapes {
  readonly source: Shape;
  readonly target: Shape;
}

export class FenceTable {
  readonly probe: TableProbe;
  readonly touches: Touches;
  /** Rows of the larger side when it was last compared whole. */
  rows = 0;
  /** Why nothing can be said of it any more; undefined: nothing stands against it. */
  refused: Inconclusive | undefined;
  #shapes: Shapes;

  constructor(probe: TableProbe, shapes: Shapes, keysMax: number) {
    this.probe = probe;
    this.#shapes = shapes;
    this.touches = new Touches(keysMax);
  }

  get shapes(): Shapes {
    return this.#shapes;
  }

  /** What it is now. A table emptied or written anew, on whichever side, has no row that is known. @param at Above every commit that made it so. */
  isNow(shapes: { readonly [S in keyof Shapes]: Shape | undefined }, at: Lsn): void {
    const { source, target } = shapes;
    const known = this.#shapes;
    if (source?.form !== known.source.form || target?.form !== known.target.form) {
      this.refused ??= { cause: 'changed', message: 'the table was altered since the comparison was begun: begin it anew' };
      return;
    }
    if (source.fingerprint !== known.source.fingerprint || target.fingerprint !== known.target.fingerprint)
      this.touches.touchWhole('it was truncated or written anew', { xid: undefined, lsn: at });
    this.#shapes = { source, target };
  }

  /** @param comparedAt The state that the comparison is about; all that was found is looked at again unless it is proved to be gone. */
  comparedWhole(verdict: TableVerdict, comparedAt: Lsn | undefined): void {
    const everSeen = { xid: undefined, lsn: 0n as Lsn };
    this.rows = Math.max(verdict.rowsSource, verdict.rowsTarget);
    if (verdict.inconclusive !== undefined || comparedAt === undefined) {
      this.touches.touchWhole(verdict.inconclusive?.message ?? 'it was not compared', everSeen);
      return;
    }
    this.touches.provedAt(comparedAt);
    const differ = verdict.missing + verdict.extra + verdict.different;
    const keys = verdict.sample.flatMap(({ sourceKey }) => (sourceKey === undefined ? [] : [JSON.stringify(sourceKey)]));
    if (keys.length < differ) this.touches.touchWhole(`${differ} of its rows differed`, everSeen);
    else for (const key of keys) if (!this.touches.keys.has(key)) this.touches.touch(key, everSeen);
    for (const { sourceKey } of verdict.unsettled ?? []) {
      const key = sourceKey && JSON.stringify(sourceKey);
      if (key === undefined) this.touches.touchWhole('a row of the target may be ahead', everSeen);
      else if (!this.touches.keys.has(key)) this.touches.touch(key, everSeen);
    }
  }
}
