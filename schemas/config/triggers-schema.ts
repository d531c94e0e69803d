/** `triggers:` of the migration file: what, watched after the cut-over, asks for a rollback or makes one. Guarantee: each has a name, a limit and a feed that fits. */
import { z } from 'zod';
import type { Trigger, TriggerFeed, TriggerKind } from '../triggers/trigger.ts';
import { TRIGGER_KINDS } from '../triggers/trigger.ts';
import { bareAddress } from './bare-address.ts';
import { expected, oneOf, whole } from './file-terms.ts';
import { span } from './span.ts';

const ABOVE = 'a limit: a share as 1%, a factor as 2x, or a number';
const LIMIT_PATTERN = /^(\d+(?:\.\d+)?)\s*(%|x)?$/;

const above = z
  .union([z.string(), z.number().nonnegative()], expected(ABOVE))
  .refine((value) => LIMIT_PATTERN.test(String(value)), { error: `expected ${ABOVE}` })
  .transform((value) => {
    const [, digits, unit] = LIMIT_PATTERN.exec(String(value))!;
    return { number: unit === '%' ? Number(digits) / 100 : Number(digits), unit: unit ?? '' };
  });

const address = z.url({ protocol: /^https?$/, ...expected('an http(s) address') });
const headers = z
  .record(z.string(), z.string(expected('a text')), expected('a block of headers'))
  .optional()
  .describe('Sent with it. Absent: none but what a user and password in the address give.');
const promql = z.strictObject(
  {
    url: address.describe("Prometheus' own address."),
    query: z.string(expected('a PromQL query')).min(1).describe('Of one number: an instant vector of one element, or a scalar.'),
    headers,
  },
  expected('a block of url, query and headers'),
);
const http = z.strictObject(
  {
    url: address.describe('Asked with GET.'),
    value: z
      .string(expected('a path, for example data.rate'))
      .min(1)
      .optional()
      .describe('Path to the number in the JSON; of a failure: absent, and 2xx is well.'),
    headers,
  },
  expected('a block of url, value and headers'),
);
const feed = z.union(
  [z.literal('reports'), z.strictObject({ promql }), z.strictObject({ http })],
  expected('reports, or a block of promql or http'),
);

const entry = z
  .strictObject(
    {
      name: z
        .string(expected('a name'))
        .regex(/^[a-z][a-z0-9-]{0,40}$/, { error: 'expected a name of small letters, digits and hyphens' })
        .describe('As status, audit and report tell it.'),
      when: oneOf(TRIGGER_KINDS).describe(
        'errors: a share of requests; slow: against its baseline; drift: rows that differ; failure: something does not answer.',
      ),
      above: above.optional().describe('Absent: 1% of errors, 2x the baseline, 0 rows that differ, 50% failed looks.'),
      window: span({ minMs: 5_000, maxMs: 24 * 3_600_000, example: '5min' })
        .prefault('5min')
        .describe('Over which it is measured.'),
      atLeast: whole(1, 1_000_000)
        .optional()
        .describe('Requests (of reports) or samples in the window, below which nothing is said. Absent: 50, or 2.'),
      from: feed.optional().describe('Absent: what applications report; of drift and failure what Crossfade itself sees.'),
      action: oneOf(['ask', 'rollback']).default('ask').describe('ask: told in status, log and audit; rollback: begun at once.'),
    },
    expected('a block with name and when'),
  )
  .superRefine(({ when, above: limit, from }, context) => {
    const wrong = (path: string, message: string): void => context.addIssue({ code: 'custom', path: [path], message });
    if (limit?.unit === 'x' && when !== 'slow') wrong('above', 'a factor has a meaning with slow only');
    if (limit !== undefined && when === 'slow' && limit.unit !== 'x') wrong('above', 'expected a factor of the baseline, for example 2x');
    if (when === 'drift' && from !== undefined) wrong('from', 'drift is what Crossfade itself finds: take it out');
    if (when === 'failure' && from === 'reports') wrong('from', 'a failure is not seen in reports: give promql or http, or take it out');
    if (when !== 'failure' && typeof from === 'object' && 'http' in from && from.http.value === undefined)
      wrong('from', 'expected http: { url, value }: which number of the answer it is');
  });

export type TriggerInput = z.output<typeof entry>;

export const triggers: z.ZodDefault<z.ZodArray<typeof entry>> = z
  .array(entry, expected('a list of triggers'))
  .max(50)
  .superRefine((list, context) => {
    list.forEach(({ name }, i) => {
      if (list.findIndex((one) => one.name === name) < i)
        context.addIssue({ code: 'custom', path: [i, 'name'], message: 'another trigger has this name' });
    });
  })
  .default([])
  .describe('What, watched after the cut-over, asks for a rollback or makes one.');

const DEFAULT_ABOVE: Readonly<Record<TriggerKind, number>> = { errors: 0.01, slow: 2, drift: 0, failure: 0.5 };
const SAMPLES_MIN = 2;
const REQUESTS_MIN = 50;

export function buildTriggers(list: readonly TriggerInput[]): Trigger[] {
  return list.map(({ name, when, above: limit, window, atLeast, from, action }) => {
    const source = feedOf(when, from);
    return {
      name,
      kind: when,
      above: limit?.number ?? DEFAULT_ABOVE[when],
      windowMs: window,
      atLeast: atLeast ?? (source.kind === 'reports' ? REQUESTS_MIN : when === 'drift' ? 1 : SAMPLES_MIN),
      feed: source,
      action,
    };
  });
}

function feedOf(kind: TriggerKind, from: TriggerInput['from']): TriggerFeed {
  if (from === undefined) return { kind: kind === 'drift' || kind === 'failure' ? 'crossfade' : 'reports' };
  if (from === 'reports') return { kind: 'reports' };
  if ('promql' in from) return { kind: 'promql', query: from.promql.query, ...bareAddress(from.promql.url, from.promql.headers) };
  const { url, value, headers: given } = from.http;
  return { kind: 'http', ...bareAddress(url, given), ...(value !== undefined && { value }) };
}
