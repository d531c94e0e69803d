/**
 * Pushes flags to Redis. Guarantee: hash and message change in one script, which leaves a newer document alone: a publisher that is late, or was
 * replaced and does not know it, takes nothing back. Repeating a push publishes nothing.
 */
import { Redis } from 'ioredis';
import { type FlagDocument, versionOf } from '#schemas/flags/flag-document.ts';
import { pushKey } from '#schemas/flags/push-names.ts';
import { guarded } from '#schemas/test-hooks.ts';
import type { FlagPush } from '../flags.ts';

const COMMAND_MS = 5_000;
const RETRY_MAX_MS = 1_000;

/** 0: newer is there; 1: it is there now, or was. */
const PUSH = `
local held = redis.call('HMGET', KEYS[1], 'epoch', 'state', 'version')
if held[1] and ARGV[5] == '1' then
  local age = 0
  for i = 1, 3 do
    if age == 0 then age = tonumber(ARGV[i]) - (tonumber(held[i]) or 0) end
  end
  if age < 0 then return 0 end
  if age == 0 then return 1 end
end
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'state', ARGV[2], 'version', ARGV[3], 'document', ARGV[4])
redis.call('PUBLISH', KEYS[1], ARGV[4])
return 1`;

export function openRedisPush(url: string): FlagPush {
  const client = new Redis(url, {
    connectionName: 'crossfade flags',
    protocol: 2,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    commandTimeout: COMMAND_MS,
    retryStrategy: (times) => Math.min(RETRY_MAX_MS, times * 50),
  });
  // Each command that fails says so itself; without a listener the client writes to the console.
  client.on('error', () => undefined);
  return {
    push: async (document: FlagDocument) => {
      const age = [document.epoch, document.state, versionOf(document)].map(String);
      const check = guarded('flag-epoch') ? '1' : '0';
      return (await client.eval(PUSH, 1, pushKey(document.name), ...age, JSON.stringify(document), check)) === 1;
    },
    close: async () => client.disconnect(),
  };
}
