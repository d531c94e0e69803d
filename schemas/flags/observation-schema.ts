/** POST /v1/observations, checked. Guarantee: a batch is bounded, and nothing unknown passes. */
import { z } from 'zod';
import type { Observation } from './observation.ts';
import { READ_STAGES } from './read-rules.ts';

export const OBSERVATIONS_MAX = 1_000;
const short = z.string().max(200);
const side = z.strictObject({ ms: z.number().min(0).max(86_400_000), error: short.exactOptional() });

const observation: z.ZodType<Observation> = z.strictObject({
  op: z.enum(['read', 'write']),
  stage: z.enum(READ_STAGES),
  unit: short.exactOptional(),
  table: short.exactOptional(),
  source: side.exactOptional(),
  target: side.exactOptional(),
  result: z.enum(['equal', 'different', 'settled', 'incomparable']).exactOptional(),
  hashes: z.tuple([short, short]).exactOptional(),
});

export const observationsSchema: z.ZodType<{ readonly observations: readonly Observation[] }> = z.strictObject({
  observations: z.array(observation).max(OBSERVATIONS_MAX),
});
