/**
 * The file's checks and shadow queries, made again and again while an instance runs. Guarantee: one that differed is told until a later state is judged and
 * equal, whatever could not be judged between; what a round meets ends nobody, and rounds take at most their share of the time.
 */
import { messageOf } from '#schemas/errors.ts';
import type { CheckVerdict } from '#schemas/reconcile/checks/check-verdict.ts';
import type { ChecksStatus, ReconciliationStatus } from '#schemas/status/reconciliation-status.ts';
import type { Logger } from '#services/runtime/service.ts';
import { unlessStopped } from './unless-stopped.ts';

export interface CheckRoundsOptions {
  /** Names, for the checks' verdicts come first, then the queries', in this order. */
  readonly checks: readonly string[];
  readonly queries: readonly string[];
  /** @throws where nothing can be judged now */
  readonly make: (signal: AbortSignal) => Promise<readonly CheckVerdict[]>;
  readonly record: (verdicts: readonly CheckVerdict[], seconds: number) => Promise<void>;
  readonly everyMs: number;
  /** Share of the time: 0 to 1. */
  readonly budget: number;
  readonly logger: Logger;
}

/** What could not be judged is asked again after this. */
const RETRY_MS = 60_000;

export class CheckRounds {
  readonly #options: CheckRoundsOptions;
  readonly #last: CheckVerdict[] = [];
  /** Since they differed, none of them was found equal. By their place, for names may be given twice. */
  readonly #differing = new Set<number>();
  #madeAtMs: number | undefined;
  #dueAtMs = 0;
  #restsFromMs = 0;

  constructor(options: CheckRoundsOptions) {
    this.#options = options;
  }

  isDue(nowMs: number): boolean {
    // A clock that was set back makes nothing wait.
    return nowMs >= this.#dueAtMs || nowMs < this.#restsFromMs;
  }

  /** What was judged is of before: all are made anew as soon as may be. */
  again(): void {
    this.#dueAtMs = 0;
  }

  /** Never rejects. */
  async round(signal: AbortSignal): Promise<void> {
    const { make, record, logger } = this.#options;
    const startedAtMs = Date.now();
    let verdicts: readonly CheckVerdict[];
    try {
      verdicts = await make(signal);
    } catch (error) {
      if (!signal.aborted) logger.warn({ error: messageOf(error) }, 'the checks of the file could not be made');
      this.#rest(startedAtMs, RETRY_MS);
      return;
    }
    this.#madeAtMs = Date.now();
    for (const [place, verdict] of verdicts.entries()) this.#note(place, verdict);
    const isOpen = verdicts.some(({ verdict }) => verdict === 'inconclusive');
    this.#rest(startedAtMs, isOpen ? RETRY_MS : Infinity);
    try {
      await unlessStopped(record(verdicts, (this.#madeAtMs - startedAtMs) / 1000), signal);
    } catch (error) {
      if (!signal.aborted) logger.warn({ error: messageOf(error) }, 'what the checks of the file found could not be written down');
    }
  }

  status(): Pick<ReconciliationStatus, 'checks' | 'queries'> {
    const { checks, queries } = this.#options;
    return {
      ...(checks.length > 0 && { checks: this.#statusOf(checks, 0) }),
      ...(queries.length > 0 && { queries: this.#statusOf(queries, checks.length) }),
    };
  }

  #rest(startedAtMs: number, retryMs: number): void {
    const { everyMs, budget } = this.#options;
    const nowMs = Date.now();
    this.#restsFromMs = nowMs;
    this.#dueAtMs = nowMs + Math.max(Math.min(everyMs, retryMs), (nowMs - startedAtMs) * (1 / budget - 1));
  }

  #note(place: number, verdict: CheckVerdict): void {
    const { logger } = this.#options;
    const { name, kind, source, target, message, lsn } = verdict;
    const before = this.#last[place]?.verdict;
    this.#last[place] = verdict;
    const details = { check: name, kind, source, target, message, ...(lsn !== undefined && { lsn }) };
    if (verdict.verdict === 'inconclusive') {
      if (before !== 'inconclusive') logger.warn(details, 'a check of the file could not be judged');
    } else if (verdict.verdict === 'differs') {
      if (!this.#differing.has(place)) logger.error(details, 'a check of the file differs');
      this.#differing.add(place);
    } else if (this.#differing.delete(place)) logger.info(details, 'a check of the file is equal again');
  }

  #statusOf(names: readonly string[], first: number): ChecksStatus {
    const places = names.map((_, i) => first + i);
    const count = (verdict: CheckVerdict['verdict']): number =>
      places.filter((place) => !this.#differing.has(place) && this.#last[place]?.verdict === verdict).length;
    const differing = names.filter((_, i) => this.#differing.has(first + i));
    return {
      declared: names.length,
      equal: count('equal'),
      differs: differing.length,
      inconclusive: count('inconclusive'),
      differing,
      madeAt: this.#madeAtMs === undefined ? null : new Date(this.#madeAtMs).toISOString(),
    };
  }
}
