/**
 * `repair`: what differs is copied again by the running instance, in stream order, and compared once more: from the side that serves to the
 * other. Guarantee: of the rows of either nothing is written by this command, which leaves two records in the audit trail; exit 0 only when the
 * comparison after it found no difference.
 */
import { readFile } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';
import { messageOf, PipelineError } from '#schemas/errors.ts';
import { type TableMapping, tableId } from '#schemas/mapping/compiled-mapping.ts';
import type { DriftFinding } from '#schemas/reconcile/drift-finding.ts';
import type { VerifyResult } from '#schemas/reconcile/verify-result.ts';
import type { RecopyRequest } from '#schemas/recopy.ts';
import { utf8Text } from '#schemas/utf8.ts';
import { readOpenFindings } from '#connectors/target/postgres/reconcile-record.ts';
import { DEFAULT_LIMITS } from '#services/reconciler/limits.ts';
import { tableName } from '#services/reconciler/monitor/table-name.ts';
import { type PlanOptions, planRepair } from '#services/reconciler/plan-repair.ts';
import { repairMigration } from '#services/reconciler/repair.ts';
import { openKeptFindings } from '#services/runtime/kept-findings.ts';
import { readLastVerify } from '#services/runtime/last-verify.ts';
import { readFit } from './catalogs.ts';
import type { CommandContext, CommandSpec, Outcome } from './command.ts';
import { type CommandDirection, comparedDirection, compareNow, ownTerms, selectCompared } from './compared-direction.ts';
import { type Control, markersOf, urlOption, withControl } from './instance-command.ts';
import { type MigrationInput, targetOption } from './migration-input.ts';
import { loadSignedTarget, planOption, tellChanges } from './plan/signed-plan.ts';
import type { Options } from './options.ts';
import { isLimited, requireAllowed } from './repair/allowed.ts';
import { recordAsked, recordRepaired } from './repair/record.ts';
import { checkKeyValues, parseKeys } from './repair-keys.ts';
import { formatCount } from './render.ts';
import { findTable } from './table-option.ts';
import { keepForRepair, verifyOutcome } from './verify.ts';

/** One request is one durable record. */
const KEYS_PER_REQUEST = 10_000;
const REASON = 'crossfade repair';
/** Rows that one pass behind the copy of a table takes away. */
const SAMPLES = 100_000;

export const repairCommand: CommandSpec = {
  name: 'repair',
  about:
    'Copy again what the last verify or the running instance found, or what is named here, then compare it once more. Needs a running instance.',
  examples: [
    ['crossfade repair', 'what the last verify and the running instance found'],
    ['crossfade repair --table public.orders', 'the whole table'],
    ['crossfade repair --table public.orders --from 1000 --to 1999', 'a range of its key (both ends included)'],
    ['crossfade repair --table public.orders --keys keys.txt', 'a key per line; composite keys as ["a","b"]'],
  ],
  configure: (command) => {
    urlOption(command);
    planOption(command);
    targetOption(command);
    command
      .option('--table <table>', 'source or target table (schema.table)')
      .option('--from <key>', 'first key of a range')
      .option('--to <key>', 'last key of a range')
      .option('--keys <file>', 'file with a key per line');
  },
  drains: true,
  run,
};

async function run(context: CommandContext): Promise<Outcome> {
  checkOptions(context.options);
  const input = await loadSignedTarget(context);
  const fit = await readFit(input.file).catch(async (error: unknown) => Promise.reject(await tellChanges(error, input)));
  const direction = await comparedDirection(input, fit);
  const asked = { ...input, direction };
  const found = context.options.text('table') === undefined ? await findDifferences(context, asked) : undefined;
  const requests = found === undefined ? await namedRequests(context, direction) : requestsFor(found, direction);
  if (requests.length === 0) return nothingAsked(context, found ?? emptyResult(), direction);
  const before = await compareBefore(context, { ...asked, requests });
  const verified = await withControl(context, async (control) => {
    await recordAsked(input.file, requests, before);
    return repairAll(context, { direction, instance: instanceOf(control, direction), requests });
  });
  await keepForRepair(input, { result: verified, isWhole: false }, context);
  await recordRepaired(input.file, verified);
  const outcome = verifyOutcome(verified, context);
  const what = requests.length === 1 ? 'one re-copy' : `${formatCount(requests.length)} re-copies`;
  return { ...outcome, summary: `after ${what}: ${outcome.summary}` };
}

interface Asked extends MigrationInput {
  readonly direction: CommandDirection;
}

/** Whoever copies from the side that serves. */
function instanceOf(control: Control, { serves, forward }: CommandDirection): Pick<Control, 'marker' | 'recopy'> {
  return serves === 'target' ? control.reverse : markersOf(control, forward.file.targetName);
}

interface Repair {
  readonly direction: CommandDirection;
  readonly instance: Pick<Control, 'marker' | 'recopy'>;
  /** In the direction's names. */
  readonly requests: readonly RecopyRequest[];
}

async function repairAll(context: CommandContext, { direction, instance, requests }: Repair): Promise<VerifyResult> {
  const repair = async (asked: readonly RecopyRequest[]): Promise<VerifyResult> =>
    (
      await repairMigration({
        requests: asked,
        instance,
        logger: context.log,
        verify: (tables) => compareNow(context, { direction, tables, samples: SAMPLES }),
      })
    ).verified;
  let verified = await repair(requests);
  // A table or a range is copied over what is there; rows that only the target has are known by key after the comparison, of many of them a part.
  const isCopied = requests.some(({ kind }) => kind === 'table' || kind === 'range');
  if (!isCopied) return shortened(verified);
  for (let left = Infinity; verified.differences > 0 && verified.differences < left;) {
    left = verified.differences;
    const again = requestsFor(verified, direction, { areCopied: true });
    if (again.length === 0) break;
    await requireAllowed({ ...allowedBy(direction, again, verified), isBehindCopy: true });
    await repair(again);
    // A further pass compares what it copied; the answer is about all that was asked for.
    verified = await compareNow(context, { direction, tables: isAskedIn(requests), samples: SAMPLES });
  }
  return shortened(verified);
}

/** A few of the rows are told; all are counted. */
function shortened(result: VerifyResult): VerifyResult {
  return { ...result, tables: result.tables.map((table) => ({ ...table, sample: table.sample.slice(0, DEFAULT_LIMITS.samples) })) };
}

function requestsFor(result: VerifyResult, direction: CommandDirection, options?: PlanOptions): RecopyRequest[] {
  return planRepair(ownTerms(result, direction), direction.mapping, options);
}

function isAskedIn(requests: readonly RecopyRequest[]): (table: TableMapping) => boolean {
  const asked = new Set(requests.map(({ schema, table }) => tableId({ schema, name: table })));
  return ({ from }) => asked.has(tableId(from));
}

/** Limits and signatures are the migration's file's, rows and counts the direction's. */
function allowedBy(
  direction: CommandDirection,
  requests: readonly RecopyRequest[],
  before: VerifyResult,
): Parameters<typeof requireAllowed>[0] {
  const { forward, file, mapping } = direction;
  return { file: forward.file, copiedFrom: file.source.postgres, mapping, requests, before: ownTerms(before, direction) };
}

/** What the tables asked for hold now, where the file limits repairs; else what is known of them. @throws PipelineError as requireAllowed */
async function compareBefore(
  context: CommandContext,
  { file, dataDir, direction, requests }: Asked & Pick<Repair, 'requests'>,
): Promise<VerifyResult | undefined> {
  const tables = isAskedIn(requests);
  if (!isLimited(file)) {
    const last = readLastVerify(dataDir, file.targetName);
    if (last === undefined || !isOfDirection(last, direction)) return undefined;
    const names = new Set(direction.mapping.tables.filter(tables).map(({ from }) => tableName(from)));
    const own = ownTerms(last, direction);
    return ownTerms({ ...own, tables: own.tables.filter(({ from }) => names.has(from)) }, direction);
  }
  const before = await compareNow(context, { direction, tables });
  await requireAllowed(allowedBy(direction, requests, before));
  return before;
}

/** What was found the other way says nothing of what to copy this way. */
function isOfDirection(last: VerifyResult, { serves }: CommandDirection): boolean {
  return (last.serves ?? 'source') === serves;
}

function emptyResult(): VerifyResult {
  return { at: { lsn: null }, tables: [], differences: 0, inconclusive: 0 };
}

function checkOptions(options: Options): void {
  const [table, keys] = [options.text('table'), options.text('keys')];
  const range = (options.text('from') ?? options.text('to')) !== undefined;
  if (table === undefined && (range || keys !== undefined))
    throw new PipelineError('CF-1007', '--from, --to and --keys belong to a table: give --table');
  if (range && keys !== undefined) throw new PipelineError('CF-1007', '--keys and --from/--to exclude each other');
}

/** What cannot be repaired, or is not known, is not told as nothing. */
function nothingAsked(context: CommandContext, found: VerifyResult, direction: CommandDirection): Outcome {
  const known = new Set(direction.forward.mapping.tables.map(({ from, to }) => JSON.stringify([tableName(from), tableName(to)])));
  const tables = found.tables.filter(({ from, to }) => known.has(JSON.stringify([from, to])));
  const open = {
    ...found,
    tables,
    differences: tables.reduce((sum, { missing, extra, different }) => sum + missing + extra + different, 0),
    inconclusive: tables.filter(({ inconclusive }) => inconclusive !== undefined).length,
  };
  if (open.differences + open.inconclusive === 0)
    return { summary: 'the last verify found no difference: nothing to repair', result: { requests: [], ...emptyResult() } };
  const outcome = verifyOutcome(open, context);
  return { ...outcome, summary: `nothing was asked for: ${outcome.summary}` };
}

/** By the last verify, or by one made now. */
async function findDifferences(context: CommandContext, { direction, ...input }: Asked): Promise<VerifyResult> {
  if (direction.serves === 'source') await compareFound(context, { direction, ...input });
  const last = readLastVerify(input.dataDir, input.file.targetName);
  if (last !== undefined && isOfDirection(last, direction) && (last.differences > 0 || last.inconclusive === 0)) return last;
  context.log.info({}, 'no verify with an answer was kept: comparing first');
  const result = await compareNow(context, { direction });
  await keepForRepair(input, { result, isWhole: true }, context);
  return result;
}

/** Tables in which the running instance found rows twice are compared now: its notes are as old as its last look, and may know of less than differs. */
async function compareFound(context: CommandContext, { direction, ...input }: Asked): Promise<void> {
  const { target, name, targetName } = input.file;
  const read = async (): Promise<readonly DriftFinding[]> =>
    target.postgres === undefined ? openKeptFindings(input.dataDir, targetName) : readOpenFindings(target.postgres, name);
  const open = await read().catch((error: unknown): readonly DriftFinding[] => {
    context.log.warn({ error: messageOf(error) }, 'what the running instance found cannot be read');
    return [];
  });
  const pairs = new Set(open.filter(({ state }) => state !== 'suspected').map(({ from, to }) => JSON.stringify([from, to])));
  const found = ({ from, to }: TableMapping): boolean => pairs.has(JSON.stringify([tableName(from), tableName(to)]));
  if (!direction.mapping.tables.some(found)) return;
  await keepForRepair(input, { result: await compareNow(context, { direction, tables: found }), isWhole: false }, context);
}

async function namedRequests(context: CommandContext, direction: CommandDirection): Promise<RecopyRequest[]> {
  const { options } = context;
  const { file, mapping, serves, forward } = direction;
  const typed = options.text('table') ?? '';
  const named = findTable(typed, forward.mapping);
  const table = serves === 'source' ? named : mapping.tables.find(selectCompared([typed], direction)!)!;
  const base = { schema: table.from.schema, table: table.from.name, reason: REASON };
  const [from, to, keysFile] = [options.text('from'), options.text('to'), options.text('keys')];
  if (from !== undefined || to !== undefined) {
    requireKey(table, '--from and --to');
    const first = table.sourceKey.slice(0, 1);
    await checkKeyValues(
      file.source.postgres,
      { ...table, sourceKey: first },
      [from, to].filter((one) => one !== undefined).map((one) => [one]),
    );
    return [{ kind: 'range', ...base, ...(from !== undefined && { from }), ...(to !== undefined && { to }) }];
  }
  if (keysFile === undefined) return [{ kind: 'table', ...base }];
  requireKey(table, '--keys');
  const keys = parseKeys(await readKeys(keysFile, context), keysFile, table.sourceKey);
  await checkKeyValues(file.source.postgres, table, keys);
  const requests: RecopyRequest[] = [];
  for (let i = 0; i < keys.length; i += KEYS_PER_REQUEST)
    requests.push({ kind: 'keys', ...base, keys: keys.slice(i, i + KEYS_PER_REQUEST) });
  return requests;
}

function requireKey(table: TableMapping, option: string): void {
  if (table.sourceKey.length > 0) return;
  throw new PipelineError('CF-1007', `${option}: ${table.from.schema}.${table.from.name} has no key`, {
    remedy: 'Repair the whole table: give --table alone.',
  });
}

async function readKeys(typed: string, { io }: CommandContext): Promise<string> {
  try {
    return utf8Text(await readFile(isAbsolute(typed) ? typed : join(io.directory, typed)));
  } catch (error) {
    throw new PipelineError('CF-1007', `${typed} cannot be read: ${messageOf(error)}`, {
      cause: error,
      path: typed,
      remedy: 'Check the path given with --keys.',
    });
  }
}
