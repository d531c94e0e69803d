/**
 * A real reader and copier on a real server, without a sink: the raw log is folded by RawReplica. Guarantee: `settle` resolves when a
 * marker written after the call has come through the log and nothing is left to copy, so comparisons need no waiting.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, queryRows } from '#connectors/postgres/session.ts';
import { readCatalog } from '#connectors/catalog/postgres.ts';
import type { ChangeLog, Topic } from '#connectors/change-log/change-log.ts';
import { openEmbeddedLog } from '#connectors/change-log/embedded/log.ts';
import { createCopySource } from '#connectors/source/postgres/copy-source.ts';
import type { CopySource } from '#connectors/source/copy-source.ts';
import type { PipelineSettings } from '#schemas/config/migration-file.ts';
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { decodeMessage, TAG } from '#schemas/pgoutput/message.ts';
import { type CatalogTable, identityColumns, quoteIdent, quoteTable } from '#schemas/table.ts';
import { type Copier, createCopier } from '#services/reader/copy/copier.ts';
import type { ChunkInterludes } from '#services/reader/copy/chunk-reader.ts';
import type { CopyOrder } from '#services/reader/copy/copy-plan.ts';
import { Reader } from '#services/reader/reader.ts';
import { forEachRecord } from '#services/runtime/records.ts';
import { type Logger, silentLogger } from '#services/runtime/service.ts';
import { RawReplica, type ReplicaTable } from './raw-replica.ts';

export interface CopyWorldOptions {
  readonly url: string;
  readonly schemas?: readonly string[];
  readonly copy?: Partial<PipelineSettings['copy']>;
  readonly order?: CopyOrder;
  readonly heartbeatSeconds?: number;
  readonly interludes?: ChunkInterludes;
  /** No chunk is read before `copier.operator.resume()`. */
  readonly paused?: boolean;
  readonly unmapped?: 'error' | 'ignore';
  readonly logger?: Logger;
  readonly oneChunkBytes?: number;
  /** Reads the change log of an earlier world: a restart. */
  readonly directory?: string;
}

export function copySettings(options: Pick<CopyWorldOptions, 'copy' | 'heartbeatSeconds'>): PipelineSettings {
  return {
    copy: { parallel: 2, chunkRows: 1_000, chunkTargetMs: 500, ...options.copy },
    sink: { parallel: 1, synchronousCommit: false, batchRows: 1_000 },
    slot: { create: true, failover: false, onBudget: 'warn' },
    publication: { create: true },
    heartbeatSeconds: options.heartbeatSeconds ?? 1,
    reconcile: { enabled: false, budgetPercent: 10, startAfterSeconds: 15, sweepHours: 6, checkMinutes: 60 },
    log: { retainBytes: 1 << 30 },
  };
}

export function identityMapping(table: CatalogTable, unmapped: 'error' | 'ignore' = 'error'): TableMapping {
  const key = identityColumns(table) ?? [];
  return {
    from: { schema: table.schema, name: table.name },
    to: { schema: table.schema, name: table.name },
    columns: table.columns
      .filter((column) => column.generated === '')
      .map((source) => ({ target: source.name, targetType: source.type, targetBaseType: source.baseType, source })),
    sourceKey: key,
    targetKey: key,
    overridesIdentity: false,
    existing: 'refuse',
    dropped: [],
    unmapped,
  };
}

export class CopyWorld implements AsyncDisposable {
  readonly directory: string;
  readonly copier: Copier;
  readonly reader: Reader;
  readonly source: CopySource;
  readonly replica: RawReplica;
  readonly tables: readonly CatalogTable[];
  readonly failed: Promise<never>;
  readonly #url: string;
  readonly #log: ChangeLog;
  readonly #raw: Topic;
  readonly #stop = new AbortController();
  readonly #running: Promise<unknown>[];
  readonly #markers = new Set<string>();
  #offset = 0;

  static async start(options: CopyWorldOptions): Promise<CopyWorld> {
    const directory = options.directory ?? (await mkdtemp(join(tmpdir(), 'crossfade-copy-')));
    const client = await connect(options.url, { applicationName: 'test catalogue', role: 'source' });
    const catalog = await readCatalog(client, { schemas: options.schemas ?? ['public'] });
    await client.end();
    const log = await openEmbeddedLog({ directory: join(directory, 'log') });
    const raw = await log.topic('raw', { partitions: 1 });
    const progress = await log.topic('progress', { partitions: 1 });
    const source = createCopySource({ url: options.url, applicationName: 'crossfade test copy' });
    const copier = await createCopier({
      name: 'copytest',
      source,
      progress,
      tables: catalog.tables.map((table) => ({ mappings: [identityMapping(table, options.unmapped)], catalog: table })),
      settings: copySettings(options),
      order: options.order ?? 'smallest-first',
      spoolDirectory: directory,
      logger: options.logger ?? silentLogger,
      ...(options.oneChunkBytes !== undefined && { oneChunkBytes: options.oneChunkBytes }),
      ...(options.interludes && { interludes: options.interludes }),
    });
    return new CopyWorld({ ...options, directory }, { log, raw, progress, source, copier, tables: catalog.tables });
  }

  private constructor(
    options: CopyWorldOptions & { readonly directory: string },
    parts: { log: ChangeLog; raw: Topic; progress: Topic; source: CopySource; copier: Copier; tables: readonly CatalogTable[] },
  ) {
    this.directory = options.directory;
    this.#url = options.url;
    this.#log = parts.log;
    this.#raw = parts.raw;
    this.source = parts.source;
    this.copier = parts.copier;
    this.tables = parts.tables;
    this.replica = new RawReplica(parts.tables.map((table) => replicaTable(table)));
    const started = Promise.withResolvers<void>();
    this.reader = new Reader({
      name: 'copytest',
      url: options.url,
      raw: parts.raw,
      progress: parts.progress,
      tables: parts.tables,
      settings: copySettings(options),
      copy: parts.copier.hooks,
      appliedLsn: () => undefined,
      recopy: async ({ schema, name }, reason) => {
        await parts.copier.requestRecopy({ kind: 'replace', schema, table: name, reason });
      },
      onStarted: () => started.resolve(),
      logger: options.logger ?? silentLogger,
    });
    if (options.paused) void parts.copier.operator.pause();
    const failure = Promise.withResolvers<never>();
    failure.promise.catch(() => undefined);
    this.failed = failure.promise;
    const { signal } = this.#stop;
    signal.addEventListener('abort', () => started.resolve());
    this.#running = [this.reader.run(signal), started.promise.then(() => this.copier.run(signal)), this.#follow()];
    for (const running of this.#running) running.catch((error: unknown) => failure.reject(error as Error));
  }

  /** Everything written until now is in the log and folded, and everything asked for is copied. */
  async settle(): Promise<void> {
    await this.until(() => this.copier.idle);
    const marker = await this.reader.writeMarker();
    await this.until(() => this.#markers.has(marker));
  }

  /** Polls the condition between frames of the log. */
  async until(condition: () => boolean, timeoutMs = 30_000): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    while (!condition()) {
      if (performance.now() > deadline) throw new Error(`waited ${timeoutMs} ms in vain: ${JSON.stringify(this.copier.progress())}`);
      await Promise.race([new Promise((resolve) => setTimeout(resolve, 5)), this.failed]);
    }
  }

  /** Rows of a table on the source, in the form of `replica.dump`. */
  async sourceDump(name: string, columns: readonly string[]): Promise<string[]> {
    const client = await connect(this.#url, { applicationName: 'test compare', role: 'source' });
    try {
      const table = this.tables.find((candidate) => candidate.name === name)!;
      const rows = await queryRows(client, `SELECT ${columns.map(quoteIdent).join(', ')} FROM ${quoteTable(table)}`);
      return rows.map((row) => JSON.stringify(columns.map((column) => row[column]))).toSorted();
    } finally {
      await client.end();
    }
  }

  columnsOf(name: string): string[] {
    return this.tables
      .find((candidate) => candidate.name === name)!
      .columns.filter((column) => column.generated === '')
      .map((column) => column.name);
  }

  /** Stops reader and copier. The directory stays, for a restart. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await Promise.allSettled(this.#running);
    await this.source.close();
    await this.#log.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await rm(this.directory, { recursive: true, force: true });
  }

  async #follow(): Promise<void> {
    const cursor = this.#raw.read(0, this.#raw.start(0));
    try {
      for (let batch = await cursor.next(this.#stop.signal); batch; batch = await cursor.next(this.#stop.signal)) {
        forEachRecord(batch, this.#offset, (frame) => {
          this.#noteMarker(frame);
          this.replica.take(frame);
        });
        this.#offset = batch.baseOffset + batch.count;
      }
    } finally {
      await cursor.close();
    }
  }

  #noteMarker(frame: Buffer): void {
    if (frame[0] !== TAG.message) return;
    const our = JSON.parse(decodeMessage(frame).content.toString('utf8')) as { kind: string; id?: string };
    if (our.kind === 'marker') this.#markers.add(our.id!);
  }
}

function replicaTable(table: CatalogTable): ReplicaTable {
  return {
    schema: table.schema,
    name: table.name,
    oid: table.oid,
    key: identityColumns(table) ?? [],
    leaves: new Set(table.leaves.map((leaf) => leaf.oid)),
  };
}
