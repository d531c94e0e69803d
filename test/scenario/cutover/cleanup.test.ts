/** The clean-up on real servers: what it refuses, that it goes on wherever it was killed, and that nothing of anybody else goes with it. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { removeRemnant } from '#connectors/remnants/postgres/remove-remnant.ts';
import { verifyAudit } from '#connectors/target/postgres/audit.ts';
import { takeMigrationLease } from '#connectors/target/postgres/migration-lease.ts';
import { readState, withState } from '#connectors/target/postgres/migration-state.ts';
import { installTestHooks } from '#schemas/test-hooks.ts';
import { execute, openSession } from '#test/support/application.ts';
import { envelopeOf, runChild, runInProcess } from '#test/support/command-line.ts';
import { CUT_OVER, leaveFences, movedShop, type MovedShop } from '#test/support/moved-shop.ts';
import { freshDatabase } from '#test/support/postgres.ts';

const TIMEOUT_MS = 300_000;
const CONFIRM = ['cleanup', '--confirm', 'shop', '--json'] as const;

afterEach(() => installTestHooks({}));

/** What of us the catalogues of a database know. */
async function traces(url: string): Promise<unknown[]> {
  return execute(
    url,
    `SELECT 'slot' AS what, slot_name::text AS name FROM pg_replication_slots WHERE database = current_database()
     UNION ALL SELECT 'publication', pubname::text FROM pg_publication
     UNION ALL SELECT 'trigger', tgname::text FROM pg_trigger WHERE NOT tgisinternal
     UNION ALL SELECT 'schema', nspname::text FROM pg_namespace WHERE nspname = 'crossfade' ORDER BY 1, 2`,
  );
}

function editFile(shop: MovedShop, edit: (text: string) => string): void {
  const path = join(shop.directory, 'migration.yaml');
  writeFileSync(path, edit(readFileSync(path, 'utf8')));
}

test(
  'after the sign-off everything goes, wherever the clean-up was killed, and the audit trail stays until it is asked for',
  { timeout: TIMEOUT_MS },
  async () => {
    await using shop = await movedShop('cleanup: { after: 72h }\n');
    await leaveFences(shop);
    await execute(
      shop.target,
      `SELECT pg_create_logical_replication_slot('shop_reverse', 'pgoutput')`,
      'CREATE PUBLICATION shop_reverse FOR TABLE orders',
    );
    const before = [await traces(shop.source), await traces(shop.target)];
    const refused = async (gate: string): Promise<void> => {
      const { error, findings } = envelopeOf(await shop.run(...CONFIRM));
      expect(error).toMatchObject({ code: 'CF-8501' });
      expect(findings.map(({ message }) => message)).toEqual([expect.stringContaining(`gate ${gate}: `)]);
      expect([await traces(shop.source), await traces(shop.target)]).toEqual(before);
    };

    await refused('state');
    await shop.apply(...CUT_OVER);
    await refused('state');
    expect((await shop.run('cleanup', '--abort', '--confirm', 'shop')).exitCode).toBe(10);
    await shop.apply(['signed-off']);
    await refused('delay');
    editFile(shop, (text) => text.replace('72h', '0s'));
    {
      await using reader = await openSession(shop.source);
      await reader.query(`SET application_name = 'crossfade shop reader lock'`);
      await refused('running');
    }
    expect((await shop.run('cleanup')).exitCode).toBe(2);
    const listed = await shop.run('cleanup', '--dry-run');
    expect(listed.exitCode).toBe(0);
    expect(listed.stdout).toContain('stays: crossfade cleanup --target-schema');

    // Killed behind the first thing that it takes away, behind the second of the rest, and so on.
    let kills = 0;
    for (; kills < 30; kills++) {
      const run = await runChild(CONFIRM, {
        directory: shop.directory,
        environment: { CROSSFADE_TEST_FAILPOINT: `cleanup.removed:${kills + 1}` },
      }).catch(() => undefined);
      if (run !== undefined) {
        expect(run.exitCode, run.stdout + run.stderr).toBe(0);
        break;
      }
    }
    // 1 + 2 + 3 + 4: 2 slots, 2 publications, 4 triggers, the sink's origin, the source's schema.
    expect(kills).toBe(4);
    expect(await traces(shop.source)).toEqual([]);
    expect(await traces(shop.target)).toEqual([{ what: 'schema', name: 'crossfade' }]);
    expect(await execute(shop.target, `SELECT roname FROM pg_replication_origin`)).toEqual([]);
    expect(await readState(shop.target, 'shop')).toMatchObject({ state: 'cleaned-up', serves: 'target' });
    expect(await verifyAudit(shop.target, 'shop')).toMatchObject({ ok: true });
    expect((await shop.run(...CONFIRM)).exitCode).toBe(0);

    const again = await shop.run('up', '--json');
    expect([again.exitCode, envelopeOf(again).error]).toMatchObject([10, { code: 'CF-8504' }]);
    expect([await traces(shop.source), await readState(shop.target, 'shop')]).toMatchObject([[], { state: 'cleaned-up' }]);

    const dataDir = join(shop.directory, '.crossfade', 'shop');
    expect(existsSync(dataDir)).toBe(true);
    expect((await shop.run(...CONFIRM, '--target-schema', '--data-directory')).exitCode).toBe(0);
    expect(await traces(shop.target)).toEqual([]);
    expect(existsSync(dataDir)).toBe(false);
    expect(await execute(shop.target, 'SELECT count(*) AS n FROM orders')).toEqual([{ n: '1000' }]);
    expect(envelopeOf(await shop.run(...CONFIRM))).toMatchObject({ ok: true, summary: 'shop: nothing is left to be taken away' });
  },
);

test(
  'a migration that is given up leaves the source as it was, and another one in the same schema untouched',
  { timeout: TIMEOUT_MS },
  async () => {
    await using shop = await movedShop('approvals: { cleanup: [Ada Lovelace] }\n', 14);
    await leaveFences(shop);
    await execute(shop.source, `INSERT INTO crossfade.journal (name, epoch, serves) VALUES ('other', 1, 'target'), ('shop', 1, 'source')`);
    const abort = ['cleanup', '--abort', '--confirm', 'shop', '--json'] as const;
    expect(envelopeOf(await shop.run(...abort)).findings.map(({ message }) => message)).toEqual([
      expect.stringContaining('gate approvals cleanup'),
    ]);
    expect((await shop.run('approve', 'cleanup', '--as', 'Ada Lovelace')).exitCode).toBe(0);

    // Somebody who reads a fenced table keeps its triggers there: told, and done by the next run.
    await using reader = await openSession(shop.source);
    await reader.query('BEGIN; SELECT count(*) FROM orders');
    const first = envelopeOf(await shop.run(...abort));
    expect(first).toMatchObject({ ok: false, error: { code: 'CF-8502' } });
    expect(await readState(shop.target, 'shop')).toMatchObject({ state: 'aborted' });
    await reader.query('COMMIT');
    expect((await shop.run(...abort)).exitCode).toBe(0);
    expect(await traces(shop.source)).toEqual([{ what: 'schema', name: 'crossfade' }]);
    expect(await execute(shop.source, 'SELECT name FROM crossfade.journal')).toEqual([{ name: 'other' }]);
    expect(await readState(shop.target, 'shop')).toMatchObject({ state: 'cleaned-up', serves: 'source' });

    // The last look, under the lock, is what keeps the other one.
    const place = { url: shop.source, name: 'shop', side: 'source', place: 'source' } as const;
    const schema = { place: 'source', kind: 'schema', name: 'crossfade', detail: '', holdsData: false, fate: 'cleanup' } as const;
    await expect(removeRemnant(place, schema)).rejects.toMatchObject({
      code: 'CF-8502',
      message: expect.stringContaining('other') as string,
    });
    installTestHooks({ disabledGuards: ['cleanup-others'] });
    await removeRemnant(place, schema);
    expect(await traces(shop.source)).toEqual([]);
  },
);

const WAVE_FENCES = ['ins', 'upd', 'del', 'new', 'mov', 'stm'];

test('of a wave, what refuses the writers that have moved and what the flags are read from stays until the last one is cleaned up', async () => {
  await using source = await freshDatabase(14);
  await using target = await freshDatabase(18);
  const directory = mkdtempSync(join(tmpdir(), 'crossfade-waves-'));
  await using stack = new AsyncDisposableStack();
  stack.defer(() => rmSync(directory, { recursive: true }));
  const file = `crossfade: 1\nname: shop\nsource: { postgres: "${source.url}" }\ntarget: { postgres: "${target.url}" }\ntables:\n  - from: public.*\nwaves: { by: tenant, units: [a, b] }\n`;
  writeFileSync(join(directory, 'migration.yaml'), file);
  for (const { url } of [source, target]) {
    await withState(url, 'shop_a', async () => Promise.resolve());
    await execute(
      url,
      'CREATE TABLE orders (tenant text, id int)',
      `CREATE FUNCTION crossfade.refuse_write() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'refused'; END $$`,
      ...WAVE_FENCES.map((kind) => {
        const events = kind === 'stm' ? 'TRUNCATE ON orders FOR EACH STATEMENT' : 'UPDATE ON orders FOR EACH ROW';
        return `CREATE TRIGGER crossfade_shop_a_${kind} BEFORE ${events} EXECUTE FUNCTION crossfade.refuse_write('shop_a')`;
      }),
      ...(url === target.url ? WAVE_FENCES.map((kind) => `ALTER TABLE orders DISABLE TRIGGER crossfade_shop_a_${kind}`) : []),
    );
  }
  const lease = await takeMigrationLease({ url: target.url, name: 'shop_a', holder: 'test' });
  for (const [event, details] of [...CUT_OVER, ['signed-off'] as const])
    await lease.apply(event, { actor: 'Ada Lovelace', ...(details !== undefined && { details }) });
  await lease.release();

  const cleanUp = async (wave: string, ...args: readonly string[]): Promise<string> => {
    const run = await runInProcess(['cleanup', '--wave', wave, '--confirm', `shop_${wave}`, '--target-schema', ...args], { directory });
    expect(run.exitCode, run.stdout + run.stderr).toBe(0);
    return run.stdout;
  };
  await cleanUp('a');
  expect((await runInProcess(['cleanup', '--wave', 'a', '--dry-run'], { directory })).stdout).toContain('clean-up of the last wave');
  const kept = WAVE_FENCES.map((kind) => ({ what: 'trigger', name: `crossfade_shop_a_${kind}` })).toSorted((a, b) =>
    a.name < b.name ? -1 : 1,
  );
  expect(await traces(source.url)).toEqual([{ what: 'schema', name: 'crossfade' }, ...kept]);
  expect(await traces(target.url)).toEqual([{ what: 'schema', name: 'crossfade' }]);
  expect(await readState(target.url, 'shop_a')).toMatchObject({ state: 'cleaned-up', serves: 'target' });

  await cleanUp('b', '--abort');
  for (const { url } of [source, target]) expect(await traces(url)).toEqual([]);
});
