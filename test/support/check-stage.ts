/** Two databases and a migration file for tests of `check`, which runs in this process. Guarantee: roles made for one stage are dropped with it. */
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Envelope, EnvelopeFinding } from '#schemas/envelope.ts';
import { connect } from '#connectors/postgres/session.ts';
import { envelopeOf, runInProcess } from './command-line.ts';
import { freshDatabase, type PostgresVersion } from './postgres.ts';

export interface CheckOptions {
  readonly version?: PostgresVersion;
  /** Run as superuser on the source, in a fresh database. */
  readonly source: string;
  readonly target?: string;
  /** YAML of the file's entries below `tables:`, and of what follows. */
  readonly tables?: string;
  readonly sourceUrl?: string;
  readonly targetUrl?: string;
  /** Roles to connect as; made with LOGIN only. */
  readonly roles?: boolean;
}

export interface CheckStage extends AsyncDisposable {
  readonly path: string;
  readonly name: string;
  /** As superuser. */
  readonly sourceUrl: string;
  readonly targetUrl: string;
  readonly sourceRole: string;
  readonly targetRole: string;
  check(...args: readonly string[]): Promise<{ readonly exitCode: number; readonly envelope: Envelope }>;
  /** As superuser. */
  onSource(sql: string): Promise<void>;
  onTarget(sql: string): Promise<void>;
}

let stages = 0;

export async function checkStage(options: CheckOptions): Promise<CheckStage> {
  const version = options.version ?? 18;
  const [source, target] = [await freshDatabase(version), await freshDatabase(version === 14 ? 18 : 14)];
  const id = `${process.pid}_${++stages}`;
  const [sourceRole, targetRole] = [`reader_${id}`, `writer_${id}`];
  const onSource = (sql: string): Promise<void> => run(source.url, sql);
  const onTarget = (sql: string): Promise<void> => run(target.url, sql);
  if (options.roles === true) {
    await onSource(`CREATE ROLE ${sourceRole} LOGIN`);
    await onTarget(`CREATE ROLE ${targetRole} LOGIN`);
  }
  await onSource(options.source);
  await onTarget(options.target ?? options.source);
  const name = `check_${id}`;
  const path = join(mkdtempSync(join(tmpdir(), 'crossfade-check-')), 'migration.yaml');
  const urlOf = (database: typeof source, role: string): string =>
    options.roles === true ? database.server.url(database.name, role) : database.url;
  writeFileSync(
    path,
    `crossfade: 1
name: ${name}
source: { postgres: ${JSON.stringify(options.sourceUrl ?? urlOf(source, sourceRole))} }
target: { postgres: ${JSON.stringify(options.targetUrl ?? urlOf(target, targetRole))} }
tables:
${options.tables ?? '  - from: public.*'}
`,
  );
  return {
    path,
    name,
    sourceUrl: source.url,
    targetUrl: target.url,
    sourceRole,
    targetRole,
    onSource,
    onTarget,
    check: async (...args) => {
      const result = await runInProcess(['check', '-f', path, '--json', ...args]);
      return { exitCode: result.exitCode, envelope: envelopeOf(result) };
    },
    [Symbol.asyncDispose]: async () => {
      await source[Symbol.asyncDispose]();
      await target[Symbol.asyncDispose]();
    },
  };
}

async function run(url: string, sql: string): Promise<void> {
  const client = await connect(url, { applicationName: 'test', role: 'source', settings: { search_path: 'public' } });
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}

export function errorsOf(envelope: Envelope): readonly EnvelopeFinding[] {
  return envelope.findings.filter((finding) => finding.severity === 'error');
}

/** The finding whose message matches; fails the test with all messages when there is none. */
export function findingLike(envelope: Envelope, pattern: RegExp): EnvelopeFinding {
  const found = envelope.findings.find((finding) => pattern.test(finding.message));
  if (found === undefined)
    throw new Error(
      `no finding like ${pattern}; there are:\n${envelope.findings.map((one) => `${one.severity} ${one.code} ${one.message}`).join('\n')}`,
    );
  return found;
}
