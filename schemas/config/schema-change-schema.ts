/**
 * The grammar of `schemaMigrations:` (the tool that owns the tables) and `schemaSteps:` (SQL of the file's own), as zod. Guarantee: a step
 * can always be undone and always be verified, and the names of steps are unique.
 */
import { z } from 'zod';
import { SCHEMA_TOOLS } from '../schema-history/schema-tools.ts';
import { expected, flag, oneOf } from './file-terms.ts';
import { targetOfEntry } from './target-schema.ts';

const tableName = z
  .string(expected('a table as schema.table'))
  .regex(/^[^.]+\.[^.]+$/, { error: 'expected a table as schema.table, for example public.flyway_schema_history' });

const schemaTool = z
  .strictObject(
    {
      tool: oneOf([...SCHEMA_TOOLS, 'none']).describe('Whose history is read; none: no history is looked at.'),
      folder: z.string(expected('a folder')).optional().describe('Of the migrations, beside this file: what is not applied yet is told.'),
      table: tableName.optional().describe('History table, where it is not where the tool puts it.'),
      on: oneOf(['target', 'source']).default('target'),
      target: targetOfEntry.describe('Which of `targets`; needed where several of them are PostgreSQL.'),
    },
    expected('a block with tool: …, and folder: …'),
  )
  .refine((entry) => entry.folder === undefined || (entry.tool !== 'liquibase' && entry.tool !== 'none'), {
    path: ['folder'],
    error: 'has no meaning for this tool: a change log cannot be told from a folder (run liquibase status)',
  });

export const schemaMigrations: z.ZodPipe<
  z.ZodUnion<readonly [typeof schemaTool, z.ZodArray<typeof schemaTool>]>,
  z.ZodTransform<z.output<typeof schemaTool>[], z.output<typeof schemaTool> | z.output<typeof schemaTool>[]>
> = z
  .union([schemaTool, z.array(schemaTool)], expected('a block of tool and folder, or a list of them'))
  .transform((one) => (Array.isArray(one) ? one : [one]));

const sql = z.string(expected('SQL')).min(1, expected('SQL'));

const schemaStep = z.strictObject(
  {
    name: z.string(expected('a name')).regex(/^[A-Za-z0-9][\w.-]{0,62}$/, {
      error: 'expected a name of letters, digits, underscores, dots and hyphens',
    }),
    up: sql.describe('Run by `crossfade schema apply`, on the target.'),
    down: sql.describe('What undoes it.'),
    verify: sql.describe('A query whose first column is true once the step is done, and is not before.'),
    transaction: flag()
      .default(true)
      .describe('false: for what PostgreSQL refuses in a transaction (CREATE INDEX CONCURRENTLY); one statement in up and in down.'),
    target: targetOfEntry.describe('Which of `targets`; needed where several of them are PostgreSQL.'),
  },
  expected('a block of name, up, down and verify'),
);

export const schemaSteps: z.ZodArray<typeof schemaStep> = z.array(schemaStep, expected('a list of steps')).superRefine((steps, context) => {
  steps.forEach(({ name }, i) => {
    if (steps.findIndex((one) => one.name === name) < i)
      context.addIssue({ code: 'custom', path: [i, 'name'], message: 'expected a name of its own: another step has it' });
  });
});
