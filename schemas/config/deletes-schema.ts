/**
 * `tables[].deletes` and `tables[].truncates`, as zod. Guarantee: soft deletes name at least one column that tells a deleted row; what the
 * columns are is the mapping compiler's to say.
 */
import { z } from 'zod';
import { expected, oneOf, sqlName } from './file-terms.ts';

const value = z.union([z.string(), z.number(), z.boolean()], expected('a value')).transform(String);
const valueOrNull = z.union([value, z.null()], expected('a value, or null'));
const EXAMPLE = 'a block of column, value, alive, at';

const soft = z
  .strictObject(
    {
      column: sqlName.optional().describe('Target column that tells whether the row is deleted at the source.'),
      value: value.optional().describe('Its value on a deleted row; true when absent.'),
      alive: valueOrNull.optional().describe('Its value on any other row; absent: false where the value is true (and so on), else null.'),
      at: sqlName.optional().describe('Target column that gets the commit time of the deleting transaction; null on any other row.'),
    },
    expected(EXAMPLE),
  )
  .superRefine((block, context) => {
    const wrong = (key: string, message: string): void => context.addIssue({ code: 'custom', path: [key], message });
    if (block.column !== undefined) return;
    const neither = 'expected column, the one that tells a deleted row, or at, the one with its time';
    if (block.at === undefined) context.addIssue({ code: 'custom', path: [], message: neither });
    if (block.value !== undefined) wrong('value', 'has no meaning without column');
    if (block.alive !== undefined) wrong('alive', 'has no meaning without column');
  });

export const deletesOption: z.ZodOptional<z.ZodType<DeletesInput>> = z
  .union([oneOf(['hard', 'ignore']), z.strictObject({ soft }, expected(`soft: ${EXAMPLE}`))], expected('hard, ignore or { soft: … }'))
  .optional();

export const truncatesOption: z.ZodOptional<z.ZodEnum<{ apply: 'apply'; ignore: 'ignore'; halt: 'halt' }>> = oneOf([
  'apply',
  'ignore',
  'halt',
]).optional();

export type DeletesInput = 'hard' | 'ignore' | { readonly soft: SoftInput };

interface SoftInput {
  readonly column?: string | undefined;
  readonly value?: string | undefined;
  readonly alive?: string | null | undefined;
  readonly at?: string | undefined;
}
