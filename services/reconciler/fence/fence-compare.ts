/**
 * Source and target compared while writers wait at the fence, in as little time as possible: only rows that changed since they were
 * last proved equal are read. Guarantee: where `finish` finds no difference and nothing inconclusive, every row that the mapping selects was
 * equal on both sides at the marker, if nobody but the pipeline writes the target (see "The target" below).
 *
 * Why. Let C be where the tracker's slot begins: it brings every commit at or above C. Only then, and once the target shows C, all tables are
 * compared by `verifyMigration`; each was equal (or its differing rows are named) at its own state Y: the fold of all commits below Y,
 * with Y >= C.
 *
 * 1. A row that no commit at or above C touches is the same at every state at or above C, so it still is what it was at Y.
 * 2. A key in `Touches` leaves it only by a proof: both rows read, of snapshots S of the source and T of the target, which shows X. The tracker has
 *    been read up to all that S sees and up to X. When the key's last touch is visible in S and lies below X, then so do all of its earlier
 *    ones (a later writer of a row has waited for the earlier: align.ts, 1), and a later one would be the last: so S has the row of state X,
 *    and so should T. What is touched later is a touch again. A key whose last touch is not so is not judged, it stays.
 * 3. At the fence no transaction writes the source's tables, all that did so have their commit records below the marker, and the target has
 *    applied it: both sides show the marker's state. The tracker is read up to it, so that `Touches` holds every key that changed since
 *    its last proof. They are read, all others follow from 1 and 2.
 * 4. What has no key, was truncated, written anew, copied again, or changed too often to be kept, is compared whole, by an aligned comparison before
 *    the fence, and at the fence only where the table is small; else it is inconclusive. `beforehand` says which tables that may be.
 *
 * The target. A row that somebody else changes there after its last proof, and that the source does not change, is not read again. What covers that: rows
 * foreign to the pipeline are counted by the reverse reader (a gate), the target's tables are looked at for truncates and rewrites, and the time since the last
 * proof is short, for `begin` compares all.
 *
 * Nothing is left behind: the slot is temporary and ends with its session; nothing is written but logical messages.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { postgresTarget } from '#schemas/config/postgres-target.ts';
import { PipelineError } from '#schemas/errors.ts';
import { formatLsn, type Lsn } from '#schemas/lsn.ts';
import type { CompiledMapping, RowFilter, TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import type { VerifyResult } from '#schemas/reconcile/verify-result.ts';
import { followSlot } from '#connectors/probe/postgres/followed-slot.ts';
import { openSession } from '#connectors/probe/postgres/held-snapshot.ts';
import { readShapes } from '#connectors/probe/postgres/shape.ts';
import { readTargetState } from '#connectors/probe/postgres/target-state.ts';
import type { TableProbe } from '#connectors/probe/postgres/table-scan.ts';
import type { Logger } from '#services/runtime/service.ts';
import { requireConsistent } from '../align.ts';
import type { AskLogReach, OpenRawLog } from '../log-gap.ts';
import { prepare } from '../verify.ts';
import { Comparison, type FenceMoment, type FenceResult } from './comparison.ts';
import { FENCE_LIMITS, type FenceLimits } from './fence-limits.ts';
import { FenceTable } from './fence-table.ts';
import { Lane } from './lane.ts';
import { TouchTracker } from './touch-tracker.ts';

export interface FenceCompareOptions {
  /** Of the direction: its source is the side that is fenced. */
  readonly file: MigrationFile;
  /** Of the file, for the catalogues as they are. */
  readonly mapping: CompiledMapping;
  readonly logger: Logger;
  /** As verifyMigration has them. */
  readonly targetRows?: (table: TableMapping) => RowFilter | undefined;
  readonly log?: OpenRawLog;
  readonly logReach?: AskLogReach;
  readonly limits?: Partial<FenceLimits>;
  readonly signal?: AbortSignal;
}

export interface FenceCompare extends AsyncDisposable {
  /** The comparison of all tables. What it found or could not say is looked at again by `refresh` and `finish`. */
  readonly before: VerifyResult;
  /** What may be inconclusive at the fence although all is well: tables (of the target) and why. */
  readonly beforehand: readonly { readonly to: string; readonly message: string }[];
  /** Keys that have changed since they were last proved equal. */
  readonly keys: number;
  /** Compares these while writes go on, so that few are left for `finish`. Not while `finish` runs. @throws PipelineError CF-6030 */
  refresh(): Promise<void>;
  /**
   * The caller promises that no transaction writes the source's tables from before the marker until this has resolved, and that all that wrote them have their
   * commit records below it; that the WAL up to the marker is flushed, and the target has applied it. May be called again at a later marker.
   */
  finish(at: FenceMoment): Promise<FenceResult>;
  close(): Promise<void>;
}

/** @throws PipelineError CF-2001, CF-5001, CF-2004, CF-6002 as `verifyMigration`, and CF-6002 when no slot is free. */
export async function beginFenceCompare(given: FenceCompareOptions): Promise<FenceCompare> {
  const { file, mapping } = given;
  const limits = { ...FENCE_LIMITS, ...given.limits };
  const urls = { sourceUrl: file.source.postgres, targetUrl: postgresTarget(file, 'cutover') };
  const signal = given.signal ?? new AbortController().signal;
  await using stack = new AsyncDisposableStack();
  const { probes, plan } = await prepare({ ...urls, mapping, ...(given.targetRows && { targetRows: given.targetRows }) });
  const followed = stack.use(await followSlot({ url: urls.sourceUrl, side: 'source', slot: file.name, publication: file.name }));
  const present = stack.adopt(await openSession(urls.sourceUrl, 'source'), async (client) => client.end().catch(() => undefined));
  const tables = await readTables(urls, probes, limits);
  const tracker = new TouchTracker(
    file.name,
    tables.map(({ probe, shapes: { source }, touches }) => ({
      relations: [source.oid, ...source.leaves],
      name: probe.mapping.from,
      key: probe.key.length === 0 ? [] : probe.mapping.sourceKey,
      touches,
    })),
  );
  await followed.follow((message) => tracker.feed(message));
  await showsStart({ url: urls.targetUrl, name: file.name, start: followed.start, withinMs: limits.appliedMs, signal });
  const lanes: Lane[] = [];
  for (let i = 0; i < Math.max(1, Math.min(limits.parallel, tables.length)); i++)
    lanes.push(stack.use(await Lane.open({ ...urls, name: file.name, plan, lockMs: limits.lockMs })));
  const comparison = new Comparison({ ...given, ...urls, limits, plan, signal }, { followed, tables, lanes, present });
  const before = await comparison.compareAll();
  const kept = stack.move();
  return {
    before,
    beforehand: comparison.beforehand(),
    get keys() {
      return comparison.keys;
    },
    refresh: async () => comparison.refresh(),
    finish: async (at) => comparison.finish(at),
    close: async () => kept.disposeAsync(),
    [Symbol.asyncDispose]: async () => kept.disposeAsync(),
  };
}

interface Urls {
  readonly sourceUrl: string;
  readonly targetUrl: string;
}

async function readTables(urls: Urls, probes: readonly TableProbe[], limits: FenceLimits): Promise<FenceTable[]> {
  const read = async (side: 'source' | 'target'): ReturnType<typeof readShapes> => {
    const client = await openSession(urls[`${side}Url`], side);
    try {
      return await readShapes(
        client,
        probes.map(({ mapping }) => (side === 'source' ? mapping.from : mapping.to)),
      );
    } finally {
      await client.end().catch(() => undefined);
    }
  };
  const [here, there] = [await read('source'), await read('target')];
  return probes.map((probe, i) => {
    const [source, target] = [here[i], there[i]];
    const { from, to } = probe.mapping;
    if (source && target) return new FenceTable(probe, { source, target }, limits.keysPerTable);
    const missing = source ? to : from;
    throw new PipelineError('CF-6002', `table ${missing.schema}.${missing.name} does not exist on the ${source ? 'target' : 'source'}`);
  });
}

interface StartShown {
  readonly url: string;
  readonly name: string;
  readonly start: Lsn;
  readonly withinMs: number;
  readonly signal: AbortSignal;
}

const POLL_MS = 20;

/** A state that is compared must not lie before what the tracker brings. */
async function showsStart({ url, name, start, withinMs, signal }: StartShown): Promise<void> {
  const client = await openSession(url, 'target');
  const deadline = performance.now() + withinMs;
  try {
    for (;;) {
      const { applied } = requireConsistent({ name }, await readTargetState(client, name));
      if (applied >= start) return;
      if (performance.now() > deadline) {
        const behind = `the target shows ${formatLsn(applied)} and does not get on to ${formatLsn(start)}: is crossfade up running?`;
        throw new PipelineError('CF-6002', behind);
      }
      await delay(POLL_MS, undefined, { signal });
    }
  } finally {
    await client.end().catch(() => undefined);
  }
}
