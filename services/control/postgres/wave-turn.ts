/**
 * Of the waves of one migration one at a time makes writers wait. Guarantee: whoever dies, or says nothing for too long, gives its turn back; a turn decides nothing, it only keeps
 * two fences from waiting for each other.
 *
 * A rollback locks tables of the target, and drains into the source; a cut-over locks those of the source, and drains into the target. At the same time each would wait for
 * the other one's locks, on two servers, of which none sees the circle: until one's time is up all tenants wait on both sides.
 */
import type pg from 'pg';
import { connect } from '#connectors/postgres/session.ts';
import type { WaveOf } from '#schemas/config/migration-file.ts';
import { PipelineError } from '#schemas/errors.ts';

/** Below what opening a fence may take beside its locks (block.ts). */
const WAIT_MS = 8_000;

interface Turn {
  /** Never rejects. */
  end(): Promise<void>;
}

interface TurnOptions {
  /** Of the target: both kinds of flips ask there. */
  readonly url: string;
  readonly name: string;
  readonly wave: WaveOf;
  /** How long a fence is held at most. */
  readonly holdMs: number;
}

/** @throws PipelineError CF-8101, CF-5001 */
export async function takeTurn({ url, name, wave, holdMs }: TurnOptions): Promise<Turn> {
  const client = await connect(url, {
    applicationName: `crossfade ${name} turn`,
    role: 'target',
    settings: { lock_timeout: String(WAIT_MS), statement_timeout: '0', idle_session_timeout: String(WAIT_MS + holdMs) },
  });
  client.on('error', () => undefined);
  const end = async (): Promise<void> => client.end().catch(() => undefined);
  try {
    await waitForTurn(client, wave);
    return { end };
  } catch (error) {
    await end();
    throw error;
  }
}

async function waitForTurn(client: pg.Client, { of }: WaveOf): Promise<void> {
  try {
    await client.query(`SELECT pg_advisory_lock(hashtextextended('crossfade fence of a wave of ' || $1, 0))`, [of]);
  } catch (error) {
    if ((error as { code?: string }).code !== '55P03') throw error;
    throw new PipelineError('CF-8101', `another wave of ${of} has held its fence for ${WAIT_MS} ms`, { cause: error });
  }
}
