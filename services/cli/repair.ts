/**
 * `repair`: what differs is copied again by the running instance, in stream order, and compared once more. Guarantee: of the target's rows
 * nothing is written by this command, which leaves two records in the audit trail; exit 0 only when the comparison after it found no difference.
 */
import { readFile } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';
import { messageOf, PipelineError } from '#schemas/errors.ts';
import { type CompiledMapping, type TableMapping, tableId } from '#schemas/mapping/compiled-mapping.ts';
import type { VerifyResult } from '#schemas/reconcile/verify-result.ts';
import type { RecopyRequest } from '#schemas/recopy.ts';
import { readOpenFindings } from '#connectors/target/postgres/reconcile-record.ts';
import { tableName } from '#services/reconciler/monitor/table-name.ts';
import { planRepair } from '#services/reconciler/plan-repair.ts';
import { repairMigration } from '#services/reconciler/repair.ts';
import { readLastVerify } from '#services/runtime/last-verify.ts';
import { readMapping } from './catalogs.ts';
import type { CommandContext, CommandSpec, Outcome } from './command.ts';
import { type Control, markersOf, urlOption, withControl } from './instance-command.ts';
import { type MigrationInput, targetOption } from './migration-input.ts';
import { loadSignedTarget, planOption, tellChanges } from './plan/signed-plan.ts';
import type { Options } from './options.ts';
import { isLimited, requireAllowed } from './repair/allowed.ts';
import { recordAsked, recordRepaired } from './repair/record.ts';
import { checkKeyValues, parseKeys } from './repair-keys.ts';
import { formatCount } from './render.ts';
import { findTable } from './table-option.ts';
import { keepForRepair, verifyNow, verifyOutcome } from './verify.ts';

/** One request is one durable record. */
const KEYS_PER_REQUEST = 10_000;
const REASON = 'crossfade repair';

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
  const mapping = await readMapping(input.file).catch(async (error: unknown) => Promise.reject(await tellChanges(error, input)));
  const requests =
    context.options.text('table') === undefined
      ? await foundRequests(context, input, mapping)
      : await namedRequests(context, input, mapping);
  if (requests.length === 0)
    return { summary: 'the last verify found no difference: nothing to repair', result: { requests: [], ...emptyResult() } };
  const before = await compareBefore(context, { ...input, mapping, requests });
  const verified = await withControl(context, async (instance) => {
    await recordAsked(input.file, requests, before);
    return repairAll(context, { ...input, mapping, instance: markersOf(instance, input.file.targetName), requests });
  });
  await keepForRepair(input, verified, context);
  await recordRepaired(input.file, verified);
  const outcome = verifyOutcome(verified, context);
  const what = requests.length === 1 ? 'one re-copy' : `${formatCount(requests.length)} re-copies`;
  return { ...outcome, summary: `after ${what}: ${outcome.summary}` };
}

interface Repair extends MigrationInput {
  readonly mapping: CompiledMapping;
  readonly instance: Pick<Control, 'marker' | 'recopy'>;
  readonly requests: readonly RecopyRequest[];
}

async function repairAll(context: CommandContext, { file, dataDir, mapping, instance, requests }: Repair): Promise<VerifyResult> {
  const input = { file, dataDir };
  const repair = async (asked: readonly RecopyRequest[]): Promise<VerifyResult> =>
    (
      await repairMigration({
        requests: asked,
        instance,
        logger: context.log,
        verify: (tables) => verifyNow(context, { ...input, mapping, tables }),
      })
    ).verified;
  let verified = await repair(requests);
  // A table or a range is copied over what is there; rows that only the target has are known by key after the comparison.
  if (verified.differences > 0 && requests.some(({ kind }) => kind === 'table' || kind === 'range')) {
    const again = planRepair(verified, mapping);
    await requireAllowed({ file, mapping, requests: again, before: verified });
    await repair(again);
    // The second pass compares what it copied; the answer is about all that was asked for.
    verified = await verifyNow(context, { ...input, mapping, tables: isAskedIn(requests) });
  }
  return verified;
}

function isAskedIn(requests: readonly RecopyRequest[]): (table: TableMapping) => boolean {
  const asked = new Set(requests.map(({ schema, table }) => tableId({ schema, name: table })));
  return ({ from }) => asked.has(tableId(from));
}

/** What the tables asked for hold now, where the file limits repairs; else what is known of them. @throws PipelineError as requireAllowed */
async function compareBefore(
  context: CommandContext,
  { file, dataDir, mapping, requests }: Omit<Repair, 'instance' | 'path'>,
): Promise<VerifyResult | undefined> {
  const tables = isAskedIn(requests);
  if (!isLimited(file)) {
    const last = readLastVerify(dataDir, file.targetName);
    const names = new Set(mapping.tables.filter(tables).map(({ from }) => `${from.schema}.${from.name}`));
    return last && { ...last, tables: last.tables.filter(({ from }) => names.has(from)) };
  }
  const before = await verifyNow(context, { file, dataDir, mapping, tables });
  await requireAllowed({ file, mapping, requests, before });
  return before;
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

async function foundRequests(context: CommandContext, input: MigrationInput, mapping: CompiledMapping): Promise<RecopyRequest[]> {
  await compareFound(context, input, mapping);
  const last = readLastVerify(input.dataDir, input.file.targetName);
  const isTold = last !== undefined && (last.differences > 0 || last.inconclusive === 0);
  if (isTold) return planRepair(last, mapping);
  context.log.info({}, 'no verify with an answer was kept: comparing first');
  const result = await verifyNow(context, { ...input, mapping });
  await keepForRepair(input, result, context);
  return planRepair(result, mapping);
}

/** Tables in which the running instance found rows twice are compared now: its notes are as old as its last look, and may know of less than differs. */
async function compareFound(context: CommandContext, input: MigrationInput, mapping: CompiledMapping): Promise<void> {
  const { target, name } = input.file;
  if (target.postgres === undefined) return;
  const open = await readOpenFindings(target.postgres, name).catch((error: unknown) => {
    context.log.warn({ error: messageOf(error) }, 'what the running instance found cannot be read');
    return [];
  });
  const pairs = new Set(open.filter(({ state }) => state !== 'suspected').map(({ from, to }) => JSON.stringify([from, to])));
  const found = ({ from, to }: TableMapping): boolean => pairs.has(JSON.stringify([tableName(from), tableName(to)]));
  if (!mapping.tables.some(found)) return;
  await keepForRepair(input, await verifyNow(context, { ...input, mapping, tables: found }), context);
}

async function namedRequests(context: CommandContext, { file }: MigrationInput, mapping: CompiledMapping): Promise<RecopyRequest[]> {
  const { options } = context;
  const table = findTable(options.text('table') ?? '', mapping);
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
    return await readFile(isAbsolute(typed) ? typed : join(io.directory, typed), 'utf8');
  } catch (error) {
    throw new PipelineError('CF-1007', `${typed} cannot be read: ${messageOf(error)}`, {
      cause: error,
      path: typed,
      remedy: 'Check the path given with --keys.',
    });
  }
}
