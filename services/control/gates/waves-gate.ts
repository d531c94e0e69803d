/**
 * One wave at a time. Guarantee: of two cut-overs of waves that are begun at once at most one goes on, since each has its act recorded before the gate is
 * looked at again; a rollback waits for nobody.
 */
import { readJournalRows } from '#connectors/postgres/journal.ts';
import { queryRow } from '#connectors/postgres/session.ts';
import { readStateRow } from '#connectors/target/postgres/migration-state.ts';
import type { WaveOf } from '#schemas/config/migration-file.ts';
import { waveNames } from '#schemas/config/wave-file.ts';
import { SHARED_WAVE, waveName } from '#schemas/config/wave-name.ts';
import { listNames } from '#schemas/finding.ts';
import type { MigrationRow } from '#schemas/migration/migration-row.ts';
import type { Gate, GateVerdict, Look } from './gates.ts';
import type { TableGateParts } from './table-gates.ts';

interface OtherWave {
  readonly wave: string;
  readonly name: string;
  /** Undefined: nobody ever acted on it. */
  readonly row: MigrationRow | undefined;
}

/** None where the file moves as a whole. */
export function wavesGates(parts: TableGateParts): Gate[] {
  const { wave } = parts.migration.file;
  return wave === undefined ? [] : [{ name: 'waves', look: async (at) => look(parts, wave, at) }];
}

async function look(parts: TableGateParts, wave: WaveOf, { kind, drill }: Look): Promise<GateVerdict> {
  if (kind === 'rollback') return { isSkipped: true, evidence: 'a rollback waits for no other wave' };
  const others = await readOthers(parts, wave);
  const busy = others.flatMap(({ wave: name, row }) => (row?.act === undefined ? [] : [`${name} (${row.act.kind}, by ${row.act.by})`]));
  if (busy.length > 0) return closed(`in flight: ${listNames(busy)}`, 'Wait for it.');
  if (drill) return { evidence: 'no other wave is in flight' };
  const behind = others.filter(({ row }) => row?.serves !== 'target').map((other) => other.wave);
  if (wave.name === SHARED_WAVE && behind.length > 0)
    return closed(`what belongs to no unit moves last: ${listNames(behind)} still on the source`, 'Cut them over first.');
  const fresh: string[] = [];
  for (const other of others) {
    const ms = await observedFor(parts, other);
    if (ms !== undefined && ms < wave.waves.observationMs) fresh.push(`${other.wave} (for ${Math.round(ms / 1000)} s)`);
  }
  if (fresh.length === 0) return { evidence: `no other wave is in flight or newly cut over; on the target: ${moved(others)}` };
  const seconds = wave.waves.observationMs / 1000;
  return closed(`still observed: ${listNames(fresh)}; waves.observation says ${seconds} s`, 'Wait, sign it off, or roll it back.');
}

function closed(evidence: string, remedy: string): GateVerdict {
  return { closed: { code: 'CF-8335', remedy }, evidence };
}

function moved(others: readonly OtherWave[]): string {
  const there = others.filter(({ row }) => row?.serves === 'target').map(({ wave }) => wave);
  return there.length === 0 ? 'none' : listNames(there);
}

async function readOthers({ sessions }: TableGateParts, { name, of, waves }: WaveOf): Promise<OtherWave[]> {
  const others: OtherWave[] = [];
  for (const wave of waveNames(waves).filter((one) => one !== name)) {
    const full = waveName(of, wave);
    others.push({ wave, name: full, row: await sessions.run('target', async (client) => readStateRow(client, full)) });
  }
  return others;
}

/** Since the decision, by the clock of the server that has it. Undefined: nobody observes it. */
async function observedFor({ sessions }: TableGateParts, { name, row }: OtherWave): Promise<number | undefined> {
  if (row?.state !== 'observing') return undefined;
  return sessions.run('source', async (client) => {
    const decision = (await readJournalRows(client, name)).findLast(({ isVoid }) => !isVoid);
    const now = await queryRow(client, `SELECT (extract(epoch FROM clock_timestamp()) * 1000)::text AS ms`);
    return decision === undefined ? undefined : Number(now!['ms']) - Date.parse(decision.at);
  });
}
