import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Envelope } from '#schemas/envelope.ts';
import { createCrossfadeClient } from '#services/client/client.ts';
import { readInstance } from '#services/runtime/instance-file.ts';
import { execute } from '#test/support/application.ts';
import { lostWrites, startApplication } from '#test/support/application-under-flips.ts';
import { type CommandRun, envelopeOf, runInProcess } from '#test/support/command-line.ts';
import { until } from '#test/support/flip-stage.ts';
import { TENANTS_DDL } from '#test/support/following-application.ts';
import { freshDatabase } from '#test/support/postgres.ts';
import { type RunningInstance, startInstance } from '#test/support/running-instance.ts';

const TENANTS = ['acme', 'globex', 'initech'] as const;
type Tenant = (typeof TENANTS)[number];
const RATE = 20;
const DDL = `${TENANTS_DDL}; CREATE TABLE tenant (name text PRIMARY KEY, plan text NOT NULL); CREATE TABLE currency (code text PRIMARY KEY);
  ALTER TABLE tenant REPLICA IDENTITY FULL`;
const ROWS = `INSERT INTO tenant SELECT t, 'free' FROM unnest(ARRAY['acme', 'globex', 'initech', 'umbrella']) AS t;
  INSERT INTO currency VALUES ('EUR'), ('USD');
  INSERT INTO app_order (tenant_id, token, amount)
    SELECT t, 'old-' || t || i, 1 FROM unnest(ARRAY['acme', 'globex', 'initech', 'umbrella']) AS t, generate_series(1, 200) AS i`;
const WAVES = `tables:
  - from: public.*
reconcile: { enabled: false }
heartbeatSeconds: 1
# Of a machine on which much else runs.
cutover: { lag: 20s, attempts: 20, drainTimeout: 30s, compareTimeout: 30s, blockBudget: 90s }
waves:
  by: tenant_id
  columns: { public.tenant: name }
  units: [acme, globex, initech]
  shared: [public.currency]
`;

interface Wave {
  readonly instance: RunningInstance;
  command(...args: readonly string[]): Promise<{ readonly run: CommandRun; readonly envelope: Envelope }>;
}

async function startWaves(stack: AsyncDisposableStack): Promise<{
  readonly source: string;
  readonly target: string;
  readonly directory: string;
  readonly waves: Readonly<Record<Tenant | 'shared', Wave>>;
}> {
  const source = stack.use(await freshDatabase(14)).url;
  const target = stack.use(await freshDatabase(18)).url;
  await execute(source, DDL, ROWS);
  await execute(target, DDL);
  const directory = await mkdtemp(join(tmpdir(), 'crossfade-waves-'));
  stack.defer(async () => rm(directory, { recursive: true, force: true }));
  const head = `crossfade: 1\nname: scenario\nsource: { postgres: "${source}" }\ntarget: { postgres: "${target}" }\n`;
  await writeFile(join(directory, 'migration.yaml'), head + WAVES);
  // A dry run finds no way back, and waits for one as long as for the lag.
  const brisk = WAVES.replace('lag: 20s', 'lag: 1s');
  await writeFile(join(directory, 'brisk.yaml'), head + brisk);
  await writeFile(join(directory, 'patient.yaml'), `${head}${brisk}  observation: 1h\n`);
  const started = await Promise.all(
    [...TENANTS, 'shared' as const].map(async (wave): Promise<[Tenant | 'shared', Wave]> => {
      const instance = await startInstance({ source, target, rest: WAVES, wave }, join(directory, 'data', wave));
      stack.defer(async () => instance[Symbol.asyncDispose]());
      return [wave, { instance, command: async (...args) => crossfade(directory, ...args, '--wave', wave) }];
    }),
  );
  for (const [wave, { instance }] of started) {
    const follows = (): boolean =>
      instance.status()?.phase === 'following' && instance.status()?.tables.every(({ phase }) => phase === 'following') === true;
    await until(follows, `${wave} to follow`);
  }
  return { source, target, directory, waves: Object.fromEntries(started) as Record<Tenant | 'shared', Wave> };
}

async function crossfade(directory: string, ...args: readonly string[]): Promise<{ run: CommandRun; envelope: Envelope }> {
  const file = args.includes('-f') ? [] : ['-f', join(directory, 'migration.yaml')];
  const run = await runInProcess([...args, ...file, '--data', join(directory, 'data'), '--json'], { directory });
  return { run, envelope: envelopeOf(run) };
}

async function writesOf(wave: Wave, tenant: string): Promise<unknown> {
  const { url, token } = (await readInstance(wave.instance.dataDir))!;
  const response = await fetch(`${url}/ofrep/v1/evaluate/flags/scenario.writes`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ context: { targetingKey: tenant } }),
  });
  return ((await response.json()) as { readonly value: unknown }).value;
}

async function clientSides({ instance }: Wave): Promise<string[]> {
  const { url, token } = (await readInstance(instance.dataDir))!;
  const client = createCrossfadeClient({ name: 'scenario', url, token });
  try {
    expect(await client.ready()).toBe(true);
    return TENANTS.map((unit) => client.writeTo({ unit }));
  } finally {
    await client.close();
  }
}

test(
  'three tenants move one after another, the second is rolled back alone, and the others never notice',
  { timeout: 300_000 },
  async () => {
    await using stack = new AsyncDisposableStack();
    const { source, target, directory, waves } = await startWaves(stack);
    const applications = TENANTS.map((tenant) => {
      const running = stack.use(startApplication({ source, target }, join(directory, tenant), { rate: RATE, tenant }));
      return { tenant, running };
    });
    const writing = async (): Promise<void> => {
      const before = applications.map(({ running }) => running.lines().length);
      await until(() => applications.every(({ running }, i) => running.lines().length > before[i]! + RATE / 2), 'writes of all');
    };
    const unnamed = await crossfade(directory, 'cutover', '--confirm', 'scenario');
    expect([unnamed.run.exitCode, unnamed.envelope.error?.code]).toEqual([2, 'CF-1007']);
    expect(unnamed.envelope.error?.message).toContain('acme, globex, initech, shared');

    const acts = [
      ['acme', 'cutover', '--confirm', 'scenario_acme'],
      ['globex', 'cutover', '--confirm', 'scenario_globex'],
      ['initech', 'cutover', '--confirm', 'scenario_initech'],
      ['globex', 'rollback'],
    ] as const;
    for (const [tenant, ...args] of acts) {
      await writing();
      const others = applications.filter((one) => one.tenant !== tenant).map(({ running }) => ({ running, from: running.lines().length }));
      const { run } = await waves[tenant].command(...args);
      expect(run.exitCode, run.stdout + run.stderr).toBe(0);
      await writing();
      // Never refused: they may have waited while the tables were locked.
      const noticed = others
        .flatMap(({ running, from }) => running.lines().slice(from))
        .filter((line) => line.kind !== 'write' || line.bounced > 0);
      expect(noticed, `while ${tenant} made its ${args[0]}`).toEqual([]);
      if (tenant === 'acme') {
        const early = await waves.globex.command('cutover', '--dry-run', '-f', join(directory, 'patient.yaml'));
        expect(early.run.exitCode).toBe(10);
        expect(early.envelope.findings.map(({ code }) => code)).toContain('CF-8335');
      }
    }
    const all = await crossfade(directory, 'status');
    expect(all.envelope.result).toMatchObject({
      waves: [{ serves: 'target' }, { wave: 'globex', serves: 'source', phase: 'following' }, { serves: 'target' }, {}],
    });
    const last = await waves.shared.command('cutover', '--dry-run', '-f', join(directory, 'brisk.yaml'));
    expect(last.envelope.findings.map(({ message }) => message).join()).toContain('globex still on the source');

    const serves = { acme: target, globex: source, initech: target };
    const sides = TENANTS.map((tenant) => (serves[tenant] === target ? 'target' : 'source'));
    // One wave's instance knows of all.
    expect(await Promise.all(TENANTS.map(async (tenant) => writesOf(waves.acme, tenant)))).toEqual(sides);
    expect(await clientSides(waves.initech)).toEqual(sides);
    const journals = await Promise.all(applications.map(async ({ tenant, running }) => ({ tenant, lines: await running.stop() })));
    for (const { tenant, lines } of journals) {
      expect(lines.filter(({ kind }) => kind !== 'write')).toEqual([]);
      expect(new Set(lines.map(({ side }) => side))).toEqual(new Set(['source', 'target']));
      expect(await lostWrites(serves[tenant], lines, tenant)).toEqual([]);
      const verified = await waves[tenant].command('verify');
      expect(verified.run.exitCode, verified.run.stdout).toBe(0);
    }
    await expectFenced(source, target);
  },
);

/** Acme and initech are on the target, globex and whoever has no wave on the source. */
async function expectFenced(source: string, target: string): Promise<void> {
  const refused = { code: '25006' };
  await expect(execute(source, `UPDATE tenant SET plan = 'paid' WHERE name = 'acme'`)).rejects.toMatchObject(refused);
  await expect(execute(source, `INSERT INTO app_line VALUES ('initech', 1, 9, 'late')`)).rejects.toMatchObject(refused);
  await expect(execute(source, `DELETE FROM app_order WHERE tenant_id = 'acme'`)).rejects.toMatchObject(refused);
  await expect(execute(target, `INSERT INTO app_order (tenant_id, token) VALUES ('globex', 'late')`)).rejects.toMatchObject(refused);
  // Nor may a row come or go between tenants of which one is elsewhere.
  await expect(execute(source, `UPDATE app_order SET tenant_id = 'acme' WHERE token = 'old-globex1'`)).rejects.toMatchObject(refused);
  await expect(execute(source, `UPDATE app_order SET tenant_id = 'globex' WHERE token = 'old-acme1'`)).rejects.toMatchObject(refused);
  await expect(execute(target, `UPDATE app_order SET tenant_id = 'globex' WHERE token = 'old-acme1'`)).rejects.toMatchObject({
    code: '23514',
  });
  for (const url of [source, target]) await expect(execute(url, 'TRUNCATE app_line_1')).rejects.toMatchObject(refused);
  await execute(source, `UPDATE tenant SET plan = 'paid' WHERE name IN ('globex', 'umbrella')`, `INSERT INTO currency VALUES ('CHF')`);
  await execute(target, `UPDATE tenant SET plan = 'paid' WHERE name = 'initech'`);
}
