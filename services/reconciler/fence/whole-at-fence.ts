/**
 * Tables whose changed rows are not known by their keys, compared whole while neither side moves. Guarantee: only tables that are small; of any other
 * the verdict is inconclusive, with the reason.
 */
import type { Lsn } from '#schemas/lsn.ts';
import type { TableVerdict } from '#schemas/reconcile/verify-result.ts';
import { HeldSnapshot, openSession } from '#connectors/probe/postgres/held-snapshot.ts';
import type { DigestPlan } from '#connectors/probe/postgres/row-sql.ts';
import { readHeldKeys } from '#connectors/probe/postgres/target-state.ts';
import type { AlignedTable, Alignment } from '../align.ts';
import { compareTable, verdictWithout } from '../compare-table.ts';
import { DEFAULT_LIMITS } from '../limits.ts';
import type { FenceTable } from './fence-table.ts';

export interface WholeAtFence {
  readonly sourceUrl: string;
  readonly targetUrl: string;
  readonly name: string;
  readonly plan: DigestPlan;
  readonly wholeRows: number;
  readonly samples: number;
}

/** Both sides show the source's state at `at`, and stay at it. */
export async function compareWhole(
  options: WholeAtFence,
  tables: readonly FenceTable[],
  at: Lsn,
): Promise<ReadonlyMap<FenceTable, TableVerdict>> {
  const verdicts = new Map<FenceTable, TableVerdict>();
  const [small, large] = [tables.filter(({ rows }) => rows <= options.wholeRows), tables.filter(({ rows }) => rows > options.wholeRows)];
  for (const table of large) {
    const message = `${table.touches.whole?.why ?? 'it has to be compared whole'}, and ${table.rows} rows are too many to be compared at the fence`;
    verdicts.set(table, verdictWithout(table.probe, { cause: 'volume', message }));
  }
  if (small.length === 0) return verdicts;
  await using alignment = await still(options, at);
  for (const table of small) {
    const held = await readHeldKeys(alignment.target.client, options.name, table.probe.mapping);
    const aligned: AlignedTable = { probe: table.probe, ...table.shapes, changes: { ahead: [], behind: [] }, held };
    const limits = { ...DEFAULT_LIMITS, samples: options.samples };
    verdicts.set(table, await compareTable(aligned, { alignment, plan: options.plan, limits, ranges: new Map() }));
  }
  return verdicts;
}

async function still({ sourceUrl, targetUrl }: WholeAtFence, applied: Lsn): Promise<Alignment> {
  await using stack = new AsyncDisposableStack();
  const end = async (client: { end(): Promise<void> }): Promise<void> => client.end().catch(() => undefined);
  const source = stack.use(await HeldSnapshot.take(sourceUrl, 'source'));
  const target = stack.use(await HeldSnapshot.take(targetUrl, 'target'));
  const present = {
    source: stack.adopt(await openSession(sourceUrl, 'source'), end),
    target: stack.adopt(await openSession(targetUrl, 'target'), end),
  };
  const kept = stack.move();
  return {
    source,
    target,
    applied,
    present,
    tables: [],
    refused: new Map(),
    unsettled: async () => new Map(),
    [Symbol.asyncDispose]: async () => kept.disposeAsync(),
  };
}
