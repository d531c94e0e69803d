/**
 * One reader per migration: a session lock on the source, keyed by the migration's name. Guarantee: who holds it is the only one that
 * waits for the slot; a holder that shows no sign of life for a while (stopped, or cut off from the server) is ended by whoever waits.
 *
 * This gives order among readers, not safety: that is the slot's (one stream at a time) and the epoch's.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import { connect, queryRow } from '#connectors/postgres/session.ts';
import { PipelineError } from '#schemas/errors.ts';
import { readSlot } from './slot.ts';

const POLL_MS = 250;
/** The holder's sign of life. */
const PING_EVERY_MS = 1_000;
const PING_TIMEOUT_MS = 5_000;
/** Without a sign for so long, by the clock of who waits, the holder is ended. */
const SILENT_MS = 10_000;

const KEY = `hashtextextended('crossfade reader ' || $1, 0)`;

export interface ReaderLock {
  /** Fires when the session that holds the lock has ended: another reader may have it now. */
  readonly lost: AbortSignal;
  release(): Promise<void>;
}

export interface LockOptions {
  readonly url: string;
  readonly name: string;
  /** Told once for each holder that is waited for. */
  readonly onWaiting: (holder: string) => void;
  /** Without a sign for so long the holder is ended: ten seconds when absent. */
  readonly silentMs?: number;
}

/** Waits until the lock is ours. @throws PipelineError CF-2001; what `signal` says */
export async function lockReader(options: LockOptions, signal: AbortSignal): Promise<ReaderLock> {
  const client = await connect(options.url, { applicationName: `crossfade ${options.name} reader lock`, role: 'source' });
  try {
    const silence = new Silence();
    for (let told = ''; ;) {
      signal.throwIfAborted();
      const got = await queryRow(client, `SELECT pg_catalog.pg_try_advisory_lock(${KEY})::text AS ok`, [options.name]);
      if (got?.['ok'] === 'true') return held(client);
      const holder = await readHolder(client, options.name);
      if (holder !== undefined) {
        if (told !== holder.pid) options.onWaiting(`pid ${holder.pid} from ${holder.from}`);
        told = holder.pid;
        if (silence.of(holder.pid, holder.sign) > (options.silentMs ?? SILENT_MS)) await terminate(client, holder.pid);
      }
      await delay(POLL_MS, undefined, { signal });
    }
  } catch (error) {
    await client.end().catch(() => undefined);
    throw error;
  }
}

function held(client: pg.Client): ReaderLock {
  const lost = new AbortController();
  const end = (): void => lost.abort(new PipelineError('CF-2001', 'the session that holds the reader’s lock has ended'));
  client.once('end', end);
  const ping = async (): Promise<void> => {
    for (;;) {
      await delay(PING_EVERY_MS, undefined, { signal: lost.signal });
      const late = delay(PING_TIMEOUT_MS, true, { ref: false });
      if (await Promise.race([client.query('SELECT 1').then(() => false), late])) return end();
    }
  };
  void ping().catch(end);
  return {
    lost: lost.signal,
    release: async () => {
      lost.abort();
      await client.end().catch(() => undefined);
    },
  };
}

interface Holder {
  readonly pid: string;
  readonly from: string;
  /** Changes with every statement of the holder. */
  readonly sign: string;
}

async function readHolder(client: pg.Client, name: string): Promise<Holder | undefined> {
  const row = await queryRow(
    client,
    `SELECT a.pid::text AS pid, coalesce(host(a.client_addr), 'a local socket') AS host, a.state_change::text AS sign
       FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
      WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
        AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
        AND ((l.classid::bigint << 32) | l.objid::bigint) = ${KEY}`,
    [name],
  );
  return row && { pid: row['pid'] ?? '', from: row['host'] ?? '', sign: row['sign'] ?? '' };
}

/** To be called by the lock's holder. Waits until no other session streams from the slot; an absent slot is free. */
export async function waitForSlot(
  client: pg.Client,
  { name, onWaiting }: Pick<LockOptions, 'name' | 'onWaiting'>,
  signal: AbortSignal,
): Promise<void> {
  const silence = new Silence();
  for (let told = ''; ;) {
    const slot = await readSlot(client, name);
    if (slot?.activePid === undefined) return;
    const row = await queryRow(
      client,
      `SELECT a.application_name AS app, coalesce(host(a.client_addr), 'a local socket') AS host, r.reply_time::text AS sign
         FROM pg_catalog.pg_stat_activity a LEFT JOIN pg_catalog.pg_stat_replication r ON r.pid = a.pid WHERE a.pid = $1`,
      [slot.activePid],
    );
    const pid = String(slot.activePid);
    if (told !== pid) onWaiting(`pid ${pid} (${row?.['app'] ?? 'unknown'}) from ${row?.['host'] ?? 'unknown'}`);
    told = pid;
    // Only a stream of a predecessor that is stopped or cut off: whoever still answers is somebody else, and is waited for.
    const silentMs = silence.of(pid, row?.['sign'] ?? '');
    if (silentMs > SILENT_MS && row?.['app'] === streamName(name)) await terminate(client, pid);
    await delay(POLL_MS, undefined, { signal });
  }
}

/** Application name of the stream's session. */
export function streamName(name: string): string {
  return `crossfade ${name} stream`;
}

/** How long a sign has stood still, by our own clock. */
class Silence {
  #last = '';
  #since = 0;

  of(pid: string, sign: string): number {
    const now = performance.now();
    const print = `${pid} ${sign}`;
    if (print !== this.#last) {
      this.#last = print;
      this.#since = now;
    }
    return now - this.#since;
  }
}

async function terminate(client: pg.Client, pid: string): Promise<void> {
  await client.query('SELECT pg_catalog.pg_terminate_backend($1)', [pid]);
}
