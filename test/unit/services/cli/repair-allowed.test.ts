import { expect, test } from 'vitest';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import type { TableVerdict, VerifyResult } from '#schemas/reconcile/verify-result.ts';
import { requireAllowed } from '#services/cli/repair/allowed.ts';

const file = { repair: { maxRows: 2, maxDeletes: 3 } } as unknown as MigrationFile;

/** For these keys, of which only the target has those below 10. */
async function refusal(keys: readonly string[], isBehindCopy: boolean): Promise<string | undefined> {
  const sample = keys.map(
    (id) => ({ key: { id }, kind: Number(id) < 10 ? ('extra' as const) : ('different' as const), columns: [], sourceKey: [id] }) as const,
  );
  const extra = sample.filter(({ kind }) => kind === 'extra').length;
  const counts = { missing: 0, extra, different: keys.length - extra };
  const table = { from: 'public.a', to: 'public.a', rowsSource: 9, rowsTarget: 9, ...counts, sample };
  const before = { tables: [table as unknown as TableVerdict] } as unknown as VerifyResult;
  const request = { kind: 'keys', schema: 'public', table: 'a', keys: keys.map((id) => [id]), reason: 'r' } as const;
  const asked = { file, copiedFrom: '', mapping: { name: 'm', hash: '', tables: [] }, requests: [request], before, isBehindCopy };
  return requireAllowed(asked).then(
    () => undefined,
    (error: unknown) => (error as Error).message,
  );
}

test('behind the copy of a table what is taken away is no row that is copied, and it is told that the copy was made', async () => {
  expect(await refusal(['1', '2', '3'], false)).toBe('nothing was done: the repair would copy 3 rows again, and maxRows is 2');
  expect(await refusal(['1', '2', '3'], true)).toBeUndefined();
  expect(await refusal(['1', '2', '3', '4'], true)).toBe(
    'the rows were copied, and none is taken away: the repair would take 4 rows from the target, and maxDeletes is 3',
  );
  expect(await refusal(['1', '11', '12'], true)).toBeUndefined();
  expect(await refusal(['11', '12', '13'], true)).toContain('the repair would copy 3 rows again, and maxRows is 2');
});
