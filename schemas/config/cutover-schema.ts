/** `cutover:` of the migration file: how long a flip may take where, and who is asked and told. Guarantee: every time has a default that suits a small database. */
import { z } from 'zod';
import { bareAddress } from './bare-address.ts';
import { expected, flag, oneOf, whole } from './file-terms.ts';
import type { CutoverEntry, HookEntry } from './migration-file.ts';

const DURATION_PATTERN = /^(\d+(?:\.\d+)?)\s*(ms|s|min|h)$/;
const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, min: 60_000, h: 3_600_000 };
const DURATION_MAX_MS = 24 * 3_600_000;

/** `500ms`, `1.5s`, `2 min`; in milliseconds. Undefined for anything else, and for nothing. */
export function parseDuration(text: string): number | undefined {
  const match = DURATION_PATTERN.exec(text);
  if (!match) return undefined;
  const ms = Math.round(Number(match[1]) * UNITS[match[2]!]!);
  return ms > 0 && ms <= DURATION_MAX_MS ? ms : undefined;
}

const DURATION = 'a time, for example 500ms, 5s or 2min';

function duration(defaultMs: string): z.ZodPrefault<z.ZodPipe<z.ZodString, z.ZodTransform<number, string>>> {
  return z
    .string(expected(DURATION))
    .refine((text) => parseDuration(text) !== undefined, { error: `expected ${DURATION}` })
    .transform((text) => parseDuration(text)!)
    .prefault(defaultMs);
}

const command = z.union(
  [z.string().min(1), z.array(z.string()).min(1)],
  expected('a command line for the shell, or a list of program and arguments'),
);
const hook = z
  .strictObject(
    {
      name: z.string(expected('a name')).min(1).max(60).optional().describe('As reports tell it; absent: its command or address.'),
      exec: command.optional().describe('Run with the event as JSON on its standard input; anything but exit 0 is a no.'),
      url: z
        .url({ protocol: /^https?$/, ...expected('an http(s) address') })
        .optional()
        .describe('POSTed the event as JSON; anything but 2xx is a no.'),
      headers: z
        .record(z.string(), z.string(expected('a value')), expected('a block of header: value'))
        .optional()
        .describe('Of the POST.'),
      timeout: duration('10s').describe('After which it counts as a no.'),
    },
    expected('a block with exec: … or url: …'),
  )
  .superRefine(({ exec, url, headers }, context) => {
    if ((exec === undefined) === (url === undefined)) context.addIssue({ code: 'custom', message: 'expected either exec or url' });
    if (headers !== undefined && url === undefined)
      context.addIssue({ code: 'custom', path: ['headers'], message: 'has a meaning with url only' });
  });
const hooks = z.array(hook, expected('a list of hooks')).default([]);

export const cutoverSettings = z.strictObject(
  {
    strategy: oneOf(['flip', 'rename-swap', 'dual-write'])
      .optional()
      .describe(
        'flip (default): writes move to the other store; rename-swap: both are tables of one database, and the targets take the names of the sources; dual-write: the application writes both, in six stages.',
      ),
    lag: duration('1s').describe('How long a marker may take to the other side before it is begun.'),
    lockTimeout: duration('1s').describe('Waiting for the locks of the fence, behind which writers wait.'),
    attempts: whole(1, 100).default(5).describe('Tries to get the locks, with a growing pause between them.'),
    drainTimeout: duration('5s').describe('From the fence until the other side has everything.'),
    compareTimeout: duration('3s').describe('The final comparison behind the fence.'),
    blockBudget: duration('10s').describe('Writers wait no longer than this; then it is backed out.'),
    finishTimeout: duration('60s').describe('How long a command tries what follows the decision before it leaves it to crossfade up.'),
    fenceTarget: flag()
      .default(false)
      .describe('From the first cut-over or drill on nobody but Crossfade may write to the tables on the target.'),
    reads: oneOf(['with-writes', 'before'])
      .optional()
      .describe(
        'with-writes: reads flip together with the writes; before: they must have been flipped. Absent: before, once a read flag was set.',
      ),
    accept: z
      .array(z.string(), expected('a list of tables'))
      .default([])
      .describe('Source tables (globs) of which not everything written on the target finds its way back.'),
    hooks: z
      .strictObject({
        before: hooks.describe('Asked before anything begins; each may veto.'),
        after: hooks.describe('Told after the decision.'),
      })
      .prefault({}),
  },
  expected('a block of strategy, times, fenceTarget, reads, accept, hooks'),
);

export function buildCutover({ hooks: { before, after }, reads, strategy, ...settings }: z.output<typeof cutoverSettings>): CutoverEntry {
  return {
    ...settings,
    ...(reads !== undefined && { reads }),
    ...(strategy !== undefined && strategy !== 'flip' && { strategy }),
    hooks: { before: before.map(buildHook), after: after.map(buildHook) },
  };
}

function buildHook({ name, exec, url, headers, timeout }: z.output<typeof hook>): HookEntry {
  const address = url === undefined ? undefined : bareAddress(url, headers);
  const called = name ?? address?.url ?? (typeof exec === 'string' ? exec : exec!.join(' '));
  const common = { name: called, timeoutMs: timeout };
  if (address !== undefined) return { ...common, kind: 'http', ...address };
  return { ...common, kind: 'exec', command: typeof exec === 'string' ? ['/bin/sh', '-c', exec] : exec! };
}

export function cutoverOf(file: { readonly cutover?: CutoverEntry }): CutoverEntry {
  return file.cutover ?? buildCutover(cutoverSettings.parse({}));
}
