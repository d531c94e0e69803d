/** Which backup counts, which pg_dump may take it, and whether a dump holds the tables. */
import { describe, expect, test } from 'vitest';
import { readMigrationFile } from '#schemas/config/read-migration-file.ts';
import type { AuditRecord } from '#schemas/migration/audit-record.ts';
import { backupGate, describeBackup, dumpVersion, lastBackup, tablesNotIn, whyNotDumped } from '#schemas/migration/backup.ts';

const HOUR = 3_600_000;

function record(at: string, details: AuditRecord['details']): Pick<AuditRecord, 'event' | 'at' | 'details'> {
  return { event: 'backed-up', at, details };
}

const TAKEN = { of: 'source', by: 'pg_dump 18.4', file: '/b/shop.dump', bytes: 2048, takenMs: 90_000, verifiedMs: 30_000 };

describe('the backup that counts', () => {
  const records = [record('2026-11-20T10:00:00Z', TAKEN), record('2026-11-21T10:00:00Z', { ...TAKEN, of: 'target', file: '/b/new.dump' })];

  test('is the last one of the side that the file names', () => {
    expect(lastBackup(records, 'source')).toEqual({
      at: '2026-11-20T10:00:00Z',
      by: 'pg_dump 18.4',
      file: '/b/shop.dump',
      bytes: 2048,
      ms: 120_000,
    });
    expect(lastBackup(records, 'target')?.file).toBe('/b/new.dump');
    expect(lastBackup(records.slice(1), 'source')).toBeUndefined();
    expect(describeBackup('source', lastBackup(records, 'source')!)).toBe(
      'the source was saved and verified on 2026-11-20 10:00:00 UTC by pg_dump 18.4, /b/shop.dump (2.0 KiB), in 2 min',
    );
  });

  test('opens the gate, but for one that is too old at the cut-over', () => {
    const entry = { of: 'source', timeoutMs: HOUR, maxAgeMs: 24 * HOUR } as const;
    const at = (hours: number): number => Date.parse('2026-11-20T10:00:00Z') + hours * HOUR;
    expect(backupGate(entry, [])).toMatchObject({ isOpen: false, remedy: 'Run crossfade backup.' });
    expect(backupGate(entry, records, at(23)).isOpen).toBe(true);
    expect(backupGate(entry, records, at(25))).toMatchObject({
      isOpen: false,
      evidence: expect.stringContaining('it is 1 d 1 h old, and 1 d are allowed') as string,
    });
    // Before the first start its age is not asked for.
    expect(backupGate(entry, records).isOpen).toBe(true);
    const { maxAgeMs: _any, ...ageless } = entry;
    expect(backupGate(ageless, records, at(10_000)).isOpen).toBe(true);
  });
});

describe('pg_dump', () => {
  test.each([
    ['pg_dump (PostgreSQL) 18.4', { major: 18, text: '18.4' }],
    ['pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)', { major: 15, text: '15.18' }],
    ['pg_dump (PostgreSQL) 19beta2', { major: 19, text: '19beta2' }],
    ['something else 3', undefined],
  ])('%s', (printed, version) => {
    expect(dumpVersion(printed)).toEqual(version);
  });

  test('is refused where it is older than the server, and not where it is newer', () => {
    const old = 'pg_dump (PostgreSQL) 15.18';
    expect(whyNotDumped(old, 150_018)).toBeUndefined();
    expect(whyNotDumped(old, 140_000)).toBeUndefined();
    expect(whyNotDumped(old, 180_004)).toBe('pg_dump is of PostgreSQL 15.18, and the server of 18: an older one refuses a newer server');
    expect(whyNotDumped('no such thing', 140_000)).toContain('what is called pg_dump says "no such thing"');
  });

  test('a list of contents without the rows of a table is not whole', () => {
    const listing = `;
; Archive created at 2026-11-22 12:00:00 UTC
3321; 0 16385 TABLE DATA public orders ada
3322; 0 16390 TABLE DATA public order lines ada
200; 1259 16395 TABLE public lost ada
`;
    const named = (name: string): { schema: string; name: string } => ({ schema: 'public', name });
    expect(tablesNotIn(listing, [named('orders'), named('order lines')])).toEqual([]);
    expect(tablesNotIn(listing, [named('orders'), named('lost'), named('lines')])).toEqual(['public.lost', 'public.lines']);
  });
});

describe('in the file', () => {
  const told = (backup: string, target = '{ postgres: "postgres://h/b" }'): unknown => {
    const text = `crossfade: 1\nname: shop\nsource: { postgres: "postgres://h/a" }\ntarget: ${target}\ntables: [{ from: public.a }]\nbackup: ${backup}\n`;
    const { file, findings } = readMigrationFile({ path: 'shop.yaml', text, env: {} });
    return findings[0]?.message ?? file?.backup;
  };

  test('pg_dump into a file, or a command with its verification', () => {
    expect(told('{ file: shop.dump }')).toEqual({ of: 'source', timeoutMs: 12 * HOUR, file: 'shop.dump' });
    expect(told('{ of: target, command: [save, it], verify: "look at it", timeout: 1h, maxAge: 2d }')).toEqual({
      of: 'target',
      timeoutMs: HOUR,
      command: ['save', 'it'],
      verify: ['/bin/sh', '-c', 'look at it'],
      maxAgeMs: 48 * HOUR,
    });
  });

  test.each([
    ['{}', undefined, /expected file: \(pg_dump writes it\) or command:/],
    ['{ command: save }', undefined, /expected a command that fails where the backup is not whole/],
    ['{ file: a.dump }', '{ redis: "redis://h" }', /recorded in one PostgreSQL target/],
  ])('%s is refused', (backup, target, why) => {
    expect(told(backup, target)).toMatch(why);
  });
});
