/**
 * The audit trail as a chain. Guarantee: a record's hash covers everything in it and the hash of the one before, so a record that was changed,
 * taken out, put in or moved is found; that the last ones were cut off is found by the head, which stands in the state row.
 */
import { createHash } from 'node:crypto';

/** What JSON can hold; numbers are whole and small, everything else is text. */
export type Details = { readonly [key: string]: unknown };

export interface AuditRecord {
  readonly name: string;
  /** From 1 on, without a gap. */
  readonly seq: number;
  /** By the target's clock, in UTC, to the microsecond. */
  readonly at: string;
  /** A person's name, or the process that acted for nobody. */
  readonly actor: string;
  readonly event: string;
  readonly fromState: string | null;
  readonly toState: string | null;
  readonly details: Details;
  /** Empty in the first. */
  readonly prevHash: string;
  readonly hash: string;
}

/** sha256 over the hash before, a line feed, and the record as canonical JSON (keys in order of their code units, no blanks). */
export function auditHash({ prevHash, ...record }: Omit<AuditRecord, 'hash'>): string {
  return createHash('sha256')
    .update(`${prevHash}\n${canonicalJson(record)}`)
    .digest('hex');
}

export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map((one) => canonicalJson(one ?? null)).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(typeof value === 'bigint' ? String(value) : value);
  const entries = Object.entries(value).filter(([, inner]) => inner !== undefined);
  return `{${entries
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, inner]) => `${JSON.stringify(key)}:${canonicalJson(inner)}`)
    .join(',')}}`;
}

export interface AuditHead {
  readonly seq: number;
  readonly hash: string;
}

export type AuditVerdict =
  | { readonly ok: true; readonly records: number; readonly head: AuditHead }
  /** `seq`: the first place at which the chain does not hold. */
  | { readonly ok: false; readonly records: number; readonly seq: number; readonly why: string };

/** @param records In the order of `seq`. @param head As the state row has it. */
export function verifyChain(records: readonly AuditRecord[], head: AuditHead): AuditVerdict {
  const broken = (seq: number, why: string): AuditVerdict => ({ ok: false, records: records.length, seq, why });
  let prevHash = '';
  for (const [i, record] of records.entries()) {
    const seq = i + 1;
    if (record.seq !== seq) return broken(seq, `record ${seq} is missing`);
    if (record.prevHash !== prevHash) return broken(seq, `record ${seq} does not follow the one before it`);
    const { hash, ...rest } = record;
    if (auditHash(rest) !== hash) return broken(seq, `record ${seq} is not what was written`);
    prevHash = hash;
  }
  if (records.length < head.seq)
    return broken(records.length + 1, `record ${records.length + 1} is missing: the last written is ${head.seq}`);
  if (records.length > head.seq) return broken(head.seq + 1, `record ${head.seq + 1} was not written by Crossfade`);
  if (prevHash !== head.hash) return broken(head.seq, `record ${head.seq} is not the one that was written last`);
  return { ok: true, records: records.length, head };
}
