/**
 * The grammar of `checks:`, as zod. Guarantee: each check has a name of its own and says exactly one thing that is compared, with what that
 * one needs and nothing else; each entry knows its places in the file.
 */
import { z } from 'zod';
import type { CheckEntry, CheckKind, Tolerance } from './check-entry.ts';
import { expected, flag, sqlName, whole } from './file-terms.ts';
import { targetOfEntry } from './target-schema.ts';
import type { Path, YamlSource } from './yaml-source.ts';

const columns = z
  .union(
    [sqlName.transform((one) => [one]), z.array(sqlName).min(1, expected('at least one column'))],
    expected('a column, or a list of columns'),
  )
  .optional();
const table = z
  .string(expected('a table of the target as schema.table'))
  .regex(/^[^*]+\.[^*]+$/, { error: 'expected one table of the target as schema.table, without a glob' })
  .optional();
const TOLERANCE = 'an amount, or a share of the source as 0.5%';
export const tolerance: z.ZodOptional<z.ZodUnion<readonly [z.ZodNumber, z.ZodString]>> = z
  .union([z.number(), z.string()], expected(TOLERANCE))
  .refine((value) => TOLERANCE_PATTERN.test(String(value)), { error: `expected ${TOLERANCE}` })
  .optional();
const TOLERANCE_PATTERN = /^\d+(?:\.\d+)?%?$/;
const SAMPLE = 'a share of the rows, for example 1%';
const sql = z.string(expected('a query')).min(1, expected('a query'));
const bothSql = z.strictObject({ source: sql.optional(), target: sql }, expected('a block of source and target, each a query'));
const scalar = z.union(
  [z.string(), z.number().refine(isExact, 'expected the number in quotes: it has more digits than are kept'), z.null()],
  expected('one value'),
);

/** Beyond this the number that was read is not the one that was written. */
function isExact(value: number): boolean {
  return Math.abs(value) <= Number.MAX_SAFE_INTEGER;
}

const check = z
  .strictObject(
    {
      name: z.string(expected('a name')).min(1, expected('a name')).max(100, expected('a name of at most 100 characters')),
      table: table.describe('Table of the target that is looked at (with sum, minMax, nulls, childrenOf, sample).'),
      target: targetOfEntry.describe('Which of `targets`; needed where several of them are PostgreSQL.'),
      sum: columns.describe('Columns (of the target) whose sums must be equal.'),
      groupBy: columns.describe('With sum: columns of the target; a sum for each of their values.'),
      minMax: columns.describe('Columns whose smallest and largest value must be equal.'),
      nulls: columns.describe('Columns in which as many rows must be null.'),
      childrenOf: table.describe('Parent table of the target: as many parents must have no child, one, two and so on.'),
      sample: z
        .string(expected(SAMPLE))
        .regex(/^(?=.*[1-9])(?:100|\d{1,2}(?:\.\d+)?)%$/, { error: `expected ${SAMPLE}` })
        .optional()
        .describe('Share of the rows, the same ones each time, that are compared together with their parent.'),
      parent: table.describe('With sample: the table that the rows belong to.'),
      by: columns.describe("Columns that hold the parent's key; the foreign key's when absent."),
      sql: z
        .union([sql, bothSql], expected('a query, or a block of source and target'))
        .optional()
        .describe('Queries whose rows must be equal; tables stand in braces: select sum(total) from {public.orders}.'),
      ordered: flag().optional().describe('With sql: rows must come in the same order.'),
      expect: scalar.optional().describe("With sql: what the target's query must give, where the source is not asked."),
      timeoutSeconds: whole(1, 86_400).optional().describe('With sql: how long one answer may take; 600 when absent.'),
      tolerance: tolerance.describe('How far numbers may lie apart: an amount, or a share of the source as 0.5%. 0 when absent.'),
    },
    expected('a block with name: …, and what is compared'),
  )
  .superRefine((entry, context) => {
    for (const [path, message] of issuesOf(entry)) context.addIssue({ code: 'custom', path: [...path], message });
  });

type ParsedCheck = z.output<typeof check>;

export const checks: z.ZodArray<typeof check> = z.array(check, expected('a list of checks')).superRefine((entries, context) => {
  entries.forEach(({ name, target }, i) => {
    if (entries.findIndex((one) => one.name === name && one.target === target) < i)
      context.addIssue({ code: 'custom', path: [i, 'name'], message: 'expected a name of its own: another check has it' });
  });
});

/** Keys that say what is compared, and those that go with each. */
const SUBJECTS = {
  sum: ['table', 'groupBy', 'tolerance'],
  minMax: ['table', 'nulls'],
  nulls: ['table', 'minMax'],
  childrenOf: ['table', 'by'],
  sample: ['table', 'parent', 'by'],
  sql: ['ordered', 'tolerance', 'expect', 'timeoutSeconds'],
} as const;
type Subject = keyof typeof SUBJECTS;
const WITH: Readonly<Record<string, string>> = {
  groupBy: 'sum',
  tolerance: 'sum or sql',
  by: 'childrenOf or sample',
  parent: 'sample',
  ordered: 'sql',
  expect: 'sql',
  timeoutSeconds: 'sql',
};

function* issuesOf(entry: ParsedCheck): Generator<readonly [readonly string[], string]> {
  const given = (Object.keys(SUBJECTS) as Subject[]).filter((key) => entry[key] !== undefined);
  const [subject, ...others] = given;
  if (subject === undefined) {
    yield [[], 'expected what is compared: sum, minMax, nulls, childrenOf, sample or sql'];
    return;
  }
  const allowed: readonly string[] = SUBJECTS[subject];
  for (const other of others)
    if (!allowed.includes(other)) yield [[other], `stands beside ${subject}: a check compares one thing; write another check`];
  const known = ['name', 'target', ...given, ...given.flatMap((key): readonly string[] => SUBJECTS[key])];
  for (const [key, value] of Object.entries(entry)) {
    if (value === undefined || known.includes(key)) continue;
    yield [[key], key === 'table' ? 'has no meaning with sql: the query names its tables, in braces' : `goes with ${WITH[key] ?? 'table'}`];
  }
  if (subject === 'sql') yield* sqlIssues(entry);
  else if (entry.table === undefined) yield [[], 'expected table: schema.table'];
}

function* sqlIssues({ sql: query, expect }: ParsedCheck): Generator<readonly [readonly string[], string]> {
  const asksSource = typeof query === 'string' ? expect === undefined : query?.source !== undefined;
  if (asksSource && expect !== undefined) yield [['expect'], 'stands beside a query for the source: write one of the two'];
  if (!asksSource && expect === undefined)
    yield [['sql'], 'expected a query for the source too, or expect: with what the target must give'];
}

export function buildChecks(parsed: readonly ParsedCheck[], source: YamlSource): CheckEntry[] {
  return parsed.map((entry, i) => {
    const at: Path = ['checks', i];
    const places = Object.fromEntries(Object.keys(entry).map((key) => [key, source.valuePlace([...at, key])] as const));
    return {
      name: entry.name,
      ...(entry.target !== undefined && { target: entry.target }),
      ...(entry.table !== undefined && { table: entry.table }),
      ...kindOf(entry),
      tolerance: toleranceOf(entry.tolerance),
      places,
      ...source.valuePlace(at),
    };
  });
}

function kindOf(entry: ParsedCheck): CheckKind {
  const {
    sum,
    groupBy = [],
    minMax = [],
    nulls = [],
    childrenOf,
    sample,
    parent,
    by,
    ordered = false,
    expect,
    timeoutSeconds = 600,
  } = entry;
  const named = { ...(by !== undefined && { by }) };
  if (sum !== undefined) return { kind: 'sum', columns: sum, groupBy };
  if (childrenOf !== undefined) return { kind: 'children', parent: childrenOf, ...named };
  if (sample !== undefined)
    return { kind: 'sample', percent: Number.parseFloat(sample), ...(parent !== undefined && { parent }), ...named };
  if (entry.sql === undefined) return { kind: 'range', minMax, nulls };
  const { source, target } = typeof entry.sql === 'string' ? { source: entry.sql, target: entry.sql } : entry.sql;
  const expectation = expect === undefined ? { source: source! } : { expect: expect === null ? null : String(expect) };
  return { kind: 'sql', target, ordered, timeoutSeconds, ...expectation };
}

export function toleranceOf(value: string | number | undefined): Tolerance {
  const text = String(value ?? 0);
  return text.endsWith('%') ? { unit: 'percent', amount: text.slice(0, -1) } : { unit: 'absolute', amount: text };
}
