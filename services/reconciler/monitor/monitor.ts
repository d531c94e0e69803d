/**
 * Source and target compared part by part for as long as an instance runs. Guarantee: what is told as proved was equal when it was
 * last compared, and what has changed since is compared again; whatever a comparison meets, the pipeline beside it goes on.
 *
 * It judges nothing by itself: each verdict is one of `compare` (verify.ts), exact under any lag. Which part is looked at when is a matter of
 * time only. A kill loses the coverage, which is then proved anew, and what the round under way found, which the next one finds again: `status`
 * counts a finding once it is written down, or could not be.
 */
import { performance } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import { messageOf } from '#schemas/errors.ts';
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import type { ComparisonRecord } from '#schemas/reconcile/comparison-record.ts';
import { driftByCause } from '#schemas/reconcile/drift-cause.ts';
import type { DriftFinding } from '#schemas/reconcile/drift-finding.ts';
import type { TableVerdict, VerifyResult } from '#schemas/reconcile/verify-result.ts';
import type { RecopyRequest } from '#schemas/recopy.ts';
import type { ReconciliationStatus } from '#schemas/status/reconciliation-status.ts';
import type { Logger } from '#services/runtime/service.ts';
import { Allowance, type RoundTime } from './allowance.ts';
import type { CheckRounds } from './check-rounds.ts';
import { FindingBook } from './finding-book.ts';
import type { KeyRange } from '#schemas/reconcile/key-range.ts';
import { MonitoredTables, type PartOf } from './monitored-tables.ts';
import { recordOf } from './record-of.ts';
import { tableName } from './table-name.ts';
import type { TouchedKeys } from './touched-keys.ts';
import { dueParts, roundSize, type RoundWork } from './schedule.ts';
import { unlessStopped } from './unless-stopped.ts';

export interface MonitorSettings {
  /** Share of the time that comparing may take: 0 to 1. */
  readonly budget: number;
  readonly startAfterMs: number;
  readonly sweepMs: number;
}

/** Where findings and comparisons are kept. */
export interface MonitorRecord {
  open(): Promise<readonly DriftFinding[]>;
  save(findings: readonly DriftFinding[], comparisons: readonly ComparisonRecord[]): Promise<void>;
}

export interface MonitorOptions {
  readonly tables: readonly TableMapping[];
  /** `onWaited` is told how long nothing was done but waiting for the target, or for transactions of the source. */
  readonly compare: (parts: readonly PartOf[], signal: AbortSignal, onWaited: (milliseconds: number) => void) => Promise<VerifyResult>;
  /** The target shows one source state. */
  readonly isFollowing: () => boolean;
  /** The side that applications write to: while it is the target, nothing is compared. Absent: always the source. */
  readonly serves?: () => 'source' | 'target';
  /** Cuts tables into ranges of their key; a table that cannot be cut is left out. */
  readonly cut: (tables: readonly TableMapping[]) => Promise<ReadonlyMap<TableMapping, readonly KeyRange[]>>;
  readonly touched: Pick<TouchedKeys, 'drain'>;
  /** Where the source stands; null: not known. */
  readonly sourceLsn: () => string | null;
  readonly record: MonitorRecord;
  /** What the file declares besides the rows; absent: nothing. */
  readonly checks?: CheckRounds;
  readonly settings: MonitorSettings;
  readonly logger: Logger;
}

const POLL_MS = 250;
const RETRY_MS = 5_000;
const CUT_EVERY_MS = 60_000;
/** Of a table that stays as it is one line is kept for this long. */
const HISTORY_MS = 60_000;
/** An instance that stops waits no longer for what is still to be written down. */
const LAST_WORD_MS = 2_000;

export class Monitor {
  readonly #options: MonitorOptions;
  readonly #tables: MonitoredTables;
  #book = new FindingBook();
  #unsaved: DriftFinding[] = [];
  #saving: Promise<void> = Promise.resolve();
  #comparisons = 0;
  /** Rows that differ, once they are written down: `status` and `repair` read them there. */
  #told = { suspected: 0, confirmed: 0, repairing: 0, driftByCause: driftByCause([]) };
  #nextCutMs = 0;
  #isSilent = false;
  #lastAtMs: number | undefined;
  #lastRound: RoundWork = { rows: 0, workedMs: 0 };
  readonly #allowance: Allowance;
  readonly #written = new Map<string, { readonly what: string; readonly atMs: number }>();

  constructor(options: MonitorOptions) {
    this.#options = options;
    this.#tables = new MonitoredTables(options.tables);
    this.#allowance = new Allowance(options.settings.budget);
  }

  /** Until the signal. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const { settings, isFollowing, touched, logger } = this.#options;
    await this.#opened(signal);
    while (!isFollowing() && !signal.aborted) {
      // All is still to be compared: what changes meanwhile is not worth keeping.
      touched.drain();
      await pause(POLL_MS, signal);
    }
    await pause(settings.startAfterMs, signal);
    while (!signal.aborted) {
      try {
        await pause(await this.#turn(signal), signal);
      } catch (error) {
        logger.error({ error: messageOf(error) }, 'the comparison met what it does not know, and goes on');
        await pause(RETRY_MS, signal);
      }
    }
    await this.#save([], AbortSignal.timeout(LAST_WORD_MS));
  }

  /** @returns how long to rest, in milliseconds */
  async #turn(signal: AbortSignal): Promise<number> {
    const { settings, isFollowing, touched, checks } = this.#options;
    await this.#cut(signal);
    this.#tables.touch(touched.drain(), Date.now());
    if (this.#lookWhoServes()) return POLL_MS;
    // One after the other: both need a slot. What they take of the time is their own, so that rows are looked at no later.
    if (this.#comparisons > 0 && isFollowing() && checks?.isDue(Date.now()) === true) await checks.round(signal);
    const pressingOnly = this.#allowance.isLent(performance.now());
    const options = { sweepMs: settings.sweepMs, ...roundSize(this.#lastRound, settings.budget), retryMs: RETRY_MS, pressingOnly };
    const parts = this.#tables.filledUp(dueParts(this.#tables.parts, Date.now(), options));
    if (parts.length === 0 || !isFollowing()) return POLL_MS;
    const rows = parts.reduce((sum, part) => sum + part.rows, 0);
    const time = await this.#round(parts, signal);
    this.#lastRound = { rows, workedMs: time.elapsedMs - time.waitedMs };
    this.#allowance.spent(time, performance.now());
    return this.#allowance.closedMs(performance.now());
  }

  /** Nothing is compared, because the target serves. */
  get silenced(): boolean {
    return this.#isSilent;
  }

  /** What the target's own writers have changed, no log of the source has told: all is to be compared when the source serves again. */
  #lookWhoServes(): boolean {
    const wasSilent = this.#isSilent;
    this.#isSilent = this.#options.serves?.() === 'target';
    if (wasSilent !== this.#isSilent) {
      this.#tables.touchAll(Date.now());
      this.#options.checks?.again();
    }
    return this.#isSilent;
  }

  /** To be called when rows are asked for again, by whomever. */
  repairAsked(request: RecopyRequest): void {
    const at = { atMs: Date.now(), lsn: this.#options.sourceLsn() };
    const findings = this.#book.repairAsked(request, at);
    this.#unsaved.push(...findings);
    this.#tables.pressing(findings);
    if (findings.length > 0) void this.#save([], AbortSignal.timeout(LAST_WORD_MS));
  }

  status(): ReconciliationStatus {
    const { proved, oldestProofMs, inconclusive, inconclusiveByCause } = this.#tables.coverage();
    const silent = this.#options.serves?.() === 'target';
    return {
      ...(silent && { silent }),
      proved: silent ? null : proved,
      provedSince: silent || oldestProofMs === undefined ? null : new Date(oldestProofMs).toISOString(),
      comparedAt: this.#lastAtMs === undefined ? null : new Date(this.#lastAtMs).toISOString(),
      comparisons: this.#comparisons,
      ...this.#told,
      inconclusive,
      inconclusiveByCause,
      ...this.#options.checks?.status(),
    };
  }

  async #opened(signal: AbortSignal): Promise<void> {
    const { record, logger } = this.#options;
    while (!signal.aborted) {
      try {
        this.#book = new FindingBook(await unlessStopped(record.open(), signal));
        this.#tables.pressing(this.#book.open);
        await this.#save([], signal);
        return;
      } catch (error) {
        logger.warn({ error: messageOf(error) }, 'what the reconciler found before cannot be read yet');
        await pause(RETRY_MS, signal);
      }
    }
  }

  /** Big tables are compared in ranges, so that what changes is looked at soon. Now and then: they grow. */
  async #cut(signal: AbortSignal): Promise<void> {
    const nowMs = Date.now();
    // A clock that was set back makes nothing wait.
    if (nowMs < this.#nextCutMs && this.#nextCutMs - nowMs <= CUT_EVERY_MS) return;
    this.#nextCutMs = nowMs + CUT_EVERY_MS;
    const tables = this.#tables.uncut(nowMs);
    if (tables.length === 0) return;
    try {
      for (const [table, ranges] of await unlessStopped(this.#options.cut(tables), signal)) this.#tables.cut(table, ranges);
    } catch (error) {
      if (!signal.aborted) this.#options.logger.warn({ error: messageOf(error) }, 'big tables cannot be cut into ranges yet');
    }
  }

  async #round(parts: readonly PartOf[], signal: AbortSignal): Promise<RoundTime> {
    const { compare, logger } = this.#options;
    const startedAtMs = Date.now();
    let waitedMs = 0;
    const changed = this.#tables.begin(parts);
    let result: VerifyResult;
    try {
      result = await compare(parts, signal, (milliseconds) => (waitedMs += milliseconds));
    } catch (error) {
      this.#tables.failed(parts, changed, { atMs: Date.now(), cause: 'unreadable' });
      if (!signal.aborted) logger.warn({ error: messageOf(error) }, 'source and target could not be compared');
      return { elapsedMs: Date.now() - startedAtMs, waitedMs };
    }
    if (this.#lookWhoServes()) {
      // It may have met what the target's own writers wrote.
      this.#tables.failed(parts, changed, { atMs: Date.now(), cause: 'changed' });
      return { elapsedMs: Date.now() - startedAtMs, waitedMs };
    }
    this.#lastAtMs = Date.now();
    const seconds = (this.#lastAtMs - startedAtMs) / 1000;
    const comparisons: ComparisonRecord[] = [];
    for (const verdict of result.tables) {
      const own = parts.filter(({ what }) => tableName(what.table.from) === verdict.from && tableName(what.table.to) === verdict.to);
      this.#note(verdict, own, startedAtMs);
      this.#tables.compared(own, { verdict, changed, open: this.#book.open, atMs: this.#lastAtMs });
      const record = { ...recordOf(verdict, seconds), parts: own.length, partsOf: this.#tables.partsOf(verdict) };
      if (this.#isNews(record)) comparisons.push(record);
    }
    this.#comparisons++;
    await this.#save(comparisons, signal);
    return { elapsedMs: Date.now() - startedAtMs, waitedMs };
  }

  #note(verdict: TableVerdict, own: readonly PartOf[], beganMs: number): void {
    const covers = this.#tables.coversOf(own);
    const changed = this.#book.compared({ verdict, beganMs, atMs: this.#lastAtMs!, ...(covers !== undefined && { covers }) });
    this.#unsaved.push(...changed);
    for (const { to, kind, state, columns, rows } of changed) {
      const details = { table: to, kind, columns, rows, lsn: verdict.lsn };
      if (state === 'confirmed') this.#options.logger.error(details, 'source and target differ: run crossfade repair');
      else this.#options.logger.info({ ...details, state }, 'a difference between source and target');
    }
  }

  /** The same again, and written down a moment ago, is none. */
  #isNews({ from, to, verdict, differences, cause }: ComparisonRecord): boolean {
    const [pair, what] = [JSON.stringify([from, to]), JSON.stringify([verdict, differences, cause])];
    const last = this.#written.get(pair);
    if (last?.what === what && this.#lastAtMs! - last.atMs < HISTORY_MS) return false;
    this.#written.set(pair, { what, atMs: this.#lastAtMs! });
    return true;
  }

  /** One after the other: what is older would else be written over what is newer, where a repair is asked for while a round is written down. */
  async #save(comparisons: readonly ComparisonRecord[], signal: AbortSignal): Promise<void> {
    this.#saving = this.#saving.then(async () => this.#saveNext(comparisons, signal));
    await this.#saving;
  }

  /** What cannot be written now is written with the next round. */
  async #saveNext(comparisons: readonly ComparisonRecord[], signal: AbortSignal): Promise<void> {
    const findings = this.#unsaved;
    const rows = {
      suspected: this.#book.count('suspected'),
      confirmed: this.#book.count('confirmed'),
      repairing: this.#book.count('repairing'),
      driftByCause: this.#book.byCause(),
    };
    this.#unsaved = [];
    try {
      if (findings.length + comparisons.length > 0) await unlessStopped(this.#options.record.save(findings, comparisons), signal);
      this.#told = rows;
    } catch (error) {
      this.#unsaved = [...findings, ...this.#unsaved];
      this.#written.clear();
      // A target that takes no notes is no reason to keep quiet.
      this.#told = rows;
      if (!signal.aborted)
        this.#options.logger.warn({ error: messageOf(error) }, 'what the reconciler found could not be written down yet');
    }
  }
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal }).catch(() => undefined);
}
