/** What repair finds of the last comparison. */
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { TableVerdict, VerifyResult } from '#schemas/reconcile/verify-result.ts';
import { readLastVerify, storeLastVerify } from '#services/runtime/last-verify.ts';

function verdict(table: string, missing: number): TableVerdict {
  const counts = { rowsSource: 9, rowsTarget: 9, missing, extra: 0, different: 0 };
  return { from: `public.${table}`, to: `new.${table}`, ...counts, sample: [], lsn: '0/100' };
}

function compared(serves: 'source' | 'target', ...tables: readonly TableVerdict[]): VerifyResult {
  const differences = tables.reduce((sum, { missing }) => sum + missing, 0);
  return { at: { lsn: '0/100' }, tables, differences, inconclusive: 0, ...(serves === 'target' && { serves }) };
}

test('a comparison of some tables leaves the verdicts of the others; one made the other way is kept as that, and replaces all', async () => {
  await using directory = await mkdtempDisposable(join(tmpdir(), 'crossfade-'));
  const kept = async (result: VerifyResult, isWhole: boolean): Promise<VerifyResult | undefined> => {
    await storeLastVerify(directory.path, { result, isWhole });
    return readLastVerify(directory.path);
  };
  await kept(compared('source', verdict('a', 1), verdict('b', 2)), true);
  expect(await kept(compared('source', verdict('a', 0)), false)).toEqual(compared('source', verdict('b', 2), verdict('a', 0)));
  const back = compared('target', verdict('a', 4));
  expect(await kept(back, false)).toEqual(back);
  expect(await kept(compared('target', verdict('b', 1)), false)).toEqual(compared('target', verdict('a', 4), verdict('b', 1)));
  expect(await kept(compared('source', verdict('b', 0)), false)).toEqual(compared('source', verdict('b', 0)));
});
