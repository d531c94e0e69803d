/**
 * `plan`: what the file means for the two databases, as a document to review and sign. Guarantee: changes nothing, and nothing secret is in
 * it; a file that does not fit the catalogues has no plan, but all its findings.
 */
import { writeFile } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { errorOf } from '#schemas/envelope.ts';
import { messageOf, PipelineError, type Finding } from '#schemas/errors.ts';
import { compileMapping } from '#schemas/mapping/compile-mapping.ts';
import type { CompiledMapping } from '#schemas/mapping/compiled-mapping.ts';
import { FindingList } from '#schemas/mapping/finding-list.ts';
import { inputLosses } from '#schemas/mapping/input-losses.ts';
import { compileRedisMapping } from '#schemas/mapping/redis/compile-redis.ts';
import { type ResolvedTable, resolveTables } from '#schemas/mapping/resolve-tables.ts';
import { buildPlan } from '#schemas/plan/build-plan.ts';
import { comparePlans } from '#schemas/plan/compare-plans.ts';
import { layoutPlan } from '#schemas/plan/layout-plan.ts';
import type { PlanDocument } from '#schemas/plan/plan-document.ts';
import { renderHtml, renderMarkdown } from '#schemas/plan/render-plan.ts';
import type { Catalog } from '#schemas/table.ts';
import { readCatalogs, readSourceCatalog } from './catalogs.ts';
import type { CommandContext, CommandSpec, Outcome } from './command.ts';
import { loadMigration } from './migration-input.ts';
import { VERSION } from './version.ts';

const FORMATS = ['markdown', 'html', 'json'] as const;

export const planCommand: CommandSpec = {
  name: 'plan',
  about: 'Print the mapping as a document to review and sign: volumes, conversions, what is lost, and its hash. Changes nothing.',
  examples: [
    ['crossfade plan', 'as Markdown'],
    ['crossfade plan --format html --out plan.html', 'one file for the browser or the change ticket'],
    ['crossfade plan --against signed.yaml', 'with what changes against another file'],
  ],
  configure: (command) =>
    void command
      .option('--format <format>', `${FORMATS.join(', ')} (default: markdown)`)
      .option('--out <file>', 'where to write (default: stdout)')
      .option('--against <file>', 'a migration file to compare with'),
  run,
};

async function run(context: CommandContext): Promise<Outcome> {
  const { options, io, common } = context;
  const format = FORMATS.find((one) => one === (options.text('format') ?? 'markdown'));
  if (format === undefined) throw new PipelineError('CF-1007', `--format is none of ${FORMATS.join(', ')}`);
  const { file } = await loadMigration(context);
  const against = options.text('against');
  const former = against === undefined ? undefined : await loadMigration({ io, common: { ...common, file: against } });
  const { plan, findings } = planOf(file, await readBoth(file));
  const changes = former === undefined ? undefined : comparePlans(planOf(former.file, await readBoth(former.file)).plan, plan);
  const result = { ...plan, ...(changes !== undefined && { changes }) };
  const text = render(plan, format, { result, changes });
  const out = options.text('out');
  if (out === undefined) return { summary: '', result, text, findings: common.json ? findings : [] };
  await write(isAbsolute(out) ? out : join(io.directory, out), out, text);
  return { summary: `${out} is written: plan ${plan.hash}`, result, findings };
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

interface Both {
  readonly source: Catalog;
  /** Undefined: Redis has no catalogue. */
  readonly target: Catalog | undefined;
}

async function readBoth({ source, target }: MigrationFile): Promise<Both> {
  if (target.postgres === undefined) return { source: await readSourceCatalog(source.postgres), target: undefined };
  return readCatalogs({ source: source.postgres, target: target.postgres });
}

interface Fitted {
  readonly mapping?: CompiledMapping;
  readonly findings: readonly Finding[];
  readonly resolved: readonly ResolvedTable[];
  readonly catalog: Catalog;
}

/** @throws PipelineError of the first misfit, all of them in `details.findings`. */
function planOf(file: MigrationFile, { source, target }: Both): { readonly plan: PlanDocument; readonly findings: readonly Finding[] } {
  const { mapping, resolved, catalog, findings: misfits } = fit(file, source, target);
  const losses = file.settings.log.kafka?.input === undefined || mapping === undefined ? [] : inputLosses(mapping, source.tables);
  const findings = [...misfits, ...losses];
  const first = findings.find(({ severity }) => severity === 'error');
  if (mapping === undefined || first !== undefined) {
    const error = first === undefined ? new PipelineError('CF-4001', 'the file gives no mapping') : errorOf(first);
    throw new PipelineError(error.code, error.message, { ...error.place, remedy: error.remedy, details: { findings } });
  }
  const versions = { crossfade: VERSION, timeZones: process.versions['tz'] ?? 'unknown' };
  return { plan: buildPlan({ file, mapping, resolved, source, target: catalog, findings, versions }), findings };
}

function fit(file: MigrationFile, source: Catalog, target: Catalog | undefined): Fitted {
  if (target === undefined) return compileRedisMapping(file, source);
  const resolved = resolveTables(file, source, target, new FindingList(file.path));
  return { ...compileMapping(file, source, target), resolved, catalog: target };
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
