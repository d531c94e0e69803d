/**
 * The pipeline as the simplest possible program, for tests of verify alone: one slot, row by row, one target transaction per source
 * transaction with the applied LSN in it. Shares no code with the sink.
 */
import { expect } from 'vitest';
import type pg from 'pg';
import {
  decodeBegin,
  decodeCommit,
  decodeRelation,
  decodeTruncate,
  decodeTuple,
  locateTuples,
  relationOid,
  TAG,
  type Relation,
} from '#schemas/pgoutput/message.ts';
import { formatLsn, type Lsn } from '#schemas/lsn.ts';
import type { CompiledMapping, TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { quoteIdent, quoteTable } from '#schemas/table.ts';
import { compileMapping } from '#schemas/mapping/compile-mapping.ts';
import { readMigrationFile } from '#schemas/config/read-migration-file.ts';
import { readCatalog } from '#connectors/catalog/postgres.ts';
import { connect } from '#connectors/postgres/session.ts';
import { startStream, type ReplicationStream } from '#connectors/source/postgres/stream.ts';
import { ensureSchema } from '#connectors/postgres/own-schema.ts';
import { verifyMigration, type VerifyOptions } from '#services/reconciler/verify.ts';
import { silentLogger } from '#services/runtime/service.ts';
import type { VerifyResult } from '#schemas/reconcile/verify-result.ts';
import { freshDatabase, type FreshDatabase, type PostgresVersion } from '#test/support/postgres.ts';

export interface Played extends AsyncDisposable {
  readonly source: pg.Client;
  readonly target: pg.Client;
  readonly sourceUrl: string;
  readonly targetUrl: string;
  readonly mapping: CompiledMapping;
  /** Starts following; resolves once the stream is open. */
  follow(): Promise<void>;
  stopFollowing(): Promise<void>;
  /** Resolves when few transactions wait to be applied, or nothing follows. */
  caughtUp(): Promise<void>;
  verify(options?: Partial<VerifyOptions>): Promise<VerifyResult>;
}

export interface PlayOptions {
  readonly version?: PostgresVersion;
  readonly sourceSql: string;
  readonly targetSql?: string;
  /** YAML below `tables:`; all of public when absent. */
  readonly tables?: string;
  readonly name?: string;
  /** A source of its own, when the shared server will not do. */
  readonly sourceUrl?: string;
}

export async function play(options: PlayOptions): Promise<Played> {
  const name = options.name ?? 'played';
  await using stack = new AsyncDisposableStack();
  const sourceUrl = options.sourceUrl ?? (await use(stack, freshDatabase(options.version ?? 18))).url;
  const targetUrl = (await use(stack, freshDatabase(18))).url;
  const open = async (url: string, role: 'source' | 'target'): Promise<pg.Client> =>
    stack.adopt(await connect(url, { applicationName: 'test', role, settings: { synchronous_commit: 'local' } }), (client) => client.end());
  const source = await open(sourceUrl, 'source');
  const target = await open(targetUrl, 'target');
  await ensureSchema(target);
  await source.query(`SET search_path = public; ${options.sourceSql}; SET search_path = pg_catalog`);
  await target.query(`SET search_path = public; ${options.targetSql ?? options.sourceSql}; SET search_path = pg_catalog`);
  const mapping = await compile({ name, sourceUrl, targetUrl, tables: options.tables }, source, target);
  await source.query(`CREATE PUBLICATION ${name} FOR TABLE ${mapping.tables.map((table) => quoteTable(table.from)).join(', ')}`);
  const { rows } = await source.query<{ lsn: string }>(`SELECT lsn FROM pg_create_logical_replication_slot($1, 'pgoutput')`, [name]);
  await target.query(
    `INSERT INTO crossfade.progress (name, epoch, mode, applied_lsn, log_offset, mapping_hash, instance) VALUES ($1, 1, 'consistent', $2, 0, $3, 'test')`,
    [name, rows[0]!.lsn, mapping.hash],
  );
  await source.query('SET search_path = public');
  await target.query('SET search_path = public');
  const player = new Player(name, sourceUrl, mapping, target);
  stack.defer(() => player.stop());
  const kept = stack.move();
  return {
    source,
    target,
    sourceUrl,
    targetUrl,
    mapping,
    follow: () => player.start(),
    stopFollowing: async () => {
      await player.stop();
      // The server's process may take a moment to notice, and holds the slot meanwhile.
      await expect
        .poll(async () => (await source.query(`SELECT FROM pg_replication_slots WHERE slot_name = $1 AND active`, [name])).rowCount, {
          timeout: 20_000,
        })
        .toBe(0);
    },
    caughtUp: () => player.caughtUp(),
    verify: (more = {}) =>
      verifyMigration({ sourceUrl, targetUrl, mapping, name, slot: name, publication: name, logger: silentLogger, ...more }),
    [Symbol.asyncDispose]: async () => {
      await player.stop();
      await kept.disposeAsync();
    },
  };
}

async function use(stack: AsyncDisposableStack, database: Promise<FreshDatabase>): Promise<FreshDatabase> {
  return stack.use(await database);
}

interface CompileOptions {
  readonly name: string;
  readonly sourceUrl: string;
  readonly targetUrl: string;
  readonly tables: string | undefined;
}

async function compile(options: CompileOptions, source: pg.Client, target: pg.Client): Promise<CompiledMapping> {
  const text = `crossfade: 1\nname: ${options.name}\nsource: { postgres: "${options.sourceUrl}" }\ntarget: { postgres: "${options.targetUrl}" }\ntables:\n${options.tables ?? '  - from: public.*\n'}`;
  const reading = readMigrationFile({ path: 'test.yaml', text, env: {} });
  if (!reading.file) throw new Error(JSON.stringify(reading.findings));
  const { mapping, findings } = compileMapping(reading.file, await readCatalog(source), await readCatalog(target));
  if (!mapping) throw new Error(JSON.stringify(findings));
  return mapping;
}

const BACKLOG = 20;

class Player {
  readonly #name: string;
  readonly #url: string;
  readonly #mapping: CompiledMapping;
  readonly #target: pg.Client;
  readonly #relations = new Map<number, { relation: Relation; table: TableMapping | undefined }>();
  #stream: ReplicationStream | undefined;
  #queue: Promise<void> = Promise.resolve();
  #leaves = new Map<string, TableMapping>();
  #failed: unknown;
  #waiting = 0;

  constructor(name: string, url: string, mapping: CompiledMapping, target: pg.Client) {
    this.#name = name;
    this.#url = url;
    this.#mapping = mapping;
    this.#target = target;
  }

  async start(): Promise<void> {
    await this.#readLeaves();
    const options = { url: this.#url, slot: this.#name, publication: this.#name, applicationName: 'player' };
    let transaction: Buffer[] = [];
    this.#stream = await startStream(options, {
      onMessage: (view) => {
        const message = Buffer.from(view);
        transaction.push(message);
        if (message[0] !== TAG.commit) return;
        const whole = transaction;
        transaction = [];
        this.#waiting++;
        this.#queue = this.#queue.then(() => this.#apply(whole)).catch((error: unknown) => void (this.#failed = error));
      },
      onKeepalive: () => undefined,
    });
  }

  async stop(): Promise<void> {
    await this.#stream?.stop();
    this.#stream = undefined;
    await this.#queue;
    // oxlint-disable-next-line typescript/only-throw-error -- what the stream gave
    if (this.#failed) throw this.#failed;
  }

  async caughtUp(): Promise<void> {
    while (this.#waiting > BACKLOG) await this.#queue;
  }

  async #readLeaves(): Promise<void> {
    const client = await connect(this.#url, { applicationName: 'player', role: 'source' });
    for (const table of this.#mapping.tables) {
      const { rows } = await client.query<{ schema: string; name: string }>(
        'SELECT n.nspname AS schema, c.relname AS name FROM pg_partition_tree($1::regclass) t JOIN pg_class c ON c.oid = t.relid JOIN pg_namespace n ON n.oid = c.relnamespace',
        [quoteTable(table.from)],
      );
      for (const row of [...rows, table.from]) this.#leaves.set(`${row.schema}.${row.name}`, table);
    }
    await client.end();
  }

  async #apply(messages: readonly Buffer[]): Promise<void> {
    const { commitLsn } = decodeBegin(messages[0]!);
    const { endLsn } = decodeCommit(messages.at(-1)!);
    const [row] = (
      await this.#target.query<{ applied: boolean }>('SELECT applied_lsn > $2::pg_lsn AS applied FROM crossfade.progress WHERE name = $1', [
        this.#name,
        formatLsn(commitLsn),
      ])
    ).rows;
    // The slot may bring again what was applied: it was not told yet.
    const repeated = String(row!.applied) === 't';
    await this.#target.query('BEGIN');
    await this.#target.query('SET LOCAL session_replication_role = replica');
    for (const message of messages) await this.#applyOne(message, repeated);
    if (!repeated)
      await this.#target.query('UPDATE crossfade.progress SET applied_lsn = $2 WHERE name = $1', [this.#name, formatLsn(endLsn)]);
    await this.#target.query('COMMIT');
    this.#confirm(endLsn);
    this.#waiting--;
  }

  #confirm(lsn: Lsn): void {
    this.#stream?.sendStatus(lsn);
  }

  async #applyOne(message: Buffer, repeated: boolean): Promise<void> {
    if (message[0] === TAG.relation) {
      const relation = decodeRelation(message);
      this.#relations.set(relation.oid, { relation, table: this.#leaves.get(`${relation.schema}.${relation.name}`) });
    }
    if (repeated) return;
    if (message[0] === TAG.truncate) {
      for (const oid of decodeTruncate(message).oids)
        await this.#target.query(`TRUNCATE ${quoteTable(this.#relations.get(oid)!.table!.to)}`);
    }
    if (message[0] !== TAG.insert && message[0] !== TAG.update && message[0] !== TAG.delete) return;
    const known = this.#relations.get(relationOid(message));
    if (!known?.table) return;
    const tuples = { old: 0, oldFull: false, next: 0 };
    locateTuples(message, tuples);
    const old = tuples.old ? this.#named(known.relation, decodeTuple(message, tuples.old)) : undefined;
    const next = tuples.next ? this.#named(known.relation, decodeTuple(message, tuples.next)) : undefined;
    await this.#write(known.table, old, next);
  }

  #named(relation: Relation, values: readonly (string | null | undefined)[]): Map<string, string | null | undefined> {
    return new Map(relation.columns.map((column, i) => [column.name, values[i]]));
  }

  async #write(
    table: TableMapping,
    old: Map<string, string | null | undefined> | undefined,
    next: Map<string, string | null | undefined> | undefined,
  ): Promise<void> {
    const to = quoteTable(table.to);
    const values: (string | null)[] = [];
    const value = (column: TableMapping['columns'][number], row: Map<string, string | null | undefined>): string => {
      values.push(row.get(column.source.name) ?? null);
      const param = `$${values.length}::text`;
      return column.cast ? column.cast.sql.split('$$').join(`(${param})::${column.cast.fromType}`) : `(${param})::${column.targetBaseType}`;
    };
    const selects = (row: Map<string, string | null | undefined> | undefined): boolean =>
      row !== undefined &&
      (table.filter?.conditions ?? []).every((one) => one.values.includes(row.get(one.column) ?? null) === (one.op === 'in'));
    const columns = table.columns.filter((column) => next?.get(column.source.name) !== undefined);
    const list = columns.map((column) => quoteIdent(column.target)).join(', ');
    if (table.targetKey.length === 0) {
      if (old && selects(old)) {
        const match = table.columns
          .map((column) => `${quoteIdent(column.target)}::text IS NOT DISTINCT FROM (${value(column, old)})::text`)
          .join(' AND ');
        await this.#target.query(`DELETE FROM ${to} WHERE ctid = (SELECT ctid FROM ${to} WHERE ${match} LIMIT 1)`, values.splice(0));
      }
      if (next && selects(next))
        await this.#target.query(
          `INSERT INTO ${to} (${list}) OVERRIDING SYSTEM VALUE VALUES (${columns.map((column) => value(column, next)).join(', ')})`,
          values,
        );
      return;
    }
    const keyOf = (row: Map<string, string | null | undefined>): string =>
      table.columns
        .filter((column) => table.targetKey.includes(column.target))
        .map((column) => `${quoteIdent(column.target)} = ${value(column, row)}`)
        .join(' AND ');
    if (!next || !selects(next)) {
      await this.#target.query(`DELETE FROM ${to} WHERE ${keyOf((old ?? next)!)}`, values);
      return;
    }
    const sets = columns.map((column) => `${quoteIdent(column.target)} = ${value(column, next)}`).join(', ');
    const updated = await this.#target.query(`UPDATE ${to} SET ${sets} WHERE ${keyOf(old ?? next)}`, values.splice(0));
    if (updated.rowCount !== 0 || columns.length < table.columns.length) return;
    await this.#target.query(
      `INSERT INTO ${to} (${list}) OVERRIDING SYSTEM VALUE VALUES (${columns.map((column) => value(column, next)).join(', ')})`,
      values,
    );
  }
}
