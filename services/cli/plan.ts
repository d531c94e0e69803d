/**
 * `plan`: what the file means for the two databases, as a document to review and sign. Guarantee: changes nothing, and nothing secret is in
 * it; a file that does not fit the catalogues has no plan, but all its findings.
 */
import { writeFile } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';
import { messageOf, PipelineError } from '#schemas/errors.ts';
import { comparePlans } from '#schemas/plan/compare-plans.ts';
import { layoutPlan } from '#schemas/plan/layout-plan.ts';
import type { PlanDocument } from '#schemas/plan/plan-document.ts';
import { renderHtml, renderMarkdown } from '#schemas/plan/render-plan.ts';
import type { CommandContext, CommandSpec, Outcome } from './command.ts';
import { loadMigration } from './migration-input.ts';
import { currentPlan } from './plan/current-plan.ts';
import { readPlanDocument } from './plan/signed-plan.ts';

const FORMATS = ['markdown', 'html', 'json'] as const;

export const planCommand: CommandSpec = {
  name: 'plan',
  about: 'Print the mapping as a document to review and sign: volumes, conversions, what is lost, and its hash. Changes nothing.',
  examples: [
    ['crossfade plan', 'as Markdown'],
    ['crossfade plan --format html --out plan.html', 'one file for the browser or the change ticket'],
    ['crossfade plan --against signed.yaml', 'with what changes against another file'],
    ['crossfade plan --format json --out plan.json', 'to sign and to keep: crossfade up --plan plan.json'],
  ],
  configure: (command) =>
    void command
      .option('--format <format>', `${FORMATS.join(', ')} (default: markdown)`)
      .option('--out <file>', 'where to write (default: stdout)')
      .option('--against <file>', 'what to compare with: a migration file, or a plan that --format json wrote'),
  run,
};

async function run(context: CommandContext): Promise<Outcome> {
  const { options, io, common } = context;
  const format = FORMATS.find((one) => one === (options.text('format') ?? 'markdown'));
  if (format === undefined) throw new PipelineError('CF-1007', `--format is none of ${FORMATS.join(', ')}`);
  const { file } = await loadMigration(context);
  const against = options.text('against');
  const former = against === undefined ? undefined : await planAgainst(against, context);
  const { plan, findings } = await currentPlan(file);
  const changes = former === undefined ? undefined : comparePlans(former, plan);
  const result = { ...plan, ...(changes !== undefined && { changes }) };
  const text = render(plan, format, { result, changes });
  const out = options.text('out');
  if (out === undefined) return { summary: '', result, text, findings: common.json ? findings : [] };
  await write(isAbsolute(out) ? out : join(io.directory, out), out, text);
  return { summary: `${out} is written: plan ${plan.hash}`, result, findings };
}

/** As it was kept, or as a file would have it today. */
async function planAgainst(against: string, { io, common }: CommandContext): Promise<PlanDocument> {
  if (against.endsWith('.json')) return readPlanDocument(against, io);
  const { file } = await loadMigration({ io, common: { ...common, file: against } });
  return (await currentPlan(file)).plan;
}

interface Shown {
  readonly result: object;
  readonly changes: readonly string[] | undefined;
}

function render(plan: PlanDocument, format: (typeof FORMATS)[number], { result, changes }: Shown): string {
  if (format === 'json') return `${JSON.stringify(result, null, 2)}\n`;
  const blocks = layoutPlan(plan, changes);
  return format === 'html' ? renderHtml(`Migration plan: ${plan.name}`, blocks) : renderMarkdown(blocks);
}

async function write(path: string, shown: string, text: string): Promise<void> {
  try {
    await writeFile(path, text);
  } catch (error) {
    throw new PipelineError('CF-1002', `${shown} cannot be written: ${messageOf(error)}`, {
      cause: error,
      remedy: 'Give another place with --out.',
    });
  }
}
