/** Whoever holds a fence dies, stops, or loses the server: nothing has happened, or it is known what did. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import type { FenceOptions } from '#connectors/fence/fence.ts';
import { postgresFences } from '#connectors/fence/postgres/fences.ts';
import { readJournalRows, settleEpoch } from '#connectors/postgres/journal.ts';
import { connect } from '#connectors/postgres/session.ts';
import { installTestHooks } from '#schemas/test-hooks.ts';
import { fenceWorld, outcomeOf } from '#test/support/fence-world.ts';
import { openCutWire } from '#test/support/cut-wire.ts';
import { versions } from '#test/support/postgres.ts';

const { prepare, open, state, endSessions } = postgresFences;

afterEach(() => installTestHooks({}));

const INSERT = `INSERT INTO shop.customer (name) VALUES ('queued')`;

/** A process of its own that holds the fence at `point`, until a signal ends it. */
async function holdIn(options: FenceOptions, point: string): Promise<AsyncDisposable & { kill(): Promise<void>; stop(): void }> {
  const child = fork(join(import.meta.dirname, '../../support/fence-holder.ts'), [JSON.stringify(options), point]);
  const end = once(child, 'exit');
  const [said] = (await once(child, 'message')) as [string];
  expect(said).toBe('holding');
  const kill = async (): Promise<void> => {
    child.kill('SIGKILL');
    await end;
  };
  return { kill, stop: () => void child.kill('SIGSTOP'), [Symbol.asyncDispose]: kill };
}

describe.each(versions(14))('on PostgreSQL %i', (version) => {
  test.each(['fence.quiet', 'fence.locked', 'fence.raised', 'fence.commit'])(
    'killed at %s: queued writers go on, and the next fence is had',
    async (point) => {
      await using world = await fenceWorld(version);
      await prepare(world.options);
      await using holder = await holdIn(world.options, point);
      const writer = await world.session();
      const outcome = point === 'fence.quiet' ? outcomeOf(writer.query(INSERT)) : (await world.queued(writer, INSERT)).outcome;
      await holder.kill();
      expect(await outcome).toBe('ok');
      expect(await world.query('SELECT epoch FROM crossfade.journal')).toEqual([]);
      expect(await state(world.options)).toMatchObject({ state: 'down' });
      const fence = await open(world.options, 1n);
      await fence.rollback();
    },
  );

  test('killed once it had committed: the fence stands, and the journal says so', async () => {
    await using world = await fenceWorld(version);
    await prepare(world.options);
    await using holder = await holdIn(world.options, 'fence.committed');
    await holder.kill();
    expect(await state(world.options)).toEqual({ state: 'up', open: [] });
    expect(await world.query('SELECT epoch, serves FROM crossfade.journal')).toEqual([{ epoch: '1', serves: 'target' }]);
  });

  test('stopped with its connection open: the server ends it by its own clock', async () => {
    // Long enough for a holder that gets little of the machine to come to the point at all.
    await using world = await fenceWorld(version, { holdMs: 2_500 });
    await prepare(world.options);
    await using holder = await holdIn(world.options, 'fence.commit');
    holder.stop();
    const writer = await world.session();
    expect(await outcomeOf(writer.query(INSERT))).toBe('ok');
  });

  test('the holder is told when its session is gone, and can decide nothing any more', async () => {
    await using world = await fenceWorld(version);
    await prepare(world.options);
    const fence = await open(world.options, 1n);
    await fence.confirm();
    await endSessions(world.options);
    expect(await fence.lost).toMatchObject({ code: 'CF-8104' });
    expect(await outcomeOf(fence.confirm())).toBe('CF-8104');
    expect(['CF-8104', 'CF-8105']).toContain(await outcomeOf(fence.commit({ marker: 'm' })));
    expect(await outcomeOf((await world.session()).query(INSERT))).toBe('ok');
    expect(await world.query('SELECT epoch FROM crossfade.journal')).toEqual([]);
  });

  test.each(['sent', 'cut'] as const)('the COMMIT is not answered (%s): the journal says what became of it, for good', async (how) => {
    await using world = await fenceWorld(version);
    await prepare(world.options);
    await using wire = await openCutWire(world.ownerUrl);
    const fence = await open({ ...world.options, url: wire.url }, 1n);
    // sent: the server gets it, and its answer is lost. cut: neither.
    installTestHooks({ onFailpoint: (point) => point === 'fence.commit' && wire.cut(how === 'sent' ? 'answers' : 'both') });
    expect(await outcomeOf(fence.commit())).toBe('CF-8105');
    await endSessions(world.options);
    const client = await connect(world.ownerUrl, { applicationName: 'test', role: 'source' });
    const row = await settleEpoch(client, { name: 'shop', epoch: 1n, serves: 'source' });
    expect(row).toMatchObject(how === 'sent' ? { serves: 'target', isVoid: false } : { serves: 'source', isVoid: true });
    expect(await readJournalRows(client, 'shop')).toEqual([row]);
    await client.end();
    expect(await state(world.options)).toMatchObject({ state: how === 'sent' ? 'up' : 'down' });
    expect(await outcomeOf(open(world.options, 1n))).toBe('CF-8103');
  });

  test('an epoch that was given up or overtaken cannot be decided any more', async () => {
    await using world = await fenceWorld(version);
    await prepare(world.options);
    const fence = await open(world.options, 1n);
    const client = await connect(world.ownerUrl, { applicationName: 'settler', role: 'source' });
    // Waits for the one that holds; then it is its word that counts.
    const settled = settleEpoch(client, { name: 'shop', epoch: 1n, serves: 'source' });
    await world.waiting('settler');
    await fence.rollback();
    expect(await settled).toMatchObject({ isVoid: true });
    expect(await outcomeOf(open(world.options, 1n))).toBe('CF-8103');
    await settleEpoch(client, { name: 'shop', epoch: 5n, serves: 'source' });
    expect(await outcomeOf(open(world.options, 4n))).toBe('CF-8103');
    await client.end();
    await (await open(world.options, 6n)).rollback();
  });
});
