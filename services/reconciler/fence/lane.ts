/**
 * One session on each side, opened before they are needed, that look at both stores again and again. Guarantee: what a look reads of a side is one
 * snapshot, taken under the locks of the tables named, so that no truncate or rewrite lies between them.
 */
import type pg from 'pg';
import { PipelineError } from '#schemas/errors.ts';
import { parseLsn, type Lsn } from '#schemas/lsn.ts';
import { quoteTable } from '#schemas/table.ts';
import { queryRow } from '#connectors/postgres/session.ts';
import { openSession } from '#connectors/probe/postgres/held-snapshot.ts';
import type { DigestPlan } from '#connectors/probe/postgres/row-sql.ts';
import { readShapes, type Shape } from '#connectors/probe/postgres/shape.ts';
import { readTableStates, readTargetState, type TableState } from '#connectors/probe/postgres/target-state.ts';
import { requireConsistent } from '../align.ts';
import type { BothScans } from '../touched-rows.ts';
import { parseVisibility, type Visibility } from '../visibility.ts';
import type { FenceTable } from './fence-table.ts';

/** A table without statistics would be read whole for a few keys. */
const BY_INDEX = 'SET LOCAL enable_seqscan = off';

export interface LaneOptions {
  readonly sourceUrl: string;
  readonly targetUrl: string;
  readonly name: string;
  readonly plan: DigestPlan;
  readonly lockMs: number;
}

export interface Looked {
  readonly tables: readonly FenceTable[];
  /** Those whose rows are read. */
  readonly lock: readonly FenceTable[];
  /** Reads the source instead of the lane's own: it has the tables, and is in a transaction that is not ended here. */
  readonly source?: pg.Client;
}

export interface Look {
  /** Which transactions the source's rows show. */
  readonly source: Visibility;
  /** At or above every commit that they show. */
  readonly written: Lsn;
  /** The target's rows show what the source committed below this. */
  readonly applied: Lsn;
  readonly states: readonly TableState[];
  scans(table: FenceTable): BothScans;
}

export class Lane implements AsyncDisposable {
  readonly #options: LaneOptions;
  readonly #source: pg.Client;
  readonly #target: pg.Client;
  #left: Promise<unknown> = Promise.resolve();

  static async open(options: LaneOptions): Promise<Lane> {
    const source = await openSession(options.sourceUrl, 'source');
    try {
      return new Lane(options, source, await openSession(options.targetUrl, 'target'));
    } catch (error) {
      await source.end().catch(() => undefined);
      throw error;
    }
  }

  private constructor(options: LaneOptions, source: pg.Client, target: pg.Client) {
    this.#options = options;
    this.#source = source;
    this.#target = target;
  }

  /** @throws PipelineError CF-6002 where the target shows no source state. */
  async look<T>({ tables, lock, source = this.#source }: Looked, work: (look: Look) => Promise<T>): Promise<T> {
    await this.#left;
    try {
      const [here, there] = await both(this.#lookAtSource(source, tables, lock), this.#lookAtTarget(tables, lock));
      for (const [i, table] of tables.entries()) table.isNow({ source: here.shapes[i], target: there.shapes[i] }, here.written);
      return await work({ ...here, ...there, scans: (table) => this.#scans(table, source) });
    } finally {
      // Nobody waits for it but the next look.
      this.#left = Promise.all([this.#source, this.#target].map(async (client) => client.query('ROLLBACK').catch(() => undefined)));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#source, this.#target].map(async (client) => client.end().catch(() => undefined)));
  }

  async #lookAtSource(
    client: pg.Client,
    tables: readonly FenceTable[],
    lock: readonly FenceTable[],
  ): Promise<Pick<Look, 'source' | 'written'> & { readonly shapes: (Shape | undefined)[] }> {
    const names = tables.map(({ probe }) => probe.mapping.from);
    if (client !== this.#source) await client.query(`${BY_INDEX}; SET LOCAL row_security = off`);
    else
      await this.#begin(
        client,
        lock.map(({ probe }) => probe.mapping.from),
      );
    const row = await queryRow(client, 'SELECT pg_current_snapshot()::text AS triple, pg_current_wal_insert_lsn()::text AS written');
    return { source: parseVisibility(row!['triple']!), written: parseLsn(row!['written']!), shapes: await readShapes(client, names) };
  }

  async #lookAtTarget(
    tables: readonly FenceTable[],
    lock: readonly FenceTable[],
  ): Promise<Pick<Look, 'applied' | 'states'> & { readonly shapes: (Shape | undefined)[] }> {
    const { name } = this.#options;
    const client = this.#target;
    const names = tables.map(({ probe }) => probe.mapping.to);
    await this.#begin(
      client,
      lock.map(({ probe }) => probe.mapping.to),
    );
    const { applied } = requireConsistent({ name }, await readTargetState(client, name));
    return { applied, states: await readTableStates(client, name), shapes: await readShapes(client, names) };
  }

  /** The snapshot is taken by the first question behind this. */
  async #begin(client: pg.Client, tables: readonly { readonly schema: string; readonly name: string }[]): Promise<void> {
    const names = [...new Set(tables.map((table) => quoteTable(table)))];
    const lock = names.length === 0 ? '' : `; LOCK TABLE ${names.join(', ')} IN ACCESS SHARE MODE`;
    await client.query(
      `BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL lock_timeout = ${this.#options.lockMs}; ${BY_INDEX}${lock}`,
    );
  }

  #scans(table: FenceTable, source: pg.Client): BothScans {
    const { probe } = table;
    const { plan } = this.#options;
    const renew = async (): Promise<void> => Promise.reject(new PipelineError('CF-6002', 'rows looked up by their key are read in one go'));
    const scan = (side: 'source' | 'target', client: pg.Client): BothScans['source'] => ({
      client,
      side,
      probe,
      shape: table.shapes[side],
      plan,
      renew,
    });
    return { source: scan('source', source), target: scan('target', this.#target) };
  }
}

/** Neither is left running where the other fails. */
async function both<A, B>(one: Promise<A>, other: Promise<B>): Promise<[A, B]> {
  const [first, second] = await Promise.allSettled([one, other]);
  if (first.status === 'rejected') throw first.reason;
  if (second.status === 'rejected') throw second.reason;
  return [first.value, second.value];
}
