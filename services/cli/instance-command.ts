/** What the commands share that need a running instance. Guarantee: no instance is told as CF-7001 with where was looked. */
import type { Command } from 'commander';
import { PipelineError } from '#schemas/errors.ts';
import type { CommandContext } from './command.ts';
import { createInstanceClient, findInstance, type InstanceClient } from './instance-client.ts';
import { dataDirOf, loadMigration, shownPath } from './migration-input.ts';

export function urlOption(command: Command): void {
  command.option('--url <url>', 'address of a running instance (default: found through the data directory)');
}

/** Without --url and --data the file must be read, because its name is the data directory's. */
export async function reachInstance(context: CommandContext): Promise<InstanceClient | undefined> {
  const url = context.options.text('url');
  const dataDir = context.common.data === undefined && url === undefined ? (await loadMigration(context)).dataDir : dataDirGiven(context);
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

export async function requireInstance(context: CommandContext): Promise<InstanceClient> {
  const client = await reachInstance(context);
  if (client !== undefined) return client;
  const { dataDir } = await loadMigration(context);
  throw new PipelineError('CF-7001', `no running instance is recorded in ${shownPath(dataDir, context.io.directory)}`);
}
