/**
 * A table whose changed rows are not known by their keys, compared whole while neither side moves. Guarantee: only one that is small; of any other the
 * verdict is inconclusive, with the reason.
 */
import type { Lsn } from '#schemas/lsn.ts';
import type { TableVerdict } from '#schemas/reconcile/verify-result.ts';
import { readHeldKeys } from '#connectors/probe/postgres/target-state.ts';
import { compareScans, verdictWithout } from '../compare-table.ts';
import { DEFAULT_LIMITS } from '../limits.ts';
import type { BothScans } from '../touched-rows.ts';
import type { FenceTable } from './fence-table.ts';
import type { FenceLimits } from './fence-limits.ts';

export interface WholeAtFence {
  readonly name: string;
  readonly limits: FenceLimits;
  readonly scans: BothScans;
  /** What both sides show. */
  readonly at: Lsn;
}

export function fitsFence({ rows }: FenceTable, { wholeRows }: FenceLimits): boolean {
  return rows <= wholeRows;
}

export async function compareWhole(table: FenceTable, { name, limits, scans, at }: WholeAtFence): Promise<TableVerdict> {
  const { probe, rows, touches, shapes } = table;
  if (!fitsFence(table, limits)) {
    const message = `${touches.whole?.why ?? 'it has to be compared whole'}, and ${rows} rows are too many to be compared at the fence`;
    return verdictWithout(probe, { cause: 'volume', message });
  }
  for (const { client } of [scans.source, scans.target]) await client.query('SET LOCAL enable_seqscan = on');
  const held = await readHeldKeys(scans.target.client, name, probe.mapping);
  const aligned = { probe, ...shapes, changes: { ahead: [], behind: [] }, held };
  return compareScans(scans, aligned, {
    alignment: { applied: at },
    limits: { ...DEFAULT_LIMITS, samples: limits.samples },
    ranges: new Map(),
  });
}
