/** Fences of waves beside each other, without their pipelines: who waits for whom, and what a file may still say of rows that have moved. */
import { expect, test } from 'vitest';
import { takeMigrationLease } from '#connectors/target/postgres/migration-lease.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { readMigrationFile } from '#schemas/config/read-migration-file.ts';
import { waveFile } from '#schemas/config/wave-file.ts';
import { compareAge, type FlagDocument } from '#schemas/flags/flag-document.ts';
import { readFit } from '#services/cli/catalogs.ts';
import { requireOwnUnits } from '#services/cli/check/require-own-units.ts';
import { requireReady } from '#services/cli/check/require-ready.ts';
import type { FencePort } from '#services/control/flip/ports.ts';
import { wavesGates } from '#services/control/gates/waves-gate.ts';
import { fencePort } from '#services/control/postgres/fence-port.ts';
import { flippedMigration } from '#services/control/postgres/flipped-migration.ts';
import { SideSessions } from '#services/control/postgres/sessions.ts';
import { openWaveStore } from '#services/flags/open-store.ts';
import { silentLogger } from '#services/runtime/service.ts';
import { execute, openSession } from '#test/support/application.ts';
import { until } from '#test/support/flip-stage.ts';
import { freshDatabase } from '#test/support/postgres.ts';

interface TwoSides extends AsyncDisposable {
  readonly source: string;
  readonly target: string;
  file(wave: string, units: string): MigrationFile;
  fence(wave: string, side: 'source' | 'target', units: string): Promise<FencePort>;
}

const UNITS = '{ a: [a], rest: "*" }';

async function twoSides(key = 'tenant, id'): Promise<TwoSides> {
  const stack = new AsyncDisposableStack();
  const source = stack.use(await freshDatabase(14));
  const target = stack.use(await freshDatabase(18));
  for (const { url } of [source, target])
    await execute(url, `CREATE TABLE orders (tenant text, id uuid, PRIMARY KEY (${key})); ALTER TABLE orders REPLICA IDENTITY FULL`);
  const file = (wave: string, units: string): MigrationFile => {
    const text = `crossfade: 1\nname: shop\nsource: { postgres: "${source.url}" }\ntarget: { postgres: "${target.url}" }\ntables: [{ from: public.orders }]\nwaves: { by: tenant, units: ${units} }\n`;
    return waveFile(readMigrationFile({ path: 'm.yaml', text, env: {} }).file!, wave);
  };
  const fence: TwoSides['fence'] = async (wave, side, units) => {
    const own = file(wave, units);
    return fencePort(flippedMigration(own, (await readFit(own)).mapping, undefined), side);
  };
  return { source: source.url, target: target.url, file, fence, [Symbol.asyncDispose]: async () => stack.disposeAsync() };
}

test('a rollback and a cut-over of two waves never hold their fences at once: each would wait for the other on two servers', async () => {
  await using sides = await twoSides();
  const forth = await sides.fence('a', 'source', UNITS);
  const back = await sides.fence('rest', 'target', UNITS);
  for (const port of [forth, back]) await port.prepare(1n);
  // Nobody would bring such a row to the source, where its new unit may be written.
  await execute(sides.target, `INSERT INTO orders VALUES ('a', gen_random_uuid())`);
  await expect(execute(sides.target, `UPDATE orders SET tenant = 'z'`)).rejects.toMatchObject({ code: '23514' });
  const held = await forth.open(1n);
  const opening = back.open(1n);
  const come = { isIt: false };
  void opening.then(() => (come.isIt = true));
  await using observer = await openSession(sides.target);
  const waiting = `SELECT FROM pg_stat_activity WHERE application_name = 'crossfade shop_rest turn' AND wait_event = 'advisory'`;
  await until(async () => (await observer.query(waiting)).length === 1, 'the second fence to wait for its turn');
  expect(come.isIt).toBe(false);
  await held.rollback();
  await (await opening).commit('marker', {});
  // Decided or given up, the turn is free.
  await (await forth.open(2n)).rollback();
});

test('rows of a wave that has moved are given to no other one', async () => {
  await using sides = await twoSides();
  const port = await sides.fence('rest', 'source', UNITS);
  await port.prepare(1n);
  await requireOwnUnits(sides.file('b', '{ a: [a], b: [b], rest: "*" }'));
  await (await port.open(1n)).commit('marker', {});
  await requireOwnUnits(sides.file('a', UNITS));
  const changed = { code: 'CF-8336' };
  for (const wave of ['a', 'b', 'rest'])
    await expect(requireOwnUnits(sides.file(wave, '{ a: [a], b: [b], rest: "*" }'))).rejects.toMatchObject(changed);
  await expect(requireOwnUnits(sides.file('a', '{ a: [a] }'))).rejects.toMatchObject(changed);
  const context = { signal: new AbortController().signal, log: silentLogger };
  await expect(requireReady({ file: sides.file('b', '{ a: [a], b: [b], rest: "*" }') }, context)).rejects.toMatchObject(changed);
  await port.lift(2n);
  await requireOwnUnits(sides.file('b', '{ a: [a], b: [b], rest: "*" }'));
});

test('where the key does not hold the unit, a wave whose pipeline stands still keeps the others from being cut over', async () => {
  await using sides = await twoSides('id');
  const own = sides.file('a', UNITS);
  const migration = flippedMigration(own, (await readFit(own)).mapping, undefined);
  await using sessions = new SideSessions(migration.urls, own.name);
  const [gate] = wavesGates({ migration, sessions });
  const at = { kind: 'cutover', drill: false, phase: 'begin' } as const;
  expect(await gate!.look(at)).not.toHaveProperty('closed');
  await execute(sides.source, `SELECT pg_create_logical_replication_slot('shop_rest', 'pgoutput')`);
  try {
    expect(await gate!.look(at)).toMatchObject({
      closed: { code: 'CF-8335' },
      evidence: expect.stringContaining('pipeline of rest') as string,
    });
    expect(await gate!.look({ ...at, kind: 'rollback' })).toMatchObject({ isSkipped: true });
    // Its changes are others' rows' where the key tells.
    await using apart = await twoSides();
    const other = flippedMigration(apart.file('a', UNITS), (await readFit(apart.file('a', UNITS))).mapping, undefined);
    expect(await wavesGates({ migration: other, sessions })[0]!.look(at)).not.toHaveProperty('closed');
  } finally {
    await execute(sides.source, `SELECT pg_drop_replication_slot('shop_rest')`);
  }
  // And there no row changes its unit on the source either.
  await (await sides.fence('a', 'source', UNITS)).prepare(1n);
  await execute(sides.source, `INSERT INTO orders VALUES ('b', gen_random_uuid())`);
  await expect(execute(sides.source, `UPDATE orders SET tenant = 'a'`)).rejects.toMatchObject({ code: '23514' });
});

test('what a file without a wave says of the flags is no older: it would never be taken', async () => {
  await using sides = await twoSides();
  const read = async (units: string): Promise<FlagDocument> => {
    const store = openWaveStore(sides.target, sides.file('rest', units).wave!);
    try {
      return await store.read();
    } finally {
      await store.close();
    }
  };
  const lease = await takeMigrationLease({ url: sides.target, name: 'shop_a', holder: 'test' });
  for (const event of ['drill-begun', 'backed-out'] as const) await lease.apply(event, { actor: 'Ada Lovelace' });
  await lease.release();
  const before = await read(UNITS);
  expect(before.epoch).toBe(1);
  expect(compareAge(await read('{ rest: "*" }'), before)).toBe(0);
});
