import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import type { FlagStore } from '#connectors/flags/flags.ts';
import type { FlagDocument } from '#schemas/flags/flag-document.ts';
import { fixedFlags, PolledFlags } from '#services/flags/flag-service.ts';
import { keepFlags, readKeptFlags } from '#services/flags/keep-document.ts';
import { silentLogger } from '#services/runtime/service.ts';

const SOON = { timeout: 5_000, interval: 5 };

function documentAt(epoch: number, state: number): FlagDocument {
  return { name: 'shop', epoch, state, serves: epoch === 2 ? 'target' : 'source' };
}

/** Says what it is given, or that it is away. */
function saying(first: FlagDocument | undefined): FlagStore & { says: FlagDocument | undefined } {
  const store = {
    says: first,
    read: async () => {
      if (store.says === undefined) throw new Error('away');
      return store.says;
    },
    change: async () => store.read(),
    close: async () => undefined,
  };
  return store;
}

test('what is older than what is known changes nothing and is told to nobody', async () => {
  const store = saying(documentAt(2, 5));
  const flags = new PolledFlags({ store, logger: silentLogger });
  const told: FlagDocument[] = [];
  flags.onChange((document) => told.push(document));
  await flags.refresh();
  for (const older of [documentAt(1, 9), documentAt(2, 4), documentAt(2, 5)]) {
    store.says = older;
    await flags.refresh();
    expect(flags.document).toEqual(documentAt(2, 5));
  }
  store.says = documentAt(2, 6);
  await flags.refresh();
  expect(told).toEqual([documentAt(2, 5), documentAt(2, 6)]);
});

test('a store that is away: the last known holds, is stale, and is looked for until it is back', async () => {
  const store = saying(undefined);
  const flags = new PolledFlags({ store, logger: silentLogger, kept: documentAt(1, 1) });
  expect([flags.document, flags.isStale]).toEqual([documentAt(1, 1), true]);
  await expect(flags.refresh()).rejects.toThrow('away');
  const stop = new AbortController();
  const running = flags.run(stop.signal);
  store.says = documentAt(2, 2);
  await vi.waitFor(() => expect([flags.document, flags.isStale]).toEqual([documentAt(2, 2), false]), SOON);
  stop.abort();
  await running;
});

test('what is kept is of this migration, whole, or nothing', async () => {
  const dataDir = mkdtempSync(join(tmpdir(), 'crossfade-flags-'));
  expect(readKeptFlags(dataDir, 'shop')).toBeUndefined();
  await keepFlags(dataDir, documentAt(2, 2));
  expect(readKeptFlags(dataDir, 'shop')).toEqual(documentAt(2, 2));
  expect(readKeptFlags(dataDir, 'other')).toBeUndefined();
  writeFileSync(join(dataDir, 'flags.json'), '{"name":"shop"');
  expect(readKeptFlags(dataDir, 'shop')).toBeUndefined();
});

test('a migration whose target keeps no state stands at the source', async () => {
  const flags = fixedFlags('shop');
  expect([flags.document?.serves, flags.isStale]).toEqual(['source', false]);
  await expect(flags.change({ kind: 'kill', kill: true }, { actor: 'ada' })).rejects.toMatchObject({ code: 'CF-8402' });
});
