/** `status`: what the running instance says, else what the target and the source's slot say without it. */
import { PipelineError, type Finding } from '#schemas/errors.ts';
import { infoFinding, warningFinding } from '#schemas/finding.ts';
import { short } from '#schemas/migration/approvals.ts';
import type { StatusResult, TargetStatus, TriggerStatus } from '#schemas/status/status-result.ts';
import type { CommandContext, CommandSpec, Outcome } from './command.ts';
import { askInstance, urlOption } from './instance-command.ts';
import { loadWhole, targetNamed } from './migration-input.ts';
import { currentPlan } from './plan/current-plan.ts';
import { describeCopy, describeLag, renderTables } from './progress-view.ts';
import { describeReconciliation, findingsOf } from './status/describe-reconciliation.ts';
import type { Paint } from './paint.ts';
import { formatBytes, formatCount } from './render.ts';
import { withFlip } from './status/state-of-flip.ts';
import { wavesOverview } from './status/waves-overview.ts';
import { readStoredStatus } from './status/stored-status.ts';

export const statusCommand: CommandSpec = {
  name: 'status',
  about: 'Tell where the migration stands, whether or not an instance runs.',
  examples: [
    ['crossfade status', 'phase, tables, lag'],
    ['crossfade status --json | jq .result.lag', '{ bytes, seconds, known }'],
  ],
  configure: urlOption,
  run,
};

async function run(context: CommandContext): Promise<Outcome> {
  const overview = await wavesOverview(context);
  if (overview !== undefined) return overview;
  const running = await askInstance(context);
  if (running !== undefined) {
    return outcomeOf(await withPlanNow(await flipped(running, context), context), await differingRows(running, context), context);
  }
  const { file, dataDir } = await loadWhole(context);
  const stored = await readStoredStatus(file, dataDir);
  const note =
    file.settings.log.kafka === undefined
      ? infoFinding('CF-7001', 'no instance runs here: this is what the target and the slot say', 'Start it with crossfade up.')
      : infoFinding('CF-7001', 'nothing was asked: this is what the target and the slot say', 'crossfade control serves it over HTTP.');
  return outcomeOf(
    await withPlanNow(await withFlip(stored.status, file), context),
    [...stored.findings, ...(await differingRows(stored.status, context)), note],
    context,
  );
}

/** Where the file cannot be read here, the instance's word alone. */
async function flipped(status: StatusResult, context: CommandContext): Promise<StatusResult> {
  try {
    const { file } = await loadWhole(context);
    return file.name === status.name ? await withFlip(status, file) : status;
  } catch {
    return status;
  }
}

/** Named, as far as a screen holds them; where the file cannot be read here, only counted. */
async function differingRows({ name }: StatusResult, context: CommandContext): Promise<Finding[]> {
  try {
    const { file, dataDir } = await loadWhole(context);
    return file.name === name ? await findingsOf(file, dataDir) : [];
  } catch {
    return [];
  }
}

/** Whether the file and the catalogues still give the plan that it runs under; unknown where one of them cannot be read here. */
async function withPlanNow(status: StatusResult, context: CommandContext): Promise<StatusResult> {
  const { targets, plan } = status;
  if (targets === undefined) return { ...status, plan: await comparedNow(status, context) };
  const compared = await Promise.all(targets.map(async (target) => comparedNow({ ...target, name: status.name }, context, target.name)));
  return {
    ...status,
    plan: plan === null ? null : (compared[0] ?? null),
    targets: targets.map((target, i) => ({ ...target, plan: compared[i] ?? null })),
  };
}

async function comparedNow(
  { name, plan }: Pick<StatusResult, 'name' | 'plan'>,
  context: CommandContext,
  target?: string,
): Promise<StatusResult['plan']> {
  if (plan === null) return null;
  try {
    const { file } = await loadWhole(context);
    const now = file.name === name ? (await currentPlan(targetNamed(file, target))).plan.hash : undefined;
    return { ...plan, changed: now === undefined ? null : now !== plan.hash };
  } catch (error) {
    // A file that does not fit has no plan at all.
    const isMisfit = error instanceof PipelineError && error.exitCode === 2 && error.code !== 'CF-1002';
    return { ...plan, changed: isMisfit ? true : null };
  }
}

function describePlan({ hash, signed, since, changed }: NonNullable<StatusResult['plan']>): string {
  const now = changed === true ? '; file and databases give another one now' : changed === false ? '' : '; not compared with the file';
  return `${short(hash)}${signed ? ', signed' : ', not signed'}, since ${since}${now}`;
}

/** One of several, in a line. */
function describeTarget({ name, phase, serves, connected, lag, applied, deadLetters, plan, error }: TargetStatus, paint: Paint): string {
  const shown = applied.lsn === null ? 'shows no state yet' : `shows ${applied.lsn}${applied.exact ? '' : ' at least'}`;
  const aside = deadLetters > 0 ? `; ${formatCount(deadLetters)} rows aside` : '';
  const under = plan === null ? '' : `; plan ${plan.changed === true ? paint.yellow(describePlan(plan)) : describePlan(plan)}`;
  const away = connected === false || phase === null ? `; ${paint.red(`not connected${error === undefined ? '' : `: ${error}`}`)}` : '';
  const by = serves === undefined ? '' : `, the ${serves} serves`;
  return `${paint.bold(name)}  ${phase ?? 'unknown'}${by}, ${shown}, lag ${describeLag(lag)}${aside}${under}${away}`;
}

function describeTriggerStatus({ name, action, state, hasFired, evidence }: TriggerStatus, paint: Paint): string {
  const said = { quiet: state, fired: paint.red('has fired'), unknown: paint.yellow('sees too little') }[state];
  const asks = hasFired && action === 'ask' ? '; it asks: crossfade rollback, or go on' : '';
  return `${name} (${action === 'rollback' ? 'rolls back' : 'asks'}): ${said}${state !== 'fired' && hasFired ? ', and had fired' : ''}: ${evidence}${asks}`;
}

/** Of dual writes: by kind, and how many of each the target won. */
function describeConflicts({ from, conflicts = {} }: StatusResult['tables'][number]): string[] {
  const all = Object.entries(conflicts);
  if (all.length === 0) return [];
  return [`  conflict ${from}: ${all.map(([name, rows]) => `${formatCount(rows)} ${name.replace('/', ', won by the ')}`).join('; ')}`];
}

/** While a table of the way back is held no rollback begins, and nothing else of the status shows it; nor that both sides may be written. */
function wayBackFindings({ reverse, contradiction }: StatusResult): Finding[] {
  const wrong = contradiction === undefined ? [] : [warningFinding('CF-8005', contradiction)];
  const held = (reverse?.held ?? []).map(({ from, error }) =>
    warningFinding(
      'CF-8321',
      `what is written to ${from} on the target does not come back, and no rollback begins: it is held: ${error}`,
      'Mend the cause on the source, then run crossfade resume, crossfade verify, and crossfade repair for what that names.',
    ),
  );
  return [...wrong, ...held];
}

function describeWayBack({ reverse }: StatusResult, paint: Paint): string[] {
  if (reverse === undefined) return [];
  const { connected, lagBytes, error, held = [] } = reverse;
  const lag = lagBytes === null ? 'unknown' : formatBytes(lagBytes);
  const stands = connected ? `stands, lag ${lag}` : paint.red(`does not stand${error === undefined ? '' : `: ${error}`}`);
  return [`  back     ${stands}`, ...held.map((table) => `  ${paint.red('held')}     ${table.from}, on the way back: ${table.error}`)];
}

function outcomeOf(status: StatusResult, others: readonly Finding[], { paint }: CommandContext): Outcome {
  const findings = [...others, ...wayBackFindings(status)];
  const { source, applied, lag } = status;
  const retained = source.slot.retainedBytes === null ? 'unknown' : formatBytes(source.slot.retainedBytes);
  const held = status.tables.filter((table) => table.phase === 'held');
  const lines = [
    `${paint.bold(status.name)}  ${paint.cyan(status.phase)}${status.serves === undefined ? '' : `, the ${status.serves} serves`}`,
    `  source   ${source.lsn ?? 'unknown'}; slot ${source.slot.status ?? 'absent'}, holds back ${retained}`,
    `  target   ${applied.lsn === null ? 'shows no single source state yet' : `shows ${applied.lsn}${applied.exact ? '' : held.length > 0 || status.deadLetters > 0 ? ' but for what is held' : ' at least'}`}`,
    `  lag      ${describeLag(lag)}`,
    `  restarts ${status.restarts}   drift ${status.drift ?? 'not verified yet'}`,
    ...describeReconciliation(status, paint).map((line) => `  proof    ${line}`),
    ...(status.plan === null
      ? []
      : [`  plan     ${status.plan.changed === true ? paint.yellow(describePlan(status.plan)) : describePlan(status.plan)}`]),
    ...(status.deadLetters > 0 ? [`  ${paint.red('aside')}    ${formatCount(status.deadLetters)} rows; see crossfade dlq list`] : []),
    ...status.tables.flatMap(describeConflicts),
    ...(status.targets ?? []).map((target) => `  ${describeTarget(target, paint)}`),
    ...describeCopy(status.copy).map((line) => `  copy     ${paint.yellow(line)}`),
    ...(status.triggers ?? []).map((one) => `  trigger  ${describeTriggerStatus(one, paint)}`),
    ...describeWayBack(status, paint),
    ...held.map((table) => `  ${paint.red('held')}     ${table.from}: ${table.error ?? 'unknown cause'}`),
  ];
  return {
    summary: `${status.name}: ${status.phase}, lag ${describeLag(lag)}`,
    result: status,
    findings,
    text: `${lines.join('\n')}\n${renderTables(status, paint, Infinity)}`,
  };
}
