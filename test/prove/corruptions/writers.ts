/** Sessions that write to all tables at a rate. Guarantee: `stop` returns when each of them has ended, with the rows that were written. */
import { setTimeout as delay } from 'node:timers/promises';
import { type ApplicationSession, openSession } from '#test/support/application.ts';
import type { Random } from '#test/support/random.ts';
import { QUIET_EVERY, rowsOf, TABLE_KINDS, type TableKind, whereSql } from './table-kinds.ts';

const SESSIONS = 4;
const ROWS_PER_UPDATE = 12;
const ROWS_PER_RENEWAL = 2;
/** Two sessions that met in the other's rows: PostgreSQL ends one. */
const DEADLOCK = '40P01';

export interface Writers extends AsyncDisposable {
  /** @returns row writes, and how many a second. */
  stop(): Promise<{ readonly rows: number; readonly perSecond: number }>;
}

export interface WritersOptions {
  readonly url: string;
  /** Of the largest table. */
  readonly rows: number;
  readonly perSecond: number;
  readonly random: Random;
}

export async function startWriters({ url, rows, perSecond, random }: WritersOptions): Promise<Writers> {
  await using stack = new AsyncDisposableStack();
  const sessions: ApplicationSession[] = [];
  for (let i = 0; i < SESSIONS; i++) sessions.push(stack.use(await openSession(url)));
  const drawn = TABLE_KINDS.flatMap((kind) => Array.from({ length: kind.share }, () => kind));
  const startedAtMs = performance.now();
  const stopped = new AbortController();
  let written = 0;
  const write = async (session: ApplicationSession): Promise<void> => {
    while (!stopped.signal.aborted) {
      const aheadMs = (written / perSecond) * 1000 - (performance.now() - startedAtMs);
      if (aheadMs > 0) await delay(aheadMs);
      const kind = drawn[random.between(0, drawn.length - 1)]!;
      const statements = transactionOf(kind, rowsOf(kind, rows), random);
      // Counted when begun: the sessions share one pace.
      written += ROWS_PER_UPDATE + 2 * ROWS_PER_RENEWAL;
      await session.query(statements).catch(async (error: unknown) => {
        if (!(error instanceof Error && 'code' in error && error.code === DEADLOCK)) throw error;
        await session.query('ROLLBACK');
      });
    }
  };
  const running = Promise.all(sessions.map(write));
  running.catch(() => undefined); // thrown again by stop
  const kept = stack.move();
  const stop = async (): Promise<{ rows: number; perSecond: number }> => {
    stopped.abort();
    await running;
    return { rows: written, perSecond: Math.round(written / ((performance.now() - startedAtMs) / 1000)) };
  };
  return {
    stop,
    [Symbol.asyncDispose]: async () => {
      await stop().catch(() => undefined);
      await kept.disposeAsync();
    },
  };
}

/** Some rows change, some others go and come again; now and then all of it is undone. */
function transactionOf(kind: TableKind, rows: number, random: Random): string {
  const draw = (remainder: number, count: number): number[] =>
    Array.from({ length: count }, () => random.between(0, Math.floor((rows - remainder) / QUIET_EVERY)) * QUIET_EVERY + remainder);
  const renewed = [...new Set(draw(2, ROWS_PER_RENEWAL))].toSorted((one, other) => one - other);
  const row = `SELECT ${kind.row} FROM unnest('{${renewed.join(',')}}'::int[]) n`;
  return [
    'BEGIN',
    `UPDATE ${kind.from} SET ${kind.set} WHERE ${whereSql(kind, draw(1, ROWS_PER_UPDATE))}`,
    `DELETE FROM ${kind.from} WHERE ${whereSql(kind, renewed)}`,
    `INSERT INTO ${kind.from} ${row} ON CONFLICT DO NOTHING`,
    random.chance(0.05) ? 'ROLLBACK' : 'COMMIT',
  ].join(';');
}
