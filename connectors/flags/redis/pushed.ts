/** The flags that a migration has pushed to Redis, once it is over. Guarantee: it looks and changes nothing; a server that does not answer is told. */
import { Redis } from 'ioredis';
import { pushKey } from '#schemas/flags/push-names.ts';

const ANSWER_MS = 5_000;

export async function hasPushed(url: string, name: string): Promise<boolean> {
  const client = new Redis(url, {
    connectionName: 'crossfade cleanup',
    protocol: 2,
    lazyConnect: true,
    connectTimeout: ANSWER_MS,
    commandTimeout: ANSWER_MS,
    retryStrategy: () => null,
  });
  let cause: Error | undefined;
  client.on('error', (error) => {
    cause = error;
  });
  try {
    await client.connect();
    return (await client.exists(pushKey(name))) === 1;
  } catch (error) {
    throw cause ?? error;
  } finally {
    client.disconnect();
  }
}
