/** Both ways between the sides, each proven by a marker that went along it just now. Guarantee: what is told of a lag was measured, not computed. */
import { setTimeout as delay } from 'node:timers/promises';
import { slotWaitsFor } from '#connectors/source/postgres/slot.ts';
import { readStateRow } from '#connectors/target/postgres/migration-state.ts';
import { messageOf } from '#schemas/errors.ts';
import { listNames } from '#schemas/finding.ts';
import { otherSide, type Side } from '#schemas/migration/transitions.ts';
import { flipTo, type PipePort, REVERSE_GATE } from '../flip/ports.ts';
import type { FlippedMigration } from '../postgres/flipped-migration.ts';
import { pipelineName } from '../postgres/flipped-migration.ts';
import type { Gate, GateVerdict } from './gates.ts';
import type { TableGateParts } from './table-gates.ts';

/** Of several markers one after the other the slowest counts. */
const MARKERS = 3;
/** A path that was just set up has to come to speed. */
const STANDING_MS = 20_000;
const AGAIN_MS = 2_000;

export interface PathGateParts {
  readonly migration: FlippedMigration;
  readonly pipe: PipePort;
  /** Why nothing goes back, where the file accepts it of each table. */
  readonly acceptedOneWay?: string | undefined;
}

/** From the side that serves to the one that will. */
export function lagGate({ migration, pipe }: PathGateParts): Gate {
  const limitMs = migration.cutover.lag;
  return {
    name: 'lag',
    // The time box of the drain answers it behind the comparison.
    phases: ['begin'],
    look: async ({ kind }): Promise<GateVerdict> => {
      const from = otherSide(flipTo(kind));
      const trip = await roundTrips(pipe, from, { waitMs: limitMs * PATIENCE, tries: MARKERS });
      const way = `from the ${from} to the ${otherSide(from)}`;
      if (trip.ms === undefined)
        return { closed: { code: 'CF-8320' }, evidence: `no marker came ${way} within ${trip.waitedMs} ms (${trip.why})` };
      const evidence = `markers came ${way} within ${trip.ms} ms`;
      return trip.ms <= limitMs ? { evidence } : { closed: { code: 'CF-8320' }, evidence: `${evidence}; ${limitMs} ms are allowed` };
    },
  };
}

/** From the side that will serve back to the one that serves. */
export function reverseGate({ migration, pipe, sessions, acceptedOneWay }: PathGateParts & Pick<TableGateParts, 'sessions'>): Gate {
  return {
    name: REVERSE_GATE,
    look: async ({ kind }): Promise<GateVerdict> => {
      const from = flipTo(kind);
      if (migration.file.reverse === 'off' || pipelineName(migration, from) === undefined) return oneWay(migration, acceptedOneWay);
      // Before each drill and cut-over it is asked for; a dry run changes nothing, and would wait in vain.
      const isWanted =
        from === 'source' || (await sessions.run('target', async (client) => readStateRow(client, migration.name)))?.reverseWanted === true;
      if (!isWanted) return { closed: { code: 'CF-8324', remedy: NOT_YET }, evidence: 'the way back was not asked for yet' };
      const trip = await standing(pipe, from);
      const way = `from the ${from} back to the ${otherSide(from)}`;
      if (trip.ms === undefined) {
        const waits = await sessions.run(from, async (client) => slotWaitsFor(client, pipelineName(migration, from)!));
        const why = waits.length === 0 ? trip.why : `its slot is not there: it waits for ${listNames(waits, 5)} to end`;
        return { closed: { code: 'CF-8324' }, evidence: `no marker came ${way} within ${trip.waitedMs} ms (${why})` };
      }
      return { evidence: `a marker went ${way} in ${trip.ms} ms, just now` };
    },
  };
}

const NOT_YET = 'Nothing is wrong: a dry run sets nothing up. Run crossfade drill, which sets up the way back and proves it.';

function oneWay({ file }: FlippedMigration, accepted: string | undefined): GateVerdict {
  if (file.reverse === 'off') return { isSkipped: true, evidence: 'the file says `reverse: off`: there is no way back' };
  if (accepted !== undefined) return { isSkipped: true, evidence: `there is no way back, as the file accepts: ${accepted}` };
  return { closed: { code: 'CF-8324' }, evidence: 'nothing of this migration goes back' };
}

/** What was marked before the path's slot was there never comes: marked again and again. */
async function standing(pipe: PipePort, from: Side): Promise<Trip> {
  const began = performance.now();
  for (;;) {
    const trip = await roundTrips(pipe, from, { waitMs: AGAIN_MS, tries: 1 });
    const waitedMs = Math.round(performance.now() - began);
    if (trip.ms !== undefined || waitedMs > STANDING_MS) return { ...trip, waitedMs };
  }
}

interface Trip {
  /** Of the slowest; undefined: one did not come. */
  readonly ms: number | undefined;
  readonly waitedMs: number;
  readonly why: string;
}

/** How much longer than allowed one is waited for, so that what is told is a figure and not only that it was too slow. */
const PATIENCE = 5;

async function roundTrips(
  pipe: PipePort,
  from: Side,
  { waitMs, tries }: { readonly waitMs: number; readonly tries: number },
): Promise<Trip> {
  let slowest = 0;
  for (let i = 0; i < tries; i++) {
    const began = performance.now();
    try {
      await marked(pipe, from, waitMs);
    } catch (error) {
      return { ms: undefined, waitedMs: Math.round(performance.now() - began), why: messageOf(error) };
    }
    slowest = Math.max(slowest, performance.now() - began);
  }
  return { ms: Math.round(slowest), waitedMs: 0, why: '' };
}

async function marked(pipe: PipePort, from: Side, waitMs: number): Promise<void> {
  const over = new AbortController();
  const late = delay(waitMs, undefined, { signal: over.signal }).then(() => {
    throw new Error('is crossfade up running?');
  });
  late.catch(() => undefined);
  try {
    const way = pipe.mark(from).then(async (marker) => pipe.applied(from, marker, over.signal));
    way.catch(() => undefined);
    await Promise.race([way, late]);
  } finally {
    over.abort();
  }
}
