/**
 * The copier's source: PostgreSQL. Guarantee: watermarks never wait for a synchronous standby; a chunk is read under one REPEATABLE
 * READ snapshot taken after its locks; a session that failed is never used again.
 */
import type pg from 'pg';
import { MESSAGE_PREFIX } from '#schemas/frame/frame.ts';
import { messageOf, PipelineError } from '#schemas/errors.ts';
import { parseLsn } from '#schemas/lsn.ts';
import { parseSnapshot, type Snapshot } from '#schemas/snapshot.ts';
import { quoteIdent, quoteTable } from '#schemas/table.ts';
import { guarded } from '#schemas/test-hooks.ts';
import { connect, queryRow, queryRows } from '#connectors/postgres/session.ts';
import type {
  CatalogState,
  ChunkConsumer,
  ChunkQuery,
  ChunkResult,
  CopySource,
  KeyColumn,
  KeyRange,
  Misfit,
  RelationName,
  RelationShape,
  ShapeColumn,
  TableState,
} from '../copy-source.ts';
import { emitUndecided, lastEpoch } from './emit-undecided.ts';
import { beginSql, boundarySql, castSql, copySql, missingSql, printSql, shapeSql, treeSql, typesSql } from './chunk-sql.ts';
import { copyOut } from './copy-out.ts';

/** Longest wait behind somebody's ALTER TABLE: others queue behind our waiting lock too. */
const LOCK_TIMEOUT_MS = 3_000;
const END_TIMEOUT_MS = 500;
const KEY_PAGE_ROWS = 1_000;

export interface CopySourceOptions {
  readonly url: string;
  readonly applicationName: string;
}

/** Settings of every session here: no limit of the role's may cut a chunk short, and row security must not thin it out silently. */
const SETTINGS: Readonly<Record<string, string>> = {
  synchronous_commit: 'local',
  statement_timeout: '0',
  idle_in_transaction_session_timeout: '0',
  row_security: 'off',
  jit: 'off',
  max_parallel_workers_per_gather: '0',
};

export function createCopySource(options: CopySourceOptions): CopySource {
  return new PostgresCopySource(options);
}

class PostgresCopySource implements CopySource {
  readonly #options: CopySourceOptions;
  readonly #idle: pg.Client[] = [];
  readonly #open = new Set<pg.Client>();
  #closed = false;

  constructor(options: CopySourceOptions) {
    this.#options = options;
  }

  async emit(messages: readonly string[]): Promise<void> {
    await this.#with(async (client) => {
      const calls = messages.map((_, i) => `pg_catalog.pg_logical_emit_message(true, $1, $${i + 2})`);
      await client.query(`SELECT ${calls.join(', ')}`, [MESSAGE_PREFIX, ...messages]);
    });
  }

  async lastEpoch(migration: string): Promise<bigint | undefined> {
    return this.#with(async (client) => lastEpoch(client, migration));
  }

  async emitUndecided(message: string, at: { readonly name: string; readonly epoch: bigint }): Promise<boolean> {
    return this.#with(async (client) => emitUndecided(client, message, at));
  }

  async snapshot(): Promise<Snapshot> {
    const row = await this.#with((client) => queryRow(client, 'SELECT pg_catalog.pg_current_snapshot()::text AS snapshot'));
    return parseSnapshot(row?.['snapshot'] ?? '');
  }

  async nextBoundary(
    relation: RelationName,
    key: readonly KeyColumn[],
    range: KeyRange,
    rows: number,
  ): Promise<readonly string[] | undefined> {
    const row = await this.#with(async (client) => {
      await client.query('BEGIN READ ONLY; SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off');
      const boundary = await queryRow(client, boundarySql(relation, key, range, rows));
      await client.query('COMMIT');
      return boundary;
    });
    return row && key.map((column) => row[column.name]!);
  }

  async firstMisfit(key: readonly KeyColumn[], rows: readonly (readonly string[])[]): Promise<Misfit | undefined> {
    return this.#with(async (client) => {
      await client.query(typesSql(key));
      let why = await refusalOf(client, key, rows);
      if (why === undefined) return undefined;
      // The first one lies in [from, to): all before it fit.
      let [from, to] = [0, rows.length];
      while (to - from > 1) {
        const middle = (from + to) >> 1;
        const refusal = await refusalOf(client, key, rows.slice(from, middle));
        if (refusal === undefined) from = middle;
        else [to, why] = [middle, refusal];
      }
      return { index: from, why: (await refusalOf(client, key, rows.slice(from, to))) ?? why };
    });
  }

  async canonicalKeys(key: readonly KeyColumn[], rows: readonly (readonly string[])[]): Promise<readonly (readonly string[])[]> {
    if (rows.length === 0) return rows;
    return this.#with(async (client) => {
      if ((await refusalOf(client, key, rows)) !== undefined) return rows;
      const printed = await queryRows(client, printSql(key, rows));
      return printed.map((row) => key.map((_, c) => row[`c${c}`]!));
    });
  }

  async readChunk(query: ChunkQuery, consumer: ChunkConsumer, signal: AbortSignal): Promise<ChunkResult> {
    return this.#with(async (client) => {
      // A cancelled chunk must not hold its lock and snapshot until the last row is sent.
      const cut = (): void => destroy(client);
      signal.throwIfAborted();
      signal.addEventListener('abort', cut, { once: true });
      try {
        return await readUnderSnapshot(client, query, consumer);
      } finally {
        signal.removeEventListener('abort', cut);
      }
    });
  }

  async catalog(oids: readonly number[]): Promise<CatalogState> {
    return this.#with(async (client) => {
      const lsn = parseLsn((await queryRow(client, 'SELECT pg_catalog.pg_current_wal_insert_lsn() AS lsn'))?.['lsn'] ?? '');
      const tree = await queryRows(client, treeSql(oids));
      const all = [...new Set(tree.map((row) => Number(row['oid'])))];
      const relations = new Map((await queryRows(client, shapeSql(all))).map((row) => [Number(row['oid']), relationOf(row)]));
      const tables: TableState[] = [];
      for (const oid of oids) {
        const relation = relations.get(oid);
        if (!relation) continue;
        const leaves = tree
          .filter((row) => Number(row['root']) === oid && row['kind'] === 'r')
          .flatMap((row) => relations.get(Number(row['oid'])) ?? []);
        const partitioned = tree.some((row) => Number(row['oid']) === oid && row['kind'] === 'p');
        tables.push({ ...relation, leaves: partitioned ? leaves : [] });
      }
      return { lsn, tables };
    });
  }

  async operatorSchemas(typeOids: readonly number[]): Promise<ReadonlyMap<number, string>> {
    if (typeOids.length === 0) return new Map();
    const rows = await this.#with((client) =>
      queryRows(
        client,
        `WITH RECURSIVE base (asked, oid) AS (
           SELECT t.oid, t.oid FROM pg_catalog.pg_type t WHERE t.oid IN (${typeOids.join(', ')})
           UNION ALL SELECT b.asked, t.typbasetype FROM base b JOIN pg_catalog.pg_type t ON t.oid = b.oid AND t.typtype = 'd')
         SELECT b.asked::text AS type, n.nspname AS schema FROM base b
           JOIN pg_catalog.pg_opclass c ON c.opcintype = b.oid AND c.opcdefault
           JOIN pg_catalog.pg_am m ON m.oid = c.opcmethod AND m.amname = 'btree'
           JOIN pg_catalog.pg_amop o ON o.amopfamily = c.opcfamily AND o.amoplefttype = c.opcintype AND o.amoprighttype = c.opcintype AND o.amopstrategy = 5
           JOIN pg_catalog.pg_operator p ON p.oid = o.amopopr
           JOIN pg_catalog.pg_namespace n ON n.oid = p.oprnamespace WHERE n.nspname <> 'pg_catalog'`,
      ),
    );
    return new Map(rows.map((row) => [Number(row['type']), row['schema']!]));
  }

  async *keysOf(relation: RelationName, oid: number, key: readonly KeyColumn[]): AsyncIterable<readonly (readonly string[])[]> {
    const client = await this.#take();
    let whole = false;
    try {
      await client.query('BEGIN READ ONLY');
      const row = await queryRow(
        client,
        `SELECT c.oid::text AS oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2`,
        [relation.schema, relation.name],
      );
      if (Number(row?.['oid']) === oid) {
        await client.query(
          `DECLARE crossfade_keys NO SCROLL CURSOR FOR SELECT ${key.map((column) => quoteIdent(column.name)).join(', ')} FROM ${quoteTable(relation)}`,
        );
        for (;;) {
          const rows = await queryRows(client, `FETCH ${KEY_PAGE_ROWS} FROM crossfade_keys`);
          if (rows.length === 0) break;
          yield rows.map((values) => key.map((column) => values[column.name]!));
        }
      }
      await client.query('COMMIT');
      whole = true;
    } finally {
      this.#give(client, whole);
    }
  }

  async activeSessions(): Promise<number> {
    const row = await this.#with((client) =>
      queryRow(
        client,
        `SELECT count(*)::text AS n FROM pg_catalog.pg_stat_activity WHERE state = 'active' AND backend_type = 'client backend' AND application_name NOT LIKE 'crossfade%'`,
      ),
    );
    return Number(row?.['n'] ?? 0);
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#open].map((client) => endSoon(client)));
    this.#open.clear();
    this.#idle.length = 0;
  }

  async #with<T>(work: (client: pg.Client) => Promise<T>): Promise<T> {
    const client = await this.#take();
    let whole = false;
    try {
      const result = await work(client);
      whole = true;
      return result;
    } catch (error) {
      throw sourceError(error);
    } finally {
      this.#give(client, whole);
    }
  }

  async #take(): Promise<pg.Client> {
    const idle = this.#idle.pop();
    if (idle) return idle;
    const client = await connect(this.#options.url, { applicationName: this.#options.applicationName, role: 'source', settings: SETTINGS });
    this.#open.add(client);
    client.once('end', () => {
      this.#open.delete(client);
      const at = this.#idle.indexOf(client);
      if (at >= 0) this.#idle.splice(at, 1);
    });
    return client;
  }

  /** A session whose work failed may stand inside a transaction or be half dead: it is closed, a new one costs milliseconds. */
  #give(client: pg.Client, usable: boolean): void {
    if (usable && !this.#closed && this.#open.has(client)) this.#idle.push(client);
    else void endSoon(client);
  }
}

/** What the server says of values that do not fit their types. @throws any other failure */
async function refusalOf(client: pg.Client, key: readonly KeyColumn[], rows: readonly (readonly string[])[]): Promise<string | undefined> {
  try {
    await client.query(castSql(key, rows));
    return undefined;
  } catch (error) {
    // Nothing but constants stands in the statement: data exceptions, checks of a domain, a type's own syntax, its limits.
    if (/^(?:22|23|42|54)/.test((error as { code?: string }).code ?? '')) return messageOf(error);
    throw error;
  }
}

async function readUnderSnapshot(client: pg.Client, query: ChunkQuery, consumer: ChunkConsumer): Promise<ChunkResult> {
  const { range } = query;
  const bounded =
    query.keys !== undefined || range.after !== undefined || range.upTo !== undefined || range.from !== undefined || range.to !== undefined;
  // With the guard off the table may be rewritten between snapshot and read: an older snapshot then reads zero rows.
  const begin = beginSql(query, { lock: guarded('shape'), lockTimeoutMs: LOCK_TIMEOUT_MS, bounded });
  const results = (await client.query(begin)) as unknown as pg.QueryResult<Record<string, string | null>>[];
  const snapshot = parseSnapshot(results.at(-2)?.rows[0]?.['snapshot'] ?? '');
  const shapes = (results.at(-1)?.rows ?? []).map((row) => relationOf(row).shape);
  await consumer.onStart({ snapshot, shapes });
  let rows = 0;
  await copyOut(client, copySql(query), async (piece, count) => {
    rows += count;
    await consumer.onPiece(piece, count);
  });
  const missing = query.keys ? (await queryRows(client, missingSql(query))).map((row) => Number(row['i'])) : [];
  await client.query('COMMIT');
  return { rows, missing };
}

function relationOf(row: Record<string, string | null>): RelationName & { readonly oid: number; readonly shape: RelationShape } {
  const oid = Number(row['oid']);
  const columns = JSON.parse(row['columns'] ?? '[]') as ShapeColumn[] | null;
  return {
    oid,
    schema: row['schema']!,
    name: row['name']!,
    shape: { oid, relfilenode: Number(row['relfilenode']), columns: columns ?? [] },
  };
}

function destroy(client: pg.Client): void {
  (client as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy();
}

/** A busy backend answers a goodbye only after its query. */
async function endSoon(client: pg.Client): Promise<void> {
  const force = setTimeout(() => destroy(client), END_TIMEOUT_MS);
  await client.end().catch(() => undefined);
  clearTimeout(force);
}

function sourceError(error: unknown): unknown {
  if (error instanceof PipelineError || (error instanceof Error && error.name === 'InvariantError')) return error;
  const code = (error as { code?: string } | undefined)?.code;
  if (code === '42501') return new PipelineError('CF-2003', `the source role may not read: ${messageOf(error)}`, { cause: error });
  return new PipelineError('CF-2007', `reading from the source failed: ${messageOf(error)}`, { cause: error, details: { sqlState: code } });
}
