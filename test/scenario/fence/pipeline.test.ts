/** A fence around the pipeline's own target: the sink passes it, in every session that it opens. */
import { expect, test, vi } from 'vitest';
import type { FenceOptions } from '#connectors/fence/fence.ts';
import { execute } from '#test/support/application.ts';
import { outcomeOf, raiseFence } from '#test/support/fence-world.ts';
import { freshDatabase } from '#test/support/postgres.ts';
import { startInstance } from '#test/support/running-instance.ts';

const WAIT = { timeout: 30_000, interval: 50 };
const DDL = `CREATE TABLE public.item (id int PRIMARY KEY, name text);
  CREATE TABLE public.part (id int, day int, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
  CREATE TABLE public.part_a PARTITION OF public.part FOR VALUES FROM (0) TO (10)`;

test.each([14, 18] as const)(
  'on PostgreSQL %i rows come through it, truncates too, and after the sink has lost its sessions',
  async (version) => {
    await using source = await freshDatabase(version);
    await using target = await freshDatabase(version);
    await execute(
      source.url,
      `${DDL}; INSERT INTO item SELECT n, 'copied' FROM generate_series(1, 3000) AS n; INSERT INTO part VALUES (1, 1)`,
    );
    await execute(target.url, DDL);
    const tables = ['item', 'part'].map((name) => ({ schema: 'public', name }));
    const options: FenceOptions = {
      url: target.url,
      name: 'scenario',
      side: 'target',
      tables,
      servesElsewhere: 'the source',
      lockTimeoutMs: 500,
      holdMs: 10_000,
    };
    await raiseFence(options, 1n);
    await using stack = new AsyncDisposableStack();
    stack.use(await startInstance({ source: source.url, target: target.url }));
    const reaches = async (items: string, parts: string): Promise<void> =>
      vi.waitFor(async () => {
        const rows = await execute(target.url, 'SELECT (SELECT count(*) FROM item) AS items, (SELECT count(*) FROM part) AS parts');
        expect(rows).toEqual([{ items, parts }]);
      }, WAIT);
    await reaches('3000', '1');
    await execute(
      source.url,
      `INSERT INTO item SELECT n, 'streamed' FROM generate_series(3001, 9000) AS n; TRUNCATE part; INSERT INTO part VALUES (2, 2), (3, 3)`,
    );
    await reaches('9000', '2');
    await execute(
      target.url,
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'crossfade scenario sink' AND datname = current_database()`,
    );
    await execute(source.url, `DELETE FROM item WHERE id <= 4000; UPDATE part SET id = id + 10`);
    await reaches('5000', '2');
    expect(await execute(target.url, 'SELECT id FROM part ORDER BY id')).toEqual([{ id: '12' }, { id: '13' }]);
    expect(await outcomeOf(execute(target.url, `INSERT INTO item VALUES (0, 'by an application')`))).toBe('25006');
  },
);
