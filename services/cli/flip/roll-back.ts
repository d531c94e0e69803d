/**
 * The rollback that a trigger begins in a running instance: the very one of the command. Guarantee: never a forced one; what ends it is thrown with its gates, and
 * the trigger asks again.
 */
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { PipelineError } from '#schemas/errors.ts';
import { flip } from '#services/control/flip/engine.ts';
import { type FlipContext, openFlip } from './open-flip.ts';

/** @throws PipelineError what ended it; CF-8310 with the closed gates */
export async function rollBack(
  file: MigrationFile,
  context: FlipContext & { readonly signal: AbortSignal },
  reason: string,
): Promise<void> {
  const by = `crossfade up, ${reason}`;
  context.log.warn({ reason }, 'A rollback begins');
  await using open = await openFlip(file, context, by);
  const outcome = await flip(open.ports, open.migration.settings, { kind: 'rollback', drill: false, by, signal: context.signal });
  if (outcome.outcome === 'closed') {
    const shut = outcome.gates.filter(({ state }) => state === 'closed').map(({ gate, evidence }) => `${gate}: ${evidence}`);
    throw new PipelineError('CF-8310', `the rollback was not begun: ${shut.join('; ')}`);
  }
  context.log.warn({ outcome: outcome.outcome }, 'The rollback is done: the source serves');
}
