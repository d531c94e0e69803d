/**
 * Keeps the phase beside what the running comparison finds: `verified` after a clean round of everything, `following` again with a difference. Guarantee: only of a migration whose
 * state is kept already (somebody has begun to think of a cut-over); whoever acts on it goes first, and nothing that fails here ends anything else.
 */
import { hostname } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { takeMigrationLease } from '#connectors/target/postgres/migration-lease.ts';
import { readState } from '#connectors/target/postgres/migration-state.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { messageOf } from '#schemas/errors.ts';
import type { CompiledMapping } from '#schemas/mapping/compiled-mapping.ts';
import { runningProof } from '#schemas/migration/running-proof.ts';
import { planHash } from '#schemas/plan/plan-hash.ts';
import type { ReconciliationStatus } from '#schemas/status/reconciliation-status.ts';
import type { Logger } from '#services/runtime/service.ts';

export interface ProofKeeping {
  readonly file: MigrationFile;
  readonly mapping: CompiledMapping;
  readonly logger: Logger;
  readonly compared: () => ReconciliationStatus | undefined;
}

const LOOK_EVERY_MS = 5_000;

/** Until the signal fires. Never rejects. */
export async function keepProof(keeping: ProofKeeping, signal: AbortSignal): Promise<void> {
  const { file, logger } = keeping;
  if (file.target.postgres === undefined || file.targets !== undefined) return;
  while (!signal.aborted) {
    await delay(LOOK_EVERY_MS, undefined, { signal }).catch(() => undefined);
    if (signal.aborted) return;
    await recordRunningProof(keeping, file.target.postgres).catch((error: unknown) =>
      logger.debug({ error: messageOf(error) }, 'What the running comparison found is not recorded with the state yet'),
    );
  }
}

/** What is found by now. @throws PipelineError CF-8001, and what ended a session */
export async function recordRunningProof({ file, mapping, compared, logger }: ProofKeeping, url: string): Promise<void> {
  const { name } = file;
  // Cheap while there is nothing to say.
  if (runningProof(await readState(url, name), compared()) === undefined) return;
  const lease = await takeMigrationLease({ url, name, holder: `crossfade up on ${hostname()}, process ${process.pid}` });
  try {
    const found = compared();
    const event = runningProof(lease.row, found);
    if (event === undefined || found === undefined) return;
    const details = {
      by: 'the running comparison',
      differences: found.confirmed,
      provedSince: found.provedSince,
      tables: mapping.tables.length,
    };
    await lease.apply(event, { actor: `crossfade up on ${hostname()}`, details: { ...details, plan: planHash(file, mapping) } });
    logger.info({ event }, 'The running comparison is recorded with the state');
  } finally {
    await lease.release();
  }
}
