/**
 * One state of the source and one of the target, and exactly the changes that lie between them. Guarantee: for every table that is
 * not voided, folding its `ahead` changes over the source's snapshot gives what the target must hold, and folding its `behind` changes
 * over the target gives what the source's snapshot must hold; no key has both.
 *
 * Let S be the source's snapshot, V the transactions it sees, T the target's snapshot, X the applied LSN read inside T. The sink's
 * contract: T shows the fold of all transactions with commit LSN < X. S shows the fold of V. (The target's word is not trusted further:
 * a wrong fold is what the comparison finds.) So the two differ by A = {commit LSN < X} \ V and B = V \ {commit LSN < X}.
 *
 * 1. No key is in both. If x and y wrote the same key, y waited for x's row lock (or its unique-index entry), which x gives up only
 *    after it has left the running list. So y visible implies x visible, and x's commit record comes before y's: on one key both V and
 *    {commit LSN < X} are prefixes of the same order, hence one contains the other. In a keyless table a row is its own key.
 * 2. A is complete. The copied slot streams every commit LSN >= C (its start). A transaction of A below C would have a commit record
 *    from before the copy and be invisible in the later S: settle.ts shows that there is none, or names the tables it may have written
 *    and they are voided. Commit LSNs below X were flushed when the sink got them, so the peek up to X meets them all.
 * 3. B is complete. If X >= L, where L is the insert position taken after S, B is empty: a visible transaction's commit record lies
 *    below L. Else the changes come from the slot for commit LSNs >= C, and from the raw log for [X, C) where X < C; a marker committed
 *    with a flush after L makes every visible commit readable (an asynchronous commit is visible before it is flushed).
 * 4. Both snapshots are of the tables as they were: shape.ts. A restart of either server ends its session, and with it the comparison.
 *
 * Row filters and mapped values are functions of one row, so they commute with the folds. Of a row that has `behind` changes the claim
 * is about the target once it has applied them: a wrong value that they overwrite anyway is not reported.
 */
import { randomUUID } from 'node:crypto';
import type pg from 'pg';
import { setTimeout as delay } from 'node:timers/promises';
import { MESSAGE_PREFIX } from '#schemas/frame/frame.ts';
import { decodeBegin, TAG } from '#schemas/pgoutput/message.ts';
import { PipelineError } from '#schemas/errors.ts';
import { formatLsn, maxLsn, parseLsn, type Lsn } from '#schemas/lsn.ts';
import type { Inconclusive } from '#schemas/reconcile/verify-result.ts';
import { pairId, type Pair } from '#schemas/mapping/compiled-mapping.ts';
import { guarded } from '#schemas/test-hooks.ts';
import { queryRow } from '#connectors/postgres/session.ts';
import { HeldSnapshot, openSession } from '#connectors/probe/postgres/held-snapshot.ts';
import { horizon } from '#connectors/probe/postgres/settle.ts';
import { readShapes, type Shape } from '#connectors/probe/postgres/shape.ts';
import { openWindow, slotIsActive, windowMessages, type StreamWindow } from '#connectors/probe/postgres/stream-window.ts';
import {
  publishedRelations,
  readHeldKeys,
  readTableStates,
  readTargetState,
  type TableState,
  type TargetState,
} from '#connectors/probe/postgres/target-state.ts';
import type { TableProbe } from '#connectors/probe/postgres/table-scan.ts';
import { ChangeCollector, voidTable, type CollectedTable, type Side, type TableChanges } from './change-collector.ts';
import { missingFromTarget, readLogGap, type AskLogReach, type LogGap, type LogReach, type OpenRawLog } from './log-gap.ts';
import { Settler } from './settler.ts';
import { isVisible, parseVisibility } from './visibility.ts';
import type { VerifyLimits } from './limits.ts';

export interface AlignedTable {
  readonly probe: TableProbe;
  readonly source: Shape;
  readonly target: Shape;
  readonly changes: TableChanges;
  /** Keys whose rows are set aside in the target's snapshot. */
  readonly held: ReadonlySet<string>;
}

export interface Alignment extends AsyncDisposable {
  readonly source: HeldSnapshot;
  readonly target: HeldSnapshot;
  /** The source state that the target's snapshot shows. */
  readonly applied: Lsn;
  readonly tables: readonly AlignedTable[];
  /** Tables that cannot be compared at all in this alignment. */
  readonly refused: ReadonlyMap<TableProbe, Inconclusive>;
  /** Sessions of no snapshot, for questions about the present. */
  readonly present: { readonly source: pg.ClientBase; readonly target: pg.ClientBase };
  /** To be asked at the end: tables that a hidden transaction may have touched. */
  unsettled(): Promise<ReadonlyMap<number, string>>;
}

export interface AlignOptions {
  readonly sourceUrl: string;
  readonly targetUrl: string;
  readonly name: string;
  readonly slot: string;
  readonly publication: string;
  readonly limits: VerifyLimits;
  readonly log?: OpenRawLog | undefined;
  readonly logReach?: AskLogReach | undefined;
  readonly signal: AbortSignal;
  /** Told how long the target, or transactions of the source, were waited for: time in which no server works for us. */
  readonly onWaited?: ((milliseconds: number) => void) | undefined;
}

/** Everything that can be compared in one attempt. @throws PipelineError when the servers cannot serve any table. */
export async function align(given: AlignOptions, probes: readonly TableProbe[]): Promise<Alignment> {
  const options = { ...given, logReach: given.logReach && askOnce(given.logReach) };
  await using stack = new AsyncDisposableStack();
  const end = (client: pg.Client): pg.Client => stack.adopt(client, (open) => open.end().catch(() => undefined));
  const present = {
    source: end(await openSession(options.sourceUrl, 'source')),
    target: end(await openSession(options.targetUrl, 'target')),
  };
  requireConsistent(options, await readTargetState(present.target, options.name));
  const stream = end(await openSession(options.sourceUrl, 'source'));
  await requirePrimary(stream);

  const window = await openWindow(stream, options.slot);
  const limit = await horizon(stream);
  const leaves = await leavesOf(present.source, probes);
  const settler = new Settler(present.source, limit, leaves);
  const settlesFrom = performance.now();
  await settler.wait(options.limits.settleMs, options.signal);
  options.onWaited?.(performance.now() - settlesFrom);

  const source = stack.use(await HeldSnapshot.take(options.sourceUrl, 'source'));
  for (const client of [stream, present.source]) await requireSameServer(client, source);
  const after = await markPosition(stream, options.name);
  const waitsFrom = performance.now();
  await waitApplied(options, { stream, present: present.target, after, window });
  options.onWaited?.(performance.now() - waitsFrom);

  const target = stack.use(await HeldSnapshot.take(options.targetUrl, 'target'));
  const state = requireConsistent(options, await readTargetState(target.client, options.name));
  const { applied } = state;
  await requireSameHistory(stream, state);
  const { tables, refused } = await pair(options, probes, { source, target });
  const collected = tables.map(({ probe, source: shape, changes }) => ({
    relations: [shape.oid, ...shape.leaves],
    sourceColumns: probe.sourceColumns,
    from: probe.mapping.from,
    changes,
  }));
  const snapshot = parseVisibility(source.triple);
  const seen = new Set<bigint>();
  const classify = ({ xid, commitLsn }: { readonly xid: number; readonly commitLsn: Lsn }): Side | undefined => {
    seen.add(BigInt(xid));
    if (!guarded('verify-changes')) return undefined;
    const visible = isVisible(snapshot, xid);
    if (commitLsn < applied) return visible ? undefined : 'ahead';
    return visible ? 'behind' : undefined;
  };
  const collector = new ChangeCollector(collected, classify, options.limits);
  await collectChanges(collector, collected, {
    options,
    stream,
    window,
    applied,
    upTo: maxLsn(applied, after),
    logOffset: state.logOffset,
  });

  const kept = stack.move();
  return {
    source,
    target,
    applied,
    tables,
    refused,
    present,
    unsettled: () => settler.remaining(seen, () => streamedSince(stream, window, options)),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

/** An answer is asked for only while nobody reads, or at the end: one does for both, and a log that does not answer is waited for once. */
function askOnce(ask: AskLogReach): AskLogReach {
  let answer: ReturnType<AskLogReach> | undefined;
  return () => (answer ??= ask());
}

type ConsistentState = TargetState & { readonly applied: Lsn };

/** @throws PipelineError CF-6002 while the copy is not complete. */
export function requireConsistent({ name }: Pick<AlignOptions, 'name'>, state: TargetState | undefined): ConsistentState {
  if (!state) throw new PipelineError('CF-6002', `the target knows no migration ${name}: crossfade up has not run`);
  const { applied } = state;
  if (state.mode === 'consistent' && applied !== undefined) return { ...state, applied };
  throw new PipelineError('CF-6002', 'the target does not show one source state yet: the copy is not complete');
}

export async function requirePrimary(client: pg.ClientBase): Promise<void> {
  const row = await queryRow(client, 'SELECT pg_is_in_recovery()::text AS standby');
  // A snapshot taken on a standby lists no running transactions.
  if (row?.['standby'] === 'true') throw new PipelineError('CF-2005', 'the source is a standby; verify needs the primary');
}

export async function requireSameServer(client: pg.ClientBase, snapshot: HeldSnapshot): Promise<void> {
  const row = await queryRow(client, 'SELECT pg_postmaster_start_time()::text AS started');
  if (row?.['started'] !== snapshot.serverStart) throw new PipelineError('CF-2005', 'two sessions of the source URL reached two servers');
}

/** The applied LSN means nothing on another server, nor on one that was restored to before it. */
export async function requireSameHistory(
  client: pg.ClientBase,
  { applied, systemId }: Pick<ConsistentState, 'applied' | 'systemId'>,
): Promise<void> {
  const row = await queryRow(
    client,
    `SELECT pg_current_wal_flush_lsn()::text AS flushed, has_function_privilege('pg_control_system()', 'EXECUTE')::text AS allowed`,
  );
  const system =
    row?.['allowed'] === 'true' ? await queryRow(client, 'SELECT system_identifier::text AS id FROM pg_control_system()') : undefined;
  if (systemId !== undefined && system?.['id'] && system['id'] !== systemId) {
    throw new PipelineError('CF-2005', `the source is system ${system['id']}; the target was filled from system ${systemId}`);
  }
  if (applied > parseLsn(row!['flushed']!)) {
    throw new PipelineError(
      'CF-2005',
      `the target shows ${formatLsn(applied)}, which the source has not reached: it is another server or was restored`,
    );
  }
}

export async function leavesOf(client: pg.ClientBase, probes: readonly TableProbe[]): Promise<number[]> {
  const shapes = await readShapes(
    client,
    probes.map((probe) => probe.mapping.from),
  );
  return shapes.flatMap((shape) => (shape ? [...shape.leaves, shape.oid] : []));
}

/** A WAL position above every commit that an earlier snapshot sees; all below it is flushed on return, and will be applied. */
export async function markPosition(client: pg.ClientBase, name: string): Promise<Lsn> {
  const row = await queryRow(client, 'SELECT pg_current_wal_insert_lsn()::text AS lsn');
  const marker = JSON.stringify({ kind: 'marker', name, id: `verify-${randomUUID()}` });
  await client.query('SELECT pg_logical_emit_message(true, $1, $2)', [MESSAGE_PREFIX, marker]);
  return parseLsn(row!['lsn']!);
}

/** What commits while we look away has to be compared row by row. */
const POLL_MS_MAX = 16;

interface Reach {
  readonly stream: pg.ClientBase;
  readonly present: pg.ClientBase;
  readonly after: Lsn;
  readonly window: StreamWindow;
}

/**
 * Waits while an instance runs until the target has passed `after`; when none runs, the target stands still and is taken as it is. Where
 * other processes apply a log, it may move on without a reader, up to what the log has.
 */
async function waitApplied(options: AlignOptions, { stream, present, after, window }: Reach): Promise<void> {
  const { waitMs, stallMs } = options.limits;
  const deadline = performance.now() + waitMs;
  let reach: LogReach | undefined;
  let moved: { readonly applied: Lsn; readonly atMs: number } | undefined;
  for (let pauseMs = 1; ; pauseMs = Math.min(2 * pauseMs, POLL_MS_MAX)) {
    const { applied } = requireConsistent(options, await readTargetState(present, options.name));
    if (applied >= after || performance.now() > deadline) return;
    if (moved === undefined || applied > moved.applied) moved = { applied, atMs: performance.now() };
    if (!window.active || (pauseMs === POLL_MS_MAX && !(await slotIsActive(stream, options.slot)))) {
      const isStill = performance.now() - moved.atMs > stallMs;
      if (options.logReach === undefined || applied >= window.start || isStill) return;
      reach ??= await options.logReach().catch(() => undefined);
      if (reach === undefined || applied > reach.commit) return;
    }
    await delay(pauseMs, undefined, { signal: options.signal });
  }
}

/** Transaction ids that the copied slot has brought by now. */
export async function streamedSince(
  client: pg.ClientBase,
  window: StreamWindow,
  { publication, limits }: Pick<AlignOptions, 'publication' | 'limits'>,
): Promise<ReadonlySet<bigint>> {
  const row = await queryRow(client, 'SELECT pg_current_wal_flush_lsn()::text AS lsn');
  const xids = new Set<bigint>();
  for await (const message of windowMessages(client, window, parseLsn(row!['lsn']!), { publication, rowsMax: limits.streamMessages })) {
    if (message[0] === TAG.begin) xids.add(BigInt(decodeBegin(message).xid));
  }
  return xids;
}

interface Snapshots {
  readonly source: HeldSnapshot;
  readonly target: HeldSnapshot;
}

async function pair(
  options: AlignOptions,
  probes: readonly TableProbe[],
  { source, target }: Snapshots,
): Promise<{ tables: AlignedTable[]; refused: Map<TableProbe, Inconclusive> }> {
  const readSource = async (): Promise<[(Shape | undefined)[], ReadonlySet<number>]> => [
    await readShapes(
      source.client,
      probes.map((probe) => probe.mapping.from),
    ),
    await publishedRelations(source.client, options.publication),
  ];
  // Table states must be those of the snapshot, as the applied LSN is.
  const states = await readTableStates(target.client, options.name);
  const [[here, published], there] = await Promise.all([
    readSource(),
    readShapes(
      target.client,
      probes.map((probe) => probe.mapping.to),
    ),
  ]);
  const tables: AlignedTable[] = [];
  const refused = new Map<TableProbe, Inconclusive>();
  for (const [i, probe] of probes.entries()) {
    const [one, other] = [here[i], there[i]];
    const unready = stateReason(states, probe.mapping);
    if (unready !== undefined) refused.set(probe, unready);
    else if (!one || !other)
      refused.set(probe, { cause: 'changed', message: `the table does not exist on the ${one ? 'target' : 'source'}` });
    else if (!published.has(one.oid) && !one.leaves.every((leaf) => published.has(leaf)))
      refused.set(probe, { cause: 'copying', message: 'the table or one of its partitions is not in the publication yet' });
    else {
      const held = await readHeldKeys(target.client, options.name, probe.mapping);
      tables.push({ probe, source: one, target: other, changes: { ahead: [], behind: [] }, held });
    }
  }
  return { tables, refused };
}

/** Why the target's rows of a pair are not those of one source state; undefined: they are. */
export function stateReason(states: readonly TableState[], mapping: Pair): Inconclusive | undefined {
  const state = states.find((one) => pairId(one) === pairId(mapping));
  if (state?.state === 'held') return { cause: 'held', message: state.error ?? 'the table is held' };
  if (state && state.state !== 'following') return { cause: 'copying', message: `the table is ${state.state}` };
  if (state || states.length === 0) return undefined;
  return { cause: 'copying', message: 'the table is not part of the running migration yet' };
}

interface Collect {
  readonly options: Pick<AlignOptions, 'log' | 'logReach' | 'limits' | 'publication' | 'signal'>;
  readonly stream: pg.ClientBase;
  readonly window: StreamWindow;
  readonly applied: Lsn;
  readonly upTo: Lsn;
  readonly logOffset: number | undefined;
}

const BEHIND = 'the target is too far behind the source: verify again when it has caught up';

/** Why what lies between target and slot cannot be told; undefined: it is in the collector, or there is nothing. */
async function gapReason(options: Collect['options'], window: StreamWindow, gap: LogGap): Promise<string | undefined> {
  if (options.logReach !== undefined) return missingFromTarget(options.logReach, { applied: gap.from, to: gap.to });
  return window.active ? BEHIND : readLogGap(options.log, gap);
}

export async function collectChanges(collector: ChangeCollector, tables: readonly CollectedTable[], collect: Collect): Promise<void> {
  const { options, window, applied } = collect;
  if (applied < window.start) {
    const gap = { from: applied, to: window.start, offset: collect.logOffset, collector, tables };
    const why = await gapReason(options, window, gap);
    if (why !== undefined)
      throw new PipelineError('CF-6002', why, { details: { applied: formatLsn(applied), slot: formatLsn(window.start) } });
  }
  let rows = 0;
  const rowsMax = options.limits.streamMessages;
  for await (const message of windowMessages(collect.stream, window, collect.upTo, { publication: options.publication, rowsMax })) {
    options.signal.throwIfAborted();
    collector.feed(message);
    rows++;
  }
  if (rows < rowsMax) return;
  for (const table of tables)
    voidTable(table, { cause: 'volume', message: `more than ${rowsMax} changes were made during the comparison` });
}
