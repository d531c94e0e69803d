/** Sessions of a fence. Guarantee: the server ends them when their holder is gone or says nothing for too long, whatever the network does. */
import type pg from 'pg';
import type { FenceOptions } from '#connectors/fence/fence.ts';
import { connect, queryRow } from '#connectors/postgres/session.ts';
import { explained } from './refusal.ts';

const SETTINGS: Readonly<Record<string, string>> = {
  default_transaction_isolation: 'read committed',
  default_transaction_read_only: 'off',
  statement_timeout: '0',
  tcp_keepalives_idle: '5',
  tcp_keepalives_interval: '2',
  tcp_keepalives_count: '3',
  client_min_messages: 'error',
};

/** Below one: a writer that began to wait behind our first lock looks for a deadlock after its own deadlock_timeout (lock-tables.ts). */
const DEADLOCK_SHARE = 0.8;

export function fenceSessionName(name: string): string {
  return `crossfade ${name} fence`;
}

type Place = Pick<FenceOptions, 'url' | 'name' | 'side'>;

/** A session for what is done at once; what the server refuses is said as `explained` says it. */
export async function withSession<T>(place: Place, act: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = await openSession(place);
  try {
    return await work(client);
  } catch (error) {
    throw explained(error, place.side, act);
  } finally {
    await client.end().catch(() => undefined);
  }
}

export async function openSession({ url, name, side }: Place): Promise<pg.Client> {
  return connect(url, { applicationName: `crossfade ${name} fence keeper`, role: side, settings: SETTINGS });
}

export interface LockSession {
  readonly client: pg.Client;
  readonly pid: string;
  /** How long others may queue behind a lock of ours without any of them becoming the victim of a deadlock with us. */
  readonly safeLockMs: number;
}

/** For holding locks that writers wait for. */
export async function openLockSession(options: Place & Pick<FenceOptions, 'holdMs'>): Promise<LockSession> {
  const client = await connect(options.url, {
    applicationName: fenceSessionName(options.name),
    role: options.side,
    settings: { ...SETTINGS, idle_in_transaction_session_timeout: String(options.holdMs) },
  });
  try {
    // A holder that was killed while it waits for a lock is noticed; not every platform can.
    await allowed(client, `SET client_connection_check_interval = 100`);
    // The decision has to survive what the writers' own commits survive, whatever the role was set to.
    await client.query(
      `SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') IN ('off', 'local')`,
    );
    return { client, ...(await lockingFacts(client)) };
  } catch (error) {
    await client.end().catch(() => undefined);
    throw error;
  }
}

/** How long a session may wait for locks that writers queue behind. */
export async function lockingFacts(client: pg.ClientBase): Promise<Omit<LockSession, 'client'>> {
  const row = await queryRow(
    client,
    `SELECT pg_backend_pid()::text AS pid, setting AS deadlock FROM pg_settings WHERE name = 'deadlock_timeout'`,
  );
  return { pid: row!['pid']!, safeLockMs: Math.floor(Number(row!['deadlock']) * DEADLOCK_SHARE) };
}

async function allowed(client: pg.Client, sql: string): Promise<boolean> {
  try {
    await client.query(sql);
    return true;
  } catch {
    return false;
  }
}
