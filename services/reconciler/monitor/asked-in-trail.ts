/**
 * Repairs as the audit trail has them, for whoever is not told of them as they are asked. Guarantee: of a row that was asked for by its key it is known
 * exactly, by the hash that stands in the record; of what the record has no keys of, the whole table counts as asked for.
 */
import { createHash } from 'node:crypto';
import type { AuditRecord } from '#schemas/migration/audit-record.ts';
import type { DriftFinding } from '#schemas/reconcile/drift-finding.ts';

export const REPAIR_ASKED = 'repair-asked';

/** Keys stand in the trail hashed with a salt of the record's own. */
export function keyHash(salt: string, key: readonly string[]): string {
  return createHash('sha256')
    .update(`${salt}${JSON.stringify(key)}`)
    .digest('hex');
}

interface AskedRequest {
  readonly table: string;
  readonly kind: string;
  readonly count?: number;
  readonly keys?: readonly string[];
}

/** Whether a record of the trail asks for a finding's row. */
export function isAskedIn({ event, details }: AuditRecord, { from, sourceKey }: DriftFinding): boolean {
  if (event !== REPAIR_ASKED) return false;
  const { salt = '', requests = [] } = details as { readonly salt?: string; readonly requests?: readonly AskedRequest[] };
  return requests.some(({ table, kind, count = 0, keys = [] }) => {
    if (table !== from) return false;
    if (kind !== 'keys' || count > keys.length || sourceKey === undefined) return true;
    return keys.includes(keyHash(salt, sourceKey));
  });
}
