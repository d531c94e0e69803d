/** `backup:` of the migration file: what is saved before anything is altered, and how it is known to be whole. Guarantee: no backup without a verification. */
import { z } from 'zod';
import { expected, oneOf } from './file-terms.ts';
import type { BackupEntry } from './migration-file.ts';
import { span } from './span.ts';

const WEEK_MS = 7 * 86_400_000;
const YEAR_MS = 366 * 86_400_000;

const command = z.union(
  [z.string().min(1), z.array(z.string()).min(1)],
  expected('a command line for the shell, or a list of program and arguments'),
);

const entry = z
  .strictObject(
    {
      of: oneOf(['source', 'target']).default('source').describe('Which database.'),
      file: z
        .string(expected('the path of a file'))
        .min(1)
        .optional()
        .describe("Where it is written, from the migration file's own folder; pg_dump writes it where no command is given."),
      command: command
        .optional()
        .describe('In place of pg_dump: exit 0 is a backup. It is given CROSSFADE_BACKUP_URL, PGPASSWORD and CROSSFADE_BACKUP_FILE.'),
      verify: command.optional().describe('Exit 0: it is whole. Absent: pg_restore reads all of what pg_dump wrote.'),
      timeout: span({ minMs: 1_000, maxMs: WEEK_MS, example: '4h' })
        .prefault('12h')
        .describe('Of the backup, and again of its verification.'),
      maxAge: span({ minMs: 1_000, maxMs: YEAR_MS, example: '24h' })
        .optional()
        .describe('At the cut-over it may be no older. Absent: however old.'),
    },
    expected('a block with file: … or command: …'),
  )
  .superRefine(({ file, command: own, verify }, context) => {
    if (own === undefined && file === undefined)
      context.addIssue({ code: 'custom', message: 'expected file: (pg_dump writes it) or command:' });
    if (own !== undefined && verify === undefined)
      context.addIssue({ code: 'custom', path: ['verify'], message: 'expected a command that fails where the backup is not whole' });
  });

export const backup: z.ZodOptional<z.ZodType<z.output<typeof entry>>> = entry
  .optional()
  .describe('Saved and verified by `crossfade backup`; nothing begins without it. Absent: nobody asks for one.');

export function buildBackup({ of, file, command: own, verify, timeout, maxAge }: z.output<typeof entry>): BackupEntry {
  return {
    of,
    timeoutMs: timeout,
    ...(file !== undefined && { file }),
    ...(own !== undefined && { command: asList(own) }),
    ...(verify !== undefined && { verify: asList(verify) }),
    ...(maxAge !== undefined && { maxAgeMs: maxAge }),
  };
}

function asList(given: string | readonly string[]): readonly string[] {
  return typeof given === 'string' ? ['/bin/sh', '-c', given] : given;
}
