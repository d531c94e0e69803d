/** Steps over plain text. Guarantee: characters are code points, and what a step does not name it leaves as it is. */
import type { StepBlock } from '#schemas/config/step-schema.ts';
import { onText, StepRefusal, type Step, type Value } from './step.ts';

type Config<K extends keyof StepBlock> = NonNullable<StepBlock[K]>;

export function trimStep(sides: Config<'trim'>): Step {
  if (sides === 'start') return onText((text) => text.trimStart());
  return onText(sides === 'end' ? (text): string => text.trimEnd() : (text): string => text.trim());
}

export function caseStep(to: Config<'case'>): Step {
  return onText(to === 'lower' ? (text): string => text.toLowerCase() : (text): string => text.toUpperCase());
}

// oxlint-disable-next-line no-control-regex -- ASCII is in every normal form, which is quicker seen than done
const ASCII = /^[\u0000-\u007f]*$/;

export function normaliseStep(form: Config<'normalise'>): Step {
  return onText((text) => (ASCII.test(text) ? text : text.normalize(form)));
}

export function defaultStep(instead: Config<'default'>): Step {
  return { takes: 'one', apply: (value) => value ?? instead };
}

export function nullIfStep(unwanted: Config<'nullIf'>): Step {
  return onText((text) => (text === unwanted ? null : text));
}

export function mapStep({ values, else: otherwise }: Config<'map'>): Step {
  const known = new Map(Object.entries(values));
  return onText((text) => {
    const found = known.get(text);
    if (found !== undefined) return found;
    if (otherwise === 'keep') return text;
    if (otherwise !== 'fail') return otherwise.value;
    throw new StepRefusal(`the value is none of the ${known.size} that are listed`);
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
