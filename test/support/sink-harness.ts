/**
 * A sink over a log written by hand, against a real server. Guarantee: the mapping and the catalogues are the product's own; source
 * tables stand in schema `old` (empty, only their shape is used), target tables in `new`.
 */
import { rm, mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readCatalog } from '#connectors/catalog/postgres.ts';
import type { Topic } from '#connectors/change-log/change-log.ts';
import { openEmbeddedLog } from '#connectors/change-log/embedded/log.ts';
import { connect } from '#connectors/postgres/session.ts';
import { postgresStore } from '#connectors/target/postgres/store.ts';
import type { ColumnEntry, ConflictEntry, DeletesEntry, FilterEntry, MigrationFile, TableEntry } from '#schemas/config/migration-file.ts';
import { compileMapping } from '#schemas/mapping/compile-mapping.ts';
import type { CompiledMapping } from '#schemas/mapping/compiled-mapping.ts';
import type { Catalog, CatalogTable } from '#schemas/table.ts';
import type { MemoryKafka, MemoryKafkaOptions } from '#test/support/memory-cluster.ts';
import { gatheredLog } from '#test/support/gathered-log.ts';
import { silentLogger } from '#services/runtime/service.ts';
import { createSink, type Sink, type SinkSettings } from '#services/sink/sink.ts';
import {
  deleteFrame,
  insertFrame,
  LogWriter,
  messageFrame,
  relationFrame,
  truncateFrame,
  updateFrame,
  type Value,
} from '#test/support/sink-frames.ts';

export interface HarnessOptions {
  readonly url: string;
  /** Run with search_path `old`, then with `new`. */
  readonly ddl: string;
  /** Only for the target. */
  readonly targetDdl?: string;
  readonly existing?: 'refuse' | 'merge' | 'truncate';
  readonly columns?: Readonly<Record<string, ColumnEntry>>;
  readonly set?: TableEntry['set'];
  readonly onRowError?: 'set-aside';
  readonly where?: Readonly<Record<string, FilterEntry>>;
  readonly deletes?: DeletesEntry;
  readonly truncates?: 'apply' | 'ignore' | 'halt';
  readonly exclude?: readonly string[];
  readonly conflict?: ConflictEntry;
  /** What differs from `from: old.*, to: new.*`; one such entry when absent. */
  readonly entries?: readonly Partial<TableEntry>[];
  readonly sink?: Partial<SinkSettings['settings']['sink']>;
  /** For the sink; the same as `url` when absent. */
  readonly sinkUrl?: string;
  readonly overrides?: Partial<SinkSettings>;
  /** What the frames pass on their way to the sink: the embedded log unless told; CROSSFADE_SINK_LOG=kafka makes it the other. */
  readonly log?: 'embedded' | 'kafka';
  readonly kafka?: MemoryKafkaOptions;
}

export interface TableFrames {
  readonly table: CatalogTable;
  readonly relation: Buffer;
  insert(...row: Value[]): Buffer;
  update(...row: Value[]): Buffer;
  /** Old key or row first. */
  updateFrom(old: readonly Value[], row: readonly Value[], kind?: 'K' | 'O'): Buffer;
  delete(...old: Value[]): Buffer;
  deleteFull(...old: Value[]): Buffer;
  truncate(): Buffer;
}

export class SinkHarness implements AsyncDisposable {
  readonly log: LogWriter;
  readonly raw: Topic;
  /** What the frames pass, unless that is the embedded log. */
  readonly kafka: MemoryKafka | undefined;
  readonly mapping: CompiledMapping;
  readonly missing: { readonly table: string; readonly keys: readonly (readonly string[])[] }[] = [];
  readonly resumed: string[] = [];
  readonly held: { readonly table: string; readonly message: string }[] = [];
  readonly setAside: { readonly table: string; readonly message: string }[] = [];
  readonly #options: HarnessOptions;
  readonly #progress: Topic;
  readonly #catalogs: { readonly source: Catalog; readonly target: Catalog };
  readonly #close: () => Promise<void>;
  #sink: Sink | undefined;
  #stop = new AbortController();
  #running: Promise<void> | undefined;
  #markers = 0;

  constructor(parts: {
    readonly options: HarnessOptions;
    readonly raw: Topic;
    readonly progress: Topic;
    readonly mapping: CompiledMapping;
    readonly catalogs: { readonly source: Catalog; readonly target: Catalog };
    readonly close: () => Promise<void>;
    readonly kafka?: MemoryKafka;
  }) {
    this.#options = parts.options;
    this.raw = parts.raw;
    this.#progress = parts.progress;
    this.mapping = parts.mapping;
    this.#catalogs = parts.catalogs;
    this.#close = parts.close;
    this.kafka = parts.kafka;
    this.log = new LogWriter(parts.raw, parts.progress);
  }

  get sink(): Sink {
    if (this.#sink === undefined) throw new Error('start the sink first');
    return this.#sink;
  }

  get targetTables(): readonly CatalogTable[] {
    return this.#catalogs.target.tables;
  }

  get running(): Promise<void> {
    return this.#running ?? Promise.resolve();
  }

  table(name: string): TableFrames {
    const table = this.#catalogs.source.tables.find((candidate) => candidate.name === name);
    if (table === undefined) throw new Error(`no table ${name}`);
    return {
      table,
      relation: relationFrame(table),
      insert: (...row) => insertFrame(table.oid, row),
      update: (...row) => updateFrame(table.oid, row),
      updateFrom: (old, row, kind = 'K') => updateFrame(table.oid, row, { kind, row: old }),
      delete: (...old) => deleteFrame(table.oid, old),
      deleteFull: (...old) => deleteFrame(table.oid, old, 'O'),
      truncate: () => truncateFrame([table.oid]),
    };
  }

  start(overrides: Partial<SinkSettings> = {}, instance = 'test'): Sink {
    const settings = { sink: { parallel: 1, synchronousCommit: false, batchRows: 10_000, ...this.#options.sink } };
    const { mapping = this.mapping } = overrides;
    this.#stop = new AbortController();
    this.#sink = createSink({
      store: postgresStore({
        url: this.#options.sinkUrl ?? this.#options.url,
        mapping,
        tables: this.#catalogs.target.tables,
        synchronousCommit: settings.sink.synchronousCommit,
        instance,
      }),
      mapping,
      source: this.#catalogs.source.tables,
      targetTables: this.#catalogs.target.tables,
      raw: this.raw,
      progress: this.#progress,
      settings,
      logger: silentLogger,
      onMissingRows: async (table, keys) => void this.missing.push({ table: table.to.name, keys }),
      onResumedTable: async (table) => void this.resumed.push(table.to.name),
      onHeld: (table, message) => void this.held.push({ table: table.to.name, message }),
      onSetAside: (table, message) => void this.setAside.push({ table: table.to.name, message }),
      ...this.#options.overrides,
      ...overrides,
    });
    this.#running = this.#sink.run(this.#stop.signal);
    this.#running.catch(() => undefined);
    return this.#sink;
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  /** Everything appended so far is applied (the copy must be complete). */
  async applied(): Promise<void> {
    const id = `m${++this.#markers}`;
    const done = this.sink.waitMarker(id, AbortSignal.timeout(150_000));
    await this.log.transaction(messageFrame({ kind: 'marker', name: this.mapping.name, id }));
    await Promise.race([done, this.running.then(async () => done)]);
  }

  /** All tables follow, nothing was copied. */
  async follow(...tables: readonly TableFrames[]): Promise<void> {
    for (const { table } of tables) await this.log.state(table, 'following');
    await this.log.copyComplete();
  }

  async rows(sql: string): Promise<(string | null)[][]> {
    const client = await connect(this.#options.url, { applicationName: 'test', role: 'target' });
    try {
      const result = await client.query<(string | null)[]>({ text: sql, rowMode: 'array' });
      return result.rows;
    } finally {
      await client.end();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running?.catch(() => undefined);
    await this.#close();
  }
}

export async function sinkHarness(options: HarnessOptions): Promise<SinkHarness> {
  const client = await connect(options.url, { applicationName: 'test', role: 'target' });
  try {
    for (const schema of ['old', 'new']) {
      await client.query(`CREATE SCHEMA ${schema}`);
      await client.query(`SET search_path TO ${schema}, public, pg_catalog`);
      await client.query(options.ddl);
    }
    if (options.targetDdl !== undefined) await client.query(options.targetDdl);
    await client.query('RESET search_path');
    const source = await readCatalog(client, { schemas: ['old'] });
    const target = await readCatalog(client, { schemas: ['new'] });
    const { mapping, findings } = compileMapping(migrationFile(options), source, target);
    if (mapping === undefined) throw new Error(JSON.stringify(findings));
    const directory = await mkdtemp(join(tmpdir(), 'cf-sink-'));
    const log = await openEmbeddedLog({ directory });
    const close = async (): Promise<void> => {
      await log.close();
      await rm(directory, { recursive: true, force: true });
    };
    const progress = await log.topic('progress', { partitions: 1 });
    const parts = { options, progress, mapping, catalogs: { source, target } };
    if ((options.log ?? process.env['CROSSFADE_SINK_LOG']) !== 'kafka')
      return new SinkHarness({ ...parts, raw: await log.topic('raw', { partitions: 1 }), close });
    const gathered = await gatheredLog(mapping, source.tables, options.kafka);
    const closeBoth = async (): Promise<void> => {
      await gathered.close();
      await close();
    };
    const { raw, settings, kafka } = gathered;
    const overrides = { ...settings, ...options.overrides };
    return new SinkHarness({ ...parts, options: { ...options, overrides }, raw, kafka, close: closeBoth });
  } finally {
    await client.end();
  }
}

function migrationFile(options: HarnessOptions): MigrationFile {
  return {
    path: 'test.yaml',
    name: 'sinktest',
    source: { postgres: options.url },
    target: { postgres: options.url },
    tables: (options.entries ?? [{}]).map((entry) => ({
      from: 'old.*',
      to: 'new.*',
      exclude: options.exclude ?? [],
      columns: options.columns ?? {},
      unmapped: 'error',
      existing: options.existing ?? 'refuse',
      line: 1,
      column: 1,
      ...(options.set !== undefined && { set: options.set }),
      ...(options.onRowError !== undefined && { onRowError: options.onRowError }),
      ...(options.where !== undefined && { where: options.where }),
      ...(options.deletes !== undefined && { deletes: options.deletes }),
      ...(options.conflict !== undefined && { conflict: options.conflict }),
      ...(options.truncates !== undefined && { truncates: options.truncates }),
      ...entry,
    })),
    settings: { log: {} } as MigrationFile['settings'],
  };
}
