import { describe, expect, test } from 'vitest';
import type { ReadBatch, Topic } from '#connectors/change-log/change-log.ts';
import type { SlotHealth } from '#connectors/source/postgres/slot.ts';
import { toLsn, ZERO_LSN } from '#schemas/lsn.ts';
import type { SharedLog } from '#connectors/change-log/shared-log.ts';
import { checkIdentity, checkSlot, recoverLog, type RecoveredLog } from '#services/reader/recover.ts';
import { begin, commit, insert, records } from '#test/support/frames.ts';

function topicOf(frames: readonly Buffer[]): Topic {
  const batch: ReadBatch = { baseOffset: 0, count: frames.length, bytes: records(frames) };
  return {
    name: 't',
    partitions: 1,
    append: () => Promise.reject(new Error('read only')),
    partitionFor: () => 0,
    start: () => 0,
    end: () => frames.length,
    read: () => {
      let given = frames.length === 0;
      const poll = async (): Promise<ReadBatch | undefined> => {
        if (given) return undefined;
        given = true;
        return batch;
      };
      return { poll, next: poll, close: async () => undefined };
    },
    commit: async () => undefined,
    committed: () => undefined,
    trim: async () => undefined,
    size: () => 0,
  };
}

const json = (record: unknown): Buffer => Buffer.from(JSON.stringify(record));

const slot = (confirmed: bigint, over: Partial<SlotHealth> = {}): SlotHealth => ({
  active: false,
  activePid: undefined,
  plugin: 'pgoutput',
  database: 'd',
  walStatus: 'reserved',
  confirmedFlush: toLsn(confirmed),
  retainedBytes: 0,
  safeWalBytes: undefined,
  ...over,
});

const read: RecoveredLog = {
  fresh: false,
  lastCommit: toLsn(100n),
  durableEnd: toLsn(110n),
  confirmed: toLsn(105n),
  identity: undefined,
  prints: new Map(),
};

describe('a starting reader', () => {
  test('tells a shared log how relations were described that it may not hold any more, as of its end', async () => {
    const raw = topicOf([begin(100n), insert(9, ['1']), commit(100n, 110n)]);
    const told: string[] = [];
    const shared: SharedLog = {
      ...raw,
      begin: async () => undefined,
      lastCommit: () => undefined,
      learn: (frame) => void told.push(frame.toString()),
    };
    const relation = (oid: number, offset: number, text: string): Buffer =>
      json({ t: 'relation', oid, offset, frame: Buffer.from(text).toString('base64') });
    const progress = topicOf([
      relation(9, 0, 'older'),
      relation(9, 1, 'latest'),
      relation(8, 2, 'other'),
      relation(9, 3, 'behind the end'),
    ]);
    await recoverLog(shared, progress);
    expect(told).toEqual(['latest', 'other']);
  });

  test('finds the last whole commit behind the last durable record, and no half one', async () => {
    const raw = topicOf([
      begin(100n),
      insert(9, ['1']),
      commit(100n, 110n),
      begin(110n),
      insert(9, ['2']),
      commit(110n, 125n),
      begin(130n),
      insert(9, ['3']),
    ]);
    const progress = topicOf([
      json({ t: 'epoch', systemId: '7', timeline: 1 }),
      json({ t: 'durable', offset: 3, commitLsn: '0/64', endLsn: '0/6E', confirm: '0/6E' }),
    ]);
    expect(await recoverLog(raw, progress)).toEqual({
      fresh: false,
      lastCommit: 110n,
      durableEnd: 125n,
      confirmed: 110n,
      identity: { systemId: '7', timeline: 1 },
      prints: new Map(),
    });
  });

  test('refuses a raw log that is shorter than what the slot was told is durable', async () => {
    const progress = topicOf([json({ t: 'durable', offset: 3, commitLsn: '0/64', endLsn: '0/6E', confirm: '0/6E' })]);
    await expect(recoverLog(topicOf([begin(100n)]), progress)).rejects.toMatchObject({ code: 'CF-3002' });
  });

  test('calls an empty log fresh', async () => {
    expect(await recoverLog(topicOf([]), topicOf([]))).toMatchObject({ fresh: true, lastCommit: ZERO_LSN });
  });

  test('refuses another system, an older timeline, and a fail-over that lost what was read', () => {
    const known = { systemId: '7', timeline: 2 };
    expect(() => checkIdentity(known, { systemId: '8', timeline: 2 }, ZERO_LSN)).toThrow(/system 8/);
    expect(() => checkIdentity(known, { systemId: '7', timeline: 1 }, ZERO_LSN)).toThrow(/timeline 1/);
    expect(() => checkIdentity(known, { systemId: '7', timeline: 3, forkLsn: toLsn(99n) }, toLsn(100n))).toThrow(/fail|clean up/i);
    checkIdentity(known, { systemId: '7', timeline: 3, forkLsn: toLsn(100n) }, toLsn(100n));
    checkIdentity(known, { systemId: '7', timeline: 2 }, toLsn(100n));
  });

  test('refuses a slot that is gone, lost, of another plugin, or that somebody moved', () => {
    expect(() => checkSlot('m', undefined, read)).toThrow(/gone/);
    expect(() => checkSlot('m', slot(100n, { walStatus: 'lost' }), read)).toThrow(/lost/);
    expect(() => checkSlot('m', slot(100n, { plugin: 'test_decoding' }), read)).toThrow(/test_decoding/);
    expect(() => checkSlot('m', slot(111n), read)).toThrow(/moved/);
    checkSlot('m', slot(110n), read);
    checkSlot('m', undefined, { ...read, fresh: true });
  });
});
