/**
 * What a comparison says of the state of the migration: `proved` when all of it is equal, `doubted` when something differs. Guarantee: it never makes
 * the comparison fail; where somebody acts, another side serves by now, or the role may not write our tables, nothing is recorded.
 */
import { hostname } from 'node:os';
import { takeMigrationLease } from '#connectors/target/postgres/migration-lease.ts';
import { readState } from '#connectors/target/postgres/migration-state.ts';
import { messageOf } from '#schemas/errors.ts';
import { planHash } from '#schemas/plan/plan-hash.ts';
import type { VerifyResult } from '#schemas/reconcile/verify-result.ts';
import { accountName } from './account-name.ts';
import type { CommandContext } from './command.ts';
import type { CommandDirection } from './compared-direction.ts';
import { countChecks } from './verify-checks.ts';

export interface Compared {
  readonly direction: Pick<CommandDirection, 'forward'>;
  readonly result: VerifyResult;
  /** All tables, with the checks or without. */
  readonly isWhole: boolean;
}

export async function recordProof({ log }: Pick<CommandContext, 'log'>, { direction, result, isWhole }: Compared): Promise<void> {
  const { file, mapping } = direction.forward;
  const { name, target } = file;
  const event = eventOf(result, isWhole);
  if (event === undefined || target.postgres === undefined || file.targets !== undefined || file.targetName !== undefined) return;
  const url = target.postgres;
  try {
    // Of a migration that nobody thinks of cutting over a difference takes nothing back.
    if (event === 'doubted' && (await readState(url, name)) === undefined) return;
    const lease = await takeMigrationLease({ url, name, holder: `crossfade verify on ${hostname()}, process ${process.pid}` });
    try {
      if (lease.row.act !== undefined || lease.row.serves !== (result.serves ?? 'source')) return;
      const { differences, at, tables, checks = [], left = [] } = result;
      const rows = tables.reduce((sum, { rowsSource }) => sum + rowsSource, 0);
      const counts = { differences: differences + countChecks(checks).differing, tables: tables.length, rows, checks: checks.length };
      await lease.apply(event, {
        actor: accountName(),
        details: { ...counts, lsn: at.lsn, plan: planHash(file, mapping), ...(left.length > 0 && { left }) },
      });
    } finally {
      await lease.release();
    }
  } catch (error) {
    log.debug({ event, error: messageOf(error) }, 'What was compared is not recorded with the state');
  }
}

/** What is open says nothing either way. */
function eventOf({ differences, inconclusive, checks = [] }: VerifyResult, isWhole: boolean): 'proved' | 'doubted' | undefined {
  const counts = countChecks(checks);
  if (differences + counts.differing > 0) return 'doubted';
  return isWhole && inconclusive === 0 && counts.open === 0 ? 'proved' : undefined;
}
