/** Findings of a target without tables of ours, in the data directory. */
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { DriftFinding, FindingState } from '#schemas/reconcile/drift-finding.ts';
import { keepFindings, openKeptFindings, readKeptFindings } from '#services/runtime/kept-findings.ts';

function finding(id: string, state: FindingState, firstMs = 1): DriftFinding {
  const steps = [{ state: 'suspected', atMs: firstMs, lsn: '0/1' } as const];
  return { id, from: 'public.a', to: 'public.a', key: { id }, kind: 'different', columns: ['v'], rows: 1, state, steps };
}

test('each finding is kept in its last state, the open ones for ever, of the ended ones the last thousand', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'crossfade-findings-'));
  try {
    expect(readKeptFindings(directory)).toEqual([]);
    await keepFindings(directory, [finding('1', 'suspected'), finding('2', 'suspected')]);
    await keepFindings(directory, [finding('1', 'confirmed'), finding('2', 'flapped'), finding('2', 'suspected', 9)]);
    expect(openKeptFindings(directory).map(({ id, state, steps }) => [id, state, steps[0]!.atMs])).toEqual([
      ['1', 'confirmed', 1],
      ['2', 'suspected', 9],
    ]);
    expect(readKeptFindings(directory).map(({ state }) => state)).toEqual(['confirmed', 'flapped', 'suspected']);
    await keepFindings(
      directory,
      Array.from({ length: 1_000 }, (_, i) => finding(`ended ${i}`, 'verified')),
    );
    expect(readKeptFindings(directory)).toHaveLength(1_002);
    expect(readKeptFindings(directory).some(({ state }) => state === 'flapped')).toBe(false);
    expect((await stat(join(directory, 'findings.json'))).mode & 0o777).toBe(0o600);
    // Of several targets each has its own.
    await keepFindings(directory, [finding('3', 'suspected')], 'cache');
    expect(readKeptFindings(directory, 'cache').map(({ id }) => id)).toEqual(['3']);
    // What cannot be read is told, not passed over and overwritten.
    await writeFile(join(directory, 'findings.json'), '[');
    expect(() => readKeptFindings(directory)).toThrow(SyntaxError);
    await expect(keepFindings(directory, [finding('4', 'suspected')])).rejects.toThrow(SyntaxError);
    expect(await readFile(join(directory, 'findings.json'), 'utf8')).toBe('[');
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
});
