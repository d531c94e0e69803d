/** A mapping compiled against real catalogues, from SQL and a file's `tables:` block. */
import { readCatalog } from '#connectors/catalog/postgres.ts';
import { connect } from '#connectors/postgres/session.ts';
import { readMigrationFile } from '#schemas/config/read-migration-file.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import type { Finding } from '#schemas/errors.ts';
import { compileMapping, type MappingResult } from '#schemas/mapping/compile-mapping.ts';
import type { Catalog } from '#schemas/table.ts';
import { sharedServer, type PostgresVersion } from '#test/support/postgres.ts';

/** The catalogue after `sql`, which is rolled back: nothing stays, and no database has to be made. */
export async function catalogOf(sql: string, version: PostgresVersion = 18): Promise<Catalog> {
  const server = await sharedServer(version);
  const client = await connect(server.url(), { applicationName: 'test', role: 'source' });
  try {
    await client.query(`BEGIN; SET LOCAL search_path = public; ${sql}; SET LOCAL search_path = pg_catalog`);
    return await readCatalog(client);
  } finally {
    await client.end();
  }
}

export function fileOf(tables: string): MigrationFile {
  const head = 'crossfade: 1\nname: test\nsource: { postgres: "postgres://h/a" }\ntarget: { postgres: "postgres://h/b" }\n';
  const { file, findings } = readMigrationFile({ path: 'm.yaml', text: `${head}tables:\n${tables}`, env: {} });
  if (file === undefined) throw new Error(findings.map((one) => one.message).join('\n'));
  return file;
}

export interface CompileCase {
  readonly source: string;
  readonly target: string;
  /** `  - from: public.*` when absent. */
  readonly tables?: string;
}

export async function compile({ source, target, tables = '  - from: public.*\n' }: CompileCase): Promise<MappingResult> {
  return compileMapping(fileOf(tables), await catalogOf(source), await catalogOf(target));
}

/** `line:column code message`, as the tests compare them. */
export function told(findings: readonly Finding[]): string[] {
  return findings.map((one) => `${one.line}:${one.column} ${one.severity === 'warning' ? 'warning ' : ''}${one.code} ${one.message}`);
}
