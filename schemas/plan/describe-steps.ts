/**
 * The steps of a computed column in words. Guarantee: every step of the grammar has its words and says what it takes away; a step of which
 * some setting came out of the environment is named and not spelt out, and a key never is.
 */
import type { PlacedStep } from '../config/migration-file.ts';
import type { StepBlock, StepName } from '../config/step-schema.ts';
import { stepName } from '../mapping/steps/build-step.ts';

export interface StepWords {
  readonly words: string;
  readonly lossy?: string;
  readonly irreversible?: string;
}

/** `inputs`: of how many columns the value is made. */
type Describe = { readonly [K in StepName]-?: (config: NonNullable<StepBlock[K]>, inputs: number) => StepWords };

const TRIMMED = { both: 'both ends', start: 'its start', end: 'its end' } as const;

const DESCRIBE: Describe = {
  trim: (end) => ({ words: `blanks taken off at ${TRIMMED[end]}`, irreversible: 'the blanks are gone' }),
  case: (to) => ({ words: `${to} case`, irreversible: 'the former case is gone' }),
  normalise: (form) => ({ words: `Unicode form ${form}`, irreversible: 'the former Unicode form is gone' }),
  default: (value) => ({ words: `null becomes ${quoted(value)}`, irreversible: `null and ${quoted(value)} become one` }),
  nullIf: (value) => ({ words: `${quoted(value)} becomes null`, irreversible: `null and ${quoted(value)} become one` }),
  map: describeMap,
  lookup: ({ file, onMiss, loaded }) => ({
    words: `what ${file} says of it; what it does not have: ${typeof onMiss === 'string' ? policy(onMiss) : `becomes ${shown(onMiss.value)}`}`,
    ...((onMiss !== 'fail' || !tellsApart(loaded)) && { irreversible: 'several values may become one' }),
    ...(onMiss === 'null' && { lossy: 'a value that the file does not have becomes null' }),
  }),
  cast: describeCast,
  zone: describeZone,
  encoding: ({ readAs, is, onError }) => ({
    words: `text that was read as ${readAs} is mended to ${is}; what cannot be: ${policy(onError)}`,
    ...(onError === 'null' && { lossy: 'text that cannot be mended becomes null' }),
    ...(onError === 'keep' && { irreversible: 'which text was mended is not told' }),
  }),
  decimal: describeDecimal,
  concat: ({ sep, nulls }) => ({
    words: `joined${sep === '' ? '' : ` with ${quoted(sep)} between`}; nulls: ${NULLS[nulls]}`,
    irreversible: 'where one part ends is not told',
  }),
  coalesce: () => ({ words: 'the first that is not null', irreversible: 'which of them it was is not told' }),
  split: ({ by, take, limit }) => ({
    words: `${nth(take, 'part')} of what ${quoted(by)} divides${limit === undefined ? '' : ` into at most ${limit}`}`,
    irreversible: 'the other parts are gone',
  }),
  extract: (pointer) => ({ words: `the JSON value at ${quoted(pointer)}`, irreversible: 'the rest of the JSON is gone' }),
  object: (names) => ({ words: names === true ? 'a JSON object of them' : `a JSON object of them as ${names.map(quoted).join(', ')}` }),
  element: (n) => ({ words: `${nth(n, 'element')} of the array`, irreversible: 'the other elements are gone' }),
  hash: ({ algorithm, encoding }) => ({ words: `${algorithm} hash as ${encoding}`, irreversible: 'a hash leads one way' }),
  hmac: ({ algorithm, encoding }) => ({ words: `keyed ${algorithm} hash as ${encoding}`, irreversible: 'a hash leads one way' }),
  uuid5: ({ namespace, sep }, inputs) => ({
    words: `the UUID (version 5) of the text, under ${namespace}${inputs > 1 ? `; ${quoted(sep)} between columns` : ''}`,
    irreversible: 'a UUID of a name does not tell the name',
  }),
  mask: ({ keepStart, keepEnd, with: cover }) => ({
    words: `masked with ${quoted(cover)}${keepStart + keepEnd === 0 ? '' : ` but for ${kept(keepStart, keepEnd)}`}`,
    irreversible: 'what is masked is gone',
  }),
  cel: (expression) => ({ words: `CEL: ${expression}`, irreversible: 'an expression is not turned round' }),
  call: (reference) => ({ words: `the function ${reference}`, irreversible: 'a function is not turned round' }),
  tokenise: () => ({ words: 'a token of the same form, by a secret key', irreversible: 'a token leads one way' }),
};

/** None of their settings but a key is the environment's to give. */
const KEYED: ReadonlySet<StepName> = new Set<StepName>(['hmac', 'tokenise']);

export function describeStep({ step, fromEnvironment }: PlacedStep, inputs: number): StepWords {
  const name = stepName(step);
  const described = describe(name, step, inputs);
  if (fromEnvironment !== true || KEYED.has(name)) return described;
  const hide = (reason: string | undefined): string | undefined => (reason === undefined ? undefined : `what the step ${name} takes away`);
  const [lossy, irreversible] = [hide(described.lossy), hide(described.irreversible)];
  return {
    words: `step ${name}, with a setting from the environment`,
    ...(lossy !== undefined && { lossy }),
    ...(irreversible !== undefined && { irreversible }),
  };
}

function describe<K extends StepName>(name: K, block: StepBlock, inputs: number): StepWords {
  const words = DESCRIBE[name] as (config: NonNullable<StepBlock[K]>, inputs: number) => StepWords;
  return words(block[name]!, inputs);
}

/** True when no two keys of the file have one value. */
function tellsApart(loaded: NonNullable<StepBlock['lookup']>['loaded']): boolean {
  return loaded !== undefined && new Set(loaded.values.values()).size === loaded.values.size;
}

function describeMap({ values, else: other }: NonNullable<StepBlock['map']>): StepWords {
  const pairs = Object.entries(values);
  const images = new Set(pairs.map(([, to]) => to));
  const rest = typeof other === 'object' ? `becomes ${shown(other.value)}` : policy(other);
  const merges = images.size < pairs.length || images.has(null);
  const reason = merges
    ? 'several values become one'
    : other === 'keep'
      ? 'a value that is kept may be one of the new ones'
      : 'all other values become one';
  return {
    words: `${pairs.map(([from, to]) => `${quoted(from)} becomes ${shown(to)}`).join(', ')}; any other: ${rest}`,
    ...((merges || other !== 'fail') && { irreversible: reason }),
  };
}

function describeCast({ to, onError }: NonNullable<StepBlock['cast']>): StepWords {
  const other = typeof onError === 'object' ? `becomes ${quoted(onError.value)}` : policy(onError);
  return {
    words: `read as ${to}; what is none: ${other}`,
    ...(onError !== 'fail' && { lossy: `what is no ${to} ${typeof onError === 'object' ? other : 'becomes null'}` }),
    irreversible: 'the former spelling of the same value is gone',
  };
}

function describeZone({ from, to, ambiguous, skipped }: NonNullable<StepBlock['zone']>): StepWords {
  if (from === undefined)
    return { words: `the local time of ${to} at that moment`, irreversible: 'an hour of each year stands for two moments' };
  const guessed = ambiguous !== 'fail' || skipped !== 'fail';
  return {
    words: `the moment of that local time in ${from}; shown twice: ${moment(ambiguous)}; left out: ${moment(skipped)}`,
    ...(guessed && { lossy: 'of the hours that the clocks show twice or leave out, the moment is chosen, not known' }),
  };
}

function moment(choice: 'fail' | 'earlier' | 'later'): string {
  return choice === 'fail' ? 'refused' : `the ${choice} one`;
}

function describeDecimal({ multiply, divide, scale, round }: NonNullable<StepBlock['decimal']>): StepWords {
  const parts = [
    ...(multiply === undefined ? [] : [`times ${multiply}`]),
    ...(divide === undefined ? [] : [`divided by ${divide}`]),
    `to ${scale} digits behind the point`,
  ];
  return {
    words: `${parts.join(', ')}; more digits: ${round === undefined ? 'refused' : `rounded ${round}`}`,
    ...(round !== undefined && { lossy: `digits behind the point are rounded (${round})` }),
  };
}

const NULLS = { skip: 'left out', null: 'make the whole null', empty: 'empty' } as const;

function policy(word: 'fail' | 'keep' | 'null'): string {
  return { fail: 'refused', keep: 'kept as it is', null: 'becomes null' }[word];
}

function shown(value: string | null): string {
  return value === null ? 'null' : quoted(value);
}

function quoted(text: string): string {
  return JSON.stringify(text);
}

function nth(n: number, what: string): string {
  if (n === -1) return `the last ${what}`;
  return n < 0 ? `${what} ${-n} from the end` : `${what} ${n}`;
}

function kept(start: number, end: number): string {
  const parts = [...(start > 0 ? [`the first ${start}`] : []), ...(end > 0 ? [`the last ${end}`] : [])];
  return `${parts.join(' and ')} characters`;
}
