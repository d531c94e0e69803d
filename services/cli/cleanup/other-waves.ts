/**
 * The waves beside the one that is cleaned up. Guarantee: `areOver` is said only where each of them has been cleaned up, too: until then what refuses the writers
 * of units that have moved, and what the flags are read from, stays.
 */
import type { OtherWaves } from '#connectors/remnants/postgres/read-remnants.ts';
import { readState } from '#connectors/target/postgres/migration-state.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { otherWaveNames } from '#schemas/config/wave-file.ts';

/** Undefined: the file moves as a whole. */
export async function otherWaves(file: MigrationFile): Promise<OtherWaves | undefined> {
  const { postgres } = file.target;
  if (file.wave === undefined || postgres === undefined) return undefined;
  const names = otherWaveNames(file);
  const rows = await Promise.all(names.map(async (name) => readState(postgres, name)));
  return { names, areOver: rows.every((row) => row?.state === 'cleaned-up') };
}
