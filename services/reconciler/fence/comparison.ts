/**
 * The tables of one comparison at the fence, and what is left to be compared of them. Guarantee: a key is let go only by a proof that is newer than its
 * last change (fence-compare.ts, 2); what cannot be judged is inconclusive, with the reason.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { PipelineError } from '#schemas/errors.ts';
import { formatLsn, maxLsn, parseLsn, type Lsn } from '#schemas/lsn.ts';
import { keepsUnmarked } from '#schemas/mapping/kept-rows.ts';
import type { CompiledMapping, RowFilter, TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import type { Inconclusive, TableVerdict, VerifyResult } from '#schemas/reconcile/verify-result.ts';
import { guarded } from '#schemas/test-hooks.ts';
import type { FollowedSlot } from '#connectors/probe/postgres/followed-slot.ts';
import type { DigestPlan } from '#connectors/probe/postgres/row-sql.ts';
import { readHeldKeys } from '#connectors/probe/postgres/target-state.ts';
import type { Logger } from '#services/runtime/service.ts';
import { markPosition, stateReason } from '../align.ts';
import { Tally, verdictOf, verdictWithout } from '../compare-table.ts';
import type { AskLogReach, OpenRawLog } from '../log-gap.ts';
import { serverReason } from '../server-reason.ts';
import { verifyMigration } from '../verify.ts';
import { isVisible } from '../visibility.ts';
import type { FenceLimits } from './fence-limits.ts';
import type { FenceTable } from './fence-table.ts';
import { judgeKeys, type JudgedKeys } from './judge-keys.ts';
import type { Lane, Look } from './lane.ts';
import type { Touch } from './touches.ts';
import { compareWhole, fitsFence } from './whole-at-fence.ts';

export interface ComparisonOptions {
  readonly file: MigrationFile;
  readonly mapping: CompiledMapping;
  readonly logger: Logger;
  readonly targetRows?: (table: TableMapping) => RowFilter | undefined;
  readonly log?: OpenRawLog;
  readonly logReach?: AskLogReach;
  readonly sourceUrl: string;
  readonly targetUrl: string;
  readonly limits: FenceLimits;
  readonly plan: DigestPlan;
  readonly signal: AbortSignal;
}

export interface ComparisonParts {
  readonly followed: FollowedSlot;
  readonly tables: readonly FenceTable[];
  readonly lanes: readonly Lane[];
  /** A session with the source, in no transaction. */
  readonly present: pg.ClientBase;
}

/** What the last comparison at the fence has to say. */
export interface FenceResult extends VerifyResult {
  /** How many keys were compared. */
  readonly keys: number;
  readonly milliseconds: number;
}

export interface FenceMoment {
  readonly marker: Lsn;
  /** The fence's own session, in its transaction, where it lets nobody else read the source's tables. */
  readonly source?: pg.Client;
}

type Named = readonly [key: string, touch: Touch];

export class Comparison {
  readonly #options: ComparisonOptions;
  readonly #parts: ComparisonParts;

  constructor(options: ComparisonOptions, parts: ComparisonParts) {
    this.#options = options;
    this.#parts = parts;
  }

  get keys(): number {
    return this.#parts.tables.reduce((sum, { touches }) => sum + touches.keys.size, 0);
  }

  beforehand(): { readonly to: string; readonly message: string }[] {
    return this.#parts.tables.flatMap((table) => {
      const { probe, rows } = table;
      if (probe.key.length > 0 || fitsFence(table, this.#options.limits)) return [];
      const { schema, name } = probe.mapping.to;
      return [
        {
          to: `${schema}.${name}`,
          message: `it has no key and ${rows} rows, too many to be compared at the fence: where one of them changes shortly before, nothing is said of it`,
        },
      ];
    });
  }

  /** All tables whole; what changes meanwhile is compared beside it again and again, so that little is left. */
  async compareAll(): Promise<VerifyResult> {
    const done = new AbortController();
    const verified = this.#verify(this.#parts.tables).finally(() => done.abort());
    const beside = this.#refreshUntil(AbortSignal.any([done.signal, this.#options.signal]));
    const [result, refreshed] = await Promise.allSettled([verified, beside]);
    if (result.status === 'rejected') throw result.reason;
    if (refreshed.status === 'rejected') throw refreshed.reason;
    return result.value;
  }

  async #refreshUntil(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await delay(this.#options.limits.refreshEveryMs, undefined, { signal }).catch(() => undefined);
      if (!signal.aborted) await this.#refreshKeys();
    }
  }

  /** @throws PipelineError CF-6030 when the tracker is lost. */
  async refresh(): Promise<void> {
    const whole = this.#parts.tables.filter(({ touches, refused }) => touches.whole !== undefined && refused === undefined);
    if (whole.length > 0) {
      for (const { touches } of whole) touches.collectAgain();
      await this.#verify(whole);
    }
    await this.#refreshKeys();
  }

  async #verify(tables: readonly FenceTable[]): Promise<VerifyResult> {
    const { file, mapping, logger, signal, sourceUrl, targetUrl, targetRows, log, logReach } = this.#options;
    const { name } = file;
    const asked = new Set(tables.map(({ probe }) => probe.mapping));
    const result = await verifyMigration({
      sourceUrl,
      targetUrl,
      mapping,
      name,
      slot: name,
      publication: name,
      logger,
      signal,
      ...(targetRows && { targetRows }),
      ...(log && { log }),
      ...(logReach && { logReach }),
      tables: (table) => asked.has(table),
    });
    // In the order of the mapping, both.
    for (const [i, verdict] of result.tables.entries())
      tables[i]!.comparedWhole(verdict, verdict.lsn === null ? undefined : parseLsn(verdict.lsn));
    return result;
  }

  async #refreshKeys(): Promise<void> {
    const { lanes, tables, followed } = this.#parts;
    const work = share(
      tables.filter(({ touches, refused }) => touches.keys.size > 0 && refused === undefined),
      lanes.length,
    );
    await Promise.all(
      lanes.map(async (lane, i) => {
        const own = work[i]!;
        if (own.length > 0) await lane.look({ tables: own, lock: own }, async (look) => this.#prove(own, look));
      }),
    );
    if (followed.lost !== undefined) throw this.#lost();
  }

  async #prove(tables: readonly FenceTable[], look: Look): Promise<void> {
    const { followed, present } = this.#parts;
    const { limits, file } = this.#options;
    // What the snapshot shows is flushed with it.
    await markPosition(present, file.name);
    if (!(await followed.reached(maxLsn(look.written, look.applied), limits.reachMs))) throw this.#lost();
    for (const table of tables) {
      if (stateReason(look.states, table.probe.mapping) !== undefined) continue;
      const quiet = [...table.touches.keys].filter(([, touch]) => isQuiet(touch, look));
      if (quiet.length > 0) await this.#judge(table, quiet, look);
    }
  }

  /** Rows of the same state on both sides. @returns what differs. */
  async #judge(table: FenceTable, keys: readonly Named[], look: Look): Promise<JudgedKeys> {
    const judged = await judgeKeys(
      look.scans(table),
      keys.map(([key]) => key),
    );
    const { mapping } = table.probe;
    const keeps = keepsUnmarked(mapping);
    const differ = new Set(
      judged.differences.filter(({ kind }) => !(keeps && kind === 'extra')).map(({ sourceKey }) => JSON.stringify(sourceKey)),
    );
    for (const [key, touch] of keys) if (!differ.has(key)) table.touches.proved(key, touch);
    return judged;
  }

  async finish({ marker, source }: FenceMoment): Promise<FenceResult> {
    const { lanes, tables, followed } = this.#parts;
    const startedAtMs = performance.now();
    const verdicts = new Map<FenceTable, TableVerdict>();
    if (await followed.reached(marker, this.#options.limits.reachMs)) {
      const work = share(tables, lanes.length);
      await Promise.all(lanes.map(async (lane, i) => this.#finishLane(lane, work[i]!, { marker, verdicts, ...(source && { source }) })));
    }
    const lost: Inconclusive = { cause: 'changed', message: `what has changed is not known any more: ${this.#whyLost()}` };
    const ordered = tables.map((table) => verdicts.get(table) ?? verdictWithout(table.probe, lost));
    return {
      at: { lsn: formatLsn(marker) },
      tables: ordered,
      differences: ordered.reduce((sum, { missing, extra, different }) => sum + missing + extra + different, 0),
      inconclusive: ordered.filter(({ inconclusive }) => inconclusive !== undefined).length,
      keys: ordered.reduce((sum, { keys = 0 }) => sum + keys, 0),
      milliseconds: Math.round(performance.now() - startedAtMs),
    };
  }

  async #finishLane(lane: Lane, tables: readonly FenceTable[], { marker, verdicts, source }: Finishing): Promise<void> {
    const open = (some: readonly FenceTable[], reason: Inconclusive): void => {
      for (const table of some) verdicts.set(table, verdictWithout(table.probe, reason));
    };
    // Of the others nothing is read but what they are.
    const lock = tables.filter(({ touches }) => touches.keys.size > 0 || touches.whole !== undefined);
    try {
      await lane.look({ tables, lock, ...(source && { source }) }, async (look) => {
        if (look.applied < marker) {
          return open(tables, { cause: 'lag', message: `the target shows ${formatLsn(look.applied)} only, not yet ${formatLsn(marker)}` });
        }
        const whole: FenceTable[] = [];
        for (const table of tables) {
          const reason = table.refused ?? stateReason(look.states, table.probe.mapping);
          if (reason !== undefined) open([table], reason);
          else if (table.touches.whole !== undefined) whole.push(table);
          else verdicts.set(table, await this.#finishTable(table, look, marker));
        }
        const { file, limits } = this.#options;
        for (const table of whole)
          verdicts.set(table, await compareWhole(table, { name: file.name, limits, scans: look.scans(table), at: marker }));
      });
    } catch (error) {
      const reason = reasonOf(error);
      open(
        tables.filter((table) => !verdicts.has(table)),
        reason,
      );
    }
  }

  async #finishTable(table: FenceTable, look: Look, marker: Lsn): Promise<TableVerdict> {
    const { probe } = table;
    const keys = guarded('fence-touched') ? [...table.touches.keys] : [];
    const { differences, rowsSource, rowsTarget } = await this.#judge(table, keys, look);
    const { file, limits } = this.#options;
    const target = look.scans(table).target.client;
    const held = differences.length === 0 ? new Set<string>() : await readHeldKeys(target, file.name, probe.mapping);
    const tally = new Tally(limits.samples, { probe, held });
    for (const one of differences) tally.add(one, 1);
    return { ...verdictOf(probe, tally), rowsSource, rowsTarget, lsn: formatLsn(marker), keys: keys.length };
  }

  #whyLost(): string {
    return this.#parts.followed.lost ?? 'the stream does not get on';
  }

  #lost(): PipelineError {
    return new PipelineError('CF-6030', `the stream that tells what has changed is lost: ${this.#whyLost()}`);
  }
}

interface Finishing extends FenceMoment {
  readonly verdicts: Map<FenceTable, TableVerdict>;
}

/** @throws what is neither a server's nor the target's state. */
function reasonOf(error: unknown): Inconclusive {
  if (error instanceof PipelineError && error.code === 'CF-6002') return { cause: 'copying', message: error.message };
  const reason = serverReason(error);
  if (!reason) throw error;
  return reason;
}

/** Every touch of the key is shown by both snapshots: its last one is, and no later one is in either. */
function isQuiet({ xid, lsn }: Touch, { source, applied }: Look): boolean {
  return lsn < applied && (xid === undefined || isVisible(source, xid));
}

/** A row is read by its key in the time in which a scan reads this many. */
const SCANNED_PER_KEY = 10;

function effort({ touches, rows }: FenceTable): number {
  return 1 + touches.keys.size + (touches.whole === undefined ? 0 : rows / SCANNED_PER_KEY);
}

/** About the same effort for each. */
function share(tables: readonly FenceTable[], parts: number): FenceTable[][] {
  const shares = Array.from({ length: parts }, () => ({ tables: [] as FenceTable[], effort: 0 }));
  for (const table of tables.toSorted((one, other) => effort(other) - effort(one))) {
    const least = shares.reduce((one, other) => (other.effort < one.effort ? other : one));
    least.tables.push(table);
    least.effort += effort(table);
  }
  return shares.map((one) => one.tables);
}
