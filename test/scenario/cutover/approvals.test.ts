/** approve, signoff and status on the command line, with two databases and no instance. */
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readAudit, verifyAudit } from '#connectors/target/postgres/audit.ts';
import { takeMigrationLease } from '#connectors/target/postgres/migration-lease.ts';
import { readState } from '#connectors/target/postgres/migration-state.ts';
import type { MigrationEvent } from '#schemas/migration/transitions.ts';
import type { StatusResult } from '#schemas/status/status-result.ts';
import { execute } from '#test/support/application.ts';
import { envelopeOf, runInProcess } from '#test/support/command-line.ts';
import { startPostgres } from '#test/support/postgres.ts';

const TIMEOUT_MS = 120_000;
const DDL = 'CREATE TABLE public.a (id int PRIMARY KEY, note text)';
const NAME = 'shop';

interface Stage extends AsyncDisposable {
  readonly target: string;
  write(approvals: string, columns?: string): void;
  run(...args: string[]): Promise<{ readonly exitCode: number; readonly envelope: ReturnType<typeof envelopeOf> }>;
  move(...events: MigrationEvent[]): Promise<void>;
  status(): Promise<StatusResult>;
}

async function openStage(): Promise<Stage> {
  const server = await startPostgres({ version: 18, settings: { wal_level: 'logical' } });
  const [source, target] = [await server.createDatabase('source'), await server.createDatabase('target')];
  await execute(source, DDL, `INSERT INTO a VALUES (1, 'one')`);
  await execute(target, DDL);
  const directory = mkdtempSync(join(tmpdir(), 'crossfade-approvals-'));
  const run: Stage['run'] = async (...args) => {
    const result = await runInProcess([...args, '--json'], { directory });
    return { exitCode: result.exitCode, envelope: envelopeOf(result) };
  };
  return {
    target,
    run,
    write: (approvals, columns = '') =>
      writeFileSync(
        join(directory, 'migration.yaml'),
        `crossfade: 1\nname: ${NAME}\nsource: { postgres: "${source}" }\ntarget: { postgres: "${target}" }\ntables:\n  - { from: public.a${columns} }\n${approvals}`,
      ),
    move: async (...events) => {
      const lease = await takeMigrationLease({ url: target, name: NAME, holder: 'test' });
      for (const event of events) await lease.apply(event, { actor: 'test' });
      await lease.release();
    },
    status: async () => (await run('status')).envelope.result as StatusResult,
    [Symbol.asyncDispose]: async () => server[Symbol.asyncDispose](),
  };
}

test('people sign the plan as it is; a changed one takes their word back', { timeout: TIMEOUT_MS }, async () => {
  await using stage = await openStage();
  stage.write('approvals: { cutover: 2, checklist: { backup-restored: [Ada Lovelace] } }\n');
  const first = await stage.run('approve');
  expect(first).toMatchObject({
    exitCode: 0,
    envelope: {
      result: {
        approvals: [
          { subject: 'cutover', missing: 2 },
          { subject: 'backup-restored', kind: 'item', missing: 1 },
        ],
      },
    },
  });

  const signed = await stage.run('approve', 'cutover', '--as', 'Ada Lovelace', '--reason', 'looked at it');
  expect(signed.exitCode).toBe(0);
  expect(signed.envelope.summary).toContain('1 of 2 signed: Ada Lovelace');
  expect((await stage.run('approve', 'cutover', '--as', 'ada lovelace')).envelope.summary).toContain('had signed');
  expect((await stage.run('approve', 'cutover', '--as', 'Grace Hopper')).envelope.result).toMatchObject({
    approvals: [{ missing: 0 }, { missing: 1 }],
  });

  // Who may not, what is not there, and a plan that is not this one.
  expect(await stage.run('approve', 'backup-restored', '--as', 'Eve')).toMatchObject({
    exitCode: 10,
    envelope: { error: { code: 'CF-8004', message: expect.stringContaining('Ada Lovelace') as string } },
  });
  expect(await stage.run('approve', 'cut-over', '--as', 'Eve')).toMatchObject({
    exitCode: 2,
    envelope: { error: { message: expect.stringContaining('did you mean "cutover"') as string } },
  });
  expect((await stage.run('approve', 'cutover')).exitCode).toBe(2);
  expect(await stage.run('approve', 'cutover', '--as', 'Eve', '--plan', '0'.repeat(64))).toMatchObject({
    exitCode: 10,
    envelope: { error: { code: 'CF-4006' } },
  });

  stage.write(
    'approvals: { cutover: 2, checklist: { backup-restored: [Ada Lovelace] } }\n',
    ', set: { note: { from: note, steps: [upper] } }',
  );
  const changed = (await stage.run('approve')).envelope.result as {
    approvals: { missing: number; outdated: { person: string; plan: string }[] }[];
  };
  expect(changed.approvals[0]).toMatchObject({ missing: 2, outdated: [{ person: 'Ada Lovelace' }, { person: 'Grace Hopper' }] });
  expect(changed.approvals[0]!.outdated[0]!.plan).toBe((first.envelope.result as { plan: string }).plan);
  // What changed since they signed is told, by what they signed and not by what somebody has kept.
  const { plan } = first.envelope.result as { plan: string };
  const line = 'public.a → public.a: "note" is note (text) → text: upper case, was note (text) → text: as it is.';
  expect(changed).toMatchObject({ changes: { [plan]: [line] } });
  expect((await stage.run('approve')).envelope.findings.map(({ message }) => message)).toEqual([
    `since plan ${plan.slice(0, 12)}… was signed: ${line}`,
  ]);
  expect((await readAudit(stage.target, NAME)).map(({ actor, event, details }) => [actor, event, details['reason']])).toEqual([
    ['Ada Lovelace', 'approved', 'looked at it'],
    ['Grace Hopper', 'approved', undefined],
  ]);
});

test('status tells where the cut-over stands, and sign-off waits for its people', { timeout: TIMEOUT_MS }, async () => {
  await using stage = await openStage();
  stage.write('approvals: { signoff: 2 }\n');
  expect(await stage.status()).toMatchObject({ phase: 'planned' });
  expect(await stage.status()).not.toHaveProperty('serves');
  expect((await stage.run('up', '--until', 'caught-up', '--port', '0')).exitCode).toBe(0);
  expect(await stage.status()).toMatchObject({ phase: 'following' });

  const told = async (...events: MigrationEvent[]): Promise<unknown> => {
    await stage.move(...events);
    const { phase, serves } = await stage.status();
    return [phase, serves];
  };
  expect(await told('proved')).toEqual(['verified', 'source']);
  expect(await told('cutover-begun')).toEqual(['cutting-over', 'source']);
  expect(await stage.run('signoff', '--as', 'Ada', '--confirm', NAME)).toMatchObject({
    exitCode: 10,
    envelope: { error: { code: 'CF-8002' } },
  });
  expect(await told('decided')).toEqual(['cutting-over', 'target']);
  expect(await told('finished')).toEqual(['observing', 'target']);
  expect(await told('rollback-begun')).toEqual(['rolling-back', 'target']);
  expect(await told('backed-out')).toEqual(['observing', 'target']);

  expect((await stage.run('signoff', '--as', 'Ada', '--confirm', 'chop')).exitCode).toBe(2);
  expect(await stage.run('signoff', '--as', 'Ada', '--confirm', NAME)).toMatchObject({
    exitCode: 10,
    envelope: { error: { code: 'CF-8002', message: expect.stringContaining('nothing was compared whole') as string } },
  });
  // A time that the file asks for is waited for, or ended with a reason; and what was accepted as one-way needs no comparison that nobody can make.
  stage.write('approvals: { signoff: 2 }\nobserve: 24h\n', ', reverse: none');
  expect(await stage.run('signoff', '--as', 'Ada', '--confirm', NAME)).toMatchObject({
    exitCode: 10,
    envelope: {
      error: { code: 'CF-8002', message: expect.stringMatching(/is not signed off: observed: [^;]*the file asks for 1 d$/) as string },
    },
  });
  expect(await stage.run('signoff', '--as', 'Ada', '--confirm', NAME, '--early', 'it is a test')).toMatchObject({
    exitCode: 10,
    envelope: { error: { code: 'CF-8004' } },
  });
  stage.write('approvals: { signoff: 2 }\n');
  await stage.move('proved');
  const first = await stage.run('signoff', '--as', 'Ada', '--confirm', NAME);
  expect(first).toMatchObject({
    exitCode: 10,
    envelope: { error: { code: 'CF-8004', message: expect.stringContaining('1 of 2 signed: Ada') as string } },
  });
  expect((await stage.status()).phase).toBe('observing');
  expect((await stage.run('signoff', '--as', 'Grace', '--confirm', NAME)).exitCode).toBe(0);
  expect((await stage.run('signoff', '--as', 'Grace', '--confirm', NAME)).envelope.summary).toContain('before');
  expect((await stage.status()).phase).toBe('signed-off');
  expect((await readAudit(stage.target, NAME)).at(-1)).toMatchObject({
    event: 'signed-off',
    actor: 'Grace',
    details: { signed: ['Ada', 'Grace'] },
  });
  expect(await verifyAudit(stage.target, NAME)).toMatchObject({ ok: true });
  expect((await readState(stage.target, NAME))?.lease).toBeUndefined();
});
