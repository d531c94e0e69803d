/** What the commands share that need a running instance. Guarantee: no instance is told as CF-7001 with where was looked. */
import type { Command } from 'commander';
import { PipelineError } from '#schemas/errors.ts';
import type { StatusResult } from '#schemas/status/status-result.ts';
import type { CommandContext } from './command.ts';
import { createInstanceClient, findInstance, type InstanceClient } from './instance-client.ts';
import { dataDirOf, loadWhole, shownPath } from './migration-input.ts';

export function urlOption(command: Command): void {
  command.option('--url <url>', 'address of a running instance (default: found through the data directory)');
}

/** Without --url and --data the file must be read, because its name is the data directory's. */
export async function reachInstance(context: CommandContext): Promise<InstanceClient | undefined> {
  const url = context.options.text('url');
  const dataDir = context.common.data === undefined && url === undefined ? (await loadWhole(context)).dataDir : dataDirGiven(context);
  const address = await findInstance({
    environment: context.io.environment,
    signal: context.signal,
    ...(url !== undefined && { url }),
    ...(dataDir !== undefined && { dataDir }),
  });
  return address === undefined ? undefined : createInstanceClient(address, context.signal);
}

function dataDirGiven(context: CommandContext): string | undefined {
  return context.common.data === undefined ? undefined : dataDirOf('', context);
}

/** Undefined when none runs: a killed instance leaves its address behind. */
export async function askInstance(context: CommandContext): Promise<StatusResult | undefined> {
  const client = await reachInstance(context);
  if (client === undefined) return undefined;
  try {
    return await client.status();
  } catch (error) {
    if (context.options.text('url') === undefined && (error as { code?: unknown }).code === 'CF-7001') return undefined;
    throw error;
  }
}

/** What a command may ask of whoever runs the migration: one instance, or services that are reached through Kafka. */
export type Control = Pick<InstanceClient, 'url' | 'recopy' | 'pause' | 'resume' | 'throttle' | 'marker' | 'reverse'>;

/** Of several targets only this one is waited for; absent: there is one. */
export function markersOf(control: Pick<Control, 'marker' | 'recopy'>, target: string | undefined): Pick<Control, 'marker' | 'recopy'> {
  if (target === undefined) return control;
  return { recopy: async (request) => control.recopy(request), marker: async (request) => control.marker({ ...request, target }) };
}

/** Over Kafka no process has to be asked: what is wanted is put where the services look. @throws PipelineError CF-7001 */
export async function withControl<T>(context: CommandContext, act: (control: Control) => Promise<T>): Promise<T> {
  const client = await reachInstance(context);
  if (client !== undefined && (context.options.text('url') !== undefined || (await answers(client)))) return act(client);
  const { file, dataDir } = await loadWhole(context);
  const { kafka } = file.settings.log;
  if (kafka === undefined) {
    if (client !== undefined) return act(client); // it tells where nothing answered
    throw new PipelineError('CF-7001', `no running instance is recorded in ${shownPath(dataDir, context.io.directory)}`);
  }
  const { openRemoteControl } = await import('#services/up/kafka/open-remote-control.ts');
  await using remote = await openRemoteControl({ file, kafka, logger: context.log, signal: context.signal }).catch(notFromHere);
  const { control } = remote;
  return await act({
    url: `kafka://${kafka.brokers.join(',')}/${file.name}.requests`,
    recopy: async (request) => control.recopy(request),
    pause: async () => control.pause(),
    resume: async () => control.resume(),
    throttle: async (request) => control.throttle(request),
    marker: async (request) => control.marker(request),
    reverse: { recopy: noWayBack, marker: noWayBack },
  });
}

async function noWayBack(): Promise<never> {
  throw new PipelineError('CF-8201', 'no service over Kafka runs the way back: nothing can be copied from the target to the source', {
    remedy: 'Run the migration by crossfade up with the embedded log.',
  });
}

/** A service tries again by itself; a command does not, and its host may not see the brokers at all. */
function notFromHere(error: unknown): never {
  if (!(error instanceof PipelineError) || error.code !== 'CF-3001') throw error;
  const remedy = 'Run the command where the brokers under log.kafka.brokers can be reached, or name crossfade control with --url.';
  throw new PipelineError('CF-3001', error.message, { cause: error, remedy });
}

/** A killed instance leaves its address behind. */
async function answers(client: InstanceClient): Promise<boolean> {
  return client.status().then(
    () => true,
    (error: unknown) => {
      if ((error as { code?: unknown }).code === 'CF-7001') return false;
      throw error;
    },
  );
}
