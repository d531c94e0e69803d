/** `check`: everything that stands in the way, at once, with the SQL that mends it; `check --ddl`: the target tables that are missing. */
import { postgresTarget } from '#schemas/config/postgres-target.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { PipelineError, type Finding } from '#schemas/errors.ts';
import { bySeverity } from '#schemas/finding.ts';
import { draftMissingTables } from '#schemas/mapping/ddl.ts';
import { deriveReverse, type ReverseDerivation } from '#schemas/mapping/reverse/derive-reverse.ts';
import { reverseFindings } from '#schemas/mapping/reverse/reverse-findings.ts';
import { backupStanding } from './check/backup.ts';
import { runPreflight, type PreflightReport } from './check/run-preflight.ts';
import { describeVolume } from './check/volume.ts';
import { checkCutover } from './check/cutover.ts';
import { checkWayBack } from './check/way-back.ts';
import type { CommandContext, CommandSpec, Outcome } from './command.ts';
import { loadTargets, targetOption, type TargetsInput } from './migration-input.ts';
import { checkKeptCatalogues } from './test/kept-catalogues.ts';

export const checkCommand: CommandSpec = {
  name: 'check',
  about: 'Tell what stands in the way of the migration, with the SQL that mends it. Changes nothing.',
  examples: [
    ['crossfade check', 'file, source, target, and how they fit'],
    ['crossfade check --json | jq -r .findings[].remedy', 'only what is to be done'],
    ['crossfade check --ddl > missing.sql', 'CREATE TABLE for the target tables that are missing'],
  ],
  configure: (command) => {
    targetOption(command);
    command.option('--ddl', 'print CREATE TABLE for target tables that are missing');
  },
  run,
};

async function run(context: CommandContext): Promise<Outcome> {
  const input = await loadTargets(context);
  const { path, dataDir } = input;
  const file = checkedFile(input);
  const printsDdl = context.options.flag('ddl');
  if (printsDdl && file.targets !== undefined) throw new PipelineError('CF-1007', 'check --ddl needs --target where the file has several');
  if (printsDdl) postgresTarget(file, 'check --ddl');
  const report = await runPreflight(file, dataDir, context.io.environment);
  if (printsDdl) return ddlOutcome(file, report);
  // Where the target cannot be asked, that is told.
  const saved = report.target === undefined || report.resumed ? [] : await backupStanding(file);
  const back = wayBack(file, report);
  const told = back === undefined ? [] : [...reverseFindings(file, back), ...(await missingForFlips(file, back, report))];
  const findings = bySeverity([...report.findings, ...(await keptCatalogueFindings(path, report)), ...told, ...saved]);
  const counts = countOf(findings);
  const result = {
    name: file.name,
    tables: report.targets.flatMap(({ file: { targetName }, resolved }) =>
      resolved.map((one) => ({
        from: `${one.source.schema}.${one.source.name}`,
        to: `${one.to.schema}.${one.to.name}`,
        ...(targetName !== undefined && { target: targetName }),
        rowsEstimated: one.source.rowEstimate,
        bytes: one.source.bytes,
      })),
    ),
    volume: report.volume ?? null,
    resumed: report.resumed,
    checks: report.checks,
    ...(back !== undefined && { reverse: back.tables.map(({ line: _line, column: _column, ...table }) => table) }),
    ...counts,
  };
  const text = report.volume === undefined ? '' : describeVolume(report.volume);
  const summary =
    report.error === undefined
      ? `${file.name} is ready: ${report.checks.length} checks, ${plural(counts.warnings, 'warning')}`
      : `${file.name} is not ready: ${plural(counts.errors, 'error')}, ${plural(counts.warnings, 'warning')}`;
  return { summary, result, findings, text, ...(report.error !== undefined && { error: report.error }) };
}

/** What would come back from the target, before anybody cuts over. Undefined: nothing can be said of it, or no cut-over is made. */
function wayBack(file: MigrationFile, { mapping, source, target }: PreflightReport): ReverseDerivation | undefined {
  if (mapping === undefined || source === undefined || target === undefined || file.targets !== undefined) return undefined;
  return deriveReverse(file, mapping, { source, target });
}

async function missingForFlips(
  file: MigrationFile,
  back: ReverseDerivation,
  { mapping, source, target }: PreflightReport,
): Promise<Finding[]> {
  if (mapping === undefined || source === undefined || target === undefined) return [];
  return [...(await checkCutover(file, mapping, back)), ...(await checkWayBack(file, back, { source, target }))];
}

/** One target that was named is checked as if the file had no other. */
function checkedFile({ file, targets }: TargetsInput): MigrationFile {
  return targets.length === 1 ? targets[0]! : file;
}

async function keptCatalogueFindings(path: string, { source, targets }: PreflightReport): Promise<Finding[]> {
  if (source === undefined) return [];
  const found = targets.map(async ({ file, catalog }) => {
    if (catalog === undefined && file.target.postgres !== undefined) return [];
    return checkKeptCatalogues(file, path, { source, ...(catalog !== undefined && { target: catalog }) });
  });
  return (await Promise.all(found)).flat();
}

function countOf(findings: readonly Finding[]): { errors: number; warnings: number } {
  const count = (severity: string): number => findings.filter((finding) => finding.severity === severity).length;
  return { errors: count('error'), warnings: count('warning') };
}

function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

function ddlOutcome(file: MigrationFile, report: PreflightReport): Outcome {
  const { source, target } = report;
  if (source === undefined || target === undefined) throw report.error ?? new PipelineError('CF-7002', 'the catalogues could not be read');
  const { sql, tables } = draftMissingTables(file, source, target);
  const text = tables.length === 0 ? '-- No target table is missing.\n' : sql;
  return { summary: '', result: { sql, tables: tables.map(({ schema, name }) => `${schema}.${name}`) }, text };
}
