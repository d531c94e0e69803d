/**
 * Zod's issues as findings an operator can act on. Guarantee: one finding per wrong entry, at its own line and column, with what was
 * expected and the nearest known key; a value of the file is never repeated.
 */
import { z } from 'zod';
import { catalogue } from '../error-catalogue.ts';
import type { Finding } from '../errors.ts';
import { didYouMean } from '../nearest-name.ts';
import { LATER_KEYS, migrationSchema } from './migration-schema.ts';
import { isStepName } from './step-schema.ts';
import type { Path, Place, YamlSource } from './yaml-source.ts';

type Issue = z.core.$ZodIssue;

export function explainIssues(issues: readonly Issue[], source: YamlSource, file: string): Finding[] {
  return withoutEchoes(issues).flatMap((issue) => explain(issue, [], { source, file }));
}

interface Context {
  readonly source: YamlSource;
  readonly file: string;
}

function explain(issue: Issue, above: Path, context: Context): Finding[] {
  const path = [...above, ...issue.path.filter((part) => typeof part !== 'symbol')];
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => finding(unknownKey(key, path), context.source.keyPlace([...path, key]), context.file));
  }
  if (issue.code === 'invalid_union') {
    // The branch that fits the value's kind says what is wrong inside; without one the union's own sentence stands.
    const inside = issue.errors.find((branch) => branch.every((one) => !isWrongKind(one)));
    if (inside !== undefined && inside.length > 0) return withoutEchoes(inside).flatMap((one) => explain(one, path, context));
  }
  const missing = issue.message.startsWith('is missing');
  const place = missing ? context.source.keyPlace(path) : context.source.valuePlace(path);
  const name = path.length === 0 ? 'the file' : `"${describePath(path)}"`;
  return [finding(missing ? `${name} ${issue.message}` : `${name}: ${issue.message}`, place, context.file)];
}

/** What a block lacks is no second fault where one of its keys is only misspelt. */
function withoutEchoes(issues: readonly Issue[]): Issue[] {
  const misspelt = new Set(issues.filter(({ code }) => code === 'unrecognized_keys').map(({ path }) => path.join()));
  return issues.filter(({ code, path }) => code !== 'custom' || !misspelt.has(path.join()));
}

function isWrongKind(issue: Issue): boolean {
  if (issue.path.length > 0) return false;
  if (issue.code === 'invalid_union') return issue.errors.every((branch) => branch.some(isWrongKind));
  return issue.code === 'invalid_type';
}

function unknownKey(key: string, path: Path): string {
  const known = knownKeys(path);
  const where = path.length === 0 ? '' : ` in "${describePath(path)}"`;
  if (path.at(-2) === 'columns' && isStepName(key)) return `"${key}"${where} is a step: write it under set:, by target column`;
  const suggestion = didYouMean(key, known);
  if (suggestion === '' && LATER_KEYS.has(key)) return `"${key}"${where} is not supported yet by this version`;
  const later = suggestion === '' ? didYouMean(key, LATER_KEYS) : '';
  if (later !== '') return `unknown key "${key}"${where}${later} (which is not supported yet by this version)`;
  return `unknown key "${key}"${where}${suggestion || `; expected one of ${known.join(', ')}`}`;
}

function finding(message: string, place: Place, path: string): Finding {
  return { severity: 'error', code: 'CF-1004', message, remedy: catalogue['CF-1004'].remedy, path, ...place };
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
