/**
 * The preflight of a process that is about to run. Guarantee: errors stop it before anything is created; warnings are logged. Where a rename swap has happened, only
 * what is over is told: the file's names are those of before.
 */
import { readRenames } from '#connectors/postgres/renames.ts';
import { connect } from '#connectors/postgres/session.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { PipelineError } from '#schemas/errors.ts';
import { swapsNames } from '#schemas/mapping/renames.ts';
import type { Logger } from '#services/runtime/service.ts';
import type { CliIo } from '../command.ts';
import { requireBackup } from './backup.ts';
import { overError } from './require-not-over.ts';
import { requireOwnUnits } from './require-own-units.ts';
import { runPreflight } from './run-preflight.ts';

export interface ReadyInput {
  readonly file: MigrationFile;
  /** Absent where it holds no change log. */
  readonly dataDir?: string;
}

/** @throws PipelineError of the finding that decides, all errors in `details.findings`; CF-8504; CF-8602 where a backup is missing; CF-8336. */
export async function requireReady(
  { file, dataDir }: ReadyInput,
  { signal, log, io }: { readonly signal: AbortSignal; readonly log: Logger; readonly io?: Pick<CliIo, 'environment'> },
): Promise<void> {
  if (swapsNames(file) && (await areNamesSwapped(file))) {
    const over = await overError(file);
    if (over !== undefined) throw over;
    return;
  }
  await requireOwnUnits(file);
  const report = await runPreflight(file, dataDir, io?.environment);
  signal.throwIfAborted();
  for (const finding of report.findings) {
    if (finding.severity === 'warning') log.warn({ code: finding.code, remedy: finding.remedy }, finding.message);
  }
  // Before what else is wrong: a target that was left to itself fits no more.
  const over = await overError(file).catch((error: unknown) => {
    if (report.error === undefined) throw error;
    return undefined;
  });
  if (over !== undefined) throw over;
  if (report.error === undefined) {
    // What has begun was saved before, or nobody asked for it then.
    if (!report.resumed) await requireBackup(file);
    return;
  }
  const errors = report.findings.filter((finding) => finding.severity === 'error');
  throw new PipelineError(report.error.code, report.error.message, {
    ...report.error.place,
    remedy: report.error.remedy,
    details: { findings: errors },
  });
}

/** The tables were found fit before the cut-over that did it. @throws PipelineError CF-2001 */
async function areNamesSwapped({ source, name }: MigrationFile): Promise<boolean> {
  const client = await connect(source.postgres, { applicationName: 'crossfade check', role: 'source' });
  try {
    return (await readRenames(client, name)).length > 0;
  } finally {
    await client.end();
  }
}
