/**
 * Entries of the first file as YAML. Guarantee: whatever a table or column is called, it stays one value or one line of a comment, and the
 * file reads back as it was meant.
 */
import { showTable } from '#schemas/mapping/table-pattern.ts';
import type { CatalogTable } from '#schemas/table.ts';
import type { ColumnDraft, EntryDraft, PersonalDraft } from './draft-entries.ts';

export interface GlobDraft {
  readonly from: string;
  readonly to?: string;
  readonly note: string;
  /** Left out, each with the question that says why. */
  readonly exclude: readonly { readonly table: CatalogTable; readonly question: string }[];
  readonly questions: readonly string[];
}

/** A line that asks; `init` counts them. */
export const QUESTION = '# ?';

export function renderGlob(glob: GlobDraft): string[] {
  const lines = [`  - from: ${scalar(glob.from)} ${comment(glob.note)}`];
  if (glob.to !== undefined) lines.push(`    to: ${scalar(glob.to)}`);
  if (glob.exclude.length > 0) lines.push('    exclude:');
  for (const { table, question } of glob.exclude) lines.push(`      ${ask(question)}`, `      - ${scalar(showTable(table))}`);
  return [...lines, ...glob.questions.map((question) => `    ${ask(question)}`)];
}

export function renderEntry({ match, columns, drops, questions, notes, personal }: EntryDraft): string[] {
  const { source, target, reason } = match;
  const about = [reason, source.rowEstimate > 0 ? `about ${source.rowEstimate} rows` : undefined].filter((part) => part !== undefined);
  const lines = [`  - from: ${scalar(showTable(source))}${about.length === 0 ? '' : ` ${comment(about.join('; '))}`}`];
  if (showTable(source) !== showTable(target)) lines.push(`    to: ${scalar(showTable(target))}`);
  if (columns.length > 0) lines.push('    columns:', ...columns.map(renderColumn));
  if (drops.length > 0) lines.push('    drop:', ...drops.map(({ name, why }) => `      - ${scalar(name)} ${comment(why)}`));
  lines.push(...questions.map((question) => `    ${ask(question)}`), ...notes.map((note) => `    ${comment(note)}`));
  return [...lines, ...renderPersonal(personal)];
}

function renderColumn({ from, to, cast, why }: ColumnDraft): string {
  const parts = [...(to === undefined ? [] : [`to: ${scalar(to)}`]), ...(cast === undefined ? [] : [`cast: ${scalar(cast)}`])];
  const value = cast === undefined && to !== undefined ? scalar(to) : `{ ${parts.join(', ')} }`;
  return `      ${keyText(from)}: ${value} ${comment(why)}`;
}

/** The lines of `set:` stand there to be uncommented as they are. */
function renderPersonal(personal: readonly PersonalDraft[]): string[] {
  if (personal.length === 0) return [];
  const [maskable, others] = [personal.filter(isMaskable), personal.filter((one) => !isMaskable(one))];
  const lines = others.map((one) => {
    const why = one.isKey
      ? 'and is a key column, which no step can mask'
      : 'and its type on the target takes no masked text: drop it, or give it `value: null` under set';
    return `    ${comment(`PII? ${JSON.stringify(one.source)} looks like: ${one.kind}; it moves as it is, ${why}`)}`;
  });
  if (maskable.length === 0) return lines;
  const renamed = maskable.filter((one) => one.renamed).map(({ source }) => JSON.stringify(source));
  const more = renamed.length === 0 ? '' : ` (and take ${renamed.join(', ')} out under columns)`;
  const steps = maskable.map(
    ({ target, source, kind, steps: given = '' }) =>
      `    #   ${keyText(target)}: { from: ${scalar(source)}, steps: ${given} } ${comment(kind)}`,
  );
  const line = comment(`PII? These look like personal data and move as they are. To mask one, uncomment \`set:\` and its line${more}:`);
  return [...lines, `    ${line}`, '    # set:', ...steps];
}

function isMaskable({ steps, isKey }: PersonalDraft): boolean {
  return steps !== undefined && !isKey;
}

/** One line, whatever a name holds. */
export function comment(text: string): string {
  return `# ${text.replaceAll(/[\s\p{Cc}]+/gu, ' ').trim()}`;
}

export function ask(question: string): string {
  return comment(question).replace('#', QUESTION);
}

/** Words that YAML takes for something else than text. */
const RESERVED: ReadonlySet<string> = new Set(['true', 'false', 'null']);

export function scalar(text: string): string {
  // `${` would be read as a reference to the environment.
  return isPlain(text) ? text : JSON.stringify(text).replaceAll('${', '$$${');
}

/** As a key, where nothing is read as a reference. */
function keyText(text: string): string {
  return isPlain(text) ? text : JSON.stringify(text);
}

function isPlain(text: string): boolean {
  return /^[A-Za-z_][\w.*]*$/.test(text) && !RESERVED.has(text.toLowerCase());
}
