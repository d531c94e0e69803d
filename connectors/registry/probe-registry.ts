/** Whether a schema registry answers and lets us in. Guarantee: a question only, bounded in time; no message holds a password. */
import { type Agent, get as getPlainly } from 'node:http';
import { get as getByTls } from 'node:https';
import { PipelineError } from '#schemas/errors.ts';
import { registryAddress } from './registry-address.ts';

const TIMEOUT_MS = 5_000;

/** @throws PipelineError CF-3006 with the reason */
export async function probeRegistry(url: string, agent: Agent | undefined): Promise<void> {
  const { host, username, password } = registryAddress(url);
  const { promise, resolve, reject } = Promise.withResolvers<number | undefined>();
  const get = host.startsWith('https:') ? getByTls : getPlainly;
  const request = get(
    `${host}/subjects`,
    {
      ...(agent !== undefined && { agent }),
      ...(username !== '' && { auth: `${username}:${password}` }),
      signal: AbortSignal.timeout(TIMEOUT_MS),
    },
    (response) => {
      response.resume();
      resolve(response.statusCode);
    },
  );
  request.on('error', reject);
  const status = await promise.catch((error: unknown) => {
    throw unusable(host, reasonOf(error), error);
  });
  if (status === undefined || status < 200 || status > 299) throw unusable(host, `it answers ${status}`);
}

function reasonOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'ABORT_ERR') return `no answer in ${TIMEOUT_MS / 1000} s`;
  return message === '' ? (code ?? 'no answer') : message; // of two addresses tried only the code is told
}

function unusable(host: string, why: string, cause?: unknown): PipelineError {
  return new PipelineError('CF-3006', `the schema registry at ${host} cannot be used: ${why}`, {
    cause,
    remedy: 'Check log.kafka.registry, the address of Confluent’s API with user and password where it asks for them, and registrySsl.',
  });
}
