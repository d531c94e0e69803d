import { expect, test } from 'vitest';
import type { DifferenceSample } from '#schemas/reconcile/verify-result.ts';
import { execute } from '#test/support/application.ts';
import { runShape } from '#test/support/shape-run.ts';
import { EXPLODE, MERGE, SPLIT, UNION } from '#test/support/shapes.ts';

const LONG_MS = 240_000;

test('one table goes to two: copied, followed and verified clean under a writer, through SIGKILLs', { timeout: LONG_MS }, async () => {
  await runShape(SPLIT, async ({ targetUrl, verify, command }) => {
    await execute(targetUrl, `UPDATE address SET town = 'wrong' WHERE person_id = (SELECT max(person_id) FROM address)`);
    const drifted = await verify();
    expect(drifted.result.tables.map(({ to, different }) => [to, different])).toEqual([
      ['public.customer', 0],
      ['public.address', 1],
    ]);
    expect(await command('repair')).toBe(0);
    expect((await verify()).result.differences).toBe(0);
  });
});

test('two tables go to one: copied, followed and verified clean under a writer, through SIGKILLs', { timeout: LONG_MS }, async () => {
  await runShape(UNION, async ({ targetUrl, verify, command }) => {
    await execute(
      targetUrl,
      `UPDATE item SET name = 'wrong' WHERE (shard, id) = (SELECT shard, id FROM item WHERE shard = 'eu' ORDER BY id LIMIT 1)`,
    );
    await execute(targetUrl, `INSERT INTO item VALUES ('us', -1, 'extra')`, `INSERT INTO item VALUES ('nobody', 1, 'not ours')`);
    const drifted = await verify();
    expect(drifted.result.tables.map(({ to, different, extra }) => [to, different, extra])).toEqual([
      ['public.item', 1, 0],
      ['public.item', 0, 1],
    ]);
    expect(await command('repair')).toBe(0);
    expect((await verify()).result.differences).toBe(0);
    expect(await execute(targetUrl, `SELECT name FROM item WHERE shard = 'nobody'`)).toEqual([{ name: 'not ours' }]);
  });
});

test(
  'two tables feed the same rows: copied, followed and verified clean under a writer, through SIGKILLs',
  { timeout: LONG_MS },
  async () => {
    await runShape(MERGE, async ({ targetUrl, verify, command }) => {
      await execute(targetUrl, `UPDATE person SET nick = 'wrong' WHERE id = (SELECT max(id) FROM person WHERE has_profile)`);
      await execute(
        targetUrl,
        `UPDATE person SET email = NULL, notes = NULL WHERE id = (SELECT min(id) FROM person WHERE email IS NOT NULL AND has_profile)`,
      );
      await execute(targetUrl, `INSERT INTO person (id, notes) VALUES (-7, 'of nobody')`);
      const drifted = await verify();
      expect(drifted.result.tables.map(({ missing, different, extra }) => [missing, different, extra])).toEqual([
        [1, 0, 1],
        [0, 1, 0],
      ]);
      expect(await command('repair')).toBe(0);
      expect((await verify()).result.differences).toBe(0);
    });
  },
);

test(
  'arrays become rows of their own: copied, followed and verified clean under a writer, through SIGKILLs',
  { timeout: LONG_MS },
  async () => {
    await runShape(EXPLODE, async ({ targetUrl, verify, command }) => {
      const [line] = await execute(targetUrl, `SELECT order_id, sku FROM order_line WHERE place = 2 ORDER BY order_id LIMIT 1`);
      const { order_id: order, sku } = line!;
      await execute(
        targetUrl,
        `UPDATE order_line SET quantity = quantity + 1 WHERE (order_id, sku) = (${order}, '${sku}')`,
        `DELETE FROM order_line WHERE order_id = ${order} AND place = 1`,
        `INSERT INTO order_line VALUES (${order}, 'extra', 1, 1, 'x', 77)`,
        `DELETE FROM order_tag WHERE (order_id, n) = (SELECT max(order_id), 1 FROM order_tag)`,
        `INSERT INTO order_tag VALUES (-1, 1, 'of nobody')`,
      );
      const drifted = await verify();
      expect(drifted.result.tables.map(({ to, missing, different, extra }) => [to, missing, different, extra])).toEqual([
        ['public.orders', 0, 0, 0],
        ['public.order_line', 1, 1, 1],
        ['public.order_tag', 1, 0, 1],
      ]);
      const lines = drifted.result.tables[1]!.sample as readonly DifferenceSample[];
      expect(lines.find(({ kind }) => kind === 'different')).toMatchObject({ key: { order_id: order, sku }, columns: ['quantity'] });
      expect(lines.find(({ kind }) => kind === 'extra')).toMatchObject({ key: { order_id: order, sku: 'extra' }, columns: [] });
      expect(await command('repair')).toBe(0);
      expect((await verify()).result.differences).toBe(0);
    });
  },
);
