/**
 * One state of the source, held, and a target without snapshots that has passed it. Guarantee: every row that is read from Redis before
 * `touched` is asked, and whose key `touched` then leaves out, must be what the source's snapshot has of that key.
 *
 * Let S be the source's snapshot, V the transactions it sees, X the position that Redis tells after S, E the source's WAL flushed after the
 * last row was read. The sink's contract is a floor: rows are written before the position, so a row that is read later shows all changes of
 * its key with a commit LSN < X, and perhaps further ones, in the order of the stream (its place is guarded), none above E: what is streamed
 * is flushed. So it shows a prefix of its key's changes that ends between X and E. `touched` names the key of every change up to E that is
 * outside of V, or at or above X; of any other key all changes are in V and below X, and the prefix is V's. What is named is whole for
 * the reasons at the head of align.ts: the copied slot streams all commits from its start C on, what lies between X and C comes from the
 * raw log, and a transaction below C that S does not see is named by settle.ts. Of a key that was touched nothing is said: it is looked at
 * again under a later S.
 *
 * Redis must have been one life of one server: another run id, another generation or a position that fell back void all of it, and so does
 * a table that was emptied or copied again meanwhile, where it seemed to differ.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import type { RedisAddress } from '#schemas/config/migration-file.ts';
import { PipelineError } from '#schemas/errors.ts';
import { formatLsn, maxLsn, parseLsn, type Lsn } from '#schemas/lsn.ts';
import { tableId } from '#schemas/mapping/compiled-mapping.ts';
import type { Inconclusive } from '#schemas/reconcile/verify-result.ts';
import { guarded } from '#schemas/test-hooks.ts';
import { queryRow } from '#connectors/postgres/session.ts';
import { HeldSnapshot, openSession } from '#connectors/probe/postgres/held-snapshot.ts';
import { horizon } from '#connectors/probe/postgres/settle.ts';
import { readShapes, type Shape } from '#connectors/probe/postgres/shape.ts';
import { openWindow, slotIsActive, type StreamWindow } from '#connectors/probe/postgres/stream-window.ts';
import { publishedRelations } from '#connectors/probe/postgres/target-state.ts';
import type { TableProbe } from '#connectors/probe/postgres/table-scan.ts';
import { livesOf, openStore, type StoreClient } from '#connectors/probe/redis/connection.ts';
import { readStoreState, type StoredTable, type StoreState } from '#connectors/probe/redis/store-state.ts';
import { collectChanges, leavesOf, markPosition, requirePrimary, requireSameHistory, requireSameServer, streamedSince } from '../align.ts';
import { ChangeCollector, type CollectedTable, type TableChanges } from '../change-collector.ts';
import type { VerifyLimits } from '../limits.ts';
import type { OpenRawLog } from '../log-gap.ts';
import { Settler } from '../settler.ts';
import { isVisible, parseVisibility } from '../visibility.ts';

export interface StoreAlignOptions {
  readonly sourceUrl: string;
  readonly address: RedisAddress;
  readonly name: string;
  readonly slot: string;
  readonly publication: string;
  readonly limits: VerifyLimits;
  readonly log?: OpenRawLog | undefined;
  /** Told how long Redis, or transactions of the source, were waited for. */
  readonly onWaited?: ((milliseconds: number) => void) | undefined;
  readonly signal: AbortSignal;
}

export interface HeldTable {
  readonly probe: TableProbe;
  readonly shape: Shape;
}

/** Of one table: what may not be judged. */
export interface Touched {
  /** Source keys, as JSON of their texts. */
  readonly keys: ReadonlySet<string>;
  /** Nothing of the table may be judged. */
  readonly voided?: Inconclusive | undefined;
  /** No row that seems to differ may be judged. */
  readonly copied: boolean;
}

export interface StoreAlignment extends AsyncDisposable {
  readonly source: HeldSnapshot;
  readonly store: StoreClient;
  /** A session of no snapshot. */
  readonly present: pg.ClientBase;
  /** A position of the source that S has. */
  readonly lsn: Lsn;
  /** Whether an instance brings the target forward. */
  readonly active: boolean;
  readonly generation: string;
  readonly tables: readonly HeldTable[];
  readonly refused: ReadonlyMap<TableProbe, Inconclusive>;
  /** To be asked when the last row was read. */
  touched(): Promise<ReadonlyMap<TableProbe, Touched>>;
}

type Running = StoreState & { readonly applied: Lsn };

/** @throws PipelineError when the servers cannot serve any table; CF-6002 with `applied` where Redis lags. */
export async function alignStore(options: StoreAlignOptions, probes: readonly TableProbe[]): Promise<StoreAlignment> {
  const { name, limits, signal } = options;
  await using stack = new AsyncDisposableStack();
  const session = async (): Promise<pg.Client> =>
    stack.adopt(await openSession(options.sourceUrl, 'source'), (client) => client.end().catch(() => undefined));
  const store = stack.adopt(await openStore(options.address), (client) => client.disconnect());
  const lives = await livesOf(store);
  requireConsistent(name, await readStoreState(store, name));
  const [present, stream] = [await session(), await session()];
  await requirePrimary(stream);

  const window = await openWindow(stream, options.slot);
  const limit = await horizon(stream);
  const settler = new Settler(present, limit, await leavesOf(present, probes));
  const settlesFrom = performance.now();
  await settler.wait(limits.settleMs, signal);
  options.onWaited?.(performance.now() - settlesFrom);

  const source = stack.use(await HeldSnapshot.take(options.sourceUrl, 'source'));
  for (const client of [stream, present]) await requireSameServer(client, source);
  const after = await markPosition(stream, name);
  const waitsFrom = performance.now();
  const state = await waitPassed(options, { stream, store, after, window });
  options.onWaited?.(performance.now() - waitsFrom);
  await requireSameHistory(stream, state);
  const { tables, refused } = await hold(options, probes, { source, state });
  const kept = stack.move();
  const touched = new TouchedKeys(options, { stream, window, settler, after, state, lives, store, source, tables });
  return {
    source,
    store,
    present,
    lsn: after,
    active: window.active,
    generation: state.generation,
    tables,
    refused,
    touched: () => touched.ask(),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

function requireConsistent(name: string, state: StoreState | undefined): Running {
  if (!state) throw new PipelineError('CF-6002', `Redis knows no migration ${name}: crossfade up has not run`);
  const { applied } = state;
  if (state.mode === 'consistent' && applied !== undefined) return { ...state, applied };
  throw new PipelineError('CF-6002', 'Redis does not hold the whole source yet: the copy is not complete');
}

const POLL_MS_MAX = 16;

interface Reach {
  readonly stream: pg.ClientBase;
  readonly store: StoreClient;
  readonly after: Lsn;
  readonly window: StreamWindow;
}

/** While an instance runs: until Redis has all that S has. When none runs it stands still, and is taken as it is. */
async function waitPassed(options: StoreAlignOptions, { stream, store, after, window }: Reach): Promise<Running> {
  const deadline = performance.now() + options.limits.waitMs;
  for (let pauseMs = 1; ; pauseMs = Math.min(2 * pauseMs, POLL_MS_MAX)) {
    const state = requireConsistent(options.name, await readStoreState(store, options.name));
    if (state.applied >= after) return state;
    if (!window.active || (pauseMs === POLL_MS_MAX && !(await slotIsActive(stream, options.slot)))) return state;
    if (performance.now() > deadline)
      throw new PipelineError('CF-6002', 'Redis is too far behind the source: verify again when it has caught up', {
        details: { applied: formatLsn(state.applied) },
      });
    await delay(pauseMs, undefined, { signal: options.signal });
  }
}

interface Held {
  readonly source: HeldSnapshot;
  readonly state: Running;
}

async function hold(
  { publication }: StoreAlignOptions,
  probes: readonly TableProbe[],
  { source, state }: Held,
): Promise<{ tables: HeldTable[]; refused: Map<TableProbe, Inconclusive> }> {
  const names = probes.map(({ mapping }) => mapping.from);
  const shapes = await readShapes(source.client, names);
  const published = await publishedRelations(source.client, publication);
  const tables: HeldTable[] = [];
  const refused = new Map<TableProbe, Inconclusive>();
  for (const [i, probe] of probes.entries()) {
    const [shape, stored] = [shapes[i], state.tables.get(tableId(probe.mapping.from))];
    const why = reasonAgainst(shape, stored, published);
    if (why !== undefined) refused.set(probe, why);
    else tables.push({ probe, shape: shape! });
  }
  return { tables, refused };
}

function reasonAgainst(
  shape: Shape | undefined,
  stored: StoredTable | undefined,
  published: ReadonlySet<number>,
): Inconclusive | undefined {
  if (stored === undefined) return { cause: 'copying', message: 'the table is not part of the running migration yet' };
  if (stored.state === 'held') return { cause: 'held', message: stored.error ?? 'the table is held' };
  if (stored.state !== 'following') return { cause: 'copying', message: `the table is ${stored.state}` };
  if (!shape) return { cause: 'changed', message: 'the table does not exist on the source' };
  if (published.has(shape.oid) || shape.leaves.every((leaf) => published.has(leaf))) return undefined;
  return { cause: 'copying', message: 'the table or one of its partitions is not in the publication yet' };
}

interface Parts extends Reach, Held {
  readonly settler: Settler;
  readonly lives: string;
  readonly tables: readonly HeldTable[];
}

class TouchedKeys {
  readonly #options: StoreAlignOptions;
  readonly #parts: Parts;

  constructor(options: StoreAlignOptions, parts: Parts) {
    this.#options = options;
    this.#parts = parts;
  }

  async ask(): Promise<ReadonlyMap<TableProbe, Touched>> {
    const { stream, store, source, tables, lives, state } = this.#parts;
    const end = await queryRow(stream, 'SELECT pg_current_wal_flush_lsn()::text AS lsn');
    const { name } = this.#options;
    const now = requireConsistent(name, await readStoreState(store, name));
    const isSame = (await livesOf(store)) === lives && now.generation === state.generation && now.applied >= state.applied;
    await source.stillHeld();
    const voided: Inconclusive | undefined = isSame
      ? undefined
      : { cause: 'changed', message: 'Redis was restarted, failed over or filled anew while it was compared' };
    const changes = await this.#changesTo(parseLsn(end!['lsn']!));
    const unsettled = changes.unsettled;
    return new Map(
      tables.map(({ probe, shape }, i) => {
        const collected = changes.tables[i]!;
        const hidden = [shape.oid, ...shape.leaves].map((oid) => unsettled.get(oid)).find((one) => one !== undefined);
        const id = tableId(probe.mapping.from);
        const [before, later] = [state.tables.get(id), now.tables.get(id)];
        return [
          probe,
          {
            keys: new Set(keysIn(collected)),
            voided: voided ?? collected.voided ?? (hidden === undefined ? undefined : { cause: 'in-flight', message: hidden }),
            copied: later?.state !== 'following' || later.copies !== before?.copies,
          },
        ] as const;
      }),
    );
  }

  async #changesTo(end: Lsn): Promise<{ tables: readonly TableChanges[]; unsettled: ReadonlyMap<number, string> }> {
    const options = this.#options;
    const { stream, window, settler, after, state, source, tables } = this.#parts;
    const { applied } = state;
    const collected = tables.map(({ probe, shape }): CollectedTable => ({
      relations: [shape.oid, ...shape.leaves],
      // Only the keys: what a row became is read later, not folded.
      sourceColumns: probe.mapping.sourceKey,
      from: probe.mapping.from,
      changes: { ahead: [], behind: [] },
    }));
    const visibility = parseVisibility(source.triple);
    const seen = new Set<bigint>();
    const classify = ({ xid, commitLsn }: { readonly xid: number; readonly commitLsn: Lsn }): 'ahead' | undefined => {
      seen.add(BigInt(xid));
      if (!guarded('verify-changes')) return undefined;
      return commitLsn < applied && isVisible(visibility, xid) ? undefined : 'ahead';
    };
    const collector = new ChangeCollector(collected, classify, options.limits);
    const upTo = maxLsn(end, after);
    await collectChanges(collector, collected, { options, stream, window, applied, upTo, logOffset: state.logOffset });
    const unsettled = await settler.remaining(seen, () => streamedSince(stream, window, options));
    return { tables: collected.map(({ changes }) => changes), unsettled };
  }
}

function* keysIn({ ahead }: TableChanges): Generator<string> {
  for (const change of ahead) {
    if (change.kind === 'delete') yield JSON.stringify(change.old);
    else if (change.kind === 'insert' || change.old === undefined) yield JSON.stringify(change.next);
    else {
      const { old } = change;
      yield JSON.stringify(old);
      yield JSON.stringify(change.next.map((value, i) => (value === undefined ? old[i] : value)));
    }
  }
}
