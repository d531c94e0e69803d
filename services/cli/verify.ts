/**
 * `verify`: source and target compared at one state of the stream, while writes go on: from the side that serves to the other. Exit 0 clean,
 * 11 drift, 1 inconclusive.
 */
import { postgresTarget } from '#schemas/config/postgres-target.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { type Finding, messageOf, PipelineError } from '#schemas/errors.ts';
import { errorFinding, infoFinding, listNames, warningFinding } from '#schemas/finding.ts';
import { pairsOf, type ShadowCheck } from '#schemas/reconcile/checks/planned-check.ts';
import type { ShadowVerdict } from '#schemas/reconcile/shadow/shadow-verdict.ts';
import type { TableVerdict, VerifyResult } from '#schemas/reconcile/verify-result.ts';
import { shadowCompare } from '#services/reconciler/shadow/shadow-compare.ts';
import { readFit } from './catalogs.ts';
import type { CommandContext, CommandSpec, Outcome } from './command.ts';
import { alignedBy, type CommandDirection, comparedDirection, compareNow, selectCompared } from './compared-direction.ts';
import type { Paint } from './paint.ts';
import { type MigrationInput, targetOption } from './migration-input.ts';
import { loadSignedTargets, planOption, type SignedInput, tellChanges } from './plan/signed-plan.ts';
import { recordProof } from './record-proof.ts';
import { formatCount, renderTable } from './render.ts';
import { type Stored, storeLastVerify } from '#services/runtime/last-verify.ts';
import { checkFindings, checksOf, countChecks, renderChecks } from './verify-checks.ts';
import { shadowOf, withShadow } from './verify-shadow.ts';
import { verifyTargets } from './verify-targets.ts';

export const verifyCommand: CommandSpec = {
  name: 'verify',
  about: 'Compare source and target, row by row in effect, at one point of the stream while writes go on.',
  examples: [
    ['crossfade verify', 'exit 0 clean, 11 when rows differ, 1 when something could not be compared'],
    ['crossfade verify --table public.orders', 'one table; may be given several times'],
    ['crossfade verify --shadow', 'only the critical queries of the file, on both stores'],
    ['crossfade verify --json | jq .result.differences', 'missing + extra + different'],
  ],
  configure: (command) => {
    planOption(command);
    targetOption(command);
    command.option('--table <table...>', 'only these source or target tables (schema.table), and the checks that read no other');
    command.option('--rows-only', "only the rows: no checks, neither the file's nor the built-in ones, and no shadow queries");
    command.option('--shadow', 'only the queries of `shadow:`: answers and response times on both stores');
  },
  drains: true,
  run,
};

async function run(context: CommandContext): Promise<Outcome> {
  const { targets, ...input } = await loadSignedTargets(context);
  requireShadow(context, targets);
  const [only] = targets;
  if (targets.length === 1) return verifyOutcome(await verifyTarget(context, { ...input, file: only! }), context);
  return verifyTargets(targets, {
    context,
    verify: async (file) => verifyTarget(context, { ...input, file }),
    outcomeOf: (result) => verifyOutcome(result, context),
  });
}

function requireShadow({ options }: CommandContext, targets: readonly MigrationFile[]): void {
  if (!options.flag('shadow')) return;
  if (options.flag('rowsOnly')) throw new PipelineError('CF-1007', '--shadow and --rows-only exclude each other');
  if (targets.every(({ shadow }) => shadow === undefined))
    throw new PipelineError('CF-1007', '--shadow: the file has no queries under `shadow:`', { remedy: 'Write them: docs/shadow.md.' });
}

async function verifyTarget(context: CommandContext, input: SignedInput): Promise<VerifyResult> {
  const { file, dataDir } = input;
  const fit = await readFit(file).catch(async (error: unknown) => Promise.reject(await tellChanges(error, input)));
  const direction = await comparedDirection({ file, dataDir }, fit);
  const tables = selectCompared(context.options.texts('table'), direction);
  // They are of the forward direction: what they ask of a source that does not serve any more is nobody's question.
  const rowsOnly = context.options.flag('rowsOnly') || direction.serves === 'target';
  if (context.options.flag('shadow') && rowsOnly)
    throw new PipelineError('CF-8002', 'the target serves: shadow queries are for before the cut-over');
  const queries = rowsOnly ? [] : shadowOf(file, fit.mapping).filter((one) => tables === undefined || pairsOf(one).every(tables));
  if (context.options.flag('shadow')) {
    if (queries.length === 0)
      throw new PipelineError('CF-1007', '--shadow: no query of the file reads only the tables named', { remedy: 'Leave --table out.' });
    const shadow = await shadowNow(context, direction, queries);
    return { at: { lsn: null }, tables: [], differences: 0, inconclusive: 0, shadow };
  }
  const checks = rowsOnly ? undefined : checksOf(file, fit);
  const result = await compareNow(context, { direction, ...(tables !== undefined && { tables }), ...(checks && { checks }) });
  await keepForRepair({ file, dataDir }, { result, isWhole: tables === undefined }, context);
  await recordProof(context, { direction, result, isWhole: tables === undefined });
  return queries.length === 0 ? result : { ...result, shadow: await shadowNow(context, direction, queries) };
}

async function shadowNow(context: CommandContext, direction: CommandDirection, queries: readonly ShadowCheck[]): Promise<ShadowVerdict[]> {
  if (queries.length === 0) return [];
  return shadowCompare({ ...alignedBy(context, direction), targetUrl: postgresTarget(direction.file, 'verify --shadow'), queries });
}

/** A directory that cannot be written takes nothing from the answer; repair then wants a table named. */
export async function keepForRepair(
  { file, dataDir }: Pick<MigrationInput, 'file' | 'dataDir'>,
  compared: Pick<Stored, 'result' | 'isWhole'>,
  { log }: Pick<CommandContext, 'log'>,
): Promise<void> {
  await storeLastVerify(dataDir, { ...compared, target: file.targetName }).catch((error: unknown) =>
    log.warn({ error: messageOf(error) }, 'the result could not be kept for repair'),
  );
}

/** Also repair's answer: it ends with a verify of its own. */
export function verifyOutcome(result: VerifyResult, { paint }: Pick<CommandContext, 'paint'>): Outcome {
  const { tables, checks, shadow } = result;
  if (shadow === undefined) return rowsOutcome(result, paint);
  return withShadow(tables.length === 0 && checks === undefined ? { summary: '', result } : rowsOutcome(result, paint), shadow, paint);
}

function rowsOutcome(result: VerifyResult, paint: Paint): Outcome {
  const rows = result.tables.map((table) => {
    const differs = differencesOf(table) > 0;
    const colour = differs ? paint.red : table.inconclusive !== undefined ? paint.yellow : paint.green;
    const open = table.inconclusive === undefined ? undefined : `not judged: ${table.inconclusive.cause}`;
    const verdict = [differs ? 'differs' : undefined, open].filter((one) => one !== undefined).join(', ') || 'equal';
    return [
      table.to,
      ...[table.rowsSource, table.rowsTarget, table.missing, table.extra, table.different].map(formatCount),
      colour(verdict),
    ];
  });
  let text = renderTable(['table', 'source', 'target', 'missing', 'extra', 'different', 'verdict'], rows, [1, 2, 3, 4, 5]);
  const shared = result.tables.flatMap(({ to, sharedFunctionOnly = [] }) => sharedFunctionOnly.map((column) => `${to}.${column}`));
  if (shared.length > 0) text += `\nHeld against the mapping's own function only, not against SQL of verify's own: ${listNames(shared)}`;
  const other = result.serves === 'target' ? 'source' : 'target';
  for (const { to, softlyDeleted = 0, kept = 0, expired = 0 } of result.tables) {
    if (softlyDeleted > 0) text += `\n${to}: ${formatCount(softlyDeleted)} rows of the ${other} are softly deleted`;
    if (expired > 0) text += `\n${to}: ${formatCount(expired)} rows are not there; the file lets them expire (ttl)`;
    if (kept > 0) text += `\n${to}: ${formatCount(kept)} rows of the ${other} are not on the other side, and stay as the file says`;
  }
  const { checks = [] } = result;
  text += renderChecks(checks, paint);
  const counts = countChecks(checks);
  const findings = [
    ...result.tables.flatMap(differenceFindings),
    ...inconclusiveFindings(result.tables),
    ...checkFindings(checks),
    ...directionFindings(result),
  ];
  const way = result.serves === 'target' ? ' of the target, which serves' : '';
  const where = result.at.lsn === null ? '' : ` at ${result.at.lsn}${way}`;
  const tables = result.tables.length === 1 ? 'one table' : `${result.tables.length} tables`;
  const shape = { result, findings, text };
  if (result.differences > 0) {
    const differing = result.tables.filter((table) => differencesOf(table) > 0).length;
    const which = differing === result.tables.length ? tables : `${differing} of ${tables}`;
    const summary = `${formatCount(result.differences)} rows differ in ${which}${where}`;
    return { ...shape, summary, error: new PipelineError('CF-6001', summary) };
  }
  if (counts.differing > 0) {
    const summary = `no row differs in ${tables}, but ${counts.differing === 1 ? 'one check does' : `${counts.differing} checks do`}${where}`;
    return { ...shape, summary, error: new PipelineError('CF-6020', summary) };
  }
  if (result.inconclusive > 0) {
    const summary = `no difference found, but ${result.inconclusive} of ${tables} could not be compared${where}`;
    return { ...shape, summary, error: new PipelineError('CF-6002', summary) };
  }
  if (counts.open > 0) {
    const summary = `no difference found in ${tables}, but ${counts.open} of ${checks.length} checks could not be made${where}`;
    return { ...shape, summary, error: new PipelineError('CF-6002', summary) };
  }
  return { ...shape, summary: `${tables} ${result.tables.length === 1 ? 'is' : 'are'} equal${where}` };
}

/** What is not said of a migration whose target serves. */
function directionFindings({ serves, left = [] }: VerifyResult): Finding[] {
  if (serves !== 'target') return [];
  const told = 'the target serves: it was compared with the source, which follows it; checks are made only while the source serves';
  const notBack = `${listNames(left)}: not compared, for nothing of it goes back to the source`;
  return [
    infoFinding('CF-8002', told, 'crossfade status tells who serves.'),
    ...(left.length === 0 ? [] : [infoFinding('CF-8201', notBack, 'crossfade check says why.')]),
  ];
}

function differencesOf(table: TableVerdict): number {
  return table.missing + table.extra + table.different;
}

function differenceFindings(table: TableVerdict): Finding[] {
  if (differencesOf(table) === 0) return [];
  const columns = [...new Set(table.sample.flatMap((one) => one.columns))];
  const which = columns.length === 0 ? '' : `; columns ${columns.join(', ')}`;
  const foreign = table.sample.filter(({ cause }) => cause === 'foreign').length;
  const strange = foreign === 0 ? '' : `; under ${foreign} keys something else stands: delete them first`;
  const message = `${table.to}: ${table.missing} missing, ${table.extra} extra, ${table.different} different${which}${strange}`;
  const held = table.held ?? 0;
  const findings = held < differencesOf(table) ? [errorFinding('CF-6001', message, `crossfade repair --table ${table.from}`)] : [];
  if (held > 0) findings.push(errorFinding('CF-5009', `${table.to}: ${held} of the rows that differ are set aside`, 'crossfade dlq list'));
  return findings;
}

/** One line per cause, not per table: the same lag holds up all of them. */
function inconclusiveFindings(tables: readonly TableVerdict[]): Finding[] {
  const open = tables.filter((table) => table.inconclusive !== undefined);
  const byCause = Map.groupBy(open, (table) => table.inconclusive?.message ?? '');
  return [...byCause].map(([message, group]) => warningFinding('CF-6002', `${listNames(group.map((table) => table.to))}: ${message}`));
}
