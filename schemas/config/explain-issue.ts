/**
 * Zod's issues as findings an operator can act on. Guarantee: one finding per wrong entry, at its own line and column, with what was
 * expected and the nearest known key; a value of the file is never repeated.
 */
import { z } from 'zod';
import type { Finding } from '../errors.ts';
import { didYouMean, nearestName } from '../nearest-name.ts';
import { LATER_KEYS, migrationSchema } from './migration-schema.ts';
import { isStepName } from './step-schema.ts';
import type { Path, Place, YamlSource } from './yaml-source.ts';

type Issue = z.core.$ZodIssue;

export function explainIssues(issues: readonly Issue[], source: YamlSource, file: string): Finding[] {
  return withoutEchoes(issues, []).flatMap((issue) => explain(issue, [], { source, file }));
}

interface Context {
  readonly source: YamlSource;
  readonly file: string;
}

function explain(issue: Issue, above: Path, context: Context): Finding[] {
  const path = [...above, ...issue.path.filter((part) => typeof part !== 'symbol')];
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => {
      const { message, remedy } = unknownKey(key, path);
      return finding({ message, remedy, place: context.source.keyPlace([...path, key]), path: context.file });
    });
  }
  if (issue.code === 'invalid_union') {
    // The branch that fits the value's kind says what is wrong inside; without one the union's own sentence stands.
    const inside = issue.errors.find((branch) => branch.every((one) => !isWrongKind(one)));
    if (inside !== undefined && inside.length > 0) return withoutEchoes(inside, path).flatMap((one) => explain(one, path, context));
  }
  const missing = issue.message.startsWith('is missing');
  const place = missing ? context.source.keyPlace(path) : context.source.valuePlace(path);
  const name = path.length === 0 ? 'the file' : `"${describePath(path)}"`;
  const message = missing ? `${name} ${issue.message}` : `${name}: ${issue.message}${nearestValue(issue, path, context.source)}`;
  return [finding({ message, remedy: missing ? `Write it: ${pageFor(path)} has an example.` : see(path), place, path: context.file })];
}

/** What a block lacks is no second fault where one of its keys is only misspelt. */
function withoutEchoes(issues: readonly Issue[], above: Path): Issue[] {
  const unknown = issues.filter((issue) => issue.code === 'unrecognized_keys');
  const misspelt = new Set(unknown.map(({ path }) => path.join()));
  const meant = new Set(
    unknown.flatMap(({ keys, path }) => {
      const inner = path.filter((part) => typeof part !== 'symbol');
      return keys.map((key) => [...inner, nearestName(key, knownKeys([...above, ...inner]))].join());
    }),
  );
  return issues.filter((issue) => {
    if (issue.code === 'custom' && misspelt.has(issue.path.join())) return false;
    return !issue.message.startsWith('is missing') || !meant.has(issue.path.join());
  });
}

/** Of a word that is none of those expected: `; did you mean "trim"?`. The word itself is not repeated. */
function nearestValue(issue: Issue, path: Path, source: YamlSource): string {
  if (issue.code !== 'invalid_value' || source.isSecret(path)) return '';
  const value = path.reduce<unknown>((inner, part) => (inner as Readonly<Record<string, unknown>> | undefined)?.[part], source.value);
  return typeof value === 'string'
    ? didYouMean(
        value,
        issue.values.filter((one) => typeof one === 'string'),
      )
    : '';
}

/** README shows the smallest file; other settings are described where editors read them. */
const PAGES: Readonly<Record<string, string>> = {
  crossfade: 'README.md',
  name: 'README.md',
  source: 'README.md',
  target: 'README.md',
  targets: 'docs/targets.md',
  tables: 'docs/mapping.md',
  reverse: 'docs/mapping.md',
  tests: 'docs/testing.md',
  schemaMigrations: 'docs/schema-migrations.md',
  schemaSteps: 'docs/schema-migrations.md',
  log: 'docs/kafka.md',
  checks: 'docs/checks.md',
  shadow: 'docs/shadow.md',
  reconcile: 'docs/reconciler.md',
  repair: 'docs/reconciler.md',
  approvals: 'docs/cutover.md',
  backup: 'docs/cutover.md',
  cutover: 'docs/cutover.md',
  observe: 'docs/cutover.md',
  waves: 'docs/waves.md',
  flags: 'docs/flags.md',
  triggers: 'docs/triggers.md',
  contacts: 'docs/report.md',
  cleanup: 'docs/report.md',
};

/** What tells what may stand at this path. */
function pageFor(path: Path): string {
  const [block = 'name', , option] = path;
  if (block !== 'flags' && path.includes('redis')) return 'docs/redis.md';
  if (block === 'tables' && option === 'conflict') return 'docs/dual-write.md';
  return PAGES[block] ?? 'schemas/config/migration.schema.json';
}

function isWrongKind(issue: Issue): boolean {
  if (issue.path.length > 0) return false;
  if (issue.code === 'invalid_union') return issue.errors.every((branch) => branch.some(isWrongKind));
  return issue.code === 'invalid_type';
}

interface Told {
  readonly message: string;
  readonly remedy: string;
}

function unknownKey(key: string, path: Path): Told {
  const known = knownKeys(path);
  const where = path.length === 0 ? '' : ` in "${describePath(path)}"`;
  if (path.at(-2) === 'columns' && isStepName(key))
    return { message: `"${key}"${where} is a step: write it under set:, by target column`, remedy: see(path) };
  const suggestion = didYouMean(key, known);
  if (suggestion === '' && LATER_KEYS.has(key))
    return { message: `"${key}"${where} is not supported yet by this version`, remedy: TAKE_OUT };
  const later = suggestion === '' ? didYouMean(key, LATER_KEYS) : '';
  if (later !== '')
    return { message: `unknown key "${key}"${where}${later} (which is not supported yet by this version)`, remedy: TAKE_OUT };
  if (suggestion !== '') return { message: `unknown key "${key}"${where}${suggestion}`, remedy: 'Mend the word.' };
  return { message: `unknown key "${key}"${where}; expected one of ${known.join(', ')}`, remedy: see(path) };
}

function see(path: Path): string {
  return `See ${pageFor(path)} for what may stand there.`;
}

const TAKE_OUT = 'Take it out.';

function finding({ message, remedy, place, path }: Told & { readonly place: Place; readonly path: string }): Finding {
  return { severity: 'error', code: 'CF-1004', message, remedy, path, ...place };
}

/** `tables[2].columns.id` */
export function describePath(path: Path): string {
  return path.reduce<string>((text, part) => (typeof part === 'number' ? `${text}[${part}]` : text === '' ? part : `${text}.${part}`), '');
}

/** Keys that the grammar has at this path. */
function knownKeys(path: Path): string[] {
  let schemas: z.core.$ZodType[] = open(migrationSchema);
  for (const part of path) schemas = schemas.flatMap((schema) => step(schema, part));
  return schemas.flatMap((schema) => (schema instanceof z.ZodObject ? Object.keys(schema.shape) : []));
}

function step(schema: z.core.$ZodType, part: string | number): z.core.$ZodType[] {
  if (schema instanceof z.ZodObject && typeof part === 'string') {
    const inner = (schema.shape as Record<string, z.core.$ZodType>)[part];
    return inner === undefined ? [] : open(inner);
  }
  if (schema instanceof z.ZodArray) return open(schema.element);
  if (schema instanceof z.ZodRecord) return open(schema.valueType);
  return [];
}

/** Takes off optional, default and union wrappings. */
function open(schema: z.core.$ZodType): z.core.$ZodType[] {
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault) return open(schema.unwrap());
  return schema instanceof z.ZodUnion ? schema.options.flatMap(open) : [schema];
}
