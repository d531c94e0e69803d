/**
 * What is known of each table's parts. Guarantee: a part is proved only by a comparison that found it equal, and changed as soon as the log
 * has a change of it that no comparison begun later has seen.
 */
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import type { DriftFinding } from '#schemas/reconcile/drift-finding.ts';
import type { TableVerdict } from '#schemas/reconcile/verify-result.ts';
import { type Coverage, coverageOf, newPart, type Part } from './schedule.ts';

export interface ComparedPart {
  readonly table: TableMapping;
}

export type PartOf = Part<ComparedPart>;

/** All of the table may have changed. */
export type Touched = 'all';

export interface Outcome {
  readonly verdict: TableVerdict;
  readonly changed: ReadonlyMap<PartOf, number>;
  readonly open: readonly DriftFinding[];
  readonly atMs: number;
}

export class MonitoredTables {
  #parts: readonly PartOf[];

  constructor(tables: readonly TableMapping[]) {
    this.#parts = tables.map((table) => newPart({ table }, 0));
  }

  get parts(): readonly PartOf[] {
    return this.#parts;
  }

  touch(touched: ReadonlyMap<string, Touched>, nowMs: number): void {
    if (touched.size === 0) return;
    for (const part of this.#parts) if (touched.has(tableName(part.what.table.from))) part.changedAtMs ??= nowMs;
  }

  /** @returns since when they had changes: those are seen by the comparison that begins now */
  begin(parts: readonly PartOf[]): ReadonlyMap<PartOf, number> {
    const changed = new Map<PartOf, number>();
    for (const part of parts) {
      if (part.changedAtMs !== undefined) changed.set(part, part.changedAtMs);
      part.changedAtMs = undefined;
    }
    return changed;
  }

  failed(parts: readonly PartOf[], changed: ReadonlyMap<PartOf, number>, atMs: number): void {
    for (const part of parts) {
      part.verdict = 'inconclusive';
      part.comparedAtMs = atMs;
      part.changedAtMs = changed.get(part) ?? part.changedAtMs;
    }
  }

  compared(parts: readonly PartOf[], { verdict, changed, open, atMs }: Outcome): void {
    if (verdict.inconclusive !== undefined) return this.failed(parts, changed, atMs);
    const mine = open.filter(({ from, to }) => from === verdict.from && to === verdict.to);
    for (const part of parts) {
      part.comparedAtMs = atMs;
      part.rows = Math.max(verdict.rowsSource, verdict.rowsTarget);
      part.verdict = mine.length === 0 ? 'equal' : 'differs';
      if (part.verdict === 'equal') part.provedAtMs = atMs;
      part.urgent = mine.some(({ state }) => state === 'suspected' || state === 'repairing');
    }
  }

  /** Findings of an earlier run: their rows are looked at first. */
  suspect(open: readonly DriftFinding[]): void {
    for (const { from } of open) this.pressing(from);
  }

  pressing(from: string): void {
    for (const part of this.#parts) if (tableName(part.what.table.from) === from) part.urgent = true;
  }

  /** Whether a finding's row was among what these parts compared; undefined: all of the table was. */
  coversOf(parts: readonly PartOf[]): ((finding: DriftFinding) => boolean) | undefined {
    return parts.length === 0 ? () => false : undefined;
  }

  partsOf(verdict: TableVerdict): number {
    return this.#parts.filter(({ what }) => tableName(what.table.from) === verdict.from && tableName(what.table.to) === verdict.to).length;
  }

  coverage(): Coverage {
    return coverageOf(this.#parts);
  }
}

export function tableName({ schema, name }: { readonly schema: string; readonly name: string }): string {
  return `${schema}.${name}`;
}
