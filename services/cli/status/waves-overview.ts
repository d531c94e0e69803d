/** `status` of a file that moves in waves, where none is named: each with what its state row says. Guarantee: asks the target alone, once for all. */
import { connect } from '#connectors/postgres/session.ts';
import { readStateRow } from '#connectors/target/postgres/migration-state.ts';
import type { MigrationFile, WavesEntry } from '#schemas/config/migration-file.ts';
import { waveNames } from '#schemas/config/wave-file.ts';
import { waveName } from '#schemas/config/wave-name.ts';
import { phaseOfState } from '#schemas/migration/migration-row.ts';
import type { MigrationPhase } from '#schemas/status/status-result.ts';
import type { CommandContext, Outcome } from '../command.ts';
import { loadWritten } from '../migration-input.ts';
import { renderTable } from '../render.ts';

interface WaveStanding {
  readonly wave: string;
  readonly name: string;
  /** Null: nobody ever acted on it. */
  readonly phase: MigrationPhase | null;
  readonly serves: 'source' | 'target';
  /** Who acts on it. */
  readonly act: { readonly kind: string; readonly by: string } | null;
}

/** Undefined: one is named, or the file has none, or cannot be read here. */
export async function wavesOverview(context: CommandContext): Promise<Outcome | undefined> {
  if (context.common.wave !== undefined || context.options.text('url') !== undefined) return undefined;
  const file = await loadWritten(context).catch(() => undefined);
  if (file?.waves === undefined) return undefined;
  const waves = await standings(file, file.waves);
  const there = waves.filter(({ serves }) => serves === 'target').length;
  const rows = waves.map(({ wave, name, phase, serves, act }) => [
    wave,
    name,
    phase ?? 'nothing begun',
    serves,
    act === null ? '' : `${act.kind} by ${act.by}`,
  ]);
  return {
    summary: `${there} of ${waves.length} waves of ${file.name} are on the target; crossfade status --wave ${waves[0]!.wave} tells more of one`,
    result: { name: file.name, waves },
    text: `${renderTable(['wave', 'migration', 'phase', 'writes', 'acting'], rows)}\n`,
  };
}

async function standings({ name, target }: MigrationFile, waves: WavesEntry): Promise<WaveStanding[]> {
  const client = await connect(target.postgres!, { applicationName: 'crossfade status', role: 'target' });
  try {
    const found: WaveStanding[] = [];
    for (const wave of waveNames(waves)) {
      const full = waveName(name, wave);
      const row = await readStateRow(client, full);
      const act = row?.act === undefined ? null : { kind: row.act.kind, by: row.act.by };
      const phase = row === undefined ? null : phaseOfState(row.state, 'following');
      found.push({ wave, name: full, phase, serves: row?.serves ?? 'source', act });
    }
    return found;
  } finally {
    await client.end().catch(() => undefined);
  }
}
