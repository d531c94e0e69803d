/** A step of the file → the function that does it. Guarantee: every step of the grammar has one; what it cannot do is told when the file is compiled. */
import { stepNames, type StepBlock, type StepName } from '#schemas/config/step-schema.ts';
import { callStep } from './call-step.ts';
import { castStep } from './cast-step.ts';
import { decimalText, parseDecimal, rescale, scaled, type Decimal } from './decimal.ts';
import { smallScaler } from './small-decimal.ts';
import { hashStep, hmacStep, tokeniseStep } from './digest-steps.ts';
import { expressionStep } from './expression-step.ts';
import { encodingStep } from './encoding-step.ts';
import { elementStep, extractStep, objectStep } from './json-steps.ts';
import { lookupStep } from './lookup-step.ts';
import { onText, StepRefusal, type Step, type StepContext } from './step.ts';
import {
  caseStep,
  coalesceStep,
  concatStep,
  defaultStep,
  mapStep,
  maskStep,
  normaliseStep,
  nullIfStep,
  splitStep,
  trimStep,
} from './text-steps.ts';
import { underDomain } from '../type-fit.ts';
import { uuidStep } from './uuid-step.ts';
import { zoneStep } from './zone-step.ts';

type Builders = { readonly [K in StepName]-?: (config: NonNullable<StepBlock[K]>, context: StepContext) => Step };

const BUILDERS: Builders = {
  trim: trimStep,
  case: caseStep,
  normalise: normaliseStep,
  default: defaultStep,
  nullIf: nullIfStep,
  map: mapStep,
  lookup: lookupStep,
  cast: castStep,
  zone: zoneStep,
  encoding: encodingStep,
  decimal: decimalStep,
  concat: concatStep,
  coalesce: coalesceStep,
  split: splitStep,
  extract: extractStep,
  object: objectStep,
  element: elementStep,
  hash: hashStep,
  uuid5: uuidStep,
  hmac: hmacStep,
  mask: maskStep,
  tokenise: tokeniseStep,
  cel: expressionStep,
  call: callStep,
};

export function stepName(block: StepBlock): StepName {
  return stepNames(block)[0]!;
}

/** What the step at `index` is compiled for, after those before it. */
export function contextAt(steps: readonly StepBlock[], index: number, whole: StepContext): StepContext {
  const context = index === 0 ? { ...whole, isFirst: true } : whole;
  const before = steps.slice(0, index).map(stepName);
  const [column] = context.inputs;
  const delimiter = delimiterAfter(before, context);
  const own = { ...context, ...(delimiter !== undefined && { delimiter }) };
  if (column === undefined || context.inputs.length > 1 || before.some((name) => name !== 'nullIf' && name !== 'default')) return own;
  return { ...own, raw: { column, orDefault: before.includes('default') } };
}

/** Behind these an array is still one of the columns', or an array within it. */
const KEEP_ARRAYS: ReadonlySet<StepName> = new Set<StepName>(['nullIf', 'default', 'coalesce', 'trim', 'element']);

function delimiterAfter(before: readonly StepName[], { inputs }: StepContext): string | undefined {
  if (!before.every((name) => KEEP_ARRAYS.has(name))) return undefined;
  const delimiters = new Set(inputs.map((column) => underDomain(column).delimiter));
  return delimiters.size === 1 ? [...delimiters][0] : undefined;
}

/** @throws StepFault */
export function buildStep(block: StepBlock, context: StepContext): Step {
  return build(stepName(block), block, context);
}

function build<K extends StepName>(name: K, block: StepBlock, context: StepContext): Step {
  const builder = BUILDERS[name] as (config: NonNullable<StepBlock[K]>, context: StepContext) => Step;
  return builder(block[name]!, context);
}

const ONE: Decimal = { digits: 1n, scale: 0 };
const OPPOSITES: Readonly<Record<string, string>> = { NaN: 'NaN', Infinity: '-Infinity', '-Infinity': 'Infinity' };

/** As numeric's own × and ÷ by a finite number have it; undefined for what is no number. */
function notFinite(text: string, by: Decimal, over: Decimal): string | undefined {
  if (!Object.hasOwn(OPPOSITES, text)) return undefined;
  if (by.digits === 0n) return 'NaN';
  return by.digits < 0n !== over.digits < 0n ? OPPOSITES[text] : text;
}

function decimalStep({ multiply, divide, scale, round }: NonNullable<StepBlock['decimal']>): Step {
  const by = multiply === undefined ? ONE : parseDecimal(multiply)!;
  const over = divide === undefined ? ONE : parseDecimal(divide)!;
  const plain = multiply === undefined && divide === undefined;
  const small = smallScaler({ by, over, scale, mode: round });
  return onText(
    (text) => {
      const quick = small?.(text);
      if (quick !== undefined) return quick;
      const value = parseDecimal(text);
      if (value === undefined) {
        const endless = notFinite(text, by, over);
        if (endless !== undefined) return endless;
        throw new StepRefusal('the value is no decimal number');
      }
      return decimalText(plain ? rescale(value, scale, round) : scaled(value, { by, over, scale, mode: round }));
    },
    { kind: 'number', digits: scale },
  );
}
