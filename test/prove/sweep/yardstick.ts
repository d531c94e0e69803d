/**
 * How fast a core is, told by something that is not ours: PostgreSQL prints and hashes rows of the same table by itself, in the same backend, in
 * turn with what is judged. Guarantee: a speed passes that reaches issue 6's figure, or, on a slower core than the figure was met on, as
 * much of the yardstick as was reached then.
 *
 * Where the constant comes from. The code of commit 31202f8 met the figure of 0.5 M rows per CPU second when it was written (canonical-rate: 0.59 to
 * 0.68 M). The same statement, in turn with the yardstick on the core that this was written on: 0.36 to 0.40 M, which was 0.64 to 0.72 of the yardstick
 * (0.50 to 0.61 M) on PostgreSQL 14 and 18. So the first core ran the yardstick at about 0.9 M rows/s; and whatever has the share but not the
 * rate was measured on a core that runs it at less than 0.5 M / 0.7 = 0.71 M, which is slower.
 */
import type pg from 'pg';
import { queryRow } from '#connectors/postgres/session.ts';
import { cpuSeconds } from '#test/bench/usage.ts';
import { Skipped } from '../proof.ts';

/** Of the yardstick's rows per second. */
export const LEAST_SHARE = 0.7;

/** @param table As SQL spells it. */
export function yardstickSql(table: string): string {
  return `SELECT count(hashtextextended(t::text, 1))::text AS n FROM ${table} AS t`;
}

/** How a rate passes; undefined: it does not. */
export function passedBy(rate: number, yardstick: number, leastRate: number): string | undefined {
  if (rate >= leastRate) return 'rate';
  return rate >= LEAST_SHARE * yardstick ? 'share of the yardstick: this core is slower than the one of the figure' : undefined;
}

/** CPU seconds of a session's backend while it works. */
export async function backendSeconds(client: pg.Client, work: () => Promise<unknown>): Promise<number> {
  const pid = Number((await queryRow(client, 'SELECT pg_backend_pid()::text AS pid'))?.['pid']);
  const before = cpuSeconds(pid);
  if (before === undefined) throw new Skipped('the CPU time of another process can be read on Linux only');
  await work();
  return (cpuSeconds(pid) ?? before) - before;
}
