/** What a migration has left outside of the two databases: on this machine, and in the change log. Guarantee: looks, and changes nothing. */
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { hasPushed } from '#connectors/flags/redis/pushed.ts';
import { messageOf } from '#schemas/errors.ts';
import { pushKey } from '#schemas/flags/push-names.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { wholeName } from '#schemas/config/wave-file.ts';
import type { Remnant } from '#schemas/report/remnant.ts';
import { formatBytes } from '../render.ts';

export async function readLocalRemnants(file: MigrationFile, dataDir: string): Promise<Remnant[]> {
  return [...(await ownRemnants(file, dataDir)), ...(await savedRemnant(file))];
}

/** What a backup holds is not ours to take away. */
async function savedRemnant({ backup }: MigrationFile): Promise<Remnant[]> {
  const found = backup?.file === undefined ? undefined : await stat(backup.file).catch(() => undefined);
  if (backup?.file === undefined || found === undefined) return [];
  return [
    {
      place: 'here',
      kind: 'backup',
      name: backup.file,
      detail: `${formatBytes(found.size)}: the ${backup.of} as crossfade backup saved it`,
      holdsData: true,
      fate: 'hand',
      how: 'delete it when nobody needs it any more',
    },
  ];
}

async function ownRemnants(file: MigrationFile, dataDir: string): Promise<Remnant[]> {
  const bytes = await bytesIn(dataDir);
  const { kafka } = file.settings.log;
  return [
    ...(await pushedFlags(file)),
    ...(bytes === undefined
      ? []
      : [
          {
            place: 'here',
            kind: 'directory',
            name: dataDir,
            detail: `${formatBytes(bytes)}: ${kafka === undefined ? 'the change log, ' : ''}the last verify, the token`,
            holdsData: true,
            fate: 'asked',
            how: 'crossfade cleanup --data-directory',
          } as const,
        ]),
    ...(kafka === undefined
      ? []
      : [
          {
            place: 'log',
            kind: 'topics',
            name: `${file.name}.*`,
            detail: `every change, on ${kafka.brokers.join(', ')}; not looked at from here`,
            holdsData: true,
            fate: 'hand',
            how: `delete the topics whose names begin with ${file.name}. with Kafka's own tools, and their subjects in the registry`,
          } as const,
        ]),
  ];
}

/** Those of all waves stand under the name of the whole. */
async function pushedFlags(file: MigrationFile): Promise<Remnant[]> {
  const { flags } = file;
  if (flags?.redis === undefined) return [];
  const name = wholeName(file);
  const remnant = {
    place: 'redis',
    kind: 'keys',
    name: pushKey(name),
    holdsData: false,
    fate: 'hand',
    // Without it applications that still follow the flags take the source, which nobody follows any more.
    how: `redis-cli DEL ${pushKey(name)}, once no application asks for its flags`,
  } as const;
  try {
    return (await hasPushed(flags.redis, name)) ? [{ ...remnant, detail: 'the flags, for applications' }] : [];
  } catch (error) {
    return [{ ...remnant, detail: `not looked at: ${messageOf(error)}` }];
  }
}

/** Undefined: it is not there. */
async function bytesIn(directory: string): Promise<number | undefined> {
  try {
    const names = await readdir(directory, { recursive: true });
    const sizes = await Promise.all(names.map(async (name) => sizeOrNothing(join(directory, name))));
    return sizes.reduce((sum, size) => sum + size, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** A segment of the log may go while we look. */
async function sizeOrNothing(path: string): Promise<number> {
  const found = await stat(path).catch(() => undefined);
  return found?.isFile() === true ? found.size : 0;
}
