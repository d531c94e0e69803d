/**
 * The backup that a file asks for, as the audit trail has it. Guarantee: pure; only one that was taken and verified is recorded, so what is there can be relied
 * on, of the side that the file names and of no other.
 */
import type { BackupEntry } from '../config/migration-file.ts';
import { bytes, duration, shortTime } from '../document/blocks.ts';
import { numberIn, textIn } from '../report/details.ts';
import type { AuditRecord } from './audit-record.ts';
import { closedGate, type Gate, openGate } from './gate.ts';

export const BACKED_UP_EVENT = 'backed-up';

export interface RecordedBackup {
  readonly at: string;
  /** `pg_dump 18.4`, or that it was a command of the file. */
  readonly by: string;
  /** Undefined: the command writes it, and nobody knows where. */
  readonly file: string | undefined;
  readonly bytes: number | undefined;
  /** Taking it, and verifying it. */
  readonly ms: number;
}

/** `records`: the oldest first. Undefined: none of that side was taken. */
export function lastBackup(
  records: readonly Pick<AuditRecord, 'event' | 'at' | 'details'>[],
  of: BackupEntry['of'],
): RecordedBackup | undefined {
  const found = records.findLast(({ event, details }) => event === BACKED_UP_EVENT && details['of'] === of);
  if (found === undefined) return undefined;
  const { at, details } = found;
  return {
    at,
    by: textIn(details, 'by') ?? 'not known by what',
    file: textIn(details, 'file'),
    bytes: numberIn(details, 'bytes'),
    ms: (numberIn(details, 'takenMs') ?? 0) + (numberIn(details, 'verifiedMs') ?? 0),
  };
}

export function describeBackup(of: BackupEntry['of'], { at, by, file, bytes: size, ms }: RecordedBackup): string {
  const where = file === undefined ? '' : `, ${file}${size === undefined ? '' : ` (${bytes(size)})`}`;
  return `the ${of} was saved and verified on ${shortTime(at)} by ${by}${where}, in ${duration(ms)}`;
}

/** Without `nowMs` its age is not asked for: before anything has begun. */
export function backupGate({ of, maxAgeMs }: BackupEntry, records: Parameters<typeof lastBackup>[0], nowMs?: number): Gate {
  const gate = 'backup';
  const last = lastBackup(records, of);
  if (last === undefined) return closedGate(gate, `no backup of the ${of} was taken and verified`, 'Run crossfade backup.');
  const evidence = describeBackup(of, last);
  const ageMs = nowMs === undefined ? 0 : nowMs - Date.parse(last.at);
  if (maxAgeMs !== undefined && ageMs > maxAgeMs)
    return closedGate(
      gate,
      `${evidence}; it is ${duration(ageMs)} old, and ${duration(maxAgeMs)} are allowed`,
      'Run crossfade backup once more.',
    );
  return openGate(gate, evidence);
}

/** `pg_dump (PostgreSQL) 18.4 (Debian …)`: 18, as `18.4`. Undefined: it is something else. */
export function dumpVersion(printed: string): { readonly major: number; readonly text: string } | undefined {
  const match = /^pg_(?:dump|restore) \(PostgreSQL\) (\d+)(\S*)/.exec(printed);
  return match === null ? undefined : { major: Number(match[1]), text: `${match[1]}${match[2]}` };
}

/** Why this pg_dump cannot save that server; undefined: it can. `serverVersion`: as PostgreSQL has it in numbers. */
export function whyNotDumped(printed: string, serverVersion: number): string | undefined {
  const version = dumpVersion(printed);
  if (version === undefined) return `what is called pg_dump says ${JSON.stringify(printed.slice(0, 80))}`;
  const server = Math.floor(serverVersion / 10_000);
  return version.major >= server
    ? undefined
    : `pg_dump is of PostgreSQL ${version.text}, and the server of ${server}: an older one refuses a newer server`;
}

/** Tables of which a dump's list of contents names no rows. `listing`: what pg_restore --list prints. */
export function tablesNotIn(listing: string, tables: readonly { readonly schema: string; readonly name: string }[]): string[] {
  const lines = new Set(
    listing.split('\n').flatMap((line) => {
      const match = /^\d+; \d+ \d+ TABLE DATA (.+) \S+$/.exec(line);
      return match === null ? [] : [match[1]!];
    }),
  );
  return tables.filter(({ schema, name }) => !lines.has(`${schema} ${name}`)).map(({ schema, name }) => `${schema}.${name}`);
}
