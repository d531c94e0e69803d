/**
 * A value looked up in a file beside the migration file. Guarantee: a key of the file is compared as `map` compares the values that it lists,
 * and the file's text is part of the mapping's hash.
 */
import type { StepBlock } from '#schemas/config/step-schema.ts';
import { StepFault, type Step, type StepContext } from './step.ts';
import { mapStep } from './text-steps.ts';

export function lookupStep({ file, loaded, onMiss }: NonNullable<StepBlock['lookup']>, context: StepContext): Step {
  if (loaded === undefined) throw new StepFault(`the file ${file} was not loaded`);
  return mapStep({ values: Object.fromEntries(loaded.values), else: onMiss === 'null' ? { value: null } : onMiss }, context);
}
