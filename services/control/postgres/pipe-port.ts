/** Markers through the pipelines of both directions. Guarantee: a marker is called applied when its row is there, which the sink writes in the transaction of what came before it. */
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { queryRow } from '#connectors/postgres/session.ts';
import { PipelineError } from '#schemas/errors.ts';
import { MESSAGE_PREFIX } from '#schemas/frame/frame.ts';
import { otherSide, type Side } from '#schemas/migration/transitions.ts';
import type { Marker, PipePort } from '../flip/ports.ts';
import { type FlippedMigration, pipelineName } from './flipped-migration.ts';
import type { SideSessions } from './sessions.ts';

/** Writers wait meanwhile. */
const POLL_MS = 3;

const APPLIED = `SELECT FROM crossfade.markers WHERE name = $1 AND id = $2`;
const MARK = 'SELECT pg_logical_emit_message(true, $1, $2)::text AS lsn';

export function pipePort(migration: FlippedMigration, sessions: SideSessions): PipePort {
  return {
    mark: async (from) => mark(migration, sessions, from),
    applied: async (from, { id }, signal) => {
      const name = nameOf(migration, from);
      for (;;) {
        signal.throwIfAborted();
        const found = await sessions.run(otherSide(from), async (client) => client.query(APPLIED, [name, id])).catch(notThereYet);
        if (found.rowCount === 1) return;
        await delay(POLL_MS, undefined, { signal });
      }
    },
  };
}

async function mark(migration: FlippedMigration, sessions: SideSessions, from: Side): Promise<Marker> {
  const id = `flip-${randomUUID()}`;
  const message = JSON.stringify({ kind: 'marker', name: nameOf(migration, from), id });
  const row = await sessions.run(from, async (client) => queryRow(client, MARK, [MESSAGE_PREFIX, message]));
  return { id, lsn: row!['lsn']! };
}

function nameOf(migration: FlippedMigration, from: Side): string {
  const name = pipelineName(migration, from);
  if (name === undefined) throw new PipelineError('CF-8324', `nothing brings changes of the ${from} to the ${otherSide(from)}`);
  return name;
}

/** A path that is being set up makes its tables first. */
function notThereYet(error: unknown): { readonly rowCount: number } {
  if ((error as { code?: string }).code === '42P01') return { rowCount: 0 };
  throw error;
}
