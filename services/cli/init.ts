/**
 * `init`: the first migration file, from the two catalogues. Guarantee: changes no database and overwrites no file; a URL that holds a
 * password is written as a reference to the environment.
 */
import { writeFile } from 'node:fs/promises';
import { dirname, isAbsolute, join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { renderInitFile } from '#schemas/config/init-file.ts';
import { QUESTION } from '#schemas/config/init/render-entries.ts';
import { NAME_LENGTH_MAX } from '#schemas/config/file-terms.ts';
import { NAME_PATTERN } from '#schemas/config/migration-schema.ts';
import { messageOf, PipelineError, type Finding } from '#schemas/errors.ts';
import { infoFinding } from '#schemas/finding.ts';
import { isSecretParameter } from '#schemas/url-secrets.ts';
import { readCatalogs } from './catalogs.ts';
import type { CommandContext, CommandSpec, Outcome } from './command.ts';
import { DEFAULT_FILE } from './migration-input.ts';

export const initCommand: CommandSpec = {
  name: 'init',
  about: 'Write the first migration file: tables and columns are matched by name and type, what is open stands there as a question.',
  examples: [
    ['crossfade init --source postgres://me@old/shop --target postgres://me@new/shop', 'writes migration.yaml'],
    ['crossfade init --source "$SOURCE_URL" --target "$TARGET_URL" -o -', 'prints it'],
  ],
  configure: (command) =>
    void command
      .requiredOption('--source <url>', 'the database to move: postgres://user@host:5432/database')
      .requiredOption('--target <url>', 'where it goes')
      .option('--name <name>', "the migration's name (default: the source database's)")
      .option('-o, --output <file>', `where to write (default: ${DEFAULT_FILE}; - prints)`)
      .option('--force', 'overwrite the file'),
  run,
};

const SIDES = [
  { option: 'source', variable: 'SOURCE_URL' },
  { option: 'target', variable: 'TARGET_URL' },
] as const;

async function run(context: CommandContext): Promise<Outcome> {
  const { options, common, io } = context;
  const urls = { source: readUrl('source', options.text('source')), target: readUrl('target', options.text('target')) };
  const name = readName(options.text('name'));
  const output = options.text('output') ?? common.file ?? DEFAULT_FILE;
  const { source, target } = await readCatalogs(urls);
  const path = output === '-' ? join(io.directory, DEFAULT_FILE) : isAbsolute(output) ? output : join(io.directory, output);
  const rendered = renderInitFile(source, target, { schema: schemaFrom(path), ...(name !== undefined && { name }) });
  const { text, findings } = withUrls(rendered.text, urls);
  const { questions } = rendered;
  if (output === '-') return { summary: '', result: { path: null, text, questions }, text, findings: [] };
  await write(path, output, text, options.flag('force'));
  const next = output === DEFAULT_FILE ? 'crossfade check' : `crossfade check -f ${output}`;
  const open = questions === 0 ? 'read it' : `answer its ${questions === 1 ? 'question' : `${questions} questions`} ("${QUESTION}")`;
  return { summary: `${output} is written; ${open}, then: ${next}`, result: { path: output, text, questions }, findings };
}

const SCHEMA = fileURLToPath(new URL('../../schemas/config/migration.schema.json', import.meta.url));

/** As an editor that opens the file finds it. */
function schemaFrom(path: string): string {
  return relative(dirname(path), SCHEMA).split(sep).join('/');
}

function readUrl(side: 'source' | 'target', text = ''): string {
  if (/^postgres(ql)?:\/\//.test(text) && URL.canParse(text) && new URL(text).pathname.length > 1) return text;
  if (side === 'target' && /^rediss?:\/\//.test(text)) {
    const remedy = 'Write the file by hand: docs/redis.md begins with one.';
    throw new PipelineError('CF-5010', 'init does not work with a Redis target in this version', { remedy });
  }
  throw new PipelineError('CF-1007', `--${side} is not a URL like postgres://user@host:5432/database`, {
    remedy: 'Percent-encode special characters of a password, or leave it out and set PGPASSWORD.',
  });
}

function readName(name: string | undefined): string | undefined {
  if (name === undefined) return undefined;
  if (NAME_PATTERN.test(name) && name.length <= NAME_LENGTH_MAX) return name;
  throw new PipelineError('CF-1007', `--name is not a name of small letters, digits and underscores: ${JSON.stringify(name)}`);
}

/** A URL without a secret stands in the file as it is, so that the next command works without another step. */
function withUrls(rendered: string, urls: { readonly source: string; readonly target: string }): { text: string; findings: Finding[] } {
  let text = rendered;
  const findings: Finding[] = [];
  for (const { option, variable } of SIDES) {
    const reference = `"\${${variable}}"`;
    if (holdsSecret(urls[option]))
      findings.push(
        infoFinding('CF-1005', `the ${option}'s URL holds a password: the file refers to ${variable}`, `export ${variable}='…'`),
      );
    else text = text.replace(reference, () => JSON.stringify(urls[option]));
  }
  return { text, findings };
}

function holdsSecret(url: string): boolean {
  const parsed = new URL(url);
  return parsed.password !== '' || parsed.search.slice(1).split('&').some(isSecretParameter) || url.includes('${');
}

async function write(path: string, shown: string, text: string, overwrite: boolean): Promise<void> {
  try {
    await writeFile(path, text, { flag: overwrite ? 'w' : 'wx' });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') {
      throw new PipelineError('CF-1007', `${shown} is there already`, {
        cause: error,
        remedy: 'Give another name with -o, or --force to overwrite it.',
      });
    }
    throw new PipelineError('CF-1002', `${shown} cannot be written: ${messageOf(error)}`, {
      cause: error,
      remedy: 'Give another place with -o.',
    });
  }
}
