/** Who may move the state: two operators at once, a holder that is killed, one that hangs, one of another role. */
import { expect, test, vi } from 'vitest';
import { verifyAudit } from '#connectors/target/postgres/audit.ts';
import { type MigrationLease, takeMigrationLease } from '#connectors/target/postgres/migration-lease.ts';
import { noteAudit, readState } from '#connectors/target/postgres/migration-state.ts';
import type { Guard } from '#schemas/test-hooks.ts';
import { execute } from '#test/support/application.ts';
import { freshDatabase, type PostgresVersion, versions } from '#test/support/postgres.ts';
import { StateHolder } from '#test/support/state-holders.ts';

const VERSIONS = versions(14);
const WAIT = { timeout: 30_000, interval: 20 };
const NAME = 'shop';
const LONG_MS = 600_000;

/** Whoever hangs is followed when its time is over by the server's clock, and not before. */
async function followed(url: string, as: string): Promise<MigrationLease> {
  const [before] = await execute(url, 'SELECT lease_expires AS until FROM crossfade.migration');
  const next = await vi.waitFor(async () => {
    const refused = await take(as).catch((error: unknown) => error);
    if (!(refused instanceof Error)) return refused as MigrationLease;
    expect(refused).toMatchObject({ code: 'CF-8001' });
    throw refused;
  }, WAIT);
  expect(await execute(url, `SELECT clock_timestamp() >= '${before!['until']}' AS over`)).toEqual([{ over: 't' }]);
  return next;
}

const take = async (url: string, holder = 'test'): Promise<MigrationLease> => takeMigrationLease({ url, name: NAME, holder, waitMs: 0 });

test('one who holds it for a record and no act is waited for', async () => {
  await using database = await freshDatabase();
  const { url } = database;
  const first = await take(url);
  const second = takeMigrationLease({ url, name: NAME, holder: 'operator' });
  const waits = `SELECT FROM pg_stat_activity WHERE application_name = 'crossfade ${NAME} control' AND pid <> (SELECT lease_backend FROM crossfade.migration)`;
  await vi.waitFor(async () => expect(await execute(url, waits)).not.toEqual([]), WAIT);
  await first.release();
  const lease = await second;
  expect(lease.row.lease?.holder).toBe('operator');
  await lease.release();
});

test.for(VERSIONS)('PostgreSQL %i: of operators that come at once one acts, and the others are told who', async (version) => {
  await using database = await freshDatabase(version);
  const { url } = database;
  const all = await Promise.allSettled(Array.from({ length: 6 }, async (_, i) => take(url, `operator ${i}`)));
  const held = all.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
  expect(held).toHaveLength(1);
  const winner = held[0]!.row.lease!.holder;
  for (const one of all) {
    if (one.status === 'rejected') expect(one.reason).toMatchObject({ code: 'CF-8001', message: `${winner} acts on migration ${NAME}` });
  }
  await held[0]!.apply('cutover-begun', { actor: 'Ada' });
  await expect(take(url)).rejects.toMatchObject({ code: 'CF-8001', message: expect.stringContaining('cutover, begun') as string });
  await held[0]!.release();
  const next = await take(url);
  expect(next.row).toMatchObject({ state: 'cutting-over', epoch: 1n, act: { kind: 'cutover', by: 'Ada' } });
  await next.release();
  expect((await readState(url, NAME))?.lease).toBeUndefined();
});

test.for(VERSIONS)('PostgreSQL %i: a change needs the version that was read', async (version) => {
  await using database = await freshDatabase(version);
  const lease = await take(database.url);
  await expect(lease.apply('finished', { actor: 'Ada' })).rejects.toMatchObject({ code: 'CF-8002', details: { refusal: 'idle' } });
  await lease.apply('proved', { actor: 'Ada' });
  await execute(database.url, 'UPDATE crossfade.migration SET version = version + 1');
  await expect(lease.apply('doubted', { actor: 'Ada' })).rejects.toMatchObject({ code: 'CF-8003' });
  expect(await readState(database.url, NAME)).toMatchObject({ state: 'verified' });
  await lease.release();
});

test.for(VERSIONS)('PostgreSQL %i: a holder that was killed is followed at once, whatever its lease still had', async (version) => {
  await using database = await freshDatabase(version);
  const { url } = database;
  await using holder = new StateHolder({ url, name: NAME, leaseMs: LONG_MS });
  await vi.waitFor(() => expect(holder.said).toContain('holds'), WAIT);
  holder.apply('cutover-begun');
  await vi.waitFor(() => expect(holder.said).toContain('is cutting-over'), WAIT);
  expect((await readState(url, NAME))?.lease?.isHeld).toBe(true);
  await expect(take(url)).rejects.toMatchObject({ code: 'CF-8001' });
  await holder.kill();
  const next = await vi.waitFor(async () => take(url), WAIT);
  expect(next.row.state).toBe('cutting-over');
  await next.apply('backed-out', { actor: 'test' });
  await next.release();
  expect((await readState(url, NAME))?.act).toBeUndefined();
});

test.for(VERSIONS)('PostgreSQL %i: killed before the COMMIT nothing is written, after it all of it', async (version) => {
  await using database = await freshDatabase(version);
  const { url } = database;
  for (const [strike, state, records] of [
    ['state.written', 'following', 0],
    ['state.committed', 'cutting-over', 1],
  ] as const) {
    await using holder = new StateHolder({ url, name: NAME, leaseMs: LONG_MS, strike });
    await vi.waitFor(() => expect(holder.said).toContain('holds'), WAIT);
    holder.apply('cutover-begun');
    await holder.exited;
    await vi.waitFor(async () => expect((await readState(url, NAME))?.lease?.isHeld).toBe(false), WAIT);
    expect(await readState(url, NAME)).toMatchObject({ state });
    expect(await verifyAudit(url, NAME)).toMatchObject({ ok: true, records });
  }
});

test.for(VERSIONS)('PostgreSQL %i: a holder that hangs is followed when its time is over; woken, it changes nothing', async (version) => {
  await using database = await freshDatabase(version);
  const { url } = database;
  await using holder = new StateHolder({ url, name: NAME, leaseMs: 1_000 });
  await vi.waitFor(() => expect(holder.said).toContain('holds'), WAIT);
  holder.signal('SIGSTOP');
  const next = await followed(url, url);
  await next.apply('cutover-begun', { actor: 'test' });
  holder.signal('SIGCONT');
  holder.apply('proved');
  await vi.waitFor(() => expect(holder.said).toEqual(expect.arrayContaining(['lost', 'refused CF-8003'])), WAIT);
  expect(await readState(url, NAME)).toMatchObject({ state: 'cutting-over', lease: { holder: 'test', isHeld: true } });
  await next.release();
});

/** A holder that hangs, whose session the role that follows may not end, wakes up and wants to change the state. */
async function wakeAfterOther(
  version: PostgresVersion,
  disable?: Guard,
): Promise<{ readonly said: readonly string[]; readonly state: string }> {
  await using database = await freshDatabase(version);
  const { url } = database;
  await noteAudit(url, NAME, { actor: 'test', event: 'made' });
  const role = `operator_${version}`;
  await execute(url, `CREATE ROLE ${role} LOGIN PASSWORD 'x'`, `GRANT USAGE ON SCHEMA crossfade TO ${role}`);
  await execute(url, `GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA crossfade TO ${role}`);
  const other = new URL(url);
  [other.username, other.password] = [role, 'x'];
  await using holder = new StateHolder({ url, name: NAME, leaseMs: 1_000, ...(disable !== undefined && { disable }) });
  await vi.waitFor(() => expect(holder.said).toContain('holds'), WAIT);
  holder.signal('SIGSTOP');
  const next = await followed(url, other.href);
  expect(next.row.lease).toEqual({ holder: 'test', isHeld: true });
  holder.signal('SIGCONT');
  holder.apply('proved');
  await vi.waitFor(() => expect(holder.said.filter((line) => /^(?:is|refused) /.test(line))).toHaveLength(1), WAIT);
  await next.release();
  const { state } = (await readState(url, NAME))!;
  await execute(url, `DROP OWNED BY ${role}; DROP ROLE ${role}`);
  return { said: holder.said, state };
}

test.for(VERSIONS)('PostgreSQL %i: a holder of another role, whose session may not be ended, changes nothing either', async (version) => {
  const { said, state } = await wakeAfterOther(version);
  expect(said).toContain('refused CF-8003');
  expect(state).toBe('following');
});

test('without the look at the lease it would', async () => {
  const { said, state } = await wakeAfterOther(18, 'state-lease');
  expect(said).toContain('is verified');
  expect(state).toBe('verified');
});
