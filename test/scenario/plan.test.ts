/** The document that a team signs, as the command line gives it. */
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { PlanDocument } from '#schemas/plan/plan-document.ts';
import { execute } from '#test/support/application.ts';
import { envelopeOf, runInProcess } from '#test/support/command-line.ts';
import { freshDatabase } from '#test/support/postgres.ts';

test('plan prints, writes, compares, and refuses a file that does not fit', { timeout: 60_000 }, async () => {
  await using source = await freshDatabase(14);
  await using target = await freshDatabase(18);
  const ddl = 'CREATE TABLE public.a (id int PRIMARY KEY, email text)';
  await execute(source.url, ddl, `INSERT INTO a SELECT g, 'me@example.org' FROM generate_series(1, 500) g`, 'ANALYZE a');
  await execute(target.url, ddl);
  const directory = mkdtempSync(join(tmpdir(), 'crossfade-plan-'));
  const environment = { SOURCE_URL: source.url.replace('postgres@', 'postgres:s3cret@'), TARGET_URL: target.url };
  const run = async (...args: readonly string[]): ReturnType<typeof runInProcess> => runInProcess(args, { directory, environment });
  const write = (file: string, tables: string): void =>
    writeFileSync(
      join(directory, file),
      `crossfade: 1\nname: shop\nsource: { postgres: "\${SOURCE_URL}" }\ntarget: { postgres: "\${TARGET_URL}" }\ntables:\n${tables}`,
    );
  write('migration.yaml', '  - from: public.*\n');
  write('masked.yaml', '  - { from: public.a, set: { email: { from: email, steps: [{ mask: {} }] } } }\n');
  write('wrong.yaml', '  - { from: public.a, columns: { emial: mail, idd: x } }\n');

  const printed = await run('plan');
  expect(printed.exitCode, printed.stdout + printed.stderr).toBe(0);
  expect(printed.stdout).toMatch(/^# Migration plan: `shop`\n[^]*1 table, about 500 rows, /);
  expect(printed.stdout).toContain('e-mail address');
  expect(printed.stdout + printed.stderr).not.toContain('s3cret');

  const envelope = envelopeOf(await run('plan', '--json'));
  const plan = envelope.result as PlanDocument;
  expect(envelope.command).toBe('plan');
  expect(plan.hash).toMatch(/^[0-9a-f]{64}$/);
  expect(printed.stdout).toContain(plan.hash);
  expect(JSON.parse((await run('plan', '--format', 'json')).stdout)).toEqual(plan);

  const written = await run('plan', '--format', 'html', '--out', 'plan.html');
  expect(written.stdout).toContain(`plan.html is written: plan ${plan.hash}`);
  expect(readFileSync(join(directory, 'plan.html'), 'utf8')).toMatch(/^<!doctype html>[^]*<\/html>\n$/);

  const compared = await run('plan', '-f', 'masked.yaml', '--against', 'migration.yaml');
  expect(compared.stdout).toContain('## What changes\n\n- public.a → public.a: "email" is email (text) → text: masked with');
  expect((await run('plan', '--against', 'migration.yaml')).stdout).toContain('Nothing: both files mean the same.');

  const misfit = await run('plan', '-f', 'wrong.yaml', '--out', 'never.md', '--json');
  expect(misfit.exitCode).toBe(2);
  expect(envelopeOf(misfit).findings).toHaveLength(2);
  expect(existsSync(join(directory, 'never.md'))).toBe(false);
  expect(envelopeOf(await run('plan', '--format', 'pdf', '--json')).error).toMatchObject({ code: 'CF-1007' });
});
