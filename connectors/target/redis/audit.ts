/**
 * The audit trail of a Redis target: the hash `crossfade:{NAME}:audit`, a field for each record and one for the head. Guarantee: only ever added to, each
 * record with the hash of the one before, of writers at the same time one after the other; nothing of it expires.
 */
import type { RedisAddress } from '#schemas/config/migration-file.ts';
import { invariant } from '#schemas/errors.ts';
import { auditHash, type AuditHead, type AuditRecord, type Details, verifyChain } from '#schemas/migration/audit-record.ts';
import type { AuditEntry, AuditTrail } from '../postgres/audit.ts';
import { connectRedis, type RedisClient } from './connection.ts';
import { ownKeys } from './names.ts';
import { APPEND_AUDIT } from './scripts.ts';

/** Others may write at the same moment, and each time one of them has. */
const ATTEMPTS = 100;
const NONE: AuditHead = { seq: 0, hash: '' };
const HEAD = 'head';

/** Dated by this machine's clock: a server's may not be asked for under the rights that a sink has. */
export async function noteRedisAudit(address: RedisAddress, name: string, entry: AuditEntry): Promise<void> {
  await withClient(address, name, async (client) => {
    const key = ownKeys(name).audit;
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const text = (await client.hget(key, HEAD)) ?? '';
      const { head, record } = next(name, headIn(text), entry);
      const written = await client.eval(APPEND_AUDIT, 1, key, text, String(record.seq), JSON.stringify(record), JSON.stringify(head));
      if (written === 1) return;
    }
    invariant(false, 'of the writers of an audit trail one comes through each time');
  });
}

/** Records and head of one moment; none where nothing was written. */
export async function readRedisTrail(address: RedisAddress, name: string): Promise<AuditTrail> {
  return withClient(address, name, async (client) => {
    const { [HEAD]: head = '', ...fields } = await client.hgetall(ownKeys(name).audit);
    const records = Object.values(fields).map((text) => JSON.parse(text) as AuditRecord);
    records.sort((a, b) => a.seq - b.seq);
    return { records, verdict: verifyChain(records, headIn(head)) };
  });
}

function headIn(text: string): AuditHead {
  return text === '' ? NONE : (JSON.parse(text) as AuditHead);
}

function next(
  name: string,
  before: AuditHead,
  { actor, event, fromState, toState, details = {} }: AuditEntry,
): { readonly head: AuditHead; readonly record: AuditRecord } {
  const seq = before.seq + 1;
  // The details as they will be read back: the hash is over those.
  const said = {
    actor,
    event,
    fromState: fromState ?? null,
    toState: toState ?? null,
    details: JSON.parse(JSON.stringify(details)) as Details,
  };
  const record = { name, seq, at: new Date().toISOString(), ...said, prevHash: before.hash };
  const hash = auditHash(record);
  return { head: { seq, hash }, record: { ...record, hash } };
}

async function withClient<T>(address: RedisAddress, name: string, work: (client: RedisClient) => Promise<T>): Promise<T> {
  const client = await connectRedis(address, `crossfade ${name} audit`);
  try {
    return await work(client);
  } finally {
    client.disconnect();
  }
}
