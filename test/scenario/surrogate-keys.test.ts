import { expect, test } from 'vitest';
import { execute } from '#test/support/application.ts';
import { runShape } from '#test/support/shape-run.ts';
import { SURROGATE, SURROGATE_ORPHANS } from '#test/support/surrogate-tables.ts';

const LONG_MS = 240_000;

test(
  'rows get new keys, and all that refers to them: under a writer, through SIGKILLs; drift is found and repaired',
  { timeout: LONG_MS },
  async () => {
    await runShape(SURROGATE, async ({ targetUrl, verify, command }) => {
      expect(await execute(targetUrl, SURROGATE_ORPHANS)).toEqual([]);
      await execute(
        targetUrl,
        `UPDATE client SET name = 'wrong' WHERE legacy = 1000`,
        `UPDATE bill SET client = (SELECT min(id) FROM client) WHERE id = (SELECT id FROM bill WHERE client = (SELECT id FROM client WHERE legacy = 1500) LIMIT 1)`,
        `SET session_replication_role = replica; UPDATE client SET referred_by = 999999 WHERE legacy = 1400 AND referred_by IS NOT NULL`,
        `DELETE FROM login WHERE id = 77`,
      );
      const drifted = await verify();
      expect(drifted.result.tables.map(({ to, missing, different, extra }) => [to, missing, different, extra])).toEqual([
        ['public.land', 0, 0, 0],
        ['public.client', 0, 2, 0],
        ['public.bill', 0, 1, 0],
        ['public.bill_line', 0, 0, 0],
        ['public.login', 1, 0, 0],
      ]);
      expect(drifted.text).toMatch(/referred_by|client/);
      expect(await command('repair')).toBe(0);
      expect((await verify()).result.differences).toBe(0);
    });
  },
);
