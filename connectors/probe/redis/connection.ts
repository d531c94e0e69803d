/**
 * Verify's own sessions with Redis. Guarantee: only reads, and only from masters; a connection that is lost stays lost, so nothing is read
 * from two lives of a server; no secret of the URL is in any message.
 */
import { Cluster, Redis } from 'ioredis';
import type { RedisAddress } from '#schemas/config/migration-file.ts';
import { messageOf, PipelineError } from '#schemas/errors.ts';

export type StoreClient = Redis | Cluster;

const CONNECT_MS = 10_000;
const COMMAND_MS = 60_000;

/** @throws PipelineError CF-5001 when it cannot be reached, CF-5002 when it does not let us in. */
export async function openStore({ url: text, cluster }: RedisAddress): Promise<StoreClient> {
  const url = new URL(text);
  const [host, port] = [url.hostname.replace(/^\[(.*)\]$/, '$1'), Number(url.port || 6379)];
  const session = {
    connectionName: 'crossfade verify',
    protocol: 2 as const,
    retryStrategy: () => null,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    connectTimeout: CONNECT_MS,
    commandTimeout: COMMAND_MS,
    // Many small reads: those of one turn of the event loop go out together, in a cluster by node.
    enableAutoPipelining: true,
    ...(url.username !== '' && { username: decodeURIComponent(url.username) }),
    ...(url.password !== '' && { password: decodeURIComponent(url.password) }),
    ...(url.protocol === 'rediss:' && { tls: { servername: host } }),
  };
  const shared = { lazyConnect: true, enableOfflineQueue: false, enableAutoPipelining: true };
  const client: StoreClient = cluster
    ? new Cluster([{ host, port }], { ...shared, clusterRetryStrategy: () => null, redisOptions: session })
    : new Redis({ ...session, ...shared, host, port, db: Number(url.pathname.slice(1) || 0) });
  let cause: unknown;
  client.on('error', (error: unknown) => (cause ??= error));
  try {
    await client.connect();
    return client;
  } catch (error) {
    client.disconnect();
    const message = messageOf(cause ?? error);
    const code = /NOAUTH|WRONGPASS|NOPERM|invalid password|without any password/i.test(message) ? 'CF-5002' : 'CF-5001';
    const remedy =
      code === 'CF-5002'
        ? 'Mend user and password in the URL (redis://user:password@host:6379), or the ACL of the user (docs/redis.md).'
        : 'Check the address and that Redis runs; rediss:// where it wants TLS (docs/redis.md).';
    throw new PipelineError(code, `Redis at ${host}:${port} cannot be read: ${message}`, { cause: cause ?? error, remedy });
  }
}

export function mastersOf(client: StoreClient): readonly Redis[] {
  return client instanceof Cluster ? client.nodes('master') : [client];
}

/** Differs after a restart, a fail-over or a resharding onto other servers: rows may have gone back to an earlier state then. */
export async function livesOf(client: StoreClient): Promise<string> {
  const infos = await Promise.all(mastersOf(client).map(async (server) => server.info('server')));
  return infos
    .map((info) => /^run_id:(\w+)/m.exec(info)?.[1] ?? '')
    .toSorted()
    .join(' ');
}
