/**
 * Proof that a direction carries what is written. Guarantee: a marker that is applied was written on one side and has gone through reader,
 * log and sink into the other's own transaction; so everything committed before it has. Needs the two addresses and nothing of the
 * process that carries it.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import { connect, queryRow } from '#connectors/postgres/session.ts';
import { PipelineError } from '#schemas/errors.ts';
import { MESSAGE_PREFIX, type OurMessage } from '#schemas/frame/frame.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { reverseName } from '#schemas/mapping/reverse/reverse-name.ts';

const POLL_MS = 10;

/** One direction of a migration: from where, to where, under which name. */
export interface DirectionEnds {
  /** Of the direction: the migration's, or its `reverseName`. */
  readonly name: string;
  readonly from: string;
  readonly to: string;
}

/** @throws PipelineError CF-8201 where a direction ends in no PostgreSQL */
export function directionEnds({ name, source, target }: MigrationFile, direction: 'forward' | 'reverse'): DirectionEnds {
  if (target.postgres === undefined) throw new PipelineError('CF-8201', `${name} has no way back: its target is Redis`);
  if (direction === 'forward') return { name, from: source.postgres, to: target.postgres };
  return { name: reverseName(name), from: target.postgres, to: source.postgres };
}

export interface WrittenMarker {
  readonly id: string;
  /** Behind the marker, on the server that it was written on. */
  readonly lsn: string;
}

/** By a session of its own. @throws PipelineError CF-2001 */
export async function writeMarker({ name, from }: Pick<DirectionEnds, 'name' | 'from'>, id: string = randomUUID()): Promise<WrittenMarker> {
  const client = await connect(from, { applicationName: 'crossfade marker', role: 'source', settings: { synchronous_commit: 'local' } });
  try {
    const message: OurMessage = { kind: 'marker', name, id };
    const row = await queryRow(client, 'SELECT pg_catalog.pg_logical_emit_message(true, $1, $2)::text AS lsn', [
      MESSAGE_PREFIX,
      JSON.stringify(message),
    ]);
    return { id, lsn: row!['lsn']! };
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** Resolves once the marker is applied; rejects with the signal's reason. @throws PipelineError CF-5001 */
export async function waitMarkerApplied({ name, to }: Pick<DirectionEnds, 'name' | 'to'>, id: string, signal: AbortSignal): Promise<void> {
  const client = await connect(to, { applicationName: 'crossfade marker', role: 'target' });
  try {
    for (;;) {
      signal.throwIfAborted();
      if (await isApplied(client, name, id)) return;
      await delay(POLL_MS, undefined, { signal });
    }
  } finally {
    await client.end().catch(() => undefined);
  }
}

const UNDEFINED_TABLE = '42P01';

async function isApplied(client: pg.Client, name: string, id: string): Promise<boolean> {
  try {
    return ((await client.query('SELECT FROM crossfade.markers WHERE name = $1 AND id = $2', [name, id])).rowCount ?? 0) > 0;
  } catch (error) {
    // No sink has ever come here.
    if ((error as { code?: string }).code === UNDEFINED_TABLE) return false;
    throw error;
  }
}

export interface RoundTrip extends WrittenMarker {
  readonly at: string;
  readonly milliseconds: number;
}

/** @throws PipelineError CF-8202 when the marker is not applied in time */
export async function proveRoundTrip(
  ends: DirectionEnds,
  limit: { readonly timeoutMs: number; readonly signal?: AbortSignal },
): Promise<RoundTrip> {
  const begun = performance.now();
  const written = await writeMarker(ends);
  const timeout = AbortSignal.timeout(limit.timeoutMs);
  try {
    await waitMarkerApplied(ends, written.id, limit.signal === undefined ? timeout : AbortSignal.any([timeout, limit.signal]));
  } catch (error) {
    if (!timeout.aborted || limit.signal?.aborted === true) throw error;
    throw new PipelineError('CF-8202', `a marker written for ${ends.name} was not applied within ${limit.timeoutMs} ms`, { cause: error });
  }
  return { ...written, at: new Date().toISOString(), milliseconds: Math.round(performance.now() - begun) };
}
