/**
 * Do both servers compute the canonical digest? Guarantee: each was seen to give the hash that schemas/reconcile gives for the same bytes (a
 * processor with the other byte order does not, and is refused); a server of another encoding than UTF-8 converts its texts first.
 */
import type pg from 'pg';
import { PipelineError } from '#schemas/errors.ts';
import { hashPair, laneValue, seedOf } from '#schemas/reconcile/lookup3.ts';
import { queryRow } from '#connectors/postgres/session.ts';
import { newDigestPlan, type DigestPlan } from './row-sql.ts';

const SAMPLE = 'crossfade asks: which byte comes first?';
const SEED = 0x0102_0304_0506_0708n;

function expected(): bigint {
  const bytes = Buffer.from(SAMPLE);
  const lanes = new Int32Array(4);
  hashPair(bytes, 0, bytes.length, { a: seedOf(SEED), b: seedOf(SEED) }, lanes);
  return laneValue(lanes, 0);
}

/** @returns whether its encoding is UTF-8. @throws PipelineError CF-6004 */
async function usesUtf8(client: pg.ClientBase, role: 'source' | 'target'): Promise<boolean> {
  const asked = `SELECT hashtextextended('${SAMPLE}' COLLATE "C", ${SEED})::text AS hash, current_setting('server_encoding') AS encoding`;
  const row = await queryRow(client, asked);
  if (row?.['hash'] !== String(expected()))
    throw new PipelineError('CF-6004', `the ${role} computes hashtextextended in another byte order`);
  return row['encoding'] === 'UTF8';
}

export async function agreeOnDigest(source: pg.ClientBase, target: pg.ClientBase): Promise<DigestPlan> {
  const [one, other] = await Promise.all([usesUtf8(source, 'source'), usesUtf8(target, 'target')]);
  return newDigestPlan({ converted: !one || !other });
}
