import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { CLI } from '#services/demo/pipeline/pipeline.ts';

const DEMO = join(import.meta.dirname, '..', '..', 'services', 'demo', 'main.ts');

test(
  'the demo moves a live shop through two kills, proves it equal, cuts over, goes back and is signed off',
  { timeout: 900_000 },
  async ({ signal }) => {
    const child = spawn(process.execPath, [DEMO, '--small', '--json'], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, CROSSFADE_TEST_CLI: CLI }, // the sources, as in anybody's hands
      signal,
    });
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
      lost: number;
      unpromised: number;
      signedBy: string[];
      flips: { act: string; blockMs: number }[];
      readsOnTarget: number[];
      writes: { source: number; target: number };
    };
    expect(summary).toMatchObject({ differences: 0, inconclusive: 0, restarts: 2, corrupted: 3 });
    expect(summary).toMatchObject({ lost: 0, unpromised: 0, signedBy: ['Ada Lovelace', 'Grace Hopper'] });
    expect(summary.flips.map(({ act }) => act)).toEqual(['drill', 'cutover', 'rollback', 'cutover']);
    for (const { blockMs } of summary.flips) expect(blockMs).toBeGreaterThan(0);
    expect(summary.readsOnTarget[0]).toBeGreaterThan(0);
    expect(summary.readsOnTarget[0]).toBeLessThan(0.5);
    expect(summary.readsOnTarget[1]).toBe(1);
    // Both took writes, and took them again after they had not.
    expect(Math.min(summary.writes.source, summary.writes.target)).toBeGreaterThan(200);
    expect(summary.transactions).toBeGreaterThan(100);
    expect(summary.rowsCompared).toBeGreaterThan(10_000);
  },
);
