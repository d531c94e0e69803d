/**
 * Connections to Redis. Guarantee: a connection that is lost stays lost: what was sent on it is never sent again by the client, so the
 * session that used it ends, and the next one goes on from the stored progress; no secret of the URL is in any message.
 */
import { Cluster, Redis } from 'ioredis';
import type { RedisAddress } from '#schemas/config/migration-file.ts';
import { messageOf, PipelineError } from '#schemas/errors.ts';

export type RedisClient = Redis | Cluster;

const CONNECT_MS = 10_000;
/** Longer than any call of ours takes; a server that hangs is given up. */
const COMMAND_MS = 60_000;
const KEEP_ALIVE_MS = 10_000;

/** @throws PipelineError CF-5001 when it cannot be reached, CF-5002 when it does not let us in. */
export async function connectRedis(address: RedisAddress, connectionName: string): Promise<RedisClient> {
  const url = new URL(address.url);
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  const port = Number(url.port || 6379);
  const options = {
    connectionName,
    protocol: 2 as const, // what proxies understand; nothing of the newer one is needed
    autoResendUnfulfilledCommands: false,
    retryStrategy: () => null,
    maxRetriesPerRequest: 0,
    connectTimeout: CONNECT_MS,
    commandTimeout: COMMAND_MS,
    keepAlive: KEEP_ALIVE_MS,
    ...(url.username !== '' && { username: decodeURIComponent(url.username) }),
    ...(url.password !== '' && { password: decodeURIComponent(url.password) }),
    ...(url.protocol === 'rediss:' && { tls: { servername: host } }),
  };
  const db = Number(url.pathname.slice(1) || 0);
  const client: RedisClient = address.cluster
    ? new Cluster([{ host, port }], {
        lazyConnect: true,
        enableOfflineQueue: false,
        clusterRetryStrategy: () => null,
        redisOptions: options,
      })
    : new Redis({ ...options, host, port, db, lazyConnect: true, enableOfflineQueue: false });
  let cause: unknown;
  // Each command that fails says so itself; without a listener the client writes to the console.
  client.on('error', (error: unknown) => (cause ??= error));
  try {
    await client.connect();
    return client;
  } catch (error) {
    client.disconnect();
    throw refusal(cause ?? error, `${host}:${port}`);
  }
}

function refusal(error: unknown, at: string): PipelineError {
  const message = messageOf(error);
  if (/NOAUTH|WRONGPASS|NOPERM|invalid password|without any password/i.test(message))
    return new PipelineError('CF-5002', `Redis at ${at} does not let us in: ${message}`, {
      cause: error,
      remedy: 'Mend user and password in the URL (redis://user:password@host:6379), or the ACL of the user (docs/redis.md).',
    });
  return new PipelineError('CF-5001', `Redis at ${at} cannot be reached: ${message}`, { cause: error });
}

/** What one server, or each master of a cluster, is asked. */
export function serversOf(client: RedisClient): readonly Redis[] {
  return client instanceof Cluster ? client.nodes('master') : [client];
}

const TRANSIENT =
  /\b(NOSCRIPT|LOADING|MASTERDOWN|READONLY|OOM|BUSY|CLUSTERDOWN|TRYAGAIN|MOVED|ASK|NOREPLICAS|MISCONF|UNBLOCKED|ECONNREFUSED|ECONNRESET|EPIPE|ETIMEDOUT|EHOSTUNREACH|ENOTFOUND)\b|Connection is closed|Connection ended|isn't writeable|Command timed out|Failed to refresh slots|max retries per request|Too many Cluster/i;

/** Within a script it is said in words, by Redis 6.2 and by later ones. */
const DENIED = /\b(NOAUTH|WRONGPASS|NOPERM)\b|user executing the script|ACL failure in script/;

/** A new session may do better. */
export function isTransientReply(error: unknown): boolean {
  return TRANSIENT.test(messageOf(error));
}

/** As an operator reads it. */
export function explainReply(error: unknown): unknown {
  if (error instanceof PipelineError || !(error instanceof Error)) return error;
  if (error.name !== 'ReplyError') return error;
  const code = DENIED.test(error.message) ? 'CF-5002' : 'CF-5003';
  const remedy =
    code === 'CF-5002' ? { remedy: 'Let the user run the commands and reach the keys that docs/redis.md names (ACL SETUSER).' } : {};
  return new PipelineError(code, `Redis refused a command: ${error.message}`, { cause: error, ...remedy });
}
