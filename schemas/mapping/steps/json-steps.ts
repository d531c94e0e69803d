/** Steps over JSON and arrays. Guarantee: numbers keep their digits; what is not there is null. */
import type { StepBlock } from '#schemas/config/step-schema.ts';
import type { CatalogColumn } from '#schemas/table.ts';
import { underDomain } from '../type-fit.ts';
import { elementsOf } from './array-text.ts';
import { decode, findInJson, isJson } from './json-text.ts';
import { onText, StepFault, StepRefusal, type Step, type StepContext } from './step.ts';

type Config<K extends keyof StepBlock> = NonNullable<StepBlock[K]>;

export function extractStep(pointer: Config<'extract'>, { raw }: StepContext): Step {
  const path = pointer
    .split('/')
    .slice(1)
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'));
  const isKnown = raw !== undefined && !raw.orDefault && isJsonColumn(raw.column);
  const isUnique = isKnown && underDomain(raw.column).typeName === 'jsonb';
  return onText((text) => {
    if (!isKnown && !isJson(text)) throw new StepRefusal('the value is no JSON');
    const found = findInJson(text, path, isUnique);
    if (found === undefined || found === 'null') return null;
    if (!found.startsWith('"')) return found;
    const value = decode(found);
    // Only what was escaped can have become either.
    if (value.length !== found.length - QUOTES && (value.includes('\0') || !value.isWellFormed()))
      throw new StepRefusal('the JSON text holds a NUL or half a character (a lone surrogate), which no text of PostgreSQL can');
    return value;
  });
}

const QUOTES = 2;

/** PostgreSQL has looked at what stands there. */
function isJsonColumn(column: CatalogColumn): boolean {
  const { typeName = '', elementOid, builtin } = underDomain(column);
  return builtin && elementOid === 0 && (typeName === 'json' || typeName === 'jsonb');
}

export function objectStep(config: Config<'object'>, { inputs }: StepContext): Step {
  const names = config === true ? inputs.map((column) => column.name) : config;
  if (names.length !== inputs.length) throw new StepFault(`${names.length} names for ${inputs.length} columns`);
  const heads = names.map((name) => `${JSON.stringify(name)}: `);
  const writers = inputs.map(writerOf);
  return {
    takes: 'many',
    apply: (values) => `{${values.map((value, i) => heads[i]! + (value === null ? 'null' : writers[i]!(value))).join(', ')}}`,
  };
}

const NUMBERS: ReadonlySet<string> = new Set(['int2', 'int4', 'int8', 'numeric', 'float4', 'float8']);
const JSON_NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;

/** As PostgreSQL's to_json writes a value of the type. */
function writerOf(column: CatalogColumn): (text: string) => string {
  const { typeName = '', elementOid, builtin } = underDomain(column);
  if (builtin && elementOid === 0) {
    // NaN and infinity are no numbers of JSON.
    if (NUMBERS.has(typeName)) return (text) => (JSON_NUMBER.test(text) ? text : JSON.stringify(text));
    if (typeName === 'bool') return (text) => (text === 't' ? 'true' : 'false');
    if (isJsonColumn(column)) return (text) => text;
  }
  return (text) => JSON.stringify(text);
}

export function elementStep(nth: Config<'element'>, { delimiter = ',' }: StepContext): Step {
  return onText((text) => {
    const elements = elementsOf(text, delimiter);
    if (elements === undefined) throw new StepRefusal('the value is no array');
    return elements.at(nth > 0 ? nth - 1 : nth) ?? null;
  });
}
