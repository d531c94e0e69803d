/**
 * Two servers with the same rows, and what `verify` needs to compare them: a slot, a publication, a target that says it has applied all of it.
 * No pipeline runs, so the CPU time of either server is the comparison's alone.
 */
import { ensureSchema } from '#connectors/postgres/own-schema.ts';
import { readCatalog } from '#connectors/catalog/postgres.ts';
import { connect } from '#connectors/postgres/session.ts';
import { compileMapping } from '#schemas/mapping/compile-mapping.ts';
import type { CompiledMapping } from '#schemas/mapping/compiled-mapping.ts';
import type { VerifyResult } from '#schemas/reconcile/verify-result.ts';
import { silentLogger } from '#services/runtime/service.ts';
import { verifyMigration, type VerifyOptions } from '#services/reconciler/verify.ts';
import { execute } from '#test/support/application.ts';
import { fileOf } from '#test/support/compile.ts';
import { type PostgresServer, startPostgres } from '#test/support/postgres.ts';
import { countBytes } from './counting-proxy.ts';

export interface StillMigration extends AsyncDisposable {
  readonly source: PostgresServer;
  readonly target: PostgresServer;
  readonly sourceUrl: string;
  readonly targetUrl: string;
  readonly mapping: CompiledMapping;
  verify(options: Pick<VerifyOptions, 'parts' | 'tables'>): Promise<VerifyResult>;
  /** To and from both servers by all comparisons so far. */
  bytes(): number;
}

const NAME = 'still';
/** Nothing but the comparison is to use the CPU. */
const SETTINGS = { autovacuum: 'off', checkpoint_timeout: '1h', max_wal_size: '4GB', shared_buffers: '512MB' };

export async function openStillMigration(sql: string): Promise<StillMigration> {
  await using stack = new AsyncDisposableStack();
  const [source, target] = [
    stack.use(await startPostgres({ version: 18, settings: SETTINGS })),
    stack.use(await startPostgres({ version: 18, settings: SETTINGS })),
  ];
  const [sourceUrl, targetUrl] = [await source.createDatabase('origin'), await target.createDatabase('destination')];
  await Promise.all([execute(sourceUrl, sql), execute(targetUrl, sql)]);
  // Hint bits and dirty pages are of no interest.
  await Promise.all([execute(sourceUrl, 'VACUUM ANALYZE', 'CHECKPOINT'), execute(targetUrl, 'VACUUM ANALYZE', 'CHECKPOINT')]);
  const mapping = await prepare(sourceUrl, targetUrl);
  const [here, there] = [stack.use(await countBytes(sourceUrl)), stack.use(await countBytes(targetUrl))];
  const kept = stack.move();
  const fixed = { mapping, name: NAME, slot: NAME, publication: NAME, logger: silentLogger };
  return {
    source,
    target,
    sourceUrl,
    targetUrl,
    mapping,
    verify: (options) => verifyMigration({ ...fixed, sourceUrl: here.url, targetUrl: there.url, ...options }),
    bytes: () => here.bytes() + there.bytes(),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

async function prepare(sourceUrl: string, targetUrl: string): Promise<CompiledMapping> {
  const source = await connect(sourceUrl, { applicationName: 'prove', role: 'source' });
  const target = await connect(targetUrl, { applicationName: 'prove', role: 'target' });
  try {
    await ensureSchema(target);
    const { mapping, findings } = compileMapping(fileOf('  - from: public.*\n'), await readCatalog(source), await readCatalog(target));
    if (mapping === undefined) throw new Error(findings.map(({ message }) => message).join('\n'));
    await source.query(`CREATE PUBLICATION ${NAME} FOR ALL TABLES`);
    const { rows } = await source.query<{ lsn: string }>(`SELECT lsn FROM pg_create_logical_replication_slot($1, 'pgoutput')`, [NAME]);
    await target.query(
      `INSERT INTO crossfade.progress (name, epoch, mode, applied_lsn, log_offset, mapping_hash, instance) VALUES ($1, 1, 'consistent', $2, 0, $3, 'prove')`,
      [NAME, rows[0]!.lsn, mapping.hash],
    );
    return mapping;
  } finally {
    await source.end();
    await target.end();
  }
}
