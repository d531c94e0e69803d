/** A document to stdout or to the file that `--out` names. Guarantee: a file that cannot be written is said with its name, and nothing else is lost. */
import { writeFile } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';
import { messageOf, PipelineError } from '#schemas/errors.ts';
import type { CommandContext } from './command.ts';

export const FORMATS = ['markdown', 'html', 'json'] as const;
export type DocumentFormat = (typeof FORMATS)[number];

/** @throws PipelineError CF-1007 */
export function formatOf({ options }: Pick<CommandContext, 'options'>): DocumentFormat {
  const format = FORMATS.find((one) => one === (options.text('format') ?? 'markdown'));
  if (format === undefined) throw new PipelineError('CF-1007', `--format is none of ${FORMATS.join(', ')}`);
  return format;
}

/** `out`: as it was typed. @throws PipelineError CF-1002 */
export async function writeDocument({ io }: Pick<CommandContext, 'io'>, out: string, text: string): Promise<void> {
  try {
    await writeFile(isAbsolute(out) ? out : join(io.directory, out), text);
  } catch (error) {
    throw new PipelineError('CF-1002', `${out} cannot be written: ${messageOf(error)}`, {
      cause: error,
      remedy: 'Give another place with --out.',
    });
  }
}
