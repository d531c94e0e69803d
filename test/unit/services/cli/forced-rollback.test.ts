import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { envelopeOf, runInProcess } from '#test/support/command-line.ts';

test('a rename swap is never rolled back by force: no server is asked', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'crossfade-forced-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const url = 'postgres://ann@127.0.0.1:1/shop';
  writeFileSync(
    join(directory, 'migration.yaml'),
    `crossfade: 1\nname: shop\nsource: { postgres: "${url}" }\ntarget: { postgres: "${url}" }\ntables: [{ from: public.a, to: public.b }]\ncutover: { strategy: rename-swap }\n`,
  );
  const run = await runInProcess(['rollback', '--forced', '--confirm', 'shop', '--json'], { directory });
  expect([run.exitCode, envelopeOf(run).error]).toMatchObject([
    10,
    { code: 'CF-8312', remedy: expect.stringContaining('gives the names back') as string },
  ]);
});
