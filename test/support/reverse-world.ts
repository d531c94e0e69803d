/** A migration whose way back stands: source, target, `crossfade up` as a process, and an application on whichever side serves. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { vi } from 'vitest';
import { readCatalog } from '#connectors/catalog/postgres.ts';
import { readForeignWrites, type ForeignWrite } from '#connectors/postgres/foreign-writes.ts';
import { connect } from '#connectors/postgres/session.ts';
import { changeSettings } from '#connectors/target/postgres/migration-state.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { readMigrationFile } from '#schemas/config/read-migration-file.ts';
import { compileMapping } from '#schemas/mapping/compile-mapping.ts';
import { deriveReverse } from '#schemas/mapping/reverse/derive-reverse.ts';
import { reverseName } from '#schemas/mapping/reverse/reverse-name.ts';
import type { VerifyResult } from '#schemas/reconcile/verify-result.ts';
import type { Catalog } from '#schemas/table.ts';
import { Pipeline } from '#services/demo/pipeline/pipeline.ts';
import { verifyMigration } from '#services/reconciler/verify.ts';
import { directionEnds, proveRoundTrip, type RoundTrip } from '#services/runtime/round-trip.ts';
import { silentLogger } from '#services/runtime/service.ts';
import { execute } from '#test/support/application.ts';
import { freshDatabase, type PostgresVersion } from '#test/support/postgres.ts';

export const WAIT = { timeout: 60_000, interval: 50 };

export interface ReverseWorldOptions {
  readonly from: PostgresVersion;
  readonly to: PostgresVersion;
  readonly name: string;
  readonly source: readonly string[];
  readonly target: readonly string[];
  readonly tables: string;
}

export class ReverseWorld implements AsyncDisposable {
  readonly #stack: AsyncDisposableStack;
  readonly #path: string;
  readonly directory: string;
  readonly source: string;
  readonly target: string;
  readonly file: MigrationFile;
  readonly dataDir: string;
  #epoch = 0;

  static async open(options: ReverseWorldOptions): Promise<ReverseWorld> {
    await using stack = new AsyncDisposableStack();
    const source = stack.use(await freshDatabase(options.from)).url;
    const target = stack.use(await freshDatabase(options.to)).url;
    const directory = await mkdtemp(join(tmpdir(), 'crossfade-reverse-'));
    stack.defer(() => rm(directory, { recursive: true, force: true }));
    await execute(source, ...options.source);
    await execute(target, ...options.target);
    const text =
      `crossfade: 1\nname: ${options.name}\nsource: { postgres: "${source}" }\ntarget: { postgres: "${target}" }\nheartbeatSeconds: 1\n` +
      `reconcile: { enabled: false }\ntables:\n${options.tables}`;
    await writeFile(join(directory, 'm.yaml'), text);
    const { file, findings } = readMigrationFile({ path: 'm.yaml', text, env: {} });
    if (file === undefined) throw new Error(findings.map(({ message }) => message).join('; '));
    return new ReverseWorld(stack.move(), { directory, source, target, file });
  }

  private constructor(
    stack: AsyncDisposableStack,
    { directory, source, target, file }: { readonly directory: string } & Pick<ReverseWorld, 'source' | 'target' | 'file'>,
  ) {
    this.#stack = stack;
    this.directory = directory;
    this.#path = join(directory, 'm.yaml');
    this.dataDir = join(directory, 'data');
    this.source = source;
    this.target = target;
    this.file = file;
  }

  start(env: Readonly<Record<string, string>> = {}): Pipeline {
    const logFile = join(this.dataDir, '..', 'up.log');
    return this.#stack.use(Pipeline.start({ file: this.#path, dataDir: this.dataDir, logFile, env }));
  }

  async want(reverseWanted = true): Promise<void> {
    await changeSettings(this.target, this.file.name, { reverseWanted }, { actor: 'test', event: 'reverse' });
  }

  /** Tried again while it does not stand yet. */
  async proven(): Promise<RoundTrip> {
    return vi.waitFor(async () => proveRoundTrip(directionEnds(this.file, 'reverse'), { timeoutMs: 5_000 }), {
      timeout: 90_000,
      interval: 100,
    });
  }

  async caughtUp(): Promise<void> {
    await proveRoundTrip(directionEnds(this.file, 'forward'), { timeoutMs: 60_000 });
  }

  /** As the COMMIT of a fence decides it: on the side that served. */
  async serve(side: 'source' | 'target'): Promise<void> {
    const fenced = side === 'target' ? this.source : this.target;
    this.#epoch++;
    await execute(
      fenced,
      `INSERT INTO crossfade.journal (name, epoch, serves, marker) VALUES ('${this.file.name}', ${this.#epoch}, '${side}', 'test')`,
    );
  }

  async foreign(): Promise<readonly ForeignWrite[]> {
    const client = await connect(this.target, { applicationName: 'test', role: 'target' });
    try {
      return await readForeignWrites(client, reverseName(this.file.name));
    } finally {
      await client.end();
    }
  }

  /** Of each row the transaction that wrote it last. */
  async versions(side: 'source' | 'target', table: string): Promise<string | null> {
    const sql = `SELECT string_agg(id || ' ' || xmin, ',' ORDER BY id) AS rows FROM ${table}`;
    return (await execute(this[side], sql))[0]!['rows']!;
  }

  /** The way back, compared as any migration: target with source. */
  async verified(): Promise<VerifyResult> {
    const [source, target] = await Promise.all([catalogOf(this.source), catalogOf(this.target)]);
    const { mapping } = compileMapping(this.file, source, target);
    const reverse = deriveReverse(this.file, mapping!, { source, target });
    const { name } = reverse.file!;
    return verifyMigration({
      sourceUrl: reverse.file!.source.postgres,
      targetUrl: reverse.file!.target.postgres!,
      mapping: reverse.mapping!,
      name,
      slot: name,
      publication: name,
      logger: silentLogger,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

async function catalogOf(url: string): Promise<Catalog> {
  const client = await connect(url, { applicationName: 'test', role: 'source' });
  try {
    return await readCatalog(client);
  } finally {
    await client.end();
  }
}
