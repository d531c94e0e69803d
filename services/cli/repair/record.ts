/**
 * A repair in the audit trail of the target. Guarantee: one record before anything is asked for and one behind the comparison after it; keys stand in
 * it hashed with a salt of the record's own, values not at all.
 */
import { randomBytes } from 'node:crypto';
import { noteAudit } from '#connectors/target/postgres/migration-state.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import type { VerifyResult } from '#schemas/reconcile/verify-result.ts';
import type { RecopyRequest } from '#schemas/recopy.ts';
import { keyHash, REPAIR_ASKED } from '#services/reconciler/monitor/asked-in-trail.ts';
import { accountName } from '../account-name.ts';

/** Keys of one request that stand in the record one by one; all are counted. */
const HASHES_MAX = 1_000;
const SALT_BYTES = 16;

/** @throws PipelineError CF-5001, CF-5002 */
export async function recordAsked(
  file: MigrationFile,
  requests: readonly RecopyRequest[],
  before: VerifyResult | undefined,
): Promise<void> {
  const salt = randomBytes(SALT_BYTES).toString('hex');
  await note(file, REPAIR_ASKED, {
    salt,
    requests: requests.map((request) => describeRequest(request, salt)),
    before: before === undefined ? null : countsOf(before),
  });
}

export async function recordRepaired(file: MigrationFile, after: VerifyResult): Promise<void> {
  await note(file, 'repaired', { lsn: after.at.lsn, after: countsOf(after) });
}

async function note(file: MigrationFile, event: string, details: Parameters<typeof noteAudit>[2]['details'] & object): Promise<void> {
  const { name, target, signedPlan } = file;
  const plan = signedPlan === undefined ? {} : { plan: signedPlan };
  const entry = { actor: accountName(), event, details: { ...details, ...plan } };
  if (target.redis === undefined) return noteAudit(target.postgres, name, entry);
  // Its client is loaded only where it is needed.
  const { noteRedisAudit } = await import('#connectors/target/redis/audit.ts');
  await noteRedisAudit(target.redis, name, entry);
}

type Described = Record<string, string | number | string[]>;

function describeRequest(request: RecopyRequest, salt: string): Described {
  const table = `${request.schema}.${request.table}`;
  const hashed = (key: readonly string[]): string => keyHash(salt, key);
  const base: Described = { table, kind: request.kind };
  if (request.kind === 'keys') return { ...base, count: request.keys.length, keys: request.keys.slice(0, HASHES_MAX).map(hashed) };
  if (request.kind !== 'range') return base;
  const { from, to } = request;
  return { ...base, ...(from !== undefined && { from: hashed([from]) }), ...(to !== undefined && { to: hashed([to]) }) };
}

function countsOf({ tables }: VerifyResult): Described[] {
  return tables.map(({ to, missing, extra, different, inconclusive }) => ({
    table: to,
    missing,
    extra,
    different,
    ...(inconclusive !== undefined && { inconclusive: inconclusive.cause }),
  }));
}
