/** Whoever adds a failpoint to what a flip runs through has to have it struck. */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { FLIP_POINTS, STRUCK_ELSEWHERE, SWAP_POINTS } from '#test/prove/flips/flip-points.ts';

const root = join(import.meta.dirname, '..', '..', '..');
/** Of the command, and of what cleans up behind it. */
const ENTRIES = ['services/cli/flip/run-flip.ts', 'services/up/flip-keeper.ts'];

/** Files that are loaded with these, and the failpoints in them. */
function failpointsOf(entries: readonly string[]): Set<string> {
  const [seen, found] = [new Set<string>(), new Set<string>()];
  const waiting = [...entries];
  for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
    if (seen.has(path)) continue;
    seen.add(path);
    const text = readFileSync(join(root, path), 'utf8');
    for (const [, point] of text.matchAll(/\bfailpoint\('([^']+)'\)/g)) found.add(point!);
    for (const [, imported] of text.matchAll(/^(?:import|export)(?! type\b)[^;]*?from '([#.][^']+)'|\bimport\('([#.][^']+)'\)/gm))
      if (imported !== undefined) waiting.push(imported.startsWith('#') ? imported.slice(1) : join(dirname(path), imported));
  }
  return found;
}

test('each failpoint that a flip comes by is struck by a proof, or it is said where else', () => {
  const passed = failpointsOf(ENTRIES);
  for (const known of ['flip.leased', 'fence.locked', 'fence.swapped', 'state.written']) expect(passed).toContain(known);
  const struck = [...FLIP_POINTS, ...SWAP_POINTS];
  expect([...passed].filter((point) => !Object.keys(STRUCK_ELSEWHERE).concat(struck).includes(point))).toEqual([]);
  expect(struck.filter((point) => !passed.has(point))).toEqual([]);
});

test('what is struck elsewhere is named there', () => {
  for (const [point, { where }] of Object.entries(STRUCK_ELSEWHERE))
    expect(readFileSync(join(root, where), 'utf8'), where).toContain(`'${point}'`);
});
