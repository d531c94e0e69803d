/**
 * The source's rows as the state from which the log is followed. Guarantee: every transaction that the fill's snapshot does not see, and that
 * wrote the table, has its records at or behind the place in the log where reading stands when `fillTables` is called; or nothing is filled.
 *
 * Proof. What stands before that place has its commit record in the WAL already. Were such a transaction invisible in the later snapshot, it
 * would hold its locks all the time between, and `hidden` (settle.ts), asked after the place was fixed and before the snapshot, would show it.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import { parseLsn } from '#schemas/lsn.ts';
import { quoteIdent } from '#schemas/table.ts';
import { guarded } from '#schemas/test-hooks.ts';
import { queryRow } from '#connectors/postgres/session.ts';
import { outputText } from '#connectors/probe/postgres/column-sql.ts';
import { HeldSnapshot } from '#connectors/probe/postgres/held-snapshot.ts';
import type { DigestPlan } from '#connectors/probe/postgres/row-sql.ts';
import { hidden, horizon } from '#connectors/probe/postgres/settle.ts';
import { readShapes } from '#connectors/probe/postgres/shape.ts';
import { conditions, cursor, fromItem, slices, type Scan } from '#connectors/probe/postgres/table-scan.ts';
import { serverReason } from '../server-reason.ts';
import { parseVisibility } from '../visibility.ts';
import { NotAligned } from './mirror-verdict.ts';
import type { MirrorLimits } from './mirror-limits.ts';
import type { TableMirror } from './table-mirror.ts';
import { openScan } from './unmoved.ts';

export interface Filling {
  /** Rows that other tables have. */
  readonly rowsKept: () => number;
  readonly sourceUrl: string;
  /** A session of no snapshot on the source. */
  readonly present: pg.ClientBase;
  readonly plan: DigestPlan;
  readonly limits: MirrorLimits;
  readonly signal: AbortSignal;
}

const POLL_MS = 50;
const ROWS_PER_BUCKET = 128;
const BUCKETS_MIN = 64;
const BUCKETS_MAX = 131_072;

/** @returns false when transactions that write these tables leave no moment to begin: to be tried again. */
export async function fillTables(tables: readonly TableMirror[], filling: Filling): Promise<boolean> {
  const { present, sourceUrl, limits, signal } = filling;
  const standby = await queryRow(present, 'SELECT pg_is_in_recovery()::text AS standby');
  if (standby?.['standby'] === 'true') throw new NotAligned('unreadable', 'the source is a standby: its snapshots list no transactions');
  const limit = await horizon(present);
  const shapes = await readShapes(
    present,
    tables.map(({ probe }) => probe.mapping.from),
  );
  const relations = shapes.flatMap((shape) => (shape === undefined ? [] : [...shape.leaves, shape.oid]));
  const deadline = performance.now() + limits.settleMs;
  while (guarded('verify-hidden') && (await hidden(present, limit, relations)).length > 0) {
    if (performance.now() > deadline) return false;
    await delay(POLL_MS, undefined, { signal });
  }
  await using snapshot = await HeldSnapshot.take(sourceUrl, 'source');
  const row = await queryRow(present, 'SELECT pg_current_wal_insert_lsn()::text AS lsn');
  const beginning = { visibility: parseVisibility(snapshot.triple), lsn: parseLsn(row!['lsn']!) };
  for (const table of tables) {
    signal.throwIfAborted();
    await using stack = new AsyncDisposableStack();
    try {
      const scan = await openScan(stack, { snapshot, present, plan: filling.plan }, table.probe);
      const fill = table.beginFill({
        buckets: bucketCount(scan),
        declared: table.summed.length,
        rowsMax: Math.min(limits.rowsMax, Math.max(1, limits.allRowsMax - filling.rowsKept())),
        notesMax: limits.notesMax,
      });
      if (!(await putRows(scan, fill.put, signal))) continue;
      table.oids.clear();
      for (const oid of [scan.shape.oid, ...scan.shape.leaves]) table.oids.add(oid);
      fill.done(beginning);
    } catch (error) {
      const reason = error instanceof NotAligned ? error.reason : serverReason(error);
      if (reason === undefined) throw error;
      if (reason.cause === 'unreadable') table.refuse(reason.cause, reason.message);
      else table.void(reason.cause, reason.message);
    }
  }
  await snapshot.stillHeld();
  return true;
}

function bucketCount({ shape }: Scan): number {
  const wanted = Math.min(BUCKETS_MAX, Math.max(BUCKETS_MIN, shape.rowEstimate / ROWS_PER_BUCKET));
  return 2 ** Math.ceil(Math.log2(wanted));
}

/** @returns false when the limits do not hold all of them. */
async function putRows(scan: Scan, put: (source: (string | null)[]) => boolean, signal: AbortSignal): Promise<boolean> {
  const { client, probe, side, shape } = scan;
  const select = probe.sourceColumns.map((name, i) => `${outputText(`t.${quoteIdent(name)}`)} AS c${i}`).join(', ');
  for (const [i, slice] of slices(scan).entries()) {
    if (i > 0) await scan.renew();
    const where = [...conditions(probe, side), ...slice].map((one) => `(${one})`).join(' AND ');
    const sql = `SELECT ${select} FROM ${fromItem(probe, side, shape)}${where === '' ? '' : ` WHERE ${where}`}`;
    for await (const row of cursor(client, sql)) {
      signal.throwIfAborted();
      if (!put(probe.sourceColumns.map((_, c) => row[`c${c}`] ?? null))) return false;
    }
  }
  return true;
}
