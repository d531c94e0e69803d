/**
 * A wave that has moved keeps its units. Guarantee: while a fence on the source refuses the writers of some rows, nothing is begun by a file that gives these rows to another wave, or
 * to none: it would copy the source's rows over those that are written on the target, or no longer bring those home.
 */
import { readStandingFences } from '#connectors/fence/postgres/standing-fences.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { waveNames } from '#schemas/config/wave-file.ts';
import { SHARED_WAVE, waveName } from '#schemas/config/wave-name.ts';
import { PipelineError } from '#schemas/errors.ts';
import { rowsText } from '#schemas/fence-names.ts';
import { quoteTable } from '#schemas/table.ts';
import { flippedMigration } from '#services/control/postgres/flipped-migration.ts';
import { readFit } from '../catalogs.ts';

/** @throws PipelineError CF-8336 */
export async function requireOwnUnits(file: MigrationFile): Promise<void> {
  // A plan that is named is this wave's.
  const { wave, signedPlan: _signedPlan, ...whole } = file;
  if (wave === undefined) return;
  const waves = new Map(waveNames(wave.waves).map((name) => [waveName(wave.of, name), name]));
  const all = await readStandingFences(file.source.postgres);
  const shared = waveName(wave.of, SHARED_WAVE);
  // Waves of the same migration know each other's sinks.
  const ours = all.filter(
    ({ migration, exempt }) => migration === shared || waves.has(migration) || exempt.some((name) => waves.has(name)),
  );
  for (const [migration, fences] of Map.groupBy(ours, (fence) => fence.migration)) {
    const name = waves.get(migration);
    if (name === undefined) throw changed(migration, 'the file has no such wave any more');
    const own: MigrationFile = { ...whole, name: migration, wave: { ...wave, name } };
    const { tables } = flippedMigration(own, (await readFit(own)).mapping, undefined);
    for (const { table, rows } of fences) {
      const now = tables.source.find((one) => quoteTable(one) === quoteTable(table));
      if (now === undefined || (now.rows && rowsText(now.rows)) !== rows)
        throw changed(migration, `it moved with other rows of ${quoteTable(table)} than the file gives it now`);
    }
  }
}

function changed(migration: string, what: string): PipelineError {
  return new PipelineError('CF-8336', `${migration} serves from the target, and ${what}`, {
    remedy: 'Put the former units back. To move them otherwise roll that wave back first.',
  });
}
