/** Several targets under one signed hash, each bound to its own plan from then on. */
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { PlanDocument } from '#schemas/plan/plan-document.ts';
import { wholeHash } from '#schemas/plan/whole-hash.ts';
import type { StatusResult } from '#schemas/status/status-result.ts';
import { execute } from '#test/support/application.ts';
import { envelopeOf, runInProcess } from '#test/support/command-line.ts';
import { freshDatabase } from '#test/support/postgres.ts';

const DDL = 'CREATE TABLE public.a (id int PRIMARY KEY, note text)';

interface Planned {
  readonly hash: string;
  readonly targets: readonly { readonly targetName: string; readonly hash: string }[];
}

test('up goes on only under the hash of all targets together, and then each target is bound to its own', { timeout: 180_000 }, async () => {
  await using source = await freshDatabase(18);
  await using first = await freshDatabase(18);
  await using second = await freshDatabase(18);
  await execute(source.url, DDL, `INSERT INTO a VALUES (1, 'one')`);
  for (const { url } of [first, second]) await execute(url, DDL);
  const directory = mkdtempSync(join(tmpdir(), 'crossfade-signed-targets-'));
  const write = (more: string): void =>
    writeFileSync(
      join(directory, 'migration.yaml'),
      `crossfade: 1\nname: shop\nsource: { postgres: "${source.url}" }\ntargets:\n  new: { postgres: "${first.url}" }\n` +
        `  other: { postgres: "${second.url}" }\ntables:\n  - { from: public.a, target: new }\n  - { from: public.a, target: other${more} }\n`,
    );
  const run = async (...args: string[]): Promise<ReturnType<typeof envelopeOf> & { readonly exitCode: number }> => {
    const ran = await runInProcess([...args, '--json'], { directory, environment: {} });
    return { ...envelopeOf(ran), exitCode: ran.exitCode };
  };
  const up = async (...args: string[]): ReturnType<typeof run> => run('up', '--until', 'caught-up', '--port', '0', ...args);
  const signed = async (url: string): Promise<unknown> => execute(url, 'SELECT signed::text, hash FROM crossfade.plan ORDER BY id');
  const plansOf = async (): Promise<unknown> => {
    const { plan, targets } = (await run('status')).result as StatusResult;
    return [plan, ...targets!.map((target) => target.plan)];
  };

  write('');
  const { hash, targets } = (await run('plan')).result as Planned;
  const [own, others] = targets.map((target) => target.hash) as [string, string];
  expect(hash).toBe(wholeHash(targets.map((target) => ({ name: target.targetName, hash: target.hash }))));

  // A target's own plan is not enough for all, and nothing is made anywhere.
  expect([(await up('--plan', own)).error?.code, (await up('--plan', '0'.repeat(64))).exitCode]).toEqual(['CF-4006', 10]);
  expect((await run('plan', '--target', 'new', '--format', 'json', '--out', 'plan.json')).exitCode).toBe(0);
  expect((JSON.parse(readFileSync(join(directory, 'plan.json'), 'utf8')) as PlanDocument).hash).toBe(own);
  expect((await up('--plan', 'plan.json')).error?.code).toBe('CF-1007');
  expect(await execute(first.url, `SELECT to_regclass('crossfade.progress') AS t`)).toEqual([{ t: null }]);

  expect((await up('--plan', hash)).exitCode).toBe(0);
  expect(await plansOf()).toMatchObject([
    null,
    { hash: own, signed: true, changed: false },
    { hash: others, signed: true, changed: false },
  ]);
  expect((await run('verify', '--plan', hash)).exitCode).toBe(0);
  for (const plan of [hash, own, 'plan.json']) expect((await run('verify', '--target', 'new', '--plan', plan)).exitCode).toBe(0);
  expect((await run('verify', '--plan', own)).error?.code).toBe('CF-4006');
  expect((await run('verify', '--plan', 'plan.json')).error?.code).toBe('CF-1007');

  // One target's part changes: the other one's does not, and still the start is refused, by name.
  write(', set: { note: { from: note, steps: [upper] } }');
  expect(await plansOf()).toMatchObject([null, { changed: false }, { changed: true }]);
  const unsigned = await up();
  expect([unsigned.exitCode, unsigned.error?.code, unsigned.error?.message]).toEqual([
    10,
    'CF-4006',
    expect.stringContaining('shop to other'),
  ]);
  expect((await up('--plan', hash)).exitCode).toBe(10);
  const now = (await run('plan')).result as Planned;
  expect(now.targets[0]!.hash).toBe(own);
  expect((await up('--plan', now.hash)).exitCode).toBe(0);
  expect(await signed(first.url)).toEqual([{ signed: 'true', hash: own }]);
  expect(await signed(second.url)).toEqual([
    { signed: 'true', hash: others },
    { signed: 'true', hash: now.targets[1]!.hash },
  ]);
});
