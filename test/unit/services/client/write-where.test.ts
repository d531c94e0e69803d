import { expect, test } from 'vitest';
import type { FlagDocument } from '#schemas/flags/flag-document.ts';
import type { Side } from '#schemas/flags/read-rules.ts';
import { createCrossfadeClient } from '#services/client/client.ts';
import { isFenced } from '#services/client/fenced.ts';
import { writeWhere } from '#services/client/write-where.ts';

const MOVED = 'Crossfade: UPDATE on public.a is refused here, because its writes have moved to the target (migration shop)';

function refusal(code = '25006', message = MOVED): Error {
  return Object.assign(new Error(message), { code });
}

interface Stage {
  serves: Side;
  readonly open: Set<Side>;
  readonly tried: Side[];
  refreshes: number;
  write(waitMs?: number): Promise<string>;
}

/** `heard`: what a fresh look finds. */
function stage(serves: Side, { heard = serves, code = '25006' }: { readonly heard?: Side; readonly code?: string } = {}): Stage {
  const at: Stage = {
    serves,
    open: new Set(),
    tried: [],
    refreshes: 0,
    write: async (waitMs = 1_000) => {
      const attempt = (side: Side) => (): string => {
        at.tried.push(side);
        if (at.open.has(side)) return `written to ${side}`;
        throw refusal(code);
      };
      return writeWhere(
        { source: attempt('source'), target: attempt('target') },
        {
          serves: () => at.serves,
          refresh: async () => {
            at.refreshes++;
            at.serves = heard;
          },
          waitMs,
          observed: () => undefined,
        },
      );
    },
  };
  return at;
}

test('where the flags say, once', async () => {
  const at = stage('target');
  at.open.add('target');
  expect(await at.write()).toBe('written to target');
  expect([at.tried, at.refreshes]).toEqual([['target'], 0]);
});

test('a stale client meets the fence and writes in the other store, whether or not it can look', async () => {
  for (const heard of ['source', 'target'] as const) {
    const at = stage('source', { heard });
    at.open.add('target');
    expect(await at.write()).toBe('written to target');
    expect(at.tried).toEqual(['source', 'target']);
  }
});

test('while both refuse it is tried in turn, until the time is over', async () => {
  const at = stage('source');
  await expect(at.write(100)).rejects.toMatchObject({ code: '25006' });
  expect(at.tried.slice(0, 4)).toEqual(['source', 'target', 'source', 'target']);
});

test('40001 of a tenant fence: the flags say where', async () => {
  const at = stage('source', { heard: 'target', code: '40001' });
  at.open.add('target');
  expect(await at.write()).toBe('written to target');
  expect(at.tried).toEqual(['source', 'target']);
});

test('what is not the fence is the application’s, and is tried once', async () => {
  const others = [
    refusal('40001', 'could not serialize access due to concurrent update'),
    refusal('25006', 'cannot execute INSERT in a read-only transaction'),
    refusal('08006', MOVED),
    new Error('no code'),
    'a text',
    null,
  ];
  for (const error of others) {
    expect(isFenced(error)).toBe(false);
    let tried = 0;
    const fail = (): never => {
      tried++;
      throw error as Error;
    };
    const written = writeWhere(
      { source: fail, target: fail },
      { serves: () => 'source', refresh: async () => undefined, waitMs: 1_000, observed: () => undefined },
    );
    await expect(written).rejects.toBe(error);
    expect(tried).toBe(1);
  }
});

test('a fence that an ORM has wrapped is one', () => {
  expect(isFenced(new Error('query failed', { cause: new Error('inner', { cause: refusal() }) }))).toBe(true);
});

const WAVES: FlagDocument = {
  name: 'shop',
  epoch: 3,
  state: 9,
  serves: 'source',
  waves: [
    { name: 'acme', units: ['acme'], serves: 'target' },
    { name: 'globex', units: ['globex'], serves: 'source' },
  ],
};

test('in waves only the fence of its own wave sends a write to the other store, where those of others may have none', async () => {
  const client = createCrossfadeClient({ name: 'shop', url: 'http://127.0.0.1:1', token: '', initial: WAVES });
  const tried: string[] = [];
  const write = async (unit: string | undefined, fenceOf: string): Promise<unknown> =>
    client.write({
      ...(unit !== undefined && { unit }),
      waitMs: 300,
      source: () => {
        tried.push(`${unit} source`);
        throw refusal('25006', MOVED.replace('migration shop', `migration ${fenceOf}`));
      },
      target: () => tried.push(`${unit} target`),
    });
  try {
    // All tenants' rows in one statement, or a TRUNCATE: refused on the source because acme has moved, and the target would take it.
    await expect(write('globex', 'shop_acme')).rejects.toMatchObject({ code: '25006' });
    await expect(write('umbrella', 'shop_acme')).rejects.toMatchObject({ code: '25006' });
    expect(tried).toEqual(['globex source', 'umbrella source']);
    // Newer than the flags.
    await write('globex', 'shop_globex');
    expect(tried.slice(2)).toEqual(['globex source', 'globex target']);
    // Of a call that names no unit nothing is learnt: the next one's may be anybody's.
    for (let times = 0; times < 2; times++) await write(undefined, 'shop');
    expect(tried.slice(4)).toEqual(['undefined source', 'undefined target', 'undefined source', 'undefined target']);
  } finally {
    await client.close();
  }
});
