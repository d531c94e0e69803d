import { expect, test } from 'vitest';
import { InvariantError, PipelineError } from '#schemas/errors.ts';
import { silentLogger } from '#services/runtime/service.ts';
import { retried } from '#services/up/kafka/retried.ts';

const never = new AbortController().signal;

function failing(errors: readonly Error[]): () => Promise<string> {
  const left = [...errors];
  return async () => {
    const error = left.shift();
    if (error !== undefined) throw error;
    return 'done';
  };
}

test('an outage is waited out: Kafka, a server, somebody else who acts, a session that broke', async () => {
  const errors = [
    new PipelineError('CF-3001', 'Kafka is away'),
    new PipelineError('CF-5001', 'the target is away'),
    new PipelineError('CF-3007', 'replaced'),
    new Error('Connection terminated unexpectedly'),
  ];
  expect(await retried({ signal: never, logger: silentLogger, what: 'trying' }, failing(errors))).toBe('done');
});

test.for([
  { error: new PipelineError('CF-2004', 'the slot is gone'), why: 'needs an operator' },
  { error: new InvariantError('a bug'), why: 'is a bug of ours' },
])('what $why ends it', async ({ error }) => {
  await expect(retried({ signal: never, logger: silentLogger, what: 'trying' }, failing([error]))).rejects.toBe(error);
});

test('a stop ends it with the stop, whatever it looked like from within', async () => {
  const stop = new AbortController();
  stop.abort();
  const attempt = failing([new Error('Connection terminated')]);
  await expect(retried({ signal: stop.signal, logger: silentLogger, what: 'trying' }, attempt)).rejects.toMatchObject({
    name: 'AbortError',
  });
});
