/**
 * The grammar of `tables[].set`: target columns that are computed. Guarantee: each entry is a constant or a list of steps, each step is
 * one word or one block, and a wrong one is told at its own place with the nearest name.
 */
import { z } from 'zod';
import type { LoadedLookup } from './lookup-file.ts';
import { expected, flag, oneOf, sqlName, whole } from './file-terms.ts';
import { Secret } from './secret.ts';

const KEY_LENGTH_MIN = 16;
const EXPRESSION_LENGTH_MAX = 4000;
const DECIMAL = /^[+-]?\d+(?:\.\d+)?$/;

/** NUL stands in no text of PostgreSQL, and half a character (a lone surrogate) in none of UTF-8. */
function isStorable(value: string): boolean {
  return value.isWellFormed() && !value.includes('\0');
}

const UNSTORABLE = { error: 'expected a text that PostgreSQL can hold, without NUL (\\0) or half of a character' };

const text = z.union([z.string(), z.number(), z.boolean()], expected('a value')).transform(String).refine(isStorable, UNSTORABLE);
const plainText = z.string(expected('a text')).refine(isStorable, UNSTORABLE);
const textOrNull = z.union([text, z.null()], expected('a value, or null'));
const decimal = text.refine((value) => DECIMAL.test(value), { error: 'expected a decimal number, for example 100 or 1.19' });
const zoneName = z.string(expected('an IANA time zone, for example Europe/Berlin'));
const charset = oneOf(['utf-8', 'windows-1252', 'latin1']);
const algorithm = oneOf(['sha256', 'sha512', 'sha1', 'md5']);
const digestText = oneOf(['hex', 'base64']).default('hex');
const localTime = oneOf(['fail', 'earlier', 'later']).default('fail');

/** YAML reads a bare null as no word at all. */
const nullWord = z.null().transform(() => 'null' as const);

const secretKey = z
  .string(expected('a key as ${ENV}'))
  .min(KEY_LENGTH_MIN, { error: `expected a key of at least ${KEY_LENGTH_MIN} characters` })
  .transform((value) => new Secret(value));

const elsePolicy = z.union(
  [z.strictObject({ value: textOrNull }, expected('a block with value: …')), oneOf(['fail', 'keep'])],
  expected('fail, keep or { value: … }'),
);

const nth = z.int(expected('a whole number, 1 for the first, -1 for the last')).refine((value) => value !== 0, {
  error: 'expected a whole number, 1 for the first, -1 for the last',
});

const concat = z.union(
  [
    z
      .string()
      .refine(isStorable, UNSTORABLE)
      .transform((sep) => ({ sep, nulls: 'skip' as const })),
    z.strictObject({
      sep: plainText.default(''),
      nulls: z.union([nullWord, oneOf(['skip', 'null', 'empty'])], expected('skip, null or empty')).default('skip'),
    }),
  ],
  expected('a separator, or a block of sep and nulls'),
);

const cast = z.union(
  [
    z.string().transform((to) => ({ to, onError: 'fail' as const })),
    z.strictObject({
      to: z.string(expected('a type, for example integer')),
      onError: z
        .union(
          [z.strictObject({ value: text }, expected('a block with value: …')), nullWord, oneOf(['fail', 'null'])],
          expected('fail, null or { value: … }'),
        )
        .default('fail'),
    }),
  ],
  expected('a type, or a block of to and onError'),
);

const hash = z.union(
  [z.strictObject({ algorithm, encoding: digestText }), algorithm.transform((name) => ({ algorithm: name, encoding: 'hex' as const }))],
  expected('sha256, sha512, sha1, md5, or a block of algorithm and encoding'),
);

const UUID = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/i;

const namespace = z
  .string(expected('a UUID, dns, url, oid or x500'))
  .refine((value) => UUID.test(value) || ['dns', 'url', 'oid', 'x500'].includes(value), {
    error: 'expected a UUID, dns, url, oid or x500',
  })
  .transform((value) => value.toLowerCase())
  .describe('Of your own, made once; the UUID depends on it.');

const uuid5 = z.union(
  [
    z.strictObject({ namespace, sep: z.string(expected('a text')).default(':').describe('Between the texts of several columns.') }),
    namespace.transform((space) => ({ namespace: space, sep: ':' })),
  ],
  expected('a namespace (a UUID, dns, url, oid or x500), or a block of namespace and sep'),
);

const zone = z
  .strictObject(
    {
      from: zoneName.optional().describe('Zone of a timestamp without one: it becomes a moment.'),
      to: zoneName.optional().describe('A moment becomes the local time of this zone.'),
      ambiguous: localTime.describe('A local time that the clocks show twice.'),
      skipped: localTime.describe('A local time that the clocks leave out.'),
      exact: flag()
        .optional()
        .describe('With to: a moment that its local time does not give back, by the same ambiguous and skipped, is refused.'),
    },
    expected('a block of from or to'),
  )
  .refine((block) => (block.from === undefined) !== (block.to === undefined), { error: 'expected either from: or to:' })
  .refine((block) => block.exact === undefined || block.to !== undefined, { path: ['exact'], error: 'has a meaning with to: only' });

const decimalBlock = z.strictObject(
  {
    multiply: decimal.optional(),
    divide: decimal.refine((value) => /[1-9]/.test(value), { error: 'expected a number other than 0' }).optional(),
    scale: whole(0, 1000).describe('Digits behind the point.'),
    round: oneOf(['half-up', 'half-down', 'half-even', 'up', 'down', 'ceiling', 'floor'])
      .optional()
      .describe('Absent: a value that has more digits is refused.'),
  },
  expected('a block with scale: …'),
);

const map = z.strictObject(
  {
    values: z.record(z.string(), textOrNull, expected('a block of value: new value')),
    else: elsePolicy.default('fail').describe('What becomes of any other value; null stays null.'),
  },
  expected('a block of values and else'),
);

const lookup = z
  .strictObject(
    {
      file: z
        .string(expected('a path of a .csv, .json, .yaml or .yml file'))
        .regex(/\.(?:csv|json|ya?ml)$/i, { error: 'expected a path of a .csv, .json, .yaml or .yml file' }),
      key: sqlName.optional().describe('Column of the file that holds the values looked for.'),
      value: sqlName.optional().describe('Column of the file that holds what they become.'),
      onMiss: z
        .union(
          [z.strictObject({ value: textOrNull }, expected('a block with value: …')), nullWord, oneOf(['fail', 'keep', 'null'])],
          expected('fail, keep, null or { value: … }'),
        )
        .default('fail')
        .describe('What becomes of a value that the file does not have; null stays null.'),
    },
    expected('a block of file, key and value'),
  )
  .refine((block) => (block.key === undefined) === (block.value === undefined), { error: 'expected both key: and value:, or neither' })
  .refine((block) => block.key !== undefined || !/\.csv$/i.test(block.file), { error: 'expected key: and value:, columns of the file' })
  // What the file holds comes when it is read.
  .transform((block) => ({ ...block, loaded: undefined as LoadedLookup | undefined }));

const blocks = z.strictObject(
  {
    trim: oneOf(['both', 'start', 'end']).optional().describe('Takes blanks off.'),
    case: oneOf(['lower', 'upper']).optional(),
    normalise: oneOf(['NFC', 'NFD', 'NFKC', 'NFKD']).optional().describe('Unicode normal form.'),
    default: text.optional().describe('Stands where the value is null.'),
    nullIf: text.optional().describe('This very text becomes null.'),
    map: map.optional().describe('Each value becomes another.'),
    lookup: lookup.optional().describe('Each value becomes what a file beside this one says.'),
    cast: cast.optional().describe('Only what is a value of the type goes on; the target column casts by itself.'),
    zone: zone.optional(),
    encoding: z
      .strictObject(
        {
          readAs: charset,
          is: charset,
          onError: z.union([nullWord, oneOf(['fail', 'keep', 'null'])], expected('fail, keep or null')).default('fail'),
        },
        expected('a block of readAs and is'),
      )
      .optional()
      .describe('Text that was read in one encoding and is in another: readAs: windows-1252, is: utf-8.'),
    decimal: decimalBlock.optional().describe('Exact decimal arithmetic: times multiply, over divide, to scale digits.'),
    concat: concat.optional().describe('Several columns as one text.'),
    coalesce: z.literal(true, expected('true')).optional().describe('The first of several columns that is not null.'),
    split: z
      .strictObject(
        { by: z.string(expected('a text')).min(1, expected('a text')), take: nth, limit: whole(1, 100_000).optional() },
        expected('a block of by and take'),
      )
      .optional()
      .describe('One part of a text; limit: at most so many parts, the last one with all the rest.'),
    extract: z
      .string(expected('a JSON pointer, for example /address/street'))
      .regex(/^(?:\/(?:[^~/]|~[01])*)*$/, { error: 'expected a JSON pointer, for example /address/street' })
      .optional()
      .describe('The value at this JSON pointer.'),
    object: z
      .union([z.literal(true), z.array(z.string(), expected('a list of names'))], expected('true, or a list of names'))
      .optional()
      .describe('A JSON object of several columns, by their own names or these.'),
    element: nth.optional().describe('One element of an array.'),
    hash: hash.optional(),
    uuid5: uuid5.optional().describe('The UUID (version 5) of a text, or of several columns: the same for the same values everywhere.'),
    hmac: z
      .strictObject({ key: secretKey, algorithm: algorithm.default('sha256'), encoding: digestText }, expected('a block with key: ${ENV}'))
      .optional(),
    mask: z
      .strictObject({
        keepStart: whole(0, 1000).default(0),
        keepEnd: whole(0, 1000).default(0),
        with: plainText.default('*'),
      })
      .optional(),
    cel: z
      .string(expected('a CEL expression'))
      .max(EXPRESSION_LENGTH_MAX, { error: `expected a CEL expression of at most ${EXPRESSION_LENGTH_MAX} characters` })
      .optional()
      .describe('A CEL expression over the columns named, written row.column.'),
    call: z
      .string(expected('a function as ./file.ts#name'))
      .regex(/^[^#]+\.(?:ts|js|mjs|mts)#[A-Za-z_$][\w$]*$/, { error: 'expected a function as ./file.ts#name' })
      .optional()
      .describe('A function of a file beside this one; it gets the columns named.'),
    tokenise: z
      .strictObject({ key: secretKey }, expected('a block with key: ${ENV}'))
      .optional()
      .describe(
        'Each digit and letter (0-9, a-z, A-Z; a text with others is refused) becomes another, always the same for the same text; within one form no two texts become one.',
      ),
  },
  expected('a step'),
);

/** A step as a block with exactly one entry. */
export type StepBlock = z.output<typeof blocks>;
export type StepName = keyof StepBlock;

const WORDS = {
  trim: { trim: 'both' },
  lower: { case: 'lower' },
  upper: { case: 'upper' },
  concat: { concat: { sep: '', nulls: 'skip' } },
  coalesce: { coalesce: true },
  object: { object: true },
} as const satisfies Readonly<Record<string, StepBlock>>;

const EXPECTED_STEP = `a step: ${Object.keys(WORDS).join(', ')}, or a block like { default: … }`;
const words = z
  .enum(Object.keys(WORDS) as [keyof typeof WORDS, ...(keyof typeof WORDS)[]], expected(EXPECTED_STEP))
  .transform((word): StepBlock => WORDS[word]);

// The blocks first: a block is never told that it is none of the words.
const step = z.union(
  [blocks.refine((block) => stepNames(block).length === 1, { error: 'expected exactly one step in each block of the list' }), words],
  expected(EXPECTED_STEP),
);

export function stepNames(block: StepBlock): StepName[] {
  return (Object.keys(block) as StepName[]).filter((name) => block[name] !== undefined);
}

export function isStepName(name: string): boolean {
  return Object.hasOwn(blocks.shape, name) || Object.hasOwn(WORDS, name);
}

const inputs = z.union(
  [sqlName.transform((name) => [name]), z.array(sqlName).min(1, { error: 'expected at least one column' })],
  expected('a source column, or a list of them'),
);

const setEntry = z
  .strictObject(
    {
      value: textOrNull.optional().describe('The same for every row.'),
      from: inputs.optional().describe('Source columns.'),
      steps: z.array(step, expected('a list of steps')).default([]).describe('Done in this order.'),
    },
    expected('a block of from and steps, or of value'),
  )
  .refine((entry) => (entry.value === undefined) !== (entry.from === undefined), { error: 'expected either value:, or from: with steps:' })
  .refine((entry) => entry.value === undefined || entry.steps.length === 0, {
    error: 'a value that is the same for every row takes no steps',
  });

/** Keyed by target column. */
export const setEntries: z.ZodRecord<z.ZodString, typeof setEntry> = z.record(
  z.string(),
  setEntry,
  expected('a block of target column: { from: …, steps: […] }'),
);

/** Under `set`, a number or a boolean is the text that stands there: 7.50 is not 7.5. `path` is what stands below the target column. */
export function keepsTextInSet(path: readonly (string | number)[]): boolean {
  if (path[0] === 'value') return true;
  if (path[0] !== 'steps') return false;
  if (path[2] === 'decimal') return path[3] === 'multiply' || path[3] === 'divide';
  if (path[2] === 'map') return path[3] === 'values' || path[4] === 'value';
  if (path[2] === 'lookup') return path[4] === 'value';
  return path[2] === 'default' || path[2] === 'nullIf' || (path[2] === 'cast' && path[4] === 'value');
}
