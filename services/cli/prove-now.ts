/**
 * The whole comparison that a running instance makes by itself while the target serves: that of `verify`, recorded like it. Guarantee: while the source serves
 * nothing is compared; what somebody else does meanwhile makes it fail, and it proves nothing then.
 */
import type { VerifyResult } from '#schemas/reconcile/verify-result.ts';
import { readFit } from './catalogs.ts';
import type { CommandContext } from './command.ts';
import { comparedDirection, compareNow } from './compared-direction.ts';
import type { MigrationInput } from './migration-input.ts';
import { recordProof } from './record-proof.ts';
import { keepForRepair } from './verify.ts';

/** Undefined: the target does not serve. @throws PipelineError as `verify`; CF-8201 where nothing goes back */
export async function proveNow(
  input: Pick<MigrationInput, 'file' | 'dataDir'>,
  context: Pick<CommandContext, 'log' | 'signal'>,
): Promise<VerifyResult | undefined> {
  const direction = await comparedDirection(input, await readFit(input.file));
  if (direction.serves !== 'target') return undefined;
  const result = await compareNow(context, { direction });
  await keepForRepair(input, { result, isWhole: true }, context);
  await recordProof(context, { direction, result, isWhole: true });
  return result;
}
