/**
 * Steps over plain text. Guarantee: characters are code points, and what a step does not name it leaves as it is; values of the file are
 * compared with a column's own as the column's type writes them (true is t).
 */
import type { StepBlock } from '#schemas/config/step-schema.ts';
import { canonicalOf } from '../row-filter.ts';
import { onText, StepFault, StepRefusal, type Step, type StepContext, type Value } from './step.ts';

type Config<K extends keyof StepBlock> = NonNullable<StepBlock[K]>;

export function trimStep(sides: Config<'trim'>): Step {
  if (sides === 'start') return onText((text) => text.trimStart());
  return onText(sides === 'end' ? (text): string => text.trimEnd() : (text): string => text.trim());
}

export function caseStep(to: Config<'case'>): Step {
  return onText(to === 'lower' ? (text): string => text.toLowerCase() : (text): string => text.toUpperCase());
}

// What is in the normal form already is quicker seen than done: ASCII in every one, in NFC all before the first combining accent.
const ASCII = /^[\u0000-\u007f]*$/; // oxlint-disable-line no-control-regex -- it is a range of code points
const BEFORE_ACCENTS = /^[\u0000-\u02ff]*$/; // oxlint-disable-line no-control-regex -- likewise

export function normaliseStep(form: Config<'normalise'>): Step {
  const isNormal = form === 'NFC' ? BEFORE_ACCENTS : ASCII;
  return onText((text) => (isNormal.test(text) ? text : text.normalize(form)));
}

export function defaultStep(instead: Config<'default'>): Step {
  return { takes: 'one', apply: (value) => value ?? instead };
}

export function nullIfStep(unwanted: Config<'nullIf'>, context: StepContext): Step {
  const forms = new Set(formsOf(unwanted, context));
  return onText((text) => (forms.has(text) ? null : text));
}

/** How a value of the file may come to a step. @throws StepFault where it cannot */
function formsOf(value: string, { raw }: StepContext): string[] {
  const canonical = raw === undefined ? undefined : canonicalOf(raw.column);
  if (raw === undefined || canonical === undefined) return [value];
  const form = canonical(value);
  if (raw.orDefault) return form === undefined ? [value] : [form, value];
  if (form === undefined) throw new StepFault(`column "${raw.column.name}" of type ${raw.column.type} never is "${value}"`);
  return [form];
}

export function mapStep({ values, else: otherwise }: Config<'map'>, context: StepContext): Step {
  const count = Object.keys(values).length;
  const known = new Map<string, Value>();
  for (const [key, value] of Object.entries(values)) {
    for (const form of formsOf(key, context)) {
      if (known.has(form) && known.get(form) !== value) throw new StepFault(`"${key}" is the same value as another that is listed`);
      known.set(form, value);
    }
  }
  return onText((text) => {
    const found = known.get(text);
    if (found !== undefined) return found;
    if (otherwise === 'keep') return text;
    if (otherwise !== 'fail') return otherwise.value;
    throw new StepRefusal(`the value is none of the ${count} that are listed`);
  });
}

export function concatStep({ sep, nulls }: Config<'concat'>): Step {
  return {
    takes: 'many',
    apply: (values) => {
      let joined: Value = null;
      for (const value of values) {
        if (value === null && nulls === 'null') return null;
        if (value === null && nulls === 'skip') continue;
        joined = joined === null ? (value ?? '') : joined + sep + (value ?? '');
      }
      return joined;
    },
  };
}

export function coalesceStep(): Step {
  return { takes: 'many', apply: (values) => values.find((value) => value !== null) ?? null };
}

export function splitStep({ by, take, limit }: Config<'split'>): Step {
  return onText((text) => {
    const parts = text.split(by);
    if (limit !== undefined && parts.length > limit) parts.splice(limit - 1, parts.length, parts.slice(limit - 1).join(by));
    return parts.at(take > 0 ? take - 1 : take) ?? null;
  });
}

export function maskStep({ keepStart, keepEnd, with: cover }: Config<'mask'>): Step {
  return onText((text) => {
    const characters = Array.from(text);
    const hides = characters.length <= keepStart + keepEnd;
    return characters.map((one, i) => (!hides && (i < keepStart || i >= characters.length - keepEnd) ? one : cover)).join('');
  });
}
