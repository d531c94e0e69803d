/** What must come before a decision or not at all: the high watermark of a chunk that is copied again. */
import { afterEach, describe, expect, test } from 'vitest';
import { postgresFences } from '#connectors/fence/postgres/fences.ts';
import { createCopySource } from '#connectors/source/postgres/copy-source.ts';
import { installTestHooks } from '#schemas/test-hooks.ts';
import { fenceWorld, raiseFence } from '#test/support/fence-world.ts';

const { prepare, open } = postgresFences;

afterEach(() => installTestHooks({}));

describe.each([14, 18] as const)('on PostgreSQL %i', (version) => {
  test('a message is written only while nobody decides, and as of the decision that was asked for', async () => {
    await using world = await fenceWorld(version);
    await using stack = new AsyncDisposableStack();
    const source = createCopySource({ url: world.ownerUrl, applicationName: 'test' });
    stack.defer(() => source.close());
    const emit = async (epoch: bigint): Promise<boolean> => source.emitUndecided('{}', { name: 'shop', epoch });
    expect(await source.lastEpoch('shop')).toBeUndefined();
    await prepare(world.options);
    expect([await source.lastEpoch('shop'), await emit(0n)]).toEqual([0n, true]);

    const fence = await open(world.options, 1n);
    expect(await emit(0n), 'a fence is held').toBe(false);
    installTestHooks({ disabledGuards: ['copy-undecided'] });
    expect(await emit(0n), 'without the guard').toBe(true);
    installTestHooks({});
    await fence.rollback();
    expect(await emit(0n), 'it was given up').toBe(true);

    await raiseFence(world.options, 2n);
    expect([await emit(0n), await source.lastEpoch('shop'), await emit(2n)]).toEqual([false, 2n, true]);
  });
});
