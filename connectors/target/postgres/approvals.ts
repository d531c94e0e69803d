/**
 * What people signed, `crossfade.approval` on the target, and the plans that they signed. Guarantee: an approval and its audit record are one transaction; it is never changed or
 * removed, and the same person signing the same plan again adds nothing.
 */
import { connect, queryRows } from '#connectors/postgres/session.ts';
import { type Approval, personKey } from '#schemas/migration/approvals.ts';
import { appendAudit } from './audit.ts';
import { inState, withState } from './migration-state.ts';

export interface GivenApproval {
  readonly subject: string;
  readonly planHash: string;
  readonly person: string;
  readonly reason?: string;
  /** What they signed; kept once for each hash. */
  readonly plan: object;
  /** The account that typed it, for the audit trail: a name is what somebody says. */
  readonly account: string;
}

/** False: this person has signed that before. @throws PipelineError CF-5001, CF-5002 */
export async function recordApproval(url: string, name: string, given: GivenApproval): Promise<boolean> {
  const { subject, planHash, person, reason, account, plan } = given;
  return withState(url, name, async (client) =>
    inState(client, name, async (row) => {
      const before = await readRows(client, name);
      const isSame = (one: Approval): boolean =>
        one.subject === subject && one.planHash === planHash && personKey(one.person) === personKey(person);
      if (before.some(isSame)) return false;
      await client.query('INSERT INTO crossfade.approval (name, subject, plan_hash, person, reason) VALUES ($1, $2, $3, $4, $5)', [
        name,
        subject,
        planHash,
        person,
        reason ?? null,
      ]);
      await client.query('INSERT INTO crossfade.plan_document (name, hash, document) VALUES ($1, $2, $3::json) ON CONFLICT DO NOTHING', [
        name,
        planHash,
        JSON.stringify(plan),
      ]);
      const details = { subject, plan: planHash, account, ...(reason !== undefined && { reason }) };
      await appendAudit(client, row, { actor: person, event: 'approved', details });
      return true;
    }),
  );
}

/** The oldest first; none where nobody signed. */
export async function readApprovals(url: string, name: string): Promise<Approval[]> {
  const client = await connect(url, { applicationName: 'crossfade approvals', role: 'target' });
  try {
    if ((await client.query(`SELECT WHERE to_regclass('crossfade.approval') IS NOT NULL`)).rowCount === 0) return [];
    return await readRows(client, name);
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** As it was signed; undefined: it was signed by a version that kept none, or by nobody. Whoever reads it looks at its form. */
export async function readPlanDocument(url: string, name: string, hash: string): Promise<unknown> {
  const client = await connect(url, { applicationName: 'crossfade approvals', role: 'target' });
  try {
    if ((await client.query(`SELECT WHERE to_regclass('crossfade.plan_document') IS NOT NULL`)).rowCount === 0) return undefined;
    const sql = 'SELECT document::text AS document FROM crossfade.plan_document WHERE name = $1 AND hash = $2';
    const [row] = await queryRows(client, sql, [name, hash]);
    return row === undefined ? undefined : (JSON.parse(row['document']!) as unknown);
  } finally {
    await client.end().catch(() => undefined);
  }
}

async function readRows(client: Parameters<typeof queryRows>[0], name: string): Promise<Approval[]> {
  const rows = await queryRows(
    client,
    `SELECT subject, plan_hash, person, reason, to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS at
     FROM crossfade.approval WHERE name = $1 ORDER BY id`,
    [name],
  );
  return rows.map((row) => ({
    subject: row['subject']!,
    planHash: row['plan_hash']!,
    person: row['person']!,
    at: row['at']!,
    ...(row['reason'] !== null && row['reason'] !== undefined && { reason: row['reason'] }),
  }));
}
