/**
 * Under which plan a migration runs, in `crossfade.plan` on the target. Guarantee: one line for each time that it changed, never edited; the last
 * one is what holds.
 */
import type pg from 'pg';
import { connect } from '#connectors/postgres/session.ts';

export interface PlanRecord {
  readonly hash: string;
  /** Somebody named this very hash when it began; else it is what the file happened to mean. */
  readonly signed: boolean;
  /** As PostgreSQL prints it, in UTC. */
  readonly since: string;
}

/** Undefined when nothing ever ran. */
export async function readPlanRecord(client: pg.ClientBase, name: string): Promise<PlanRecord | undefined> {
  return (await readPlanHistory(client, name, 1))[0];
}

/** The newest first. */
export async function readPlanHistory(client: pg.ClientBase, name: string, most: number): Promise<PlanRecord[]> {
  if ((await client.query(`SELECT WHERE to_regclass('crossfade.plan') IS NOT NULL`)).rowCount === 0) return [];
  const { rows } = await client.query<{ hash: string; signed: string; since: string }>(
    `SELECT hash, signed::text, to_char(since AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS since
     FROM crossfade.plan WHERE name = $1 ORDER BY id DESC LIMIT $2::bigint`,
    [name, String(most)],
  );
  return rows.map((row) => ({ hash: row.hash, signed: row.signed === 'true', since: row.since }));
}

/** Of whoever has just begun to write the target, whose tables of ours are there. A hash that was signed once stays signed. */
export async function recordPlan(url: string, name: string, { hash, signed }: Omit<PlanRecord, 'since'>): Promise<PlanRecord> {
  const client = await connect(url, { applicationName: 'crossfade plan', role: 'target' });
  try {
    const last = await readPlanRecord(client, name);
    if (last !== undefined && last.hash === hash && (last.signed || !signed)) return last;
    await client.query('INSERT INTO crossfade.plan (name, hash, signed) VALUES ($1, $2, $3::boolean)', [name, hash, String(signed)]);
    return (await readPlanRecord(client, name))!;
  } finally {
    await client.end();
  }
}
