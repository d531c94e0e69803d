/**
 * When all rows have come to the target. Guarantee: the time told is that of the last commit which the target was found equal after;
 * nothing heavy runs on the target before it has been quiet.
 */
import type { Contender } from './contender.ts';
import { checksums, Database, waitUntil } from './database.ts';

const PATIENCE_MS = 1_800_000;
const SENTINEL_POLL_MS = 5;
const QUIET_POLL_MS = 250;
const QUIET_MS = 1_500;
/** A server's counters lag by this much behind a session that has become idle. */
const COUNTERS_LAG_MS = 11_000;
/** How long nothing may move while rows are missing. */
const STALLED_MS = 180_000;
const CHECK_EVERY_MS = 500;

/** The row written last is there. Polled closely: the caller takes the time. */
export async function untilSeen(target: Database, sentinel: string, contender: Contender): Promise<void> {
  let checked = Date.now();
  await waitUntil(
    async () => {
      if (Date.now() - checked > CHECK_EVERY_MS) {
        checked = Date.now();
        await contender.check?.();
      }
      return (await target.value(`select 1 from sentinel where id = ${sentinel}`)) !== undefined;
    },
    { what: `sentinel ${sentinel} on the target`, timeoutMs: PATIENCE_MS, everyMs: SENTINEL_POLL_MS },
  );
}

export interface Arrival {
  readonly sourceUrl: string;
  readonly targetUrl: string;
  readonly tables: readonly string[];
  /** A row written last; nothing is compared before it is there. */
  readonly sentinel?: string;
  readonly check: () => Promise<void>;
}

/** For who brings tables in an order of their own. @returns the last commit's time, epoch in milliseconds */
export async function untilArrived(arrival: Arrival): Promise<number> {
  const { tables, sentinel } = arrival;
  await using source = await Database.open(arrival.sourceUrl);
  await using target = await Database.open(arrival.targetUrl);
  const expected = await checksums(source, tables);
  let [changes, movedAt, comparedAt] = ['', Date.now(), 0];
  // Not all tables: our sink writes some of its own all the time.
  const names = tables.map((table) => `'${table}'`).join(', ');
  const written = `select coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0) from pg_stat_user_tables where schemaname = 'public' and relname in (${names})`;
  const counted = await counts(source, tables);
  await waitUntil(
    async () => {
      await arrival.check();
      const now = await target.text(written);
      if (now !== changes) [changes, movedAt] = [now, Date.now()];
      const quietMs = Date.now() - movedAt;
      if (quietMs > STALLED_MS) throw new Error(`nothing has moved on the target for ${STALLED_MS / 1000} s and rows are missing`);
      if (quietMs < QUIET_MS || (comparedAt > movedAt && Date.now() - comparedAt < COUNTERS_LAG_MS)) return false;
      if (sentinel !== undefined && (await target.value(`select 1 from sentinel where id = ${sentinel}`)) === undefined) return false;
      if ((await counts(target, tables)) !== counted) return false;
      comparedAt = Date.now();
      return (await checksums(target, tables)) === expected;
    },
    { what: 'all rows on the target', timeoutMs: PATIENCE_MS, everyMs: QUIET_POLL_MS },
  );
  return await lastCommit(target, tables);
}

async function counts(database: Database, tables: readonly string[]): Promise<string> {
  return await database.text(`select concat_ws(' ', ${tables.map((table) => `(select count(*) from ${table})`).join(', ')})`);
}

async function lastCommit(target: Database, tables: readonly string[]): Promise<number> {
  const transactions = tables.map((table) => `select distinct xmin::text::xid as x from ${table}`).join(' union ');
  const at = `select extract(epoch from max(pg_xact_commit_timestamp(x))) * 1000 from (${transactions}) t where x::text::bigint > 2`;
  return Number(await target.text(at));
}
