/**
 * One wave at a time. Guarantee: of two cut-overs of waves that are begun at once at most one goes on, since each has its act recorded before the gate is
 * looked at again; a rollback waits for nobody.
 */
import { readJournalRows } from '#connectors/postgres/journal.ts';
import { queryRow, queryRows } from '#connectors/postgres/session.ts';
import { readStateRow } from '#connectors/target/postgres/migration-state.ts';
import type { WaveOf } from '#schemas/config/migration-file.ts';
import { waveNames } from '#schemas/config/wave-file.ts';
import { SHARED_WAVE, waveName } from '#schemas/config/wave-name.ts';
import { listNames } from '#schemas/finding.ts';
import type { MigrationRow } from '#schemas/migration/migration-row.ts';
import type { Gate, GateVerdict, Look } from './gates.ts';
import type { TableGateParts } from './table-gates.ts';

export interface OtherWave {
  readonly wave: string;
  /** Undefined: nobody ever acted on it. */
  readonly row: Pick<MigrationRow, 'act' | 'serves' | 'state'> | undefined;
  /** Since it was cut over; undefined: nobody observes it. */
  readonly observedMs: number | undefined;
  /** Its pipeline does not run, and may have changes left of rows that went from it to another wave. */
  readonly isStopped: boolean;
}

/** None where the file moves as a whole. */
export function wavesGates(parts: TableGateParts): Gate[] {
  const { wave } = parts.migration.file;
  return wave === undefined ? [] : [{ name: 'waves', look: async (at) => look(parts, wave, at) }];
}

async function look(parts: TableGateParts, wave: WaveOf, at: Look): Promise<GateVerdict> {
  const others = at.kind === 'rollback' ? [] : await readOthers(parts, wave);
  return judgeWaves({ name: wave.name, observationMs: wave.waves.observationMs }, others, at);
}

/** Pure. */
export function judgeWaves(
  { name, observationMs }: { readonly name: string; readonly observationMs: number },
  others: readonly OtherWave[],
  { kind, drill }: Pick<Look, 'kind' | 'drill'>,
): GateVerdict {
  if (kind === 'rollback') return { isSkipped: true, evidence: 'a rollback waits for no other wave' };
  const busy = others.flatMap(({ wave, row }) => (row?.act === undefined ? [] : [`${wave} (${row.act.kind}, by ${row.act.by})`]));
  if (busy.length > 0)
    return closed(`in flight: ${listNames(busy)}`, 'Wait for it. What a process left that ended is ended by crossfade up of that wave.');
  if (drill) return { evidence: 'no other wave is in flight' };
  const still = others.filter(({ isStopped }) => isStopped).map(({ wave }) => wave);
  if (still.length > 0)
    return closed(
      `the pipeline of ${listNames(still)} stands still, and may have changes left of rows that are this wave's by now: they would be written over its rows on the target`,
      `Start crossfade up for it and let it catch up, or give it up: crossfade cleanup --abort.`,
    );
  const behind = others.filter(({ row }) => row?.serves !== 'target').map(({ wave }) => wave);
  if (name === SHARED_WAVE && behind.length > 0)
    return closed(
      `what belongs to no unit moves last: ${listNames(behind)} still on the source`,
      'Cut them over first; take one that was given up out of the file.',
    );
  const fresh = others.flatMap(({ wave, observedMs }) =>
    observedMs === undefined || observedMs >= observationMs ? [] : [`${wave} (for ${Math.round(observedMs / 1000)} s)`],
  );
  if (fresh.length === 0) return { evidence: `no other wave is in flight or newly cut over; on the target: ${moved(others)}` };
  const seconds = observationMs / 1000;
  return closed(`still observed: ${listNames(fresh)}; waves.observation says ${seconds} s`, 'Wait, sign it off, or roll it back.');
}

/** In a table whose key does not hold the unit a row that went from one wave to another is written by both pipelines. One that has been cut over was drained. */
async function stoppedOf({ migration, sessions }: TableGateParts, names: readonly string[]): Promise<ReadonlySet<unknown>> {
  if (!migration.tables.source.some(({ keepsUnits }) => keepsUnits === true)) return new Set();
  const rows = await sessions.run('source', async (client) =>
    queryRows(client, 'SELECT slot_name::text AS name FROM pg_replication_slots WHERE slot_name = ANY ($1::text[]) AND NOT active', [
      names,
    ]),
  );
  return new Set(rows.map((row) => row['name']));
}

function closed(evidence: string, remedy: string): GateVerdict {
  return { closed: { code: 'CF-8335', remedy }, evidence };
}

function moved(others: readonly OtherWave[]): string {
  const there = others.filter(({ row }) => row?.serves === 'target').map(({ wave }) => wave);
  return there.length === 0 ? 'none' : listNames(there);
}

async function readOthers(parts: TableGateParts, { name, of, waves }: WaveOf): Promise<OtherWave[]> {
  const others: OtherWave[] = [];
  const rest = waveNames(waves).filter((one) => one !== name);
  const stopped = await stoppedOf(
    parts,
    rest.map((wave) => waveName(of, wave)),
  );
  for (const wave of rest) {
    const full = waveName(of, wave);
    const row = await parts.sessions.run('target', async (client) => readStateRow(client, full));
    others.push({
      wave,
      row,
      observedMs: row?.state === 'observing' ? await observedFor(parts, full) : undefined,
      isStopped: row?.serves !== 'target' && stopped.has(full),
    });
  }
  return others;
}

/** Since the decision, by the clock of the server that has it. */
async function observedFor({ sessions }: TableGateParts, name: string): Promise<number | undefined> {
  return sessions.run('source', async (client) => {
    const decision = (await readJournalRows(client, name)).findLast(({ isVoid }) => !isVoid);
    const now = await queryRow(client, `SELECT (extract(epoch FROM clock_timestamp()) * 1000)::text AS ms`);
    return decision === undefined ? undefined : Number(now!['ms']) - Date.parse(decision.at);
  });
}
