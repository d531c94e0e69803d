/**
 * The grammar of `shadow:`, as zod: critical queries that run on both stores. Guarantee: each query has a name of its own, as many values in
 * each set as the others have, and safe bounds on the load that it makes; each entry knows its places in the file.
 */
import { z } from 'zod';
import { hidden } from './build-set.ts';
import { toleranceOf, tolerance } from './checks-schema.ts';
import { expected, oneOf, sqlName, whole } from './file-terms.ts';
import type { ShadowEntry } from './shadow-entry.ts';
import { targetOfEntry } from './target-schema.ts';
import type { Path, YamlSource } from './yaml-source.ts';

const query = z.string(expected('a query')).min(1, expected('a query'));
const BOTH = 'a query, or a block of source and target';
const value = z.union([z.string(), z.number(), z.boolean(), z.null()], expected('a value'));
const set = z.array(value, expected('a list of values')).max(100, expected('at most 100 values'));
const SETS = 'a list of values, or a list of such lists';
const PERCENT = 'a share of the source as 10%';
const SETS_MAX = 1000;

const entry = z.strictObject(
  {
    name: z.string(expected('a name')).min(1, expected('a name')).max(100, expected('a name of at most 100 characters')),
    target: targetOfEntry.describe('Which of `targets`; needed where several of them are PostgreSQL.'),
    sql: z
      .union([query, z.strictObject({ source: query, target: query }, expected(BOTH))], expected(BOTH))
      .describe('The query; tables stand in braces, values as $1, $2: select total from {public.orders} where id = $1.'),
    parameters: z
      .union(
        [
          z
            .array(set)
            .min(1)
            .max(SETS_MAX, expected(`at most ${SETS_MAX} sets`)),
          set.min(1),
        ],
        expected(SETS),
      )
      .optional()
      .describe('Values of $1, $2 and so on, or several such lists, which take turns.'),
    order: oneOf(['respected', 'ignored']).default('ignored').describe('Whether rows must come in the same order.'),
    ignore: z.array(sqlName, expected('a list of columns')).default([]).describe('Columns of the answer that may differ.'),
    tolerance: tolerance.describe(
      'How far numbers of the answer may lie apart: an amount, or a share of the source as 0.5%. 0 when absent.',
    ),
    latencyTolerance: z
      .string(expected(PERCENT))
      .regex(/^\d{1,4}(?:\.\d+)?%$/, { error: `expected ${PERCENT}` })
      .default('10%')
      .describe('How much longer than the source the target may take.'),
    repetitions: whole(1, 100_000).default(200).describe('Executions on each side from which the response time is told.'),
    concurrency: whole(1, 64).default(1).describe('Sessions on each side that ask at the same time.'),
    seconds: whole(1, 3600).default(10).describe('How long the measurement may take in all.'),
    timeoutSeconds: whole(1, 3600).default(30).describe('How long one answer may take.'),
  },
  expected('a block with name: … and sql: …'),
);

type ParsedShadow = z.output<typeof entry>;

export const shadow: z.ZodArray<typeof entry> = z.array(entry, expected('a list of queries')).superRefine((entries, context) => {
  entries.forEach(({ name, target, parameters = [] }, i) => {
    const wrong = (path: readonly (string | number)[], message: string): void => {
      context.addIssue({ code: 'custom', path: [i, ...path], message });
    };
    if (entries.findIndex((one) => one.name === name && one.target === target) < i)
      wrong(['name'], 'expected a name of its own: another query has it');
    const [first, ...others] = setsOf(parameters);
    others.forEach((one, n) => {
      if (one.length !== first!.length) wrong(['parameters', n + 1], `expected ${first!.length} values, as in the first set`);
    });
  });
});

/** Numbers and booleans among the values are the text that stands there: 7.50 is not 7.5. */
export function keepsTextInShadow(path: Path): boolean {
  return path[0] === 'shadow' && path[2] === 'parameters';
}

type Value = z.output<typeof value>;

function setsOf(parameters: readonly Value[] | readonly (readonly Value[])[]): (readonly Value[])[] {
  const lists = parameters.filter((one) => Array.isArray(one)) as (readonly Value[])[];
  return lists.length > 0 ? lists : [parameters as readonly Value[]];
}

export function buildShadow(parsed: readonly ParsedShadow[], source: YamlSource): ShadowEntry[] {
  return parsed.map((one, i) => {
    const at: Path = ['shadow', i];
    const { name, target, sql, parameters = [], order, ignore, latencyTolerance, repetitions, concurrency, seconds, timeoutSeconds } = one;
    return {
      name,
      ...(target !== undefined && { target }),
      sql: typeof sql === 'string' ? { source: sql, target: sql } : sql,
      parameters: setsOf(parameters).map((values) => values.map((each) => (each === null ? null : String(each)))),
      ordered: order === 'respected',
      ignore,
      tolerance: toleranceOf(one.tolerance),
      timing: { tolerancePercent: Number.parseFloat(latencyTolerance), repetitions, concurrency, seconds, timeoutSeconds },
      places: Object.fromEntries(Object.keys(one).map((key) => [key, source.valuePlace([...at, key])] as const)),
      ...hidden(source, at),
      ...source.valuePlace(at),
    };
  });
}
