/** TLS to a schema registry with authorities or a client certificate of its own. Guarantee: files are read once, and which one fails is named. */
import { readFile } from 'node:fs/promises';
import { Agent } from 'node:https';
import type { KafkaSettings } from '#schemas/config/migration-file.ts';
import { messageOf, PipelineError } from '#schemas/errors.ts';

/** Undefined: the system's authorities are enough. @throws PipelineError CF-3006 when a file cannot be read. */
export async function registryAgent({ registrySsl }: Pick<KafkaSettings, 'registrySsl'>): Promise<Agent | undefined> {
  if (registrySsl === undefined) return undefined;
  const [ca, cert, key] = await Promise.all((['ca', 'cert', 'key'] as const).map((entry) => pem(registrySsl[entry], entry)));
  return new Agent({ ...(ca !== undefined && { ca }), ...(cert !== undefined && { cert }), ...(key !== undefined && { key }) });
}

async function pem(path: string | undefined, entry: string): Promise<string | undefined> {
  if (path === undefined) return undefined;
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new PipelineError('CF-3006', `log.kafka.registrySsl.${entry}: ${messageOf(error)}`, {
      cause: error,
      remedy: 'Name a PEM file that this process can read.',
    });
  }
}
