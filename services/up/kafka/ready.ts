/** What a service needs before it starts. Guarantee: a server that is out of reach is waited for; a file or server that does not fit ends it. */
import { requireReady } from '#services/cli/check/require-ready.ts';
import type { RunServiceOptions } from '#services/cli/service-port.ts';
import { readMigration, type Migration } from '../read-migration.ts';
import { retried } from './retried.ts';

/** @throws PipelineError of what an operator has to mend */
export async function checkedMigration({ file, logger }: RunServiceOptions, signal: AbortSignal): Promise<Migration> {
  return retried({ signal, logger, what: 'source or target is not ready' }, async () => {
    await requireReady({ file }, { signal, log: logger });
    return readMigration(file);
  });
}

/** Without the preflight: for a service that writes neither source nor target. */
export async function plainMigration({ file, logger }: RunServiceOptions, signal: AbortSignal): Promise<Migration> {
  return retried({ signal, logger, what: 'source or target cannot be read' }, () => readMigration(file));
}
