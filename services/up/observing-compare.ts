/**
 * The comparisons while the target is observed (`observe:`): both sides whole, again and again while the target serves and is not signed off. Guarantee: what they find is recorded
 * with the state, as of any `verify`, so that it outlives the instance; one that fails is tried again, and ends nothing else.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { readAudit } from '#connectors/target/postgres/audit.ts';
import { readState } from '#connectors/target/postgres/migration-state.ts';
import { messageOf } from '#schemas/errors.ts';
import { lastProof } from '#schemas/migration/last-proof.ts';
import { isComparisonDue, lastCutover } from '#schemas/migration/observed-time.ts';
import type { RunUpOptions } from '#services/cli/up-port.ts';

const LOOK_EVERY_MS = 5_000;
/** One that was inconclusive, or failed, leaves no record. */
const AGAIN_MS = 300_000;

export type Observing = Pick<RunUpOptions, 'file' | 'logger' | 'prove'>;

/** Until the signal fires. Never rejects. */
export async function compareWhileObserving({ file, logger, prove }: Observing, signal: AbortSignal): Promise<void> {
  const { observe, target, name } = file;
  if (observe === undefined || prove === undefined || target.postgres === undefined || file.targets !== undefined) return;
  const url = target.postgres;
  let triedMs = Number.NEGATIVE_INFINITY;
  while (!signal.aborted) {
    try {
      const isWaiting = performance.now() - triedMs < Math.min(observe.everyMs, AGAIN_MS);
      if (!isWaiting && (await isDue(url, name, observe.everyMs))) {
        triedMs = performance.now();
        tell(await prove(signal), logger);
      }
    } catch (error) {
      if (!signal.aborted) logger.warn({ error: messageOf(error) }, 'The comparison while observing failed; it is tried again');
    }
    await delay(Math.min(LOOK_EVERY_MS, observe.everyMs), undefined, { signal }).catch(() => undefined);
  }
}

async function isDue(url: string, name: string, everyMs: number): Promise<boolean> {
  const row = await readState(url, name);
  if (row?.state !== 'observing') return false; // and its trail is not read every few seconds
  const audit = await readAudit(url, name);
  return isComparisonDue({ row, everyMs, since: lastCutover(audit)?.at, proof: lastProof(audit), nowMs: Date.now() });
}

function tell(result: Awaited<ReturnType<NonNullable<RunUpOptions['prove']>>>, logger: RunUpOptions['logger']): void {
  if (result === undefined) return;
  const { differences, inconclusive } = result;
  if (differences > 0) logger.error({ differences }, 'Target and source differ while the target serves: see crossfade verify');
  else if (inconclusive > 0) logger.warn({ inconclusive }, 'The comparison while observing was inconclusive; it is tried again');
  else logger.info({}, 'The comparison while observing found both sides equal');
}
