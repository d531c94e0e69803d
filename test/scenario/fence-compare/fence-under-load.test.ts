/** The comparison at the fence on the demo's shop while it is open: what it takes, and that a wrong row is named. */
import { expect, test } from 'vitest';
import { Application } from '#services/demo/application/application.ts';
import { FULL_SHOP } from '#services/demo/shop/load.ts';
import { beginFenceCompare } from '#services/reconciler/fence/fence-compare.ts';
import { silentLogger } from '#services/runtime/service.ts';
import { execute } from '#test/support/application.ts';
import { shopWorld } from '#test/support/shop-world.ts';
import { testFence } from './test-fence.ts';

const ROUNDS = Number(process.env['CROSSFADE_FENCE_ROUNDS'] ?? 3);

test.for([
  { version: 14, rate: 500 },
  { version: 18, rate: 1_000 },
] as const)('PostgreSQL $version, $rate transactions a second', { timeout: 240_000 }, async ({ version, rate }) => {
  await using world = await shopWorld({ version, size: FULL_SHOP });
  const application = Application.start({ url: world.sourceUrl, seed: 7, size: FULL_SHOP, writers: 8, transactionsPerSecond: rate });
  const told: string[] = [];
  try {
    await using compare = await beginFenceCompare({ ...world, logger: silentLogger });
    expect(compare.before).toMatchObject({ differences: 0, inconclusive: 0 });
    for (let round = 0; round < ROUNDS; round++) {
      await compare.refresh();
      await compare.refresh();
      await execute(world.sourceUrl, `update tbl_cust set full_name = 'touched ${round}' where cust_id = ${round + 1}`);
      await using fence = await testFence(world);
      const clean = await compare.finish(fence);
      expect(clean).toMatchObject({ differences: 0, inconclusive: 0 });
      told.push(`${clean.keys} keys in ${clean.milliseconds} ms (drained in ${Math.round(fence.drainedMs)} ms)`);
    }
    await execute(world.sourceUrl, `update tbl_cust set full_name = 'touched' where cust_id = 77`);
    await using fence = await testFence(world);
    await execute(world.targetUrl, `update app.customers set name = 'wrong' where id = 77`);
    const found = await compare.finish(fence);
    expect(found).toMatchObject({ differences: 1, inconclusive: 0 });
    expect(found.tables.flatMap(({ to, sample }) => sample.map(({ key, columns }) => ({ to, key, columns })))).toEqual([
      { to: 'app.customers', key: { id: '77' }, columns: ['name'] },
    ]);
  } finally {
    await application.stop();
  }
  process.stdout.write(
    `at the fence, ${Math.round(application.transactions / application.seconds)} transactions a second: ${told.join(', ')}\n`,
  );
});
