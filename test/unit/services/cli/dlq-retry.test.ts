import { expect, test } from 'vitest';
import type { DeadLetter } from '#connectors/target/postgres/dead-letters.ts';
import type { RecopyBody } from '#schemas/status/control-request.ts';
import { retryDeadLetters } from '#services/cli/dlq-retry.ts';
import { silentLogger } from '#services/runtime/service.ts';

function letter(id: string, to: string): DeadLetter {
  const source = { schema: 'public', table: 'person' };
  return { id, from: 'public.person', to, source, key: ['1'], sqlState: '22000' } as unknown as DeadLetter;
}

test('a row set aside for two targets: what another one still refuses is not the answer about this one', async () => {
  const [one, other] = [letter('1', 'public.customer'), letter('2', 'public.address')];
  const asked: RecopyBody[] = [];
  const instance = {
    recopy: async (request: RecopyBody) => void asked.push(request),
    marker: async () => ({ id: 'm', applied: true }),
  } as unknown as Parameters<typeof retryDeadLetters>[0]['instance'];
  const read = async (): Promise<DeadLetter[]> => [other];
  expect(await retryDeadLetters({ letters: [one], instance, read, logger: silentLogger })).toEqual([]);
  expect(await retryDeadLetters({ letters: [one, other], instance, read, logger: silentLogger })).toEqual([other]);
  expect(asked.map((request) => ('keys' in request ? request.keys : undefined))).toEqual([[['1']], [['1']]]);
});
