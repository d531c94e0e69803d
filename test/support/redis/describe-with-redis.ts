/** Guarantee: a suite that needs Redis runs where one can be had, and otherwise is skipped with the reason in its title. */
import { describe } from 'vitest';
import { redisProvider } from './provider.ts';

const hasRedis = (await redisProvider()) !== undefined;

export function describeWithRedis(title: string, body: () => void): void {
  const reason = ' (needs Redis: a Docker engine, redis-server, or Maven and unzip)';
  describe.skipIf(!hasRedis)(`${title}${hasRedis ? '' : reason}`, () => {
    body();
  });
}
