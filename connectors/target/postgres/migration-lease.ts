/**
 * Who may move the state of a migration. Guarantee: one holder at a time by the target's own clock; a change is made only by the session that
 * holds the lease, only from the version that it read, and together with its audit record. A holder that was killed is followed at once (its
 * session's advisory lock is gone), one that hangs after the lease's time, and its session is ended.
 *
 * The lease does not fence the source: that an act of a holder thought dead is not decided after all is `settleEpoch`'s (connectors/postgres/journal.ts).
 */
import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import { connect, queryRow } from '#connectors/postgres/session.ts';
import { messageOf, PipelineError } from '#schemas/errors.ts';
import { readRulesSchema } from '#schemas/flags/flag-schema.ts';
import { type ReadRules, rulesAfterFlip } from '#schemas/flags/read-rules.ts';
import type { Details } from '#schemas/migration/audit-record.ts';
import type { Act, MigrationRow } from '#schemas/migration/migration-row.ts';
import { actOf, type MigrationEvent, REFUSALS, type Side, step } from '#schemas/migration/transitions.ts';
import { failpoint, guarded } from '#schemas/test-hooks.ts';
import { appendAudit } from './audit.ts';
import { CONTROL_LOCK, ensureState, inState, type Noted, readStateRow, STATE_SETTINGS } from './migration-state.ts';

/** Long enough for a slow round trip and a pause of the event loop, short enough that nobody waits for one who hangs. */
const LEASE_MS = 10_000;
const RENEW_EVERY_MS = 2_000;
const LOCK_NOT_AVAILABLE = '55P03';
/** Who holds it without an act writes one record: a proof, an approval, the end of an act. */
const SHORT_WAIT_MS = 3_000;
const SHORT_PAUSE_MS = 100;

export interface MigrationLeaseOptions {
  readonly url: string;
  readonly name: string;
  /** Names this process among all that may hold it, for people: command, host, process id. */
  readonly holder: string;
  /** How long one who holds it without an act is waited for. */
  readonly waitMs?: number;
  /** For tests. */
  readonly leaseMs?: number;
}

export interface StateChange {
  /** A person's name, or the process's. */
  readonly actor: string;
  /** What the act came to; with `stepped`. */
  readonly step?: string;
  readonly details?: Details;
  /** The highest epoch of the journals, when an act begins or a forced rollback was found. */
  readonly epochSeen?: bigint;
  /** Of an act that begins. */
  readonly planHash?: string;
}

export interface MigrationLease {
  /** As last read or written. */
  readonly row: MigrationRow;
  /** Fires when it can no longer be relied on. */
  readonly lost: AbortSignal;
  /** @throws PipelineError CF-8002 when the state refuses the event, CF-8003 when the lease is lost or somebody else has changed the row */
  apply(event: MigrationEvent, change: StateChange): Promise<MigrationRow>;
  /** A record that changes no state. @throws PipelineError CF-8003 */
  note(noted: Noted): Promise<void>;
  /** Asks the target. To be called last before an act is decided. @throws PipelineError CF-8003 when it is not ours any more */
  confirm(): Promise<void>;
  release(): Promise<void>;
}

/** @throws PipelineError CF-8001 when somebody else holds it; CF-5001, CF-5002 */
export async function takeMigrationLease(options: MigrationLeaseOptions): Promise<MigrationLease> {
  const endMs = Date.now() + (options.waitMs ?? SHORT_WAIT_MS);
  for (;;) {
    try {
      return await claimLease(options);
    } catch (error) {
      const isShort = error instanceof PipelineError && error.code === 'CF-8001' && error.details?.['act'] === null;
      if (!isShort || Date.now() >= endMs) throw error;
    }
    await delay(SHORT_PAUSE_MS);
  }
}

async function claimLease(options: MigrationLeaseOptions): Promise<MigrationLease> {
  const { url, name } = options;
  const client = await connect(url, { applicationName: `crossfade ${name} control`, role: 'target', settings: STATE_SETTINGS });
  try {
    await ensureState(client, name);
    await client.query(`SELECT pg_advisory_lock(${CONTROL_LOCK}, pg_backend_pid())`);
    await endExpired(client, name);
    const claimed = await client.query(
      `UPDATE crossfade.migration m
          SET lease_holder = $2, lease_backend = pg_backend_pid(), lease_expires = clock_timestamp() + $3 * interval '1 ms'
        WHERE name = $1 AND (lease_holder IS NULL OR lease_expires <= clock_timestamp() OR NOT EXISTS (
          SELECT FROM pg_locks l WHERE l.locktype = 'advisory' AND l.classid = ${CONTROL_LOCK} AND l.objsubid = 2 AND l.granted
             AND l.objid = m.lease_backend AND l.pid = m.lease_backend
             AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())))`,
      [name, options.holder, options.leaseMs ?? LEASE_MS],
    );
    const row = await readStateRow(client, name);
    if (claimed.rowCount !== 1) throw heldBy(row!);
    return new HeldLease(client, options, row!);
  } catch (error) {
    // Somebody is in the middle of a change for as long as locks are waited for.
    const busy = (error as { code?: string }).code === LOCK_NOT_AVAILABLE ? await readStateRow(client, name) : undefined;
    await client.end().catch(() => undefined);
    throw busy === undefined ? error : heldBy(busy);
  }
}

function heldBy({ name, lease, act }: MigrationRow): PipelineError {
  const what = act === undefined ? '' : ` (${act.kind}, ${act.step}, since ${act.startedAt})`;
  return new PipelineError('CF-8001', `${lease?.holder ?? 'somebody else'} acts on migration ${name}${what}`, {
    details: { holder: lease?.holder ?? null, act: act ?? null },
  });
}

/** Its session may hold the row's lock, and must not go on when it wakes. One of another role that may not be ended is refused all the same. */
async function endExpired(client: pg.Client, name: string): Promise<void> {
  await client
    .query(
      `SELECT pg_terminate_backend(l.pid, 5000) FROM pg_locks l JOIN crossfade.migration m ON l.pid = m.lease_backend AND l.objid = m.lease_backend
        WHERE m.name = $1 AND m.lease_expires <= clock_timestamp() AND l.locktype = 'advisory' AND l.classid = ${CONTROL_LOCK}
          AND l.objsubid = 2 AND l.pid <> pg_backend_pid() AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
      [name],
    )
    .catch((error: unknown) => {
      if ((error as { code?: string }).code !== '42501') throw error;
    });
}

class HeldLease implements MigrationLease {
  readonly #client: pg.Client;
  readonly #options: MigrationLeaseOptions;
  readonly #lost = new AbortController();
  #row: MigrationRow;
  /** Renewals do not fall into a transaction. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(client: pg.Client, options: MigrationLeaseOptions, row: MigrationRow) {
    this.#client = client;
    this.#options = options;
    this.#row = row;
    client.once('end', () => this.#lose());
    void this.#keep().catch(() => this.#lose());
  }

  get row(): MigrationRow {
    return this.#row;
  }

  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  async apply(event: MigrationEvent, change: StateChange): Promise<MigrationRow> {
    return this.#inTurn(async () => {
      const { name } = this.#options;
      await this.#held(async (now) => {
        const { next, act } = moved(now, event, change);
        const rules = next.serves === now.serves ? undefined : flippedRules(now, next.serves);
        await appendAudit(this.#client, now, {
          actor: change.actor,
          event,
          fromState: now.state,
          toState: next.state,
          details: {
            epoch: next.epoch,
            serves: next.serves,
            ...(change.step !== undefined && { step: change.step }),
            ...change.details,
            ...(rules?.dual !== undefined && { stage: rules.dual }),
          },
        });
        await this.#client.query(
          `UPDATE crossfade.migration SET state = $2, serves = $3, epoch = $4::bigint, act = $5::jsonb, plan_hash = coalesce($6, plan_hash),
             reads = coalesce($7::jsonb, reads), version = version + 1, updated_at = clock_timestamp() WHERE name = $1`,
          [
            name,
            next.state,
            next.serves,
            String(next.epoch),
            act === undefined ? null : JSON.stringify(act),
            change.planHash ?? null,
            rules === undefined ? null : JSON.stringify(rules),
          ],
        );
        failpoint('state.written');
      });
      failpoint('state.committed');
      this.#row = (await readStateRow(this.#client, name))!;
      return this.#row;
    });
  }

  async note(noted: Noted): Promise<void> {
    await this.#inTurn(async () => this.#held(async (now) => void (await appendAudit(this.#client, now, noted))));
  }

  async confirm(): Promise<void> {
    if (!this.lost.aborted && (await this.#renew().catch(() => false))) return;
    this.#lose();
    throw this.#lostError();
  }

  async release(): Promise<void> {
    this.#lose();
    await this.#inTurn(async () => {
      await this.#client.query(
        `UPDATE crossfade.migration SET lease_holder = NULL, lease_backend = NULL, lease_expires = NULL
          WHERE name = $1 AND lease_holder = $2 AND lease_backend = pg_backend_pid()`,
        [this.#options.name, this.#options.holder],
      );
    }).catch(() => undefined);
    await this.#client.end().catch(() => undefined);
  }

  /** The row's lock is held until the COMMIT: whoever takes the lease over waits for it. */
  async #held(work: (now: MigrationRow) => Promise<void>): Promise<void> {
    try {
      await inState(this.#client, this.#options.name, async (now) => {
        if (guarded('state-lease') && !(await this.#isOurs())) throw this.#lostError();
        if (now.version !== this.#row.version) throw this.#lostError();
        await work(now);
      });
    } catch (error) {
      if (error instanceof PipelineError) throw error;
      this.#lose();
      throw new PipelineError('CF-8003', `the state of migration ${this.#options.name} could not be changed: ${messageOf(error)}`, {
        cause: error,
      });
    }
  }

  async #isOurs(): Promise<boolean> {
    const { name, holder } = this.#options;
    const row = await queryRow(
      this.#client,
      `SELECT 1 AS ours FROM crossfade.migration
        WHERE name = $1 AND lease_holder = $2 AND lease_backend = pg_backend_pid() AND lease_expires > clock_timestamp()`,
      [name, holder],
    );
    return row !== undefined;
  }

  async #keep(): Promise<void> {
    for (;;) {
      await delay(Math.min(RENEW_EVERY_MS, this.#leaseMs / 4), undefined, { signal: this.lost, ref: false });
      if (!(await this.#renew())) return this.#lose();
    }
  }

  get #leaseMs(): number {
    return this.#options.leaseMs ?? LEASE_MS;
  }

  /** False when it is not ours, its time is over, or the target has not answered within the time that it has. */
  async #renew(): Promise<boolean> {
    const { name, holder } = this.#options;
    const renewed = this.#inTurn(async () =>
      this.#client.query(
        `UPDATE crossfade.migration SET lease_expires = clock_timestamp() + $3 * interval '1 ms'
          WHERE name = $1 AND lease_holder = $2 AND lease_backend = pg_backend_pid() AND lease_expires > clock_timestamp()`,
        [name, holder, this.#leaseMs],
      ),
    );
    return Promise.race([renewed.then((result) => result.rowCount === 1), delay(this.#leaseMs, false, { ref: false })]);
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const before = this.#turn;
    const mine = before.then(work, work);
    this.#turn = mine.catch(() => undefined);
    return mine;
  }

  #lose(): void {
    this.#lost.abort(this.#lostError());
  }

  #lostError(): PipelineError {
    return new PipelineError('CF-8003', `the lease on migration ${this.#options.name} is lost`);
  }
}

/** Of rules that nobody can read nothing is made: a flip does not fail for them. */
function flippedRules({ reads }: MigrationRow, serves: Side): ReadRules | undefined {
  const before = readRulesSchema.safeParse(reads);
  return before.success ? rulesAfterFlip(before.data, serves) : undefined;
}

/** @throws PipelineError CF-8002 */
function moved(
  now: MigrationRow,
  event: MigrationEvent,
  change: StateChange,
): { readonly next: MigrationRow; readonly act: Act | undefined } {
  const result = step(now, event, change.epochSeen);
  if (!result.ok) {
    throw new PipelineError('CF-8002', `${event} is not possible while the migration is ${now.state}: ${REFUSALS[result.refusal]}`, {
      details: { state: now.state, event, refusal: result.refusal },
    });
  }
  const next = { ...now, ...result.next };
  const kind = actOf(next.state)?.kind;
  if (kind === undefined) return { next, act: undefined };
  const at = new Date().toISOString();
  const begun = now.act ?? { kind, epoch: String(next.epoch), step: 'begun', startedAt: at, by: change.actor };
  return { next, act: { ...begun, ...(change.step !== undefined && { step: change.step }) } };
}
