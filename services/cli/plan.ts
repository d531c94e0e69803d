/**
 * `plan`: what the file means for the two databases, as a document to review and sign. Guarantee: changes nothing, and nothing secret is in
 * it; a file that does not fit the catalogues has no plan, but all its findings.
 */
import { PipelineError } from '#schemas/errors.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { comparePlans } from '#schemas/plan/compare-plans.ts';
import { layoutPlan } from '#schemas/plan/layout-plan.ts';
import type { PlanDocument } from '#schemas/plan/plan-document.ts';
import { renderHtml, renderMarkdown } from '#schemas/document/render-document.ts';
import { type TargetPlan, wholeHash } from '#schemas/plan/whole-hash.ts';
import { layoutRunbook } from '#schemas/runbook/layout-runbook.ts';
import type { CommandContext, CommandSpec, Outcome } from './command.ts';
import { eachTarget } from './each-target.ts';
import { loadTargets, loadWhole, targetNamed, targetOption } from './migration-input.ts';
import { currentPlan } from './plan/current-plan.ts';
import { readRunbook } from './plan/runbook.ts';
import { documentOfOne, readPlanDocument } from './plan/signed-plan.ts';
import { type DocumentFormat, FORMATS, formatOf, writeDocument } from './write-document.ts';

export const planCommand: CommandSpec = {
  name: 'plan',
  about: 'Print the mapping as a document to review and sign: volumes, conversions, what is lost, and its hash. Changes nothing.',
  examples: [
    ['crossfade plan', 'as Markdown'],
    ['crossfade plan --format html --out plan.html', 'one file for the browser or the change ticket'],
    ['crossfade plan --against signed.yaml', 'with what changes against another file'],
    ['crossfade plan --runbook --format html --out runbook.html', 'who does what, with which command, step by step'],
    ['crossfade plan --format json --out plan.json', 'to sign and to keep: crossfade up --plan plan.json'],
  ],
  configure: (command) => {
    targetOption(command);
    command
      .option('--format <format>', `${FORMATS.join(', ')} (default: markdown)`)
      .option('--out <file>', 'where to write (default: stdout)')
      .option(
        '--runbook',
        'print the runbook of this migration instead: its stages as gates, commands, people, and what to do when a step fails',
      )
      .option('--against <file>', 'what to compare with: a migration file, or a plan that --format json wrote');
  },
  run,
};

async function run(context: CommandContext): Promise<Outcome> {
  const { options, common } = context;
  const format = formatOf(context);
  const { targets } = await loadTargets(context);
  if (targets.length > 1 && format !== 'markdown') throw new PipelineError('CF-1007', `--format ${format} is of one target: give --target`);
  const against = options.text('against');
  const former = against === undefined ? undefined : await plansAgainst(against, targets.length, context);
  const plans: TargetPlan[] = [];
  const planned = await eachTarget(targets, async (file) => {
    const { plan, findings } = await currentPlan(file);
    const changes = former === undefined ? undefined : comparePlans(await former(file), plan);
    const result = { ...plan, ...(changes !== undefined && { changes }) };
    plans.push({ name: file.targetName ?? file.name, hash: plan.hash });
    if (options.flag('runbook')) return runbookOf(file, plan, format);
    return { summary: '', result, text: render(plan, format, { result, changes }), findings };
  });
  const shown = plans.length > 1 ? withWhole(planned, plans) : planned;
  const out = options.text('out');
  if (out === undefined) return { ...shown, findings: common.json ? (planned.findings ?? []) : [] };
  await writeDocument(context, out, shown.text ?? '');
  const hash = plans.length > 1 ? wholeHash(plans) : plans.map((one) => one.hash).join();
  return { ...shown, text: '', summary: `${out} is written: ${options.flag('runbook') ? 'runbook of ' : ''}plan ${hash}` };
}

/** Several targets are signed under one hash. */
function withWhole(planned: Outcome, plans: readonly TargetPlan[]): Outcome {
  const hash = wholeHash(plans);
  const names = plans.map(({ name }) => name).join(', ');
  return {
    ...planned,
    result: { hash, ...(planned.result as object) },
    text: `${planned.text ?? ''}\n# All targets\n\n${names}, under one plan: \`${hash}\`\n`,
  };
}

/** For a target's file the plan as it was kept, or as another file would have it today. */
async function plansAgainst(
  against: string,
  targets: number,
  { io, common }: CommandContext,
): Promise<(file: MigrationFile) => Promise<PlanDocument>> {
  if (against.endsWith('.json')) {
    if (targets > 1) throw documentOfOne(against);
    const kept = await readPlanDocument(against, io);
    return async () => Promise.resolve(kept);
  }
  const { file: former } = await loadWhole({ io, common: { ...common, file: against } });
  return async ({ targetName }) => (await currentPlan(targetNamed(former, former.targets === undefined ? undefined : targetName))).plan;
}

async function runbookOf(file: MigrationFile, plan: PlanDocument, format: DocumentFormat): Promise<Outcome> {
  const runbook = await readRunbook(file, plan);
  const blocks = layoutRunbook(runbook);
  const text = format === 'html' ? renderHtml(`Runbook: ${plan.name}`, blocks) : renderMarkdown(blocks);
  return { summary: '', result: runbook, text: format === 'json' ? `${JSON.stringify(runbook, null, 2)}\n` : text };
}

interface Shown {
  readonly result: object;
  readonly changes: readonly string[] | undefined;
}

function render(plan: PlanDocument, format: DocumentFormat, { result, changes }: Shown): string {
  if (format === 'json') return `${JSON.stringify(result, null, 2)}\n`;
  const blocks = layoutPlan(plan, changes);
  return format === 'html' ? renderHtml(`Migration plan: ${plan.name}`, blocks) : renderMarkdown(blocks);
}
