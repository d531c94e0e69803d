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
 * Row filters and mapped values are functions of one row, so they commute with the folds.
 */
import { randomUUID } from 'node:crypto';
import type pg from 'pg';
import { setTimeout as delay } from 'node:timers/promises';
import { MESSAGE_PREFIX } from '#schemas/frame/frame.ts';
import { PipelineError } from '#schemas/errors.ts';
import { formatLsn, maxLsn, parseLsn, type Lsn } from '#schemas/lsn.ts';
import type { Inconclusive } from '#schemas/reconcile/verify-result.ts';
import { guarded } from '#schemas/test-hooks.ts';
import { queryRow } from '#connectors/postgres/session.ts';
import { HeldSnapshot, openSession } from '#connectors/probe/postgres/held-snapshot.ts';
import { hidden, horizon, type HiddenTransaction } from '#connectors/probe/postgres/settle.ts';
import { readShapes, type Shape } from '#connectors/probe/postgres/shape.ts';
import { openWindow, slotIsActive, windowMessages, type StreamWindow } from '#connectors/probe/postgres/stream-window.ts';
import { publishedRelations, readTableStates, readTargetState, type TargetState } from '#connectors/probe/postgres/target-state.ts';
import type { TableProbe } from '#connectors/probe/postgres/table-scan.ts';
import { ChangeCollector, voidTable, type CollectedTable, type Side, type TableChanges } from './change-collector.ts';
import { readLogGap, type OpenRawLog } from './log-gap.ts';
import { isVisible, parseVisibility } from './visibility.ts';
import type { VerifyLimits } from './limits.ts';

export interface AlignedTable {
  readonly probe: TableProbe;
  readonly source: Shape;
  readonly target: Shape;
  readonly changes: TableChanges;
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
  readonly signal: AbortSignal;
}

/** Everything that can be compared in one attempt. @throws PipelineError when the servers cannot serve any table. */
export async function align(options: AlignOptions, probes: readonly TableProbe[]): Promise<Alignment> {
  await using stack = new AsyncDisposableStack();
  const end = (client: pg.Client): pg.Client => stack.adopt(client, (open) => open.end().catch(() => undefined));
  const stream = end(await openSession(options.sourceUrl, 'source'));
  const present = {
    source: end(await openSession(options.sourceUrl, 'source')),
    target: end(await openSession(options.targetUrl, 'target')),
  };
  await requirePrimary(stream);

  const window = await openWindow(stream, options.slot);
  const limit = await horizon(stream);
  const leaves = await leavesOf(present.source, probes);
  const settler = new Settler(present.source, limit, leaves);
  await settler.wait(options);

  const source = stack.use(await HeldSnapshot.take(options.sourceUrl, 'source'));
  await requireSameServer(stream, source);
  const after = await markPosition(stream, options.name);
  const reached = await waitApplied(options, { stream, present: present.target, after, window });
  if (!reached.state) throw new PipelineError('CF-6002', reached.why);

  const target = stack.use(await HeldSnapshot.take(options.targetUrl, 'target'));
  const state = await readTargetState(target.client, options.name);
  if (state?.mode !== 'consistent' || state.applied === undefined) throw new PipelineError('CF-6002', NOT_CONSISTENT);
  const applied = state.applied;
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
    unsettled: () => settler.remaining(seen),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

const NOT_CONSISTENT = 'the target does not show one source state yet: the copy is not complete';

async function requirePrimary(client: pg.ClientBase): Promise<void> {
  const row = await queryRow(client, 'SELECT pg_is_in_recovery()::text AS standby');
  // A snapshot taken on a standby lists no running transactions.
  if (row?.['standby'] === 'true') throw new PipelineError('CF-2005', 'the source is a standby; verify needs the primary');
}

async function requireSameServer(client: pg.ClientBase, snapshot: HeldSnapshot): Promise<void> {
  const row = await queryRow(client, 'SELECT pg_postmaster_start_time()::text AS started');
  if (row?.['started'] !== snapshot.serverStart) throw new PipelineError('CF-2005', 'two sessions of the source URL reached two servers');
}

/** The applied LSN means nothing on another server, nor on one that was restored to before it. */
async function requireSameHistory(client: pg.ClientBase, { applied, systemId }: TargetState): Promise<void> {
  const row = await queryRow(
    client,
    `SELECT pg_current_wal_flush_lsn()::text AS flushed,
       CASE WHEN has_function_privilege('pg_control_system()', 'EXECUTE') THEN (SELECT system_identifier::text FROM pg_control_system()) END AS system`,
  );
  if (systemId !== undefined && row?.['system'] && row['system'] !== systemId) {
    throw new PipelineError('CF-2005', `the source is system ${row['system']}; the target was filled from system ${systemId}`);
  }
  if (applied !== undefined && applied > parseLsn(row!['flushed']!)) {
    throw new PipelineError(
      'CF-2005',
      `the target shows ${formatLsn(applied)}, which the source has not reached: it is another server or was restored`,
    );
  }
}

async function leavesOf(client: pg.ClientBase, probes: readonly TableProbe[]): Promise<number[]> {
  const shapes = await readShapes(
    client,
    probes.map((probe) => probe.mapping.from),
  );
  return shapes.flatMap((shape) => (shape ? [...shape.leaves, shape.oid] : []));
}

/** A WAL position above every commit that an earlier snapshot sees; all below it is flushed on return, and will be applied. */
async function markPosition(client: pg.ClientBase, name: string): Promise<Lsn> {
  const row = await queryRow(client, 'SELECT pg_current_wal_insert_lsn()::text AS lsn');
  const marker = JSON.stringify({ kind: 'marker', name, id: `verify-${randomUUID()}` });
  await client.query('SELECT pg_logical_emit_message(true, $1, $2)', [MESSAGE_PREFIX, marker]);
  return parseLsn(row!['lsn']!);
}

/** Follows transactions that were writing when the slot was copied until they cannot hide any more. */
class Settler {
  readonly #client: pg.ClientBase;
  readonly #limit: bigint;
  readonly #relations: readonly number[];
  #left: readonly HiddenTransaction[] = [];

  constructor(client: pg.ClientBase, limit: bigint, relations: readonly number[]) {
    this.#client = client;
    this.#limit = limit;
    this.#relations = relations;
  }

  async wait({ limits, signal }: AlignOptions): Promise<void> {
    if (!guarded('verify-hidden')) return;
    const deadline = performance.now() + limits.settleMs;
    for (let pauseMs = 1; ; pauseMs = Math.min(2 * pauseMs, 200)) {
      this.#left = await hidden(this.#client, this.#limit, this.#relations);
      if (this.#left.length === 0 || performance.now() > deadline) return;
      await delay(pauseMs, undefined, { signal });
    }
  }

  /** A transaction that the stream brought, or that was seen not committing since, was not hidden. @returns relation → why. */
  async remaining(streamed: ReadonlySet<bigint>): Promise<ReadonlyMap<number, string>> {
    const why = new Map<number, string>();
    if (this.#left.length === 0) return why;
    const cleared = new Set<bigint>();
    const now = await hidden(this.#client, this.#limit, this.#relations);
    // Still running and not committing at this moment: it had no commit record before either.
    const running = new Set((await queryRunning(this.#client)).values());
    for (const { xid } of this.#left) if (running.has(xid) && !now.some((one) => one.xid === xid)) cleared.add(xid);
    for (const one of this.#left) {
      if (cleared.has(one.xid) || streamed.has(BigInt.asUintN(32, one.xid))) continue;
      const state = one.waitsForStandby
        ? 'is in the WAL and waits for a synchronous standby'
        : 'has been writing since before the comparison';
      for (const relation of one.relations) why.set(relation, `transaction ${one.xid} ${state}`);
    }
    return why;
  }
}

async function queryRunning(client: pg.ClientBase): Promise<Set<bigint>> {
  const row = await queryRow(client, 'SELECT pg_current_snapshot()::text AS triple');
  return new Set(parseVisibility(row!['triple']!).running);
}

/** What commits while we look away has to be compared row by row. */
const POLL_MS_MAX = 16;

interface Reach {
  readonly stream: pg.ClientBase;
  readonly present: pg.ClientBase;
  readonly after: Lsn;
  readonly window: StreamWindow;
}

/** Waits while an instance runs until the target has passed `after`; when none runs, the target stands still and is taken as it is. */
async function waitApplied(
  options: AlignOptions,
  { stream, present, after, window }: Reach,
): Promise<{ readonly state: boolean; readonly why: string }> {
  const deadline = performance.now() + options.limits.waitMs;
  for (let pauseMs = 2; ; pauseMs = Math.min(2 * pauseMs, POLL_MS_MAX)) {
    const state = await readTargetState(present, options.name);
    if (!state) return { state: false, why: `the target knows no migration ${options.name}` };
    if (state.mode !== 'consistent' || state.applied === undefined) return { state: false, why: NOT_CONSISTENT };
    if (state.applied >= after || performance.now() > deadline) return { state: true, why: '' };
    if (!window.active || (pauseMs === POLL_MS_MAX && !(await slotIsActive(stream, options.slot)))) return { state: true, why: '' };
    await delay(pauseMs, undefined, { signal: options.signal });
  }
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
  probes.forEach((probe, i) => {
    const { from } = probe.mapping;
    const state = states.find((one) => one.schema === from.schema && one.name === from.name);
    const [one, other] = [here[i], there[i]];
    if (state?.state === 'held') refused.set(probe, { cause: 'held', message: state.error ?? 'the table is held' });
    else if (state && state.state !== 'following') refused.set(probe, { cause: 'copying', message: `the table is ${state.state}` });
    else if (!state && states.length > 0)
      refused.set(probe, { cause: 'copying', message: 'the table is not part of the running migration yet' });
    else if (!one || !other)
      refused.set(probe, { cause: 'changed', message: `the table does not exist on the ${one ? 'target' : 'source'}` });
    else if (!published.has(one.oid) && !one.leaves.every((leaf) => published.has(leaf)))
      refused.set(probe, { cause: 'copying', message: 'the table or one of its partitions is not in the publication yet' });
    else tables.push({ probe, source: one, target: other, changes: { ahead: [], behind: [] } });
  });
  return { tables, refused };
}

interface Collect {
  readonly options: AlignOptions;
  readonly stream: pg.ClientBase;
  readonly window: StreamWindow;
  readonly applied: Lsn;
  readonly upTo: Lsn;
  readonly logOffset: number | undefined;
}

async function collectChanges(collector: ChangeCollector, tables: readonly CollectedTable[], collect: Collect): Promise<void> {
  const { options, window, applied } = collect;
  if (applied < window.start) {
    const why = await readLogGap(options.log, { from: applied, to: window.start, offset: collect.logOffset, collector, tables });
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
