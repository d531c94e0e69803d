/** The audit trail's chain, the journal's register, and what people sign, on real servers. */
import { expect, test, vi } from 'vitest';
import { readJournalRows, settleEpoch } from '#connectors/postgres/journal.ts';
import { readApprovals, recordApproval } from '#connectors/target/postgres/approvals.ts';
import { readAudit, readTrail, verifyAudit } from '#connectors/target/postgres/audit.ts';
import { FlagRecord } from '#connectors/target/postgres/flag-record.ts';
import { takeMigrationLease } from '#connectors/target/postgres/migration-lease.ts';
import { changeSettings, noteAudit, readState } from '#connectors/target/postgres/migration-state.ts';
import type { DualStage } from '#schemas/flags/dual-stages.ts';
import { whoServes } from '#schemas/migration/recovery.ts';
import { actsOf } from '#schemas/report/acts.ts';
import { incidentsOf } from '#schemas/report/incidents.ts';
import { driftByCause, inconclusiveByCause } from '#schemas/reconcile/drift-cause.ts';
import type { ReconciliationStatus } from '#schemas/status/reconciliation-status.ts';
import { silentLogger } from '#services/runtime/service.ts';
import { recordRunningProof } from '#services/up/proof-keeper.ts';
import { execute, openSession } from '#test/support/application.ts';
import { compile, fileOf } from '#test/support/compile.ts';
import { freshDatabase, type PostgresVersion } from '#test/support/postgres.ts';

const VERSIONS: readonly PostgresVersion[] = [14, 18];
const NAME = 'shop';
const WAIT = { timeout: 30_000, interval: 20 };
const PLAN = 'a'.repeat(64);

const NOTHING_ELSE = { writtenAt: '', findings: [], checks: [], held: [], setAside: null } as const;

async function written(url: string): Promise<void> {
  const lease = await takeMigrationLease({ url, name: NAME, holder: 'test' });
  await lease.apply('cutover-begun', {
    actor: 'Ada',
    details: { marker: null, share: 0.1, large: 12345678901234567890n, odd: 'a\u0000b\ud800' },
  });
  await lease.apply('stepped', { actor: 'Ada', step: 'fenced' });
  await lease.note({ actor: 'Ada', event: 'hook', details: { name: 'dns', milliseconds: 12 } });
  await lease.apply('backed-out', { actor: 'Ada', details: { why: 'lock time-out' } });
  await lease.release();
  await noteAudit(url, NAME, { actor: 'Grace', event: 'looked' });
}

test.for(VERSIONS)('PostgreSQL %i: what was tampered with is found at its first place', async (version) => {
  const tampers: readonly (readonly [sql: string, seq: number, why: string])[] = [
    [`UPDATE crossfade.audit SET details = details || '{"why": "nothing"}' WHERE seq = 4`, 4, 'not what was written'],
    [`UPDATE crossfade.audit SET actor = 'Eve' WHERE seq = 2`, 2, 'not what was written'],
    [`UPDATE crossfade.audit SET details = 'null', event = 'trigger-fired' WHERE seq = 3`, 3, 'not what was written'],
    [`UPDATE crossfade.audit SET at = '2020-01-01T00:00:00.000000Z' WHERE seq = 1`, 1, 'not what was written'],
    ['DELETE FROM crossfade.audit WHERE seq = 3', 3, 'is missing'],
    ['DELETE FROM crossfade.audit WHERE seq = 5', 5, 'is missing: the last written is 5'],
    ['DELETE FROM crossfade.audit', 1, 'is missing'],
    [
      `UPDATE crossfade.audit SET seq = CASE seq WHEN 2 THEN -3 ELSE -2 END WHERE seq IN (2, 3); UPDATE crossfade.audit SET seq = -seq WHERE seq < 0`,
      2,
      'does not follow',
    ],
    [
      `INSERT INTO crossfade.audit SELECT name, 6, at, actor, event, from_state, to_state, details, hash, hash FROM crossfade.audit WHERE seq = 5`,
      6,
      'not what was written',
    ],
  ];
  await using database = await freshDatabase(version);
  const { url } = database;
  await written(url);
  expect(await verifyAudit(url, NAME)).toMatchObject({ ok: true, records: 5 });
  const records = await readAudit(url, NAME);
  expect(records.map(({ event, fromState, toState }) => [event, fromState, toState])).toEqual([
    ['cutover-begun', 'following', 'cutting-over'],
    ['stepped', 'cutting-over', 'cutting-over'],
    ['hook', null, null],
    ['backed-out', 'cutting-over', 'following'],
    ['looked', null, null],
  ]);
  expect(records[0]!.details).toMatchObject({ epoch: '1', serves: 'source', large: '12345678901234567890', odd: 'ab\ufffd', share: 0.1 });
  await execute(url, 'CREATE TABLE kept AS SELECT * FROM crossfade.audit');
  for (const [sql, seq, why] of tampers) {
    await execute(url, sql);
    const trail = await readTrail(url, NAME);
    expect(trail.verdict, sql).toMatchObject({ ok: false, seq, why: expect.stringContaining(why) as string });
    expect(incidentsOf({ ...NOTHING_ELSE, acts: actsOf(trail.records), audit: trail.records, verdict: trail.verdict })).toContainEqual({
      at: '',
      what: `The audit trail does not hold: ${trail.verdict.ok ? '' : trail.verdict.why}`,
      isOver: false,
    });
    // Whatever was done to it, it is told and goes on: a decision has to be recorded.
    await noteAudit(url, NAME, { actor: 'Grace', event: 'looked again' });
    expect(await verifyAudit(url, NAME), sql).toMatchObject({ ok: false, seq });
    await execute(url, `UPDATE crossfade.migration SET audit_seq = 5, audit_hash = (SELECT hash FROM kept WHERE seq = 5)`);
    await execute(url, 'DELETE FROM crossfade.audit', 'INSERT INTO crossfade.audit SELECT * FROM kept');
    expect(await verifyAudit(url, NAME)).toMatchObject({ ok: true });
  }
});

test.for(VERSIONS)('PostgreSQL %i: records written at once stand in one chain', async (version) => {
  await using database = await freshDatabase(version);
  const { url } = database;
  await Promise.all(
    Array.from({ length: 12 }, async (_, i) =>
      i % 3 === 0
        ? changeSettings(url, NAME, { reverseWanted: true, reads: { stage: i } }, { actor: `${i}`, event: 'set' })
        : noteAudit(url, NAME, { actor: `${i}`, event: 'noted', details: { i } }),
    ),
  );
  expect(await verifyAudit(url, NAME)).toMatchObject({ ok: true, records: 12 });
  expect(await readState(url, NAME)).toMatchObject({
    reverseWanted: true,
    state: 'following',
    reads: { stage: expect.any(Number) as number },
  });
});

test.for(VERSIONS)('PostgreSQL %i: an epoch that was settled is decided no more; one that was decided stays so', async (version) => {
  await using database = await freshDatabase(version);
  const { url } = database;
  await noteAudit(url, NAME, { actor: 'test', event: 'made' });
  await using fence = await openSession(url);
  await using other = await openSession(url);
  const decide = async (epoch: number): Promise<unknown> =>
    fence.query(`INSERT INTO crossfade.journal (name, epoch, serves, marker) VALUES ('${NAME}', ${epoch}, 'target', 'm${epoch}')`);
  const waits = async (): Promise<void> =>
    vi.waitFor(
      async () => expect(await execute(url, `SELECT FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'`)).toHaveLength(1),
      WAIT,
    );

  // The fence's transaction commits while somebody waits to settle.
  await fence.query('BEGIN');
  await decide(1);
  const first = settleEpoch(other.client, { name: NAME, epoch: 1n, serves: 'source' });
  await waits();
  await fence.query('COMMIT');
  expect(await first).toMatchObject({ epoch: 1n, serves: 'target', isVoid: false, marker: 'm1' });

  // Its session ends: the register is void, and stays it.
  await fence.query('BEGIN');
  await decide(2);
  const second = settleEpoch(other.client, { name: NAME, epoch: 2n, serves: 'target' });
  await waits();
  await fence.query('ROLLBACK');
  expect(await second).toMatchObject({ epoch: 2n, serves: 'target', isVoid: true, marker: null });
  await expect(decide(2)).rejects.toMatchObject({ code: '23505' });
  expect(await settleEpoch(other.client, { name: NAME, epoch: 2n, serves: 'source' })).toMatchObject({ serves: 'target', isVoid: true });
  const source = await readJournalRows(other.client, NAME);
  expect(source.map(({ epoch, isVoid }) => [epoch, isVoid])).toEqual([
    [1n, false],
    [2n, true],
  ]);
  expect(whoServes({ source, target: [] })).toBe('target');
});

test.for(VERSIONS)('PostgreSQL %i: a person signs a plan once', async (version) => {
  await using database = await freshDatabase(version);
  const { url } = database;
  expect(await readApprovals(url, NAME)).toEqual([]);
  const given = { subject: 'cutover', planHash: PLAN, plan: {}, account: 'ada@host' };
  expect(await recordApproval(url, NAME, { ...given, person: 'Ada Lovelace', reason: 'looked at it' })).toBe(true);
  expect(await recordApproval(url, NAME, { ...given, person: 'ada  LOVELACE' })).toBe(false);
  expect(await recordApproval(url, NAME, { ...given, person: 'Ada Lovelace', planHash: 'b'.repeat(64) })).toBe(true);
  const both = await Promise.all(['Grace', 'Grace', 'Grace'].map(async (person) => recordApproval(url, NAME, { ...given, person })));
  expect(both.filter(Boolean)).toHaveLength(1);
  expect((await readApprovals(url, NAME)).map(({ person, planHash }) => `${person} ${planHash[0]}`)).toEqual([
    'Ada Lovelace a',
    'Ada Lovelace b',
    'Grace a',
  ]);
  expect((await readAudit(url, NAME)).map(({ actor, event }) => `${actor} ${event}`)).toEqual([
    'Ada Lovelace approved',
    'Ada Lovelace approved',
    'Grace approved',
  ]);
  expect(await verifyAudit(url, NAME)).toMatchObject({ ok: true, records: 3 });
});

test('what the running comparison found is recorded with the state, once there is one and nobody acts', async () => {
  await using database = await freshDatabase();
  const { url } = database;
  const ddl = 'CREATE TABLE a (id int PRIMARY KEY)';
  const mapping = (await compile({ source: ddl, target: ddl })).mapping!;
  let found: Partial<ReconciliationStatus> = {};
  const look = async (): Promise<string | undefined> => {
    const rows = { suspected: 0, confirmed: 0, repairing: 0, driftByCause: driftByCause([]) };
    const clean = { proved: 1, comparedAt: null, comparisons: 1, ...rows, inconclusive: 0, inconclusiveByCause: inconclusiveByCause([]) };
    const provedSince = new Date(Date.now() + 60_000).toISOString();
    const compared = (): ReconciliationStatus => ({ ...clean, provedSince, ...found });
    const file = { ...fileOf('  - from: public.*\n'), name: NAME };
    await recordRunningProof({ file, mapping, logger: silentLogger, compared }, url);
    return (await readState(url, NAME))?.state;
  };
  // Nobody has begun to think of a cut-over.
  expect(await look()).toBeUndefined();
  await (await takeMigrationLease({ url, name: NAME, holder: 'test' })).release();
  expect(await look()).toBe('verified');
  expect((await readAudit(url, NAME)).at(-1)).toMatchObject({ event: 'proved', details: { by: 'the running comparison', tables: 1 } });
  found = { confirmed: 2 };
  expect(await look()).toBe('following');
  const lease = await takeMigrationLease({ url, name: NAME, holder: 'Ada' });
  await lease.apply('cutover-begun', { actor: 'Ada' });
  found = {};
  expect(await look()).toBe('cutting-over');
  await lease.release();
});

test('of dual writes a rollback ends the stage that was set: the next cut-over begins at live', async () => {
  await using database = await freshDatabase();
  const { url } = database;
  const flags = new FlagRecord(url, NAME);
  const lease = await takeMigrationLease({ url, name: NAME, holder: 'test' });
  const flip = async (kind: 'cutover' | 'rollback'): Promise<unknown> => {
    for (const event of [`${kind}-begun`, 'decided', 'finished'] as const) await lease.apply(event, { actor: 'Ada' });
    const decided = (await readAudit(url, NAME)).findLast(({ event }) => event === 'decided');
    return [(await flags.read()).rules?.dual, decided!.details['stage']];
  };
  const set = async (stage: DualStage): Promise<unknown> =>
    flags.change({ change: { kind: 'stage', stage }, actor: 'Ada', freshSalt: 'salt' });
  await set('shadow');
  expect(await flip('cutover')).toEqual(['live', 'live']);
  await set('complete');
  expect(await flip('rollback')).toEqual(['shadow', 'shadow']);
  expect(await flip('cutover')).toEqual(['live', 'live']);
  // A drill, or a flip that was backed out, ends nothing.
  await set('complete');
  for (const event of ['rollback-begun', 'backed-out'] as const) await lease.apply(event, { actor: 'Ada' });
  expect((await flags.read()).rules?.dual).toBe('complete');
  // Nor do rules that nobody can read keep anybody.
  await execute(url, `UPDATE crossfade.migration SET reads = '{"dual": "someday"}'`);
  for (const event of ['rollback-begun', 'decided'] as const) await lease.apply(event, { actor: 'Ada' });
  await lease.release();
  await flags.close();
});
