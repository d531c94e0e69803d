/** A Redis Cluster of three masters. Guarantee: every slot has its master, and each node knows it, when it is returned. */
import { setTimeout as delay } from 'node:timers/promises';
import { redisProvider } from './provider.ts';
import { type RedisServer, startRedis } from './server.ts';

const NODES = 3;
const SLOTS = 16_384;
const START_TIMEOUT_MS = 30_000;
const POLL_MS = 50;

/** Containers would have to tell each other addresses that this machine reaches: a binary only. */
export const hasClusters: boolean = (await redisProvider())?.kind === 'binary';

export interface RedisCluster extends AsyncDisposable {
  readonly nodes: readonly RedisServer[];
  readonly url: string;
}

export async function startRedisCluster(): Promise<RedisCluster> {
  await using stack = new AsyncDisposableStack();
  const nodes: RedisServer[] = [];
  for (let i = 0; i < NODES; i++) nodes.push(stack.use(await startRedis({ 'cluster-enabled': 'yes', 'cluster-node-timeout': '5000' })));
  for (const [i, { client }] of nodes.entries()) {
    const [from, to] = [Math.ceil((i * SLOTS) / NODES), Math.ceil(((i + 1) * SLOTS) / NODES)];
    await client.cluster('ADDSLOTS', ...Array.from({ length: to - from }, (_, n) => from + n));
    if (i > 0) await client.cluster('MEET', '127.0.0.1', nodes[0]!.port);
  }
  const deadline = Date.now() + START_TIMEOUT_MS;
  for (const { client } of nodes) {
    for (;;) {
      const info = await client.cluster('INFO');
      if (info.includes('cluster_state:ok') && info.includes(`cluster_known_nodes:${NODES}`)) break;
      if (Date.now() > deadline) throw new Error(`the cluster was not ready in ${START_TIMEOUT_MS} ms:\n${info}`);
      await delay(POLL_MS);
    }
  }
  const kept = stack.move();
  return { nodes, url: `redis://127.0.0.1:${nodes[0]!.port}`, [Symbol.asyncDispose]: async () => kept.disposeAsync() };
}
