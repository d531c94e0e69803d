/**
 * `tables[].explode`, as zod. Guarantee: an array that is taken apart names at least one column of the target for what is in it; what the
 * columns are is the mapping compiler's to say.
 */
import { z } from 'zod';
import type { ExplodeEntry } from './migration-file.ts';
import { expected, oneOf, sqlName } from './file-terms.ts';
import type { Path, YamlSource } from './yaml-source.ts';

const part = z.union(
  [
    sqlName,
    z.strictObject({
      to: sqlName.describe('Target column.'),
      cast: z.string(expected('a type, for example numeric(12,2)')).optional().describe('Target type, as PostgreSQL casts to it.'),
    }),
  ],
  expected('the target column, or a block of to, cast'),
);

const block = z
  .strictObject(
    {
      column: sqlName.describe('Source column with the array: json, jsonb or an array of PostgreSQL.'),
      fields: z
        .record(z.string().min(1), part, expected('a block of field: target column'))
        .default({})
        .describe('Of elements that are JSON objects: a name, or a JSON pointer that begins with /, and where its value goes.'),
      element: part.optional().describe('Target column that gets the element itself.'),
      ordinal: sqlName.optional().describe("Target column that gets the element's place in the array: 1, 2, 3 …"),
      orphans: oneOf(['delete', 'keep']).default('delete').describe('What becomes of children whose element or parent is gone.'),
    },
    expected('a block of column, fields, element, ordinal, orphans'),
  )
  .superRefine((given, context) => {
    if (given.element !== undefined || given.ordinal !== undefined || Object.keys(given.fields).length > 0) return;
    context.addIssue({ code: 'custom', path: [], message: 'expected fields, element or ordinal: what the rows are made of' });
  });

export const explodeOption: z.ZodOptional<z.ZodType<ExplodeInput>> = block.optional();

type PartInput = string | { readonly to: string; readonly cast?: string | undefined };

export interface ExplodeInput {
  readonly column: string;
  readonly fields: Readonly<Record<string, PartInput>>;
  readonly element?: PartInput | undefined;
  readonly ordinal?: string | undefined;
  readonly orphans: 'delete' | 'keep';
}

export function buildExplode({ column, fields, element, ordinal, orphans }: ExplodeInput, at: Path, source: YamlSource): ExplodeEntry {
  const entry = (given: PartInput): { to: string; cast?: string } => {
    if (typeof given === 'string') return { to: given };
    return { to: given.to, ...(given.cast !== undefined && { cast: given.cast }) };
  };
  return {
    array: column,
    parts: [
      ...Object.entries(fields).map(([field, given]) => ({ field, ...entry(given), ...source.keyPlace([...at, 'fields', field]) })),
      ...(element === undefined ? [] : [{ ...entry(element), ...source.keyPlace([...at, 'element']) }]),
    ],
    ...(ordinal !== undefined && { ordinal: { to: ordinal, ...source.keyPlace([...at, 'ordinal']) } }),
    orphans,
    ...source.keyPlace(at),
  };
}
