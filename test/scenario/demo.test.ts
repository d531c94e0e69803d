import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { join } from 'node:path';
import { expect, test } from 'vitest';

const DEMO = join(import.meta.dirname, '..', '..', 'services', 'demo', 'main.ts');

test('the demo moves a live shop through two kills and proves it equal', { timeout: 240_000 }, async () => {
  const child = spawn(process.execPath, [DEMO, '--small', '--json'], { stdio: ['ignore', 'pipe', 'pipe'] });
  const [stdout, stderr, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'exit') as Promise<[number | null]>,
  ]);
  expect(code, stderr).toBe(0);
  const summary = JSON.parse(stdout) as {
    corrupted: number;
    differences: number;
    inconclusive: number;
    restarts: number;
    transactions: number;
    rowsCompared: number;
  };
  expect(summary).toMatchObject({ differences: 0, inconclusive: 0, restarts: 2, corrupted: 3 });
  expect(summary.transactions).toBeGreaterThan(100);
  expect(summary.rowsCompared).toBeGreaterThan(10_000);
});
