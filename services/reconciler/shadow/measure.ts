/**
 * Response times of one query on both stores at the same time. Guarantee: both sides get the same queries in the same rounds, whoever is
 * slower; the first round warms up and is not counted; no round begins after the time that the file gives.
 */
import type pg from 'pg';
import type { ShadowCheck } from '#schemas/reconcile/checks/planned-check.ts';
import { judgeLatency, type LatencyVerdict, type Measured } from '#schemas/reconcile/shadow/judge-latency.ts';
import { plainSql } from '#schemas/reconcile/shadow/compile-shadow.ts';
import { quoteTable } from '#schemas/table.ts';
import type { Side } from '#connectors/probe/postgres/held-snapshot.ts';
import { openTimedSession, timeQueries, type TimedQuery } from '#connectors/probe/postgres/shadow/timed-query.ts';

export interface Measuring {
  readonly sourceUrl: string;
  readonly targetUrl: string;
  readonly signal: AbortSignal;
}

/** So many that a disturbance of a moment is in few of them. */
const ROUNDS = 10;
const QUERY_CANCELED = '57014';

/** @throws what a server says, but for answers that took too long. */
export async function measureLatency(check: ShadowCheck, { sourceUrl, targetUrl, signal }: Measuring): Promise<LatencyVerdict> {
  const { timing, parameters } = check;
  await using source = await Asked.open(sourceUrl, 'source', check);
  await using target = await Asked.open(targetUrl, 'target', check);
  const ends = performance.now() + timing.seconds * 1000;
  const perRound = Math.ceil(timing.repetitions / ROUNDS);
  let asked = 0;
  for (let round = 0; round <= ROUNDS; round++) {
    signal.throwIfAborted();
    if (performance.now() >= ends || source.measured.timeouts + target.measured.timeouts > 0) break;
    const counts = round > 0;
    const sides = round % 2 === 0 ? [source, target] : [target, source];
    const size = counts ? Math.min(perRound, timing.repetitions - asked) : Math.max(perRound, timing.concurrency);
    if (size <= 0) break;
    const sets = Array.from({ length: size }, (_, i) => parameters[(asked + i) % parameters.length]!);
    await Promise.all(sides.map(async (side) => side.round(sets, counts)));
    if (counts) asked += size;
  }
  return judgeLatency(source.measured, target.measured, timing.tolerancePercent);
}

class Asked implements AsyncDisposable {
  readonly #clients: readonly pg.Client[];
  readonly #sql: string;
  readonly #rounds: number[][] = [];
  #elapsedMs = 0;
  #timeouts = 0;

  private constructor(clients: readonly pg.Client[], sql: string) {
    this.#clients = clients;
    this.#sql = sql;
  }

  static async open(url: string, side: Side, check: ShadowCheck): Promise<Asked> {
    const { concurrency, timeoutSeconds } = check.timing;
    const opened = await Promise.allSettled(
      Array.from({ length: concurrency }, async () => openTimedSession(url, side, timeoutSeconds * 1000)),
    );
    const clients = opened.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
    const sql = plainSql(check[side], ([pair]) => quoteTable(pair![side === 'source' ? 'from' : 'to']));
    const asked = new Asked(clients, sql);
    const failed = opened.find((one) => one.status === 'rejected');
    if (failed === undefined) return asked;
    await asked[Symbol.asyncDispose]();
    throw failed.reason;
  }

  get measured(): Measured {
    return { rounds: this.#rounds, elapsedMs: this.#elapsedMs, timeouts: this.#timeouts };
  }

  /** All sessions take from the same queries. */
  async round(sets: readonly (readonly (string | null)[])[], counts: boolean): Promise<void> {
    const queue = sets.map((values): TimedQuery => ({ sql: this.#sql, values }));
    const times: number[] = [];
    const begun = performance.now();
    await Promise.all(
      this.#clients.map(async (client) =>
        timeQueries(
          client,
          () => queue.shift(),
          (time) => times.push(time),
        ).catch((error: unknown) => {
          if ((error as { readonly code?: string }).code !== QUERY_CANCELED) throw error;
          this.#timeouts++;
        }),
      ),
    );
    if (!counts) return;
    this.#rounds.push(times);
    this.#elapsedMs += performance.now() - begun;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#clients.map((client) => client.end().catch(() => undefined)));
  }
}
