/**
 * Takes away what a migration has left, one thing at a time. Guarantee: each is gone or told as left, whatever became of the ones before; killed anywhere, the next
 * run finds what is still there and goes on; the state says cleaned up only when nothing is left of what had to go.
 */
import { rm } from 'node:fs/promises';
import { hostname } from 'node:os';
import { removeRemnant } from '#connectors/remnants/postgres/remove-remnant.ts';
import { readRemnants, type RemnantPlace } from '#connectors/remnants/postgres/read-remnants.ts';
import { type MigrationLease, takeMigrationLease } from '#connectors/target/postgres/migration-lease.ts';
import { changeSettings } from '#connectors/target/postgres/migration-state.ts';
import { messageOf, PipelineError } from '#schemas/errors.ts';
import { canBeAborted } from '#schemas/report/cleanup-gates.ts';
import { swapsNames } from '#schemas/mapping/renames.ts';
import { inOrderOfRemoval, type Remnant, remnantId } from '#schemas/report/remnant.ts';
import { failpoint } from '#schemas/test-hooks.ts';
import { readLocalRemnants } from '../report/local-remnants.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';

export interface CleanupPlaces {
  readonly source: RemnantPlace;
  readonly targets: readonly RemnantPlace[];
  readonly file: MigrationFile;
  readonly dataDir: string;
}

export interface Asked {
  readonly targetSchema: boolean;
  readonly dataDirectory: boolean;
}

export async function listRemnants({ source, targets, file, dataDir }: CleanupPlaces): Promise<Remnant[]> {
  // Of one database everything is the target's: the audit trail is not the source's to drop.
  const there = await Promise.all((swapsNames(file) ? targets : [source, ...targets]).map(readRemnants));
  return inOrderOfRemoval([...there.flat(), ...(await readLocalRemnants(file, dataDir))]);
}

/** Whether this run takes it away. */
export function goes(remnant: Remnant, asked: Asked): boolean {
  if (remnant.fate === 'cleanup') return true;
  if (remnant.fate === 'hand') return false;
  return remnant.kind === 'directory' ? asked.dataDirectory : asked.targetSchema;
}

export interface Fate {
  readonly remnant: Remnant;
  readonly became: 'removed' | 'left';
  readonly error?: PipelineError;
}

export interface CleanupRun {
  readonly places: CleanupPlaces;
  readonly asked: Asked;
  readonly abort: boolean;
  readonly onFate: (fate: Fate) => void;
}

/** @throws PipelineError CF-8001, CF-8003; CF-8501 when the state moved meanwhile */
export async function cleanUp(run: CleanupRun): Promise<Fate[]> {
  const { places } = run;
  const leases: MigrationLease[] = [];
  try {
    for (const { url, name } of places.targets)
      leases.push(await takeMigrationLease({ url, name, holder: `crossfade cleanup on ${hostname()}, process ${process.pid}` }));
    return await withLeases(run, leases);
  } finally {
    await Promise.all(leases.map(async (lease) => lease.release()));
  }
}

async function withLeases(run: CleanupRun, leases: readonly MigrationLease[]): Promise<Fate[]> {
  const { places, asked, abort } = run;
  const actor = `crossfade cleanup on ${hostname()}`;
  for (const lease of leases) {
    const { state } = lease.row;
    if (abort && canBeAborted(state)) await lease.apply('aborted', { actor });
    else if (canBeAborted(state) || lease.row.act !== undefined || state === 'observing')
      throw new PipelineError('CF-8501', `the migration is ${state} now: nothing was taken away`);
  }
  // What stands on the target of ours, its audit trail included, goes last, after the state has said that it is over.
  const found = await listRemnants(places);
  const isLast = ({ fate, kind }: Remnant): boolean => fate === 'asked' && kind !== 'directory';
  const going = found.filter((one) => goes(one, asked));
  await Promise.all(places.targets.map(async ({ url, name }) => noteBegin(url, name, { actor, going })));
  const fates: Fate[] = [];
  for (const remnant of going.filter((one) => !isLast(one))) fates.push(await removeOne(remnant, run));
  if (fates.some(({ became, remnant }) => became === 'left' && remnant.fate === 'cleanup')) return fates;
  for (const lease of leases)
    if (lease.row.state !== 'cleaned-up')
      await lease.apply('cleaned-up', { actor, details: { removed: fates.map(({ remnant }) => remnantId(remnant)) } });
  for (const lease of leases) await lease.release();
  for (const remnant of going.filter(isLast)) fates.push(await removeOne(remnant, run));
  return fates;
}

/** Nobody is to stand the reverse path up again. */
async function noteBegin(
  url: string,
  name: string,
  { actor, going }: { readonly actor: string; readonly going: readonly Remnant[] },
): Promise<void> {
  if (going.length === 0) return;
  await changeSettings(url, name, { reverseWanted: false }, { actor, event: 'cleanup-begun', details: { going: going.map(remnantId) } });
}

async function removeOne(remnant: Remnant, { places, onFate }: CleanupRun): Promise<Fate> {
  const fate = await tryToRemove(remnant, places);
  onFate(fate);
  failpoint('cleanup.removed');
  return fate;
}

async function tryToRemove(remnant: Remnant, { source, targets }: CleanupPlaces): Promise<Fate> {
  try {
    if (remnant.kind === 'directory') await rm(remnant.name, { recursive: true, force: true });
    else
      await removeRemnant(
        [source, ...targets].find(({ place }) => place === remnant.place)!,
        remnant,
      );
    return { remnant, became: 'removed' };
  } catch (error) {
    const left =
      error instanceof PipelineError
        ? error
        : new PipelineError('CF-8502', `${remnantId(remnant)} is left: ${messageOf(error)}`, { cause: error });
    return { remnant, became: 'left', error: left };
  }
}
