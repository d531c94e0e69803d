/**
 * The file's own steps of SQL on the target (`schemaSteps:`). Guarantee: each is done once, in the file's order, and believed only when its
 * query says so; when one fails, those done since the last complete run are undone in reverse order; and a run that was killed anywhere
 * leaves the journal so that the next one ends what it began.
 *
 * A step stands in the journal in the transaction that does it. One that PostgreSQL refuses in a transaction is announced before and
 * confirmed after; found announced, it is asked whether it is done, and else what it left behind is undone first.
 */
import { createHash } from 'node:crypto';
import pg from 'pg';
import type { SchemaStepEntry } from '#schemas/config/migration-file.ts';
import { messageOf, PipelineError } from '#schemas/errors.ts';
import { quoteIdent } from '#schemas/table.ts';
import { failpoint } from '#schemas/test-hooks.ts';
import { connect } from '#connectors/postgres/session.ts';
import { ensureSchema } from '#connectors/postgres/own-schema.ts';

/** `changed`: done by another text than the file has now. */
export type StepState = 'done' | 'begun' | 'changed';

export interface StepRun {
  readonly done: readonly string[];
  /** Were done before. */
  readonly kept: readonly string[];
}

interface JournalRow {
  readonly step: string;
  readonly digest: string;
  readonly state: 'begun' | 'done';
  /** The run that did it went on to the end. */
  readonly settled: boolean;
}

/** Names in SQL are the user's: those of the role's own search path. */
const SETTINGS = { search_path: '"$user", public' };
const LOCK = `pg_catalog.hashtextextended('crossfade schema steps', 0)`;

/** By step name; none where there is no journal yet. */
export async function readStepStates(
  client: pg.ClientBase,
  name: string,
  steps: readonly SchemaStepEntry[],
): Promise<ReadonlyMap<string, StepState>> {
  const journal = await readJournal(client, name);
  return new Map(steps.flatMap((step) => [...stateOf(step, journal)].map((state) => [step.name, state] as const)));
}

function stateOf(step: SchemaStepEntry, journal: ReadonlyMap<string, JournalRow>): StepState[] {
  const row = journal.get(step.name);
  if (row === undefined) return [];
  return [row.digest === digestOf(step) ? row.state : 'changed'];
}

/** Also where only how it is undone has changed: what was journaled is what was tried out. */
function digestOf({ up, down, verify, transaction }: SchemaStepEntry): string {
  return createHash('sha256')
    .update(JSON.stringify([up, down, verify, transaction]))
    .digest('hex');
}

async function readJournal(client: pg.ClientBase, name: string): Promise<Map<string, JournalRow>> {
  const exists = await client.query(`SELECT FROM pg_catalog.pg_class WHERE oid = pg_catalog.to_regclass('crossfade.schema_steps')`);
  if ((exists.rowCount ?? 0) === 0) return new Map();
  const { rows } = await client.query<{ step: string; digest: string; state: JournalRow['state']; settled: string }>(
    'SELECT step, digest, state, settled::text AS settled FROM crossfade.schema_steps WHERE name = $1',
    [name],
  );
  return new Map(rows.map((row) => [row.step, { ...row, settled: row.settled === 'true' }]));
}

/** @throws PipelineError CF-5011, CF-5001, CF-5002, CF-7003 */
export async function applySchemaSteps(url: string, name: string, steps: readonly SchemaStepEntry[]): Promise<StepRun> {
  await using runner = await StepRunner.open(url, name);
  return await runner.apply(steps);
}

/** All of them, in reverse order. @returns the names of those that were undone */
export async function rollBackSchemaSteps(url: string, name: string, steps: readonly SchemaStepEntry[]): Promise<readonly string[]> {
  await using runner = await StepRunner.open(url, name);
  return await runner.rollBack(steps);
}

class TransactionEnded extends Error {
  override readonly name = 'TransactionEnded';

  constructor() {
    super('its text ends the transaction that it runs in; take BEGIN, COMMIT and ROLLBACK out, or say transaction: false of one statement');
  }
}

class StepRunner implements AsyncDisposable {
  readonly #client: pg.Client;
  readonly #name: string;
  #journal: Map<string, JournalRow>;

  static async open(url: string, name: string): Promise<StepRunner> {
    const client = await connect(url, { applicationName: 'crossfade schema', role: 'target', settings: SETTINGS });
    try {
      // Ends with the session, also when this process is killed.
      const { rows } = await client.query<{ free: string }>(`SELECT pg_catalog.pg_try_advisory_lock(${LOCK})::text AS free`);
      if (rows[0]?.free !== 'true')
        throw new PipelineError('CF-7003', 'another process runs schema steps on the target', { remedy: 'Wait until it is done.' });
      await ensureOwnSchema(client);
      return new StepRunner(client, name, await readJournal(client, name));
    } catch (error) {
      await client.end();
      throw error;
    }
  }

  private constructor(client: pg.Client, name: string, journal: Map<string, JournalRow>) {
    this.#client = client;
    this.#name = name;
    this.#journal = journal;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client.end();
  }

  async apply(steps: readonly SchemaStepEntry[]): Promise<StepRun> {
    this.#refuseChanged(steps);
    const done: string[] = [];
    const kept: string[] = [];
    for (const step of steps) {
      if (this.#journal.get(step.name)?.state === 'done') {
        await this.#confirm(step);
        kept.push(step.name);
        continue;
      }
      try {
        await this.#do(step);
      } catch (error) {
        throw await this.#afterFailure(step, steps, error);
      }
      done.push(step.name);
    }
    await this.#client.query('UPDATE crossfade.schema_steps SET settled = true WHERE name = $1 AND NOT settled', [this.#name]);
    return { done, kept };
  }

  async rollBack(steps: readonly SchemaStepEntry[]): Promise<string[]> {
    this.#refuseChanged(steps);
    const undone: string[] = [];
    for (const step of steps.toReversed()) {
      if (!this.#journal.has(step.name)) continue;
      try {
        await this.#undo(step);
      } catch (error) {
        throw failure(`schema step ${step.name} could not be undone: ${messageOf(error)}`, error, {
          undone,
          remedy: 'Mend its down, or undo it by hand; then run crossfade schema rollback again. It goes on where it stopped.',
        });
      }
      undone.push(step.name);
    }
    return undone;
  }

  #refuseChanged(steps: readonly SchemaStepEntry[]): void {
    const changed = steps.find((step) => stateOf(step, this.#journal)[0] === 'changed');
    if (changed !== undefined)
      throw new PipelineError('CF-5011', `schema step ${changed.name} was done by another text than the file has now`, {
        remedy: 'Put the former text back, and write what is new as a step of its own.',
      });
  }

  /** Somebody may have undone by hand what the journal tells. */
  async #confirm(step: SchemaStepEntry): Promise<void> {
    if (await this.#verified(step)) return;
    throw new PipelineError('CF-5011', `schema step ${step.name} is in the journal, but its query says that it is not done`, {
      remedy: 'Do by hand what is missing, or run crossfade schema rollback and then apply.',
    });
  }

  async #do(step: SchemaStepEntry): Promise<void> {
    if (step.transaction) {
      await this.#inTransaction(async () => {
        await this.#runWithin(step.up);
        await this.#mustBeDone(step);
        await this.#write(step, 'done');
      });
    } else {
      await this.#doOutside(step);
    }
    this.#journal.set(step.name, { step: step.name, digest: digestOf(step), state: 'done', settled: false });
  }

  async #doOutside(step: SchemaStepEntry): Promise<void> {
    const wasBegun = this.#journal.get(step.name)?.state === 'begun';
    await this.#write(step, 'begun');
    failpoint('step.begun');
    if (!(wasBegun && (await this.#verified(step)))) {
      // An index that was not built to its end is there, and is no index.
      if (wasBegun) await this.#client.query(step.down);
      await this.#client.query(step.up);
      failpoint('step.run');
      await this.#mustBeDone(step);
    }
    await this.#write(step, 'done');
  }

  /** Behind a COMMIT of the text's own nothing would be taken back, or stand together with its line in the journal. */
  async #runWithin(sql: string): Promise<void> {
    const ours = await this.#transaction();
    await this.#client.query(sql);
    if ((await this.#transaction()) !== ours) throw new TransactionEnded();
  }

  /** The path is put back, too: what pg_dump writes empties it, and names of a query or the next step would be nobody's. */
  async #transaction(): Promise<string | undefined> {
    const { rows } = await this.#client.query<{ id: string }>(
      `SELECT pg_catalog.pg_current_xact_id()::text AS id, pg_catalog.set_config('search_path', $1, false)`,
      [SETTINGS.search_path],
    );
    return rows[0]?.id;
  }

  async #mustBeDone(step: SchemaStepEntry): Promise<void> {
    if (!(await this.#verified(step))) throw new Error('it ran, but its query does not say that it is done');
  }

  async #verified({ verify }: SchemaStepEntry): Promise<boolean> {
    const result = await this.#client.query<(string | null)[]>({ text: verify, rowMode: 'array' });
    return result.rows[0]?.[0] === 't' || result.rows[0]?.[0] === 'true';
  }

  async #undo(step: SchemaStepEntry): Promise<void> {
    if (step.transaction) {
      await this.#inTransaction(async () => {
        await this.#runWithin(step.down);
        await this.#mustBeUndone(step);
        await this.#forget(step);
      });
    } else {
      await this.#write(step, 'begun');
      await this.#client.query(step.down);
      failpoint('step.undone');
      await this.#mustBeUndone(step);
      await this.#forget(step);
    }
    this.#journal.delete(step.name);
  }

  async #mustBeUndone(step: SchemaStepEntry): Promise<void> {
    // Where its tables are gone with it, the query cannot be asked any more.
    await this.#client.query(step.transaction ? 'SAVEPOINT asked' : 'SELECT');
    try {
      if (await this.#verified(step)) throw new Error('its down ran, but its query still says that it is done');
    } catch (error) {
      if (!(error instanceof pg.DatabaseError) || !GONE.has(error.code ?? '')) throw error;
      if (step.transaction) await this.#client.query('ROLLBACK TO SAVEPOINT asked');
    }
  }

  async #afterFailure(failed: SchemaStepEntry, steps: readonly SchemaStepEntry[], cause: unknown): Promise<PipelineError> {
    const undone: string[] = [];
    const told = `schema step ${failed.name} failed: ${messageOf(cause)}`;
    const unsettled = steps.filter((step) => this.#journal.get(step.name)?.settled === false && step !== failed).toReversed();
    // Outside a transaction, be it by its own COMMIT, something of it may be there.
    const mayStay = !failed.transaction || cause instanceof TransactionEnded;
    const toUndo = mayStay ? [failed, ...unsettled] : unsettled;
    for (const step of toUndo) {
      try {
        await this.#undo(step);
      } catch (error) {
        const message = `${told}; and ${step.name} could not be undone: ${messageOf(error)}`;
        return failure(message, cause, { undone, remedy: 'Undo it by hand or mend its down, then run crossfade schema rollback.' });
      }
      undone.push(step.name);
    }
    const which = undone.length === 0 ? 'nothing else had been done' : `undone: ${undone.join(', ')}`;
    return failure(`${told}; ${which}`, cause, { undone, remedy: 'Mend the step, then run crossfade schema apply again.' });
  }

  async #inTransaction(work: () => Promise<void>): Promise<void> {
    await this.#client.query('BEGIN');
    try {
      await work();
      await this.#client.query('COMMIT');
    } catch (error) {
      await this.#client.query('ROLLBACK').catch(() => undefined);
      throw error;
    }
  }

  async #write(step: SchemaStepEntry, state: JournalRow['state']): Promise<void> {
    await this.#client.query(
      `INSERT INTO crossfade.schema_steps (name, step, digest, state) VALUES ($1, $2, $3, $4)
       ON CONFLICT (name, step) DO UPDATE SET state = excluded.state, digest = excluded.digest, at = now()`,
      [this.#name, step.name, digestOf(step), state],
    );
  }

  async #forget(step: SchemaStepEntry): Promise<void> {
    await this.#client.query('DELETE FROM crossfade.schema_steps WHERE name = $1 AND step = $2', [this.#name, step.name]);
  }
}

/** Steps may need more rights than the sink has; our tables stay those of the role that owns their schema. */
async function ensureOwnSchema(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ owner: string }>(
    `SELECT r.rolname AS owner FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_roles r ON r.oid = n.nspowner
      WHERE n.nspname = 'crossfade' AND r.rolname <> current_user`,
  );
  const owner = rows[0]?.owner;
  if (owner !== undefined) await client.query(`SET ROLE ${quoteIdent(owner)}`);
  await ensureSchema(client);
  if (owner !== undefined) await client.query('RESET ROLE');
}

/** Undefined table, column, function, schema, object. */
const GONE: ReadonlySet<string> = new Set(['42P01', '42703', '42883', '3F000', '42704']);

function failure(
  message: string,
  cause: unknown,
  { undone, remedy }: { readonly undone: readonly string[]; readonly remedy: string },
): PipelineError {
  return new PipelineError('CF-5011', message, { cause, remedy, details: { undone } });
}
