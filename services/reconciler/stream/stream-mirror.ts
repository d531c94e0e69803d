/**
 * What the raw log, mapped, makes of each table, kept beside the running pipeline and held against source and target. Guarantee: `compareTarget`
 * and `compareSource` compare one snapshot with exactly the state of the log that it shows, whatever lag and load; it takes nothing from the
 * sink (its cursor, its reading of transactions and its positions are its own), changes nothing, and what becomes of it ends nobody else.
 *
 * Target: rows and position commit together, so a snapshot T shows the fold of the commits below the applied LSN read in T. The log is read to
 * where it ended when T was taken, which lies behind all that T can show; transactions at or above that LSN are taken back.
 * Source: a snapshot S sees the transactions that `pg_current_snapshot` says, never "all below an LSN". The log is read to a marker written
 * after S, behind all that S sees; transactions that S does not see are taken back. On one key these are its last ones: who wrote after an
 * invisible transaction waited for its row lock, and is invisible too.
 * The state runs ahead with the log, so nothing waits for the slowest, and both comparisons need one state (change-ring.ts).
 */
import { randomUUID } from 'node:crypto';
import { setImmediate as breathe, setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import { messageOf } from '#schemas/errors.ts';
import { MESSAGE_PREFIX } from '#schemas/frame/frame.ts';
import type { Lsn } from '#schemas/lsn.ts';
import { bySource, type CompiledMapping, type Pair, pairId, tableId, type TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { RowDigester } from '#schemas/reconcile/row-digester.ts';
import { typeParts } from '#schemas/reconcile/type-parts.ts';
import type { CatalogType } from '#schemas/table.ts';
import type { Cursor, Offset, Topic } from '#connectors/change-log/change-log.ts';
import { queryRow } from '#connectors/postgres/session.ts';
import { openSession } from '#connectors/probe/postgres/held-snapshot.ts';
import { agreeOnDigest } from '#connectors/probe/postgres/platform.ts';
import type { DigestPlan } from '#connectors/probe/postgres/row-sql.ts';
import { knownTypes, readTableStates, readTargetState, typesOf } from '#connectors/probe/postgres/target-state.ts';
import { tableProbe, type Texts } from '#connectors/probe/postgres/table-scan.ts';
import type { Logger } from '#services/runtime/service.ts';
import { forEachRecord } from '#services/runtime/records.ts';
import { relationsBelow } from '../log-relations.ts';
import { isVisible, parseVisibility, type Visibility } from '../visibility.ts';
import { compareWithSource, compareWithTarget, type ComparedStores } from './compare-stores.ts';
import { ChangeRing } from './change-ring.ts';
import { fillTables } from './fill.ts';
import { LogReading } from './log-reading.ts';
import { LogWaiters } from './log-waiters.ts';
import { MIRROR_LIMITS, type MirrorLimits } from './mirror-limits.ts';
import type { MirrorVerdict } from './mirror-verdict.ts';
import { keepable, type Keepable } from './mirrored-tables.ts';
import { lanesOf, TableMirror } from './table-mirror.ts';

export interface MirrorOptions {
  readonly name: string;
  readonly sourceUrl: string;
  readonly targetUrl: string;
  readonly mapping: CompiledMapping;
  /** The source's own types. */
  readonly types: readonly CatalogType[];
  readonly raw: Topic;
  readonly progress: Topic;
  readonly logger: Logger;
  /** Indexes in a table's columns of those whose sums are kept besides; absent: of none. */
  readonly summed?: (table: TableMapping) => readonly number[];
  readonly limits?: Partial<MirrorLimits>;
}

/** Which tables; all when absent. */
export type Chosen = (table: TableMapping) => boolean;

/** The lanes of a row's digest, as the SQL of `plan` has them. */
export type KeptDigest = { readonly a: bigint; readonly b: bigint } | 'no row' | 'not known';

const RESTART_MS = 5_000;

export class StreamMirror {
  /** With which digests are made: whoever digests a row by it can hold it against `digestOf`. */
  readonly plan: DigestPlan;
  readonly #options: MirrorOptions;
  readonly #limits: MirrorLimits;
  readonly #refused: readonly (Keepable & { readonly kind: 'refused' })[];
  readonly #tables: readonly TableMirror[];
  readonly #ring: ChangeRing<TableMirror>;
  readonly #waiters = new LogWaiters();
  #reading: LogReading | undefined;
  #cursor: Cursor | undefined;
  #present: { readonly source: pg.Client; readonly target: pg.Client } | undefined;
  /** Comparisons under way: nothing that they may have to take back is let go. */
  #pins = 0;
  #tendAtMs = 0;
  #fillAtMs = 0;

  private constructor(options: MirrorOptions, plan: DigestPlan, known: (type: string) => boolean, tables: readonly Keepable[]) {
    this.plan = plan;
    this.#options = options;
    this.#limits = { ...MIRROR_LIMITS, ...options.limits };
    this.#refused = tables.filter((table) => table.kind === 'refused');
    this.#ring = new ChangeRing(this.#limits.changesMax, (table, transaction) => table.cannotGoBackOver(transaction));
    const digester = new RowDigester(plan.secrets);
    this.#tables = tables.flatMap((table) => {
      if (table.kind !== 'kept') return [];
      const { mapping, forms } = table;
      return [new TableMirror({ probe: tableProbe(mapping, known), forms, digester, summed: options.summed?.(mapping) ?? [] }, this.#ring)];
    });
  }

  /** Both servers are asked how they compute digests. @throws PipelineError CF-6004 when they do not */
  static async open(options: MirrorOptions): Promise<StreamMirror> {
    await using stack = new AsyncDisposableStack();
    const end = (client: pg.Client): pg.Client => stack.adopt(client, (open) => open.end().catch(() => undefined));
    const source = end(await openSession(options.sourceUrl, 'source'));
    const target = end(await openSession(options.targetUrl, 'target'));
    const plan = await agreeOnDigest(source, target);
    const version = Math.floor(Number((await queryRow(source, `SELECT current_setting('server_version_num') AS n`))!['n']) / VERSION_PARTS);
    const types = options.mapping.tables.flatMap(typesOf);
    const known = await knownTypes(source, [...new Set(types)]);
    const tables = keepable(options.mapping, { version, parts: typeParts(options.types) });
    return new StreamMirror(options, plan, (type) => known.has(type), tables);
  }

  /** Reads the log until the signal; a failure voids what is known, and it begins anew. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        await this.#follow(signal);
      } catch (error) {
        if (signal.aborted) return;
        this.#options.logger.warn({ error: messageOf(error) }, 'the mirror of the log begins anew');
        for (const table of this.#tables) table.void('changed', 'reading the log was interrupted');
        await delay(RESTART_MS, undefined, { signal }).catch(() => undefined);
      } finally {
        await this.#leave();
      }
    }
  }

  /** mapped log ≡ target, table by table. */
  async compareTarget(chosen?: Chosen): Promise<readonly MirrorVerdict[]> {
    return this.#pinned(async () => compareWithTarget(this.#stores(chosen)));
  }

  /** source ≡ log, table by table. */
  async compareSource(chosen?: Chosen): Promise<readonly MirrorVerdict[]> {
    return this.#pinned(async () => compareWithSource(this.#stores(chosen)));
  }

  /** What the log, as far as it was read, makes of the row with this source key. */
  digestOf(pair: Pair, sourceKey: Texts): KeptDigest {
    const table = this.#tables.find(({ probe }) => pairId(probe.mapping) === pairId(pair));
    if (table === undefined || table.reason !== undefined) return 'not known';
    const state = table.now(table.texts.key(sourceKey));
    if (state === undefined) return 'no row';
    if ('open' in state) return 'not known';
    const [a, b] = lanesOf(state.lanes);
    return { a, b };
  }

  /** LSN of the last commit read. */
  get readLsn(): Lsn | undefined {
    return this.#reading?.scan.last;
  }

  async #pinned<T>(work: () => Promise<T>): Promise<T> {
    this.#pins++;
    try {
      return await work();
    } finally {
      this.#pins--;
    }
  }

  #stores(chosen: Chosen = () => true): ComparedStores {
    const { name, sourceUrl, targetUrl, raw } = this.#options;
    return {
      name,
      sourceUrl,
      targetUrl,
      plan: this.plan,
      limits: this.#limits,
      tables: this.#tables.filter(({ probe }) => chosen(probe.mapping)),
      refused: this.#refused.filter(({ mapping }) => chosen(mapping)),
      isReading: () => this.#waiters.isReading,
      readToEnd: async () => this.#waiters.reached(raw.end(0), this.#limits.waitMs),
      readToMarker: async (write) => {
        const id = `mirror-${randomUUID()}`;
        const marker = JSON.stringify({ kind: 'marker', name, id });
        return this.#waiters.marker(id, async () => write(MESSAGE_PREFIX, marker), this.#limits.waitMs);
      },
    };
  }

  async #follow(signal: AbortSignal): Promise<void> {
    const { name, raw, progress } = this.#options;
    const begin: Offset = raw.end(0);
    this.#cursor = raw.read(0, begin);
    const tables = bySource(this.#tables.map((table) => ({ from: table.probe.mapping.from, table })));
    const reading = new LogReading({
      name,
      ring: this.#ring,
      tables: new Map([...tables].map(([id, group]) => [id, group.map(({ table }) => table)])),
      onMarker: (id) => this.#waiters.sawMarker(id),
    });
    this.#reading = reading;
    for (const frame of await relationsBelow(progress, begin)) reading.onRelation(frame);
    this.#waiters.position(begin);
    while (!signal.aborted) {
      await this.#tend(reading, signal);
      const tick = AbortSignal.timeout(this.#limits.tendMs);
      const batch = await this.#cursor.next(AbortSignal.any([signal, tick]));
      if (batch === undefined) {
        if (!tick.aborted) return;
        continue;
      }
      forEachRecord(batch, begin, (frame) => reading.scan.take(frame));
      this.#waiters.position(batch.baseOffset + batch.count);
      await breathe();
    }
  }

  /** Now and then; a server that is away takes nothing from what is known. */
  async #tend(reading: LogReading, signal: AbortSignal): Promise<void> {
    if (performance.now() < this.#tendAtMs) return;
    let pauseMs = this.#limits.tendMs;
    try {
      this.#present ??= await this.#openSessions();
      await this.#lookAround(reading, signal);
    } catch (error) {
      if (signal.aborted) throw error;
      this.#options.logger.warn({ error: messageOf(error) }, 'the mirror of the log could not look at source and target');
      await this.#closeSessions();
      pauseMs = RESTART_MS;
    }
    this.#tendAtMs = performance.now() + pauseMs;
  }

  /** What is not needed any more is let go, and tables that are not kept yet are filled. */
  async #lookAround(reading: LogReading, signal: AbortSignal): Promise<void> {
    const { source, target } = this.#present!;
    const row = await queryRow(source, 'SELECT pg_current_snapshot()::text AS triple');
    const snapshot = parseVisibility(row!['triple']!);
    const state = await readTargetState(target, this.#options.name);
    if (state?.applied !== undefined && this.#pins === 0) this.#prune(snapshot, state.applied);
    if (state?.mode === 'consistent') await this.#fill(reading, signal);
  }

  /** What is visible now, and applied, is so in every later snapshot. */
  #prune(snapshot: Visibility, applied: Lsn): void {
    this.#ring.prune(({ xid, commitLsn }) => commitLsn < applied && isVisible(snapshot, xid));
  }

  async #fill(reading: LogReading, signal: AbortSignal): Promise<void> {
    const wanted = this.#tables.filter((table) => table.isWanted);
    if (wanted.length === 0 || performance.now() < this.#fillAtMs) return;
    const { source, target } = this.#present!;
    const states = await readTableStates(target, this.#options.name);
    const following = new Set(states.filter(({ state }) => state === 'following').map(pairId));
    const ready = wanted.filter(({ probe }) => following.has(pairId(probe.mapping)));
    if (ready.length === 0) return;
    const rowsKept = (): number => this.#tables.reduce((sum, { size }) => sum + size, 0);
    const { plan } = this;
    await fillTables(ready, { rowsKept, sourceUrl: this.#options.sourceUrl, present: source, plan, limits: this.#limits, signal });
    this.#fillAtMs = performance.now() + this.#limits.refillMs;
    for (const table of ready) if (table.reason === undefined) reading.introduce(table);
    const kept = ready.filter(({ reason }) => reason === undefined).map(({ probe }) => tableId(probe.mapping.from));
    if (kept.length > 0) this.#options.logger.debug({ tables: kept.length }, 'digests of the log are kept');
  }

  async #leave(): Promise<void> {
    this.#reading = undefined;
    this.#waiters.stop();
    await this.#cursor?.close();
    this.#cursor = undefined;
    await this.#closeSessions();
  }

  async #openSessions(): Promise<{ readonly source: pg.Client; readonly target: pg.Client }> {
    const source = await openSession(this.#options.sourceUrl, 'source');
    try {
      return { source, target: await openSession(this.#options.targetUrl, 'target') };
    } catch (error) {
      await source.end().catch(() => undefined);
      throw error;
    }
  }

  async #closeSessions(): Promise<void> {
    const present = this.#present;
    this.#present = undefined;
    await Promise.all([present?.source.end().catch(() => undefined), present?.target.end().catch(() => undefined)]);
  }
}

/** `server_version_num` is the major version and four digits. */
const VERSION_PARTS = 10_000;
