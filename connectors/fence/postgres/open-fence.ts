/**
 * Opens the fence of one side. Guarantee: everything it does is one transaction of one session, so that its COMMIT is the decision and anything
 * else (an error, a time-out, the death of this process or of the network) is a ROLLBACK, after which queued writers go on.
 *
 * In the order of what it costs others: the journal row, which no writer waits for; SHARE UPDATE EXCLUSIVE on the tables, which keeps vacuum
 * and partitions that come or go away and lets writers through; then SHARE ROW EXCLUSIVE, from the request of which on writers queue.
 */
import type pg from 'pg';
import type { Decision, FenceOptions, HeldFence, NameSwap, SequenceValue } from '#connectors/fence/fence.ts';
import { requireRenames } from '#connectors/postgres/renames.ts';
import { messageOf, PipelineError } from '#schemas/errors.ts';
import { listNames } from '#schemas/finding.ts';
import { quoteTable } from '#schemas/table.ts';
import { failpoint } from '#schemas/test-hooks.ts';
import { type Locking, lockOrder, lockQuietly, lockTables, QUIET_LOCK_MS } from './lock-tables.ts';
import { explained } from './refusal.ts';
import { holdSequences, type HeldSequences, readSequences, type Sequence } from './sequences.ts';
import { type LockSession, openLockSession, openSession } from './session.ts';
import { endComparisons, swapNames } from './swap-names.ts';
import { creations, enabling, isAwake, type Member, readMembers } from './triggers.ts';

/** @throws PipelineError CF-2001 / CF-5001, CF-8101, CF-8102, CF-8103, CF-8104 */
export async function openFence(options: FenceOptions, epoch: bigint): Promise<HeldFence> {
  const session = await openLockSession(options);
  try {
    return await hold(options, epoch, session);
  } catch (error) {
    // Not waited for: a session that does not answer is the server's to end.
    void session.client.end().catch(() => undefined);
    throw explained(error, options.side, 'opened');
  }
}

async function hold(options: FenceOptions, epoch: bigint, session: LockSession): Promise<HeldFence> {
  const { client } = session;
  const lockMs = Math.max(1, Math.floor(Math.min(options.lockTimeoutMs, session.safeLockMs)));
  const observer = await openSession(options);
  try {
    await client.query('BEGIN');
    await writeJournal(client, options, epoch);
    const tables = await lockOrder(client, options.tables);
    await lockQuietly({ ...session, observer, tables, isOnly: false });
    // From here on no partition comes or goes, nor a name.
    if (options.swap !== undefined) await keepStanding(session, observer, options, options.swap);
    const members = await readMembers(client, options);
    const raising = members.flatMap((member) => raised(options, member));
    const sequences = await readSequences(client, options.tables);
    failpoint('fence.quiet');
    if (options.swap !== undefined) await endComparisons(observer, options.tables);
    const blockedAtMs = await lockTables({ ...session, observer, tables, isOnly: false, limitMs: lockMs, ...modeOf(options) });
    const lockWaitMs = Date.now() - blockedAtMs;
    failpoint('fence.locked');
    await client.query([`SET LOCAL lock_timeout = ${lockMs}`, `SET LOCAL statement_timeout = ${options.holdMs}`, ...raising].join(';\n'));
    const held = await holdSequences(client, sequences, options.swap !== undefined);
    if (options.swap !== undefined) requireMovable(sequences, held);
    failpoint('fence.raised');
    return new OpenFence(client, { options, epoch, blockedAtMs, lockWaitMs, held, pid: session.pid, lockMs });
  } finally {
    await observer.end().catch(() => undefined);
  }
}

/** Of what gets the names: whoever vacuums or alters it is waited for now, while writers go on, and not when it is to be renamed. */
async function keepStanding(session: LockSession, observer: pg.Client, { name }: FenceOptions, swap: NameSwap): Promise<void> {
  await requireRenames(session.client, name, swap.standing);
  await lockQuietly({ ...session, observer, tables: await lockOrder(session.client, swap.others), isOnly: false });
}

/**
 * What a table owns goes along with it, and cannot while a transaction that has called it waits for the table: that one would be ended for a deadlock,
 * or we be kept until our time is up. It goes on as soon as we give way.
 */
function requireMovable(sequences: readonly Sequence[], held: HeldSequences): void {
  const kept = sequences.filter((one) => one.isOwned && !held.has(one)).map(({ sequence }) => quoteTable(sequence));
  if (kept.length === 0) return;
  throw new PipelineError(
    'CF-8101',
    `a transaction that is open has called ${listNames(kept, 5)}: the swap of names cannot lock the sequence`,
  );
}

/** A lock that lets readers through cannot be made one that does not, where somebody who reads waits to write. */
function modeOf({ swap }: FenceOptions): Pick<Locking, 'mode'> {
  return swap === undefined ? {} : { mode: 'ACCESS EXCLUSIVE' };
}

function raised(options: FenceOptions, member: Member): readonly string[] {
  const made = creations(options, member);
  return made.length === 0 && isAwake(member) ? [] : [...made, enabling(options, member)];
}

/** Proves that this epoch can still be decided, and keeps anybody else from saying what became of it while we hold. */
async function writeJournal(client: pg.Client, { name, side }: FenceOptions, epoch: bigint): Promise<void> {
  await client.query(`SET LOCAL lock_timeout = ${QUIET_LOCK_MS}`);
  const serves = side === 'source' ? 'target' : 'source';
  const written = await client.query(
    `INSERT INTO crossfade.journal (name, epoch, serves)
     SELECT $1, $2::bigint, $3 WHERE NOT EXISTS (SELECT FROM crossfade.journal WHERE name = $1 AND epoch >= $2::bigint)
     ON CONFLICT DO NOTHING`,
    [name, String(epoch), serves],
  );
  if (written.rowCount === 1) return;
  throw new PipelineError('CF-8103', `epoch ${epoch} of ${name} was decided or given up on the ${side}, or a later one was`);
}

interface FenceParts {
  readonly options: FenceOptions;
  readonly epoch: bigint;
  readonly blockedAtMs: number;
  readonly lockWaitMs: number;
  readonly held: HeldSequences;
  readonly pid: string;
  readonly lockMs: number;
}

class OpenFence implements HeldFence {
  readonly blockedAtMs: number;
  readonly lockWaitMs: number;
  readonly lost: Promise<Error>;
  readonly #client: pg.Client;
  readonly #parts: FenceParts;
  #isOver = false;
  #isSwapping = false;

  constructor(client: pg.Client, parts: FenceParts) {
    this.#client = client;
    this.#parts = parts;
    this.blockedAtMs = parts.blockedAtMs;
    this.lockWaitMs = parts.lockWaitMs;
    const { promise, resolve } = Promise.withResolvers<Error>();
    this.lost = promise;
    const lose = (cause?: Error): void => {
      if (!this.#isOver) resolve(this.#gone(cause));
    };
    client.once('error', lose);
    client.once('end', () => lose());
  }

  async sequences(): Promise<readonly SequenceValue[]> {
    return this.#ask(async () => this.#parts.held.values(this.#client));
  }

  get reader(): pg.Client {
    return this.#client;
  }

  async swapNames(): Promise<void> {
    const { options } = this.#parts;
    if (options.swap === undefined) return;
    this.#isSwapping = true;
    try {
      await this.#swapNames(options, options.swap);
    } finally {
      this.#isSwapping = false;
    }
  }

  async #swapNames(options: FenceOptions, swap: NameSwap): Promise<void> {
    const { pid, lockMs } = this.#parts;
    const observer = await openSession(options);
    try {
      await swapNames({ client: this.#client, pid, observer, options, swap, lockMs });
    } catch (error) {
      throw explained(error, options.side, 'made to swap the names');
    } finally {
      await observer.end().catch(() => undefined);
    }
  }

  async confirm(): Promise<void> {
    await this.#ask(async () => this.#client.query('SELECT'));
  }

  async commit(decision?: Decision): Promise<void> {
    const { options, epoch } = this.#parts;
    if (decision !== undefined) {
      const values = [options.name, String(epoch), decision.marker, JSON.stringify(decision.details ?? {})];
      await this.#ask(async () =>
        this.#client.query(
          'UPDATE crossfade.journal SET marker = $3, details = $4, at = clock_timestamp() WHERE name = $1 AND epoch = $2',
          values,
        ),
      );
    }
    failpoint('fence.commit');
    this.#isOver = true;
    let tag: string;
    try {
      tag = (await this.#client.query('COMMIT')).command;
    } catch (error) {
      void this.#client.end().catch(() => undefined);
      // An ERROR is the server's word that it undid it; with anything else the answer is lost, not the COMMIT.
      if ((error as { severity?: string }).severity === 'ERROR') throw this.#gone(error);
      throw new PipelineError('CF-8105', `the COMMIT of the fence on the ${options.side} was not answered: ${messageOf(error)}`, {
        cause: error,
      });
    }
    failpoint('fence.committed');
    void this.#client.end().catch(() => undefined);
    if (tag !== 'COMMIT') throw this.#gone(new Error('the server undid it'));
  }

  async rollback(): Promise<void> {
    this.#isOver = true;
    if (this.#isSwapping) {
      // Behind a ROLLBACK the swap's next statement would be a transaction of its own: on a session that ends now there is none.
      void this.#client.end().catch(() => undefined);
      throw this.#gone(new Error('it was given up while the names were swapped'));
    }
    try {
      await this.#client.query('ROLLBACK');
    } catch (error) {
      throw this.#gone(error);
    } finally {
      void this.#client.end().catch(() => undefined);
    }
  }

  async #ask<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw this.#gone(error);
    }
  }

  #gone(cause: unknown): PipelineError {
    const why = cause === undefined ? 'its session ended' : messageOf(cause);
    return new PipelineError('CF-8104', `the fence on the ${this.#parts.options.side} is not held any more: ${why}`, { cause });
  }
}
