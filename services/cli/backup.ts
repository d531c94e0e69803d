/**
 * `backup`: the backup that the file asks for, taken and verified. Guarantee: recorded in the audit trail only once it is verified, with its time and size; neither
 * database is altered but for that record.
 */
import { connect } from '#connectors/postgres/session.ts';
import { noteAudit } from '#connectors/target/postgres/migration-state.ts';
import { postgresTarget } from '#schemas/config/postgres-target.ts';
import { PipelineError } from '#schemas/errors.ts';
import { BACKED_UP_EVENT, describeBackup } from '#schemas/migration/backup.ts';
import { accountName } from './account-name.ts';
import { takeBackup } from './backup/take-backup.ts';
import { readFit } from './catalogs.ts';
import type { CommandContext, CommandSpec, Outcome } from './command.ts';
import { loadMigration } from './migration-input.ts';

export const backupCommand: CommandSpec = {
  name: 'backup',
  about: 'Take the backup that the file asks for (backup:), verify it, and record it. Nothing else begins without it.',
  examples: [
    ['crossfade backup', 'by pg_dump, or by the command of the file'],
    ['crossfade backup && crossfade up', 'the first start waits for one'],
  ],
  drains: true,
  run,
};

async function run(context: CommandContext): Promise<Outcome> {
  const { file } = await loadMigration(context);
  const { backup: entry, name } = file;
  if (entry === undefined) {
    throw new PipelineError('CF-1007', 'the file asks for no backup', { remedy: 'Say which: backup: { file: shop.dump }.' });
  }
  const target = postgresTarget(file, 'backup');
  const { mapping, source, target: other } = await readFit(file);
  const catalog = entry.of === 'source' ? source : other!;
  const names = new Set(
    mapping.tables.map(({ from, to }) => JSON.stringify(entry.of === 'source' ? [from.schema, from.name] : [to.schema, to.name])),
  );
  const tables = catalog.tables.filter(({ schema, name: table, kind }) => kind === 'r' && names.has(JSON.stringify([schema, table])));
  await requireReachable(target);
  context.log.info({ of: entry.of }, 'The backup is taken');
  const taken = await takeBackup({
    entry,
    url: entry.of === 'source' ? file.source.postgres : target,
    serverVersion: catalog.serverVersion,
    tables,
    environment: context.io.environment,
    signal: context.signal,
  });
  await noteAudit(target, name, { actor: accountName(), event: BACKED_UP_EVENT, details: { of: entry.of, ...taken } });
  const { by, file: path, bytes, takenMs, verifiedMs } = taken;
  const told = describeBackup(entry.of, { at: new Date().toISOString(), by, file: path, bytes, ms: takenMs + verifiedMs });
  return { summary: `${name}: ${told}`, result: { name, of: entry.of, ...taken } };
}

/** Hours are not to be lost because there is nowhere to record them. @throws PipelineError CF-5001 */
async function requireReachable(url: string): Promise<void> {
  const client = await connect(url, { applicationName: 'crossfade backup', role: 'target' });
  await client.end();
}
