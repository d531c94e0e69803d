/**
 * `tables[].conflict`, as zod: which row stays where the application writes both stores and they differ. Guarantee: without it a table is written as
 * ever, and nothing about it is counted.
 */
import { z } from 'zod';
import { expected, sqlName } from './file-terms.ts';
import type { ConflictEntry } from './migration-file.ts';
import type { Place } from './yaml-source.ts';

const EXPECTED = 'source-wins, target-wins or { newer-wins: COLUMN }';

export type ConflictInput = 'source-wins' | 'target-wins' | { readonly 'newer-wins': string };

export const conflictOption: z.ZodOptional<z.ZodType<ConflictInput>> = z
  .union(
    [z.strictObject({ 'newer-wins': sqlName }, expected(EXPECTED)), z.enum(['source-wins', 'target-wins'], expected(EXPECTED))],
    expected(EXPECTED),
  )
  .optional();

export function buildConflict(conflict: ConflictInput | undefined, place: Place): { readonly conflict?: ConflictEntry } {
  if (conflict === undefined) return {};
  if (typeof conflict === 'string') return { conflict: { policy: conflict, ...place } };
  return { conflict: { policy: 'newer-wins', version: conflict['newer-wins'], ...place } };
}
