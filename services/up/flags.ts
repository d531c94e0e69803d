/**
 * The flags of a running process: read, kept, pushed. Guarantee: whatever fails here stops nothing else; a migration whose target keeps no state has
 * flags that stand at the source for good.
 */
import { openRedisPush } from '#connectors/flags/redis/push.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { messageOf } from '#schemas/errors.ts';
import { fixedFlags, type FlagService, PolledFlags } from '#services/flags/flag-service.ts';
import { keepFlags, readKeptFlags } from '#services/flags/keep-document.ts';
import { Observations } from '#services/flags/observations.ts';
import { flagsUrl, openFlagStore, openWaveStore } from '#services/flags/open-store.ts';
import { keepPushed } from '#services/flags/push-loop.ts';
import type { Logger } from '#services/runtime/service.ts';

export interface RunningFlags {
  readonly flags: FlagService;
  readonly observations: Observations;
  readonly flagsToken: string | undefined;
  /** Until the signal. Never rejects. */
  run(signal: AbortSignal): Promise<void>;
}

export interface RunningFlagsOptions {
  readonly file: MigrationFile;
  readonly dataDir: string;
  readonly logger: Logger;
  readonly environment: Readonly<Record<string, string | undefined>>;
}

export async function openFlags({ file, dataDir, logger, environment }: RunningFlagsOptions): Promise<RunningFlags> {
  const common = { observations: new Observations(), flagsToken: environment['CROSSFADE_FLAGS_TOKEN'] };
  const url = flagsUrl(file);
  if (url === undefined) return { ...common, flags: fixedFlags(file.name), run: async () => undefined };
  const { wave } = file;
  const store = wave === undefined ? openFlagStore(url, file.name) : openWaveStore(url, wave);
  const kept = readKeptFlags(dataDir, wave?.of ?? file.name);
  const flags = new PolledFlags({ store, logger, kept, wave: wave?.name });
  const keep = (): void => {
    if (flags.document === undefined) return;
    keepFlags(dataDir, flags.document).catch((error: unknown) => logger.warn({ error: messageOf(error) }, 'The flags could not be kept'));
  };
  flags.onChange(keep);
  // What is served first is what holds, if the target answers at all.
  await flags.refresh().catch(() => undefined);
  const run = async (signal: AbortSignal): Promise<void> => {
    const push = file.flags?.redis === undefined ? undefined : openRedisPush(file.flags.redis);
    await Promise.all([flags.run(signal), push && keepPushed({ flags, push, logger }, signal)]);
    await push?.close();
    await store.close();
  };
  return { ...common, flags, run };
}
