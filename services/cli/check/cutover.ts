/**
 * What our roles lack for a cut-over, long before there is one. Guarantee: read-only, all at once, and told as warnings only, since a migration that is only followed needs none of it.
 */
import { missingRights, rightsFor } from '#connectors/fence/postgres/rights.ts';
import { connect } from '#connectors/postgres/session.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { type Finding, messageOf } from '#schemas/errors.ts';
import { warningFinding } from '#schemas/finding.ts';
import type { CompiledMapping } from '#schemas/mapping/compiled-mapping.ts';
import type { ReverseDerivation } from '#schemas/mapping/reverse/derive-reverse.ts';
import type { Side } from '#schemas/migration/transitions.ts';
import { flippedMigration } from '#services/control/postgres/flipped-migration.ts';

export async function checkCutover(file: MigrationFile, mapping: CompiledMapping, back: ReverseDerivation): Promise<Finding[]> {
  if (file.target.postgres === undefined) return [];
  const { name, urls, tables, swap } = flippedMigration(file, mapping, undefined);
  const goesBack = back.file !== undefined || swap !== undefined;
  const of = async (side: Side): Promise<Finding[]> => {
    const client = await connect(urls[side], { applicationName: 'crossfade check', role: side });
    try {
      const rights = { ...rightsFor(side, { leaves: 'source', goesBack }), ...(swap !== undefined && { swap: swap[side] }) };
      const missing = await missingRights(client, { name, side, tables: tables[side], ...rights });
      return missing.map(({ message, remedy }) => warningFinding('CF-8102', `for the cut-over: ${message}`, remedy));
    } finally {
      await client.end();
    }
  };
  try {
    return [...(await of('source')), ...(await of('target'))];
  } catch (error) {
    // A connection that ended in the middle: the forward checks say what is wrong with the servers.
    return [warningFinding('CF-8102', `what a cut-over needs could not be looked at: ${messageOf(error)}`)];
  }
}
