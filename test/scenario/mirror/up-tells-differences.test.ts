/** `reconcile.stream` in a running instance: a row that somebody changes on the target is told, with its key, and that it is well again. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { readMigrationFile } from '#schemas/config/read-migration-file.ts';
import type { StatusResult } from '#schemas/status/status-result.ts';
import { silentLogger } from '#services/runtime/service.ts';
import { runUp } from '#services/up/up.ts';
import { execute } from '#test/support/application.ts';
import { freshDatabase } from '#test/support/postgres.ts';

const CHECKS = 'checks:\n  - { name: quantities, table: public.item, sum: [quantity] }\n';
const WAIT = { timeout: 60_000, interval: 100 };

test('a row changed on the target is told once, and that it is equal again', { timeout: 200_000 }, async () => {
  await using source = await freshDatabase(18);
  await using target = await freshDatabase(18);
  const table = 'CREATE TABLE item (id int PRIMARY KEY, note text, quantity numeric(8,2))';
  await execute(source.url, table, `INSERT INTO item SELECT g, 'n' || g, g FROM generate_series(1, 100) g`);
  await execute(target.url, table);
  const text = `crossfade: 1\nname: told\nsource: { postgres: "${source.url}" }\ntarget: { postgres: "${target.url}" }\nreconcile: { stream: true }\ntables:\n  - from: public.*\n${CHECKS}`;
  const { file, findings } = readMigrationFile({ path: 'test.yaml', text, env: {} });
  expect(findings).toEqual([]);
  const dataDir = await mkdtemp(join(tmpdir(), 'crossfade-told-'));
  const stop = new AbortController();
  const told: { readonly details: unknown; readonly message: string }[] = [];
  const note = (details: unknown, message: string): void => void told.push({ details, message });
  let status: StatusResult | undefined;
  const running = runUp({
    file: file!,
    dataDir,
    host: '127.0.0.1',
    port: 0,
    signal: stop.signal,
    logger: { ...silentLogger, warn: note, info: note, debug: note },
    environment: {},
    onProgress: (now) => (status = now),
  });
  try {
    await vi.waitFor(() => expect(told.map(({ message }) => message)).toContain('digests of the log are kept'), WAIT);
    await execute(target.url, `UPDATE item SET quantity = 42.01 WHERE id = 42`);
    const sums = [{ column: 'quantity', log: '5050', side: '5050.01' }];
    const differ = { from: 'public.item', to: 'public.item', differences: 1, keys: [{ kind: 'different', key: { id: '42' } }], sums };
    const isTold = (): void => expect(told).toContainEqual({ details: differ, message: 'the target is not what the log makes' });
    await vi.waitFor(isTold, WAIT);
    const apart = { sourceLog: { equal: 1, differing: [] }, logTarget: { equal: 0, differing: ['public.item'] } };
    await vi.waitFor(() => expect(status?.reconciliation?.stream).toMatchObject(apart), WAIT);
    await execute(source.url, `UPDATE item SET quantity = 43 WHERE id = 42`);
    const isWell = (): void => expect(told.map(({ message }) => message)).toContain('the target is what the log makes again');
    await vi.waitFor(isWell, WAIT);
    const whole = { table: 'public.item', column: 'quantity', log: '5051', target: '5051', source: { log: '5051', source: '5051' } };
    await vi.waitFor(() => expect(status?.reconciliation?.stream?.sums).toMatchObject([whole]), WAIT);
    expect(told.filter(({ message }) => message.includes('is not what'))).toHaveLength(1);
  } finally {
    stop.abort();
    await running;
    await rm(dataDir, { recursive: true, force: true });
  }
});
