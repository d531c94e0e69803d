/**
 * Locks all tables of a fence against writers. Guarantee: no writer becomes the victim of a deadlock with us, and none queues behind us for longer
 * than the limit: a circle of waits is looked for all the while, and we are the ones who give way, at once, and ask again in another order.
 *
 * PostgreSQL looks for a deadlock once, deadlock_timeout after a session began to wait, and ends the session that looked. A writer that queued behind
 * our first table looks before we do if our wait for a later one began after its own; so all waits together have to stay below one deadlock_timeout.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import type { TableName } from '#connectors/fence/fence.ts';
import { queryRow, queryRows } from '#connectors/postgres/session.ts';
import { PipelineError } from '#schemas/errors.ts';
import { quoteTable } from '#schemas/table.ts';
import { guarded } from '#schemas/test-hooks.ts';
import { describeBlockers } from './blockers.ts';
import { NOT_LOCKED, sqlState } from './refusal.ts';

const LOOK_FIRST_MS = 10;
const LOOK_EVERY_MS = 20;
/** When it is looked who blocks, as a share of the limit: late enough to be them, early enough to be answered. */
const NAME_AFTER = 0.6;
/** Writers that queued go on meanwhile. */
const PAUSE_FIRST_MS = 10;
const PAUSE_LAST_MS = 80;
/** Below which another try is not worth it. */
const TRY_LEAST_MS = 30;

export interface Locking {
  /** In a transaction. */
  readonly client: pg.Client;
  /** Of `client`'s session. */
  readonly pid: string;
  readonly observer: pg.ClientBase;
  /** In the order in which they are asked for first. */
  readonly tables: readonly TableName[];
  /** False: with everything that hangs below them. */
  readonly isOnly: boolean;
  /** Of all tries together. */
  readonly limitMs: number;
  /** Absent: readers go on. */
  readonly mode?: 'ACCESS EXCLUSIVE';
}

/** Nobody but vacuum and DDL waits meanwhile. Longer than deadlock_timeout: an autovacuum gives way after that. */
export const QUIET_LOCK_MS = 5_000;

/** SHARE UPDATE EXCLUSIVE: lets writers through, and keeps vacuum and partitions that come or go. @throws PipelineError CF-8101 with who blocks */
export async function lockQuietly({ client, pid, observer, tables, isOnly }: Omit<Locking, 'limitMs' | 'mode'>): Promise<void> {
  await client.query(`SET LOCAL lock_timeout = ${QUIET_LOCK_MS}; SET LOCAL statement_timeout = ${QUIET_LOCK_MS}`);
  const watch = new Watch({ observer, pid, seeksCircle: false }, QUIET_LOCK_MS);
  try {
    await client.query(`LOCK TABLE ${listed(tables, isOnly)} IN SHARE UPDATE EXCLUSIVE MODE`);
  } catch (error) {
    if (!NOT_LOCKED.has(sqlState(error))) throw error;
    await watch.end();
    throw refused(QUIET_LOCK_MS, watch.blockers, error);
  } finally {
    await watch.end();
  }
}

/** SHARE ROW EXCLUSIVE, unless told otherwise: keeps out whoever writes, and nobody who reads. @returns when the locks that are held now were asked for. @throws PipelineError CF-8101 with who blocks */
export async function lockTables(locking: Locking): Promise<number> {
  const { client, limitMs, mode = 'SHARE ROW EXCLUSIVE' } = locking;
  const endMs = Date.now() + limitMs;
  let tables = locking.tables;
  for (let tried = 1; ; tried++) {
    const askedAtMs = Date.now();
    const leftMs = Math.max(1, endMs - askedAtMs);
    await client.query(`SAVEPOINT unlocked; SET LOCAL lock_timeout = ${leftMs}; SET LOCAL statement_timeout = ${leftMs}`);
    const watch = new Watch({ ...locking, seeksCircle: guarded('lock-circle') }, leftMs);
    try {
      await client.query(`LOCK TABLE ${listed(tables, locking.isOnly)} IN ${mode} MODE`);
      return askedAtMs;
    } catch (error) {
      if (!NOT_LOCKED.has(sqlState(error))) throw error;
      await watch.end();
      await client.query('ROLLBACK TO SAVEPOINT unlocked');
      const pauseMs = Math.min(PAUSE_LAST_MS, PAUSE_FIRST_MS * 2 ** (tried - 1));
      const isCircle = watch.wanted !== undefined || sqlState(error) === '40P01';
      if (!isCircle || Date.now() + pauseMs + TRY_LEAST_MS > endMs) throw refused(limitMs, watch.blockers, error);
      tables = wantedFirst(tables, watch.wanted);
      await delay(pauseMs);
    } finally {
      await watch.end();
    }
  }
}

function listed(tables: readonly TableName[], isOnly: boolean): string {
  return tables.map((table) => `${isOnly ? 'ONLY ' : ''}${quoteTable(table)}`).join(', ');
}

function wantedFirst(tables: readonly TableName[], wanted: TableName | undefined): readonly TableName[] {
  const is = (table: TableName): boolean => table.schema === wanted?.schema && table.name === wanted.name;
  return [...tables.filter(is), ...tables.filter((table) => !is(table))];
}

function refused(limitMs: number, blockers: readonly string[], cause: unknown): PipelineError {
  const who = blockers.length === 0 ? 'by whom was not seen' : `by ${blockers.join('; ')}`;
  return new PipelineError('CF-8101', `the tables could not be locked within ${limitMs} ms: blocked ${who}`, {
    cause,
    details: { blockers },
  });
}

/** Whether we wait for somebody who waits for us, through however many others, and for which table (the root of a partition). */
const CIRCLE = `
  WITH RECURSIVE waits (pid) AS (
    SELECT unnest(pg_blocking_pids($1::int)) UNION SELECT b.pid FROM waits, unnest(pg_blocking_pids(waits.pid)) AS b (pid)
  )
  SELECT n.nspname AS schema, c.relname AS name
    FROM pg_locks l JOIN pg_class c ON c.oid = coalesce(pg_partition_root(l.relation), l.relation) JOIN pg_namespace n ON n.oid = c.relnamespace
   WHERE l.pid = $1::int AND NOT l.granted AND l.locktype = 'relation' AND EXISTS (SELECT FROM waits WHERE pid = $1::int)`;

interface Watched extends Pick<Locking, 'observer' | 'pid'> {
  readonly seeksCircle: boolean;
}

/** Looks from the other session while a lock is waited for. */
class Watch {
  /** For which table we waited when it ended our waiting. Undefined: it did not. */
  wanted: TableName | undefined;
  blockers: readonly string[] = [];
  readonly #seen: Watched;
  readonly #nameAtMs: number;
  readonly #over = new AbortController();
  readonly #looking: Promise<void>;

  constructor(seen: Watched, leftMs: number) {
    this.#seen = seen;
    this.#nameAtMs = Date.now() + leftMs * NAME_AFTER;
    // It may fail (a session that was ended, a role that may not cancel): the time-outs then do what it would have done.
    this.#looking = this.#look().catch(() => undefined);
  }

  async end(): Promise<void> {
    this.#over.abort();
    await this.#looking;
  }

  async #look(): Promise<void> {
    const { observer, pid, seeksCircle } = this.#seen;
    const { signal } = this.#over;
    for (let ms = LOOK_FIRST_MS; !signal.aborted; ms = LOOK_EVERY_MS) {
      await delay(ms, undefined, { signal });
      const row = seeksCircle ? await queryRow(observer, CIRCLE, [pid]) : undefined;
      if (row !== undefined && !signal.aborted) {
        this.blockers = await describeBlockers(observer, pid);
        this.wanted = { schema: row['schema']!, name: row['name']! };
        // One that comes when the lock is had meanwhile finds an idle session, which does not mind.
        await observer.query('SELECT pg_cancel_backend($1::int)', [pid]);
        return;
      }
      if (this.blockers.length === 0 && Date.now() >= this.#nameAtMs) this.blockers = await describeBlockers(observer, pid);
    }
  }
}

const REFERENCES = `
  SELECT k.ordinality::text AS child, p.ordinality::text AS parent FROM pg_constraint c
    JOIN unnest($1::text[]) WITH ORDINALITY AS k (name) ON c.conrelid = k.name::regclass
    JOIN unnest($1::text[]) WITH ORDINALITY AS p (name) ON c.confrelid = p.name::regclass
   WHERE c.contype = 'f' AND c.conrelid <> c.confrelid`;

/** What is referred to before what refers to it, as most applications write; else by name. */
export async function lockOrder(client: pg.ClientBase, tables: readonly TableName[]): Promise<TableName[]> {
  const named = tables.map((table) => ({ table, name: quoteTable(table) })).toSorted((a, b) => (a.name < b.name ? -1 : 1));
  const found = await queryRows(client, REFERENCES, [named.map(({ name }) => name)]);
  const parents = Map.groupBy(found, (row) => Number(row['child']) - 1);
  const order = new Set<number>();
  const seen = new Set<number>();
  const visit = (i: number): void => {
    if (seen.has(i)) return;
    seen.add(i);
    for (const row of parents.get(i) ?? []) visit(Number(row['parent']) - 1);
    order.add(i);
  };
  named.forEach((_, i) => visit(i));
  return [...order].map((i) => named[i]!.table);
}
