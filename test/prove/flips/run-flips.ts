/** Cut-overs and rollbacks in a row under writes. Guarantee: returns only when every acknowledged write is in the store that serves, and no read failed. */
import { longestWait } from '#test/support/application-under-flips.ts';
import { flipArgs, flipOrThrow, openFlipStage, waitUntil } from './flip-stage.ts';

export interface FlipsOptions {
  readonly pairs: number;
  readonly rate: number;
  readonly isFull: boolean;
  readonly seed: number;
  readonly say: (text: string) => void;
}

/** Writes that queued at the fence are answered by then. */
const AFTER_MS = 1_000;

export async function runFlips({ pairs, rate, isFull, seed, say }: FlipsOptions): Promise<Record<string, number>> {
  await using opened = await openFlipStage({ name: 'flips', isFull, seed, rate });
  const { application } = opened;
  const blocks: number[] = [];
  const windows: { readonly from: number; readonly to: number }[] = [];
  const began = Date.now();
  for (let i = 0; i < 2 * pairs; i++) {
    const seen = application.lines().length;
    await waitUntil(async () => application.lines().length > seen + rate / 2, 'writes');
    const from = Date.now();
    const { blockMs, serves } = await flipOrThrow(opened, flipArgs(i % 2 === 0 ? 'cutover' : 'rollback', 'flips'));
    windows.push({ from, to: Date.now() + AFTER_MS });
    blocks.push(blockMs);
    say(`flip ${i + 1} of ${2 * pairs}: the ${serves} serves, writers waited ${blockMs} ms`);
  }
  await waitUntil(async () => Date.now() > windows.at(-1)!.to, 'the last writers');
  const seconds = (Date.now() - began) / 1000;
  const writes = await opened.end('source');
  const lines = application.lines();
  const waits = windows.map(({ from, to }) => longestWait(lines, from, to));
  return {
    flips: 2 * pairs,
    'acknowledged writes': writes,
    'writes a second': Math.round(writes / seconds),
    'acknowledged writes lost': 0,
    'failed reads': 0,
    'writers blocked, p50 ms': quantile(blocks, 0.5),
    'writers blocked, p95 ms': quantile(blocks, 0.95),
    'writers blocked, most ms': Math.max(...blocks),
    'longest write of a flip, as the application saw it, p95 ms': quantile(waits, 0.95),
  };
}

function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)]!;
}
