import { describe, expect, test } from 'vitest';
import { toLsn } from '#schemas/lsn.ts';
import { follow, send, turn } from '#test/support/followed.ts';
import { begin, commit, insert, logicalMessage, ourMessage, relation, update } from '#test/support/frames.ts';

const R = relation({ oid: 9, name: 't', columns: [{ name: 'id', key: true }, { name: 'v' }] });

describe('the follower', () => {
  test('counts a commit as durable only once its append is', async () => {
    const { follower, raw } = follow();
    send(follower, begin(100n), insert(9, ['1', 'a']), commit(100n, 110n));
    expect(raw.tags).toEqual(['BIC']);
    expect(follower.durableEnd).toBe(0n);
    await raw.settle(0);
    expect(follower.durableEnd).toBe(110n);
    expect(follower.durableOffset).toBe(3);
  });

  test('gathers the commits that arrive while an append is under way into the next one', async () => {
    const { follower, raw } = follow();
    for (const lsn of [100n, 110n, 120n]) send(follower, begin(lsn), insert(9, ['1', 'a']), commit(lsn, lsn + 10n));
    expect(raw.tags).toEqual(['BIC']);
    await raw.settle(0);
    expect(raw.tags).toEqual(['BIC', 'BICBIC']);
    expect(follower.durableEnd).toBe(110n);
    await raw.settle(1);
    expect(follower.durableEnd).toBe(130n);
  });

  test('does not append again what the log already holds, and takes a commit that starts where the last one ended', async () => {
    const { follower, raw } = follow({ lastCommit: 100n });
    send(follower, begin(100n), insert(9, ['1', 'a']), commit(100n, 110n));
    expect(raw.tags).toEqual([]);
    send(follower, begin(110n), insert(9, ['2', 'b']), commit(110n, 120n));
    expect(raw.tags).toEqual(['BIC']);
    await raw.settle(0);
    expect(follower.durableEnd).toBe(120n);
  });

  test('lets rows wait until the description of their table is durable', async () => {
    const { follower, raw, progress } = follow();
    send(follower, begin(100n), R, insert(9, ['1', 'a']), commit(100n, 110n));
    expect(raw.tags).toEqual([]);
    expect(progress.appended).toHaveLength(1);
    await progress.settle(0);
    expect(raw.tags).toEqual(['BRIC']);
  });

  test('writes nothing for a transaction without changes of ours', async () => {
    const { follower, raw } = follow();
    send(follower, begin(100n), logicalMessage('someone', 'else'), commit(100n, 110n));
    expect(raw.tags).toEqual([]);
    expect(follower.durableEnd).toBe(110n);
  });

  test('ignores messages of another migration', () => {
    const { follower, raw } = follow();
    send(follower, begin(100n), ourMessage({ kind: 'marker', name: 'other', id: 'x' }), commit(100n, 110n));
    expect(raw.tags).toEqual([]);
  });

  test.each([
    ['what is no JSON', 'low on disk'],
    ['null', 'null'],
    ['another shape', '{"name":"m"}'],
    ['megabytes', JSON.stringify({ kind: 'marker', name: 'm', id: 'x'.repeat(3_000_000) })],
  ])('passes over %s that somebody wrote under its prefix', (_, content) => {
    const { follower, raw } = follow();
    send(follower, begin(100n), logicalMessage('crossfade', content), commit(100n, 110n));
    expect(raw.tags).toEqual([]);
    expect(follower.durableEnd).toBe(110n);
  });

  test('lets a keepalive move the slot only while nothing is pending', async () => {
    const { follower, raw } = follow();
    send(follower, begin(100n), insert(9, ['1', 'a']), commit(100n, 110n));
    follower.onKeepalive(toLsn(500n));
    expect(follower.durableEnd).toBe(0n);
    await raw.settle(0);
    expect(follower.durableEnd).toBe(110n);
    follower.onKeepalive(toLsn(500n));
    expect(follower.durableEnd).toBe(500n);
    send(follower, begin(600n));
    follower.onKeepalive(toLsn(650n));
    expect(follower.durableEnd).toBe(500n);
  });

  test('puts the copier’s rows inside the transaction of their high watermark and its state records behind it', () => {
    const { follower, raw } = follow({
      copy: { recordsBeforeCommit: () => [[Buffer.from('k'), Buffer.from('rows')]], recordsAfterCommit: () => [[Buffer.from('s')]] },
    });
    send(follower, begin(100n), ourMessage({ kind: 'high', name: 'm', chunk: 'c', attempt: 'a' }), commit(100n, 110n));
    expect(raw.tags).toEqual(['BMkCs']);
  });

  test('asks the copier only about changes of tables that it tracks', () => {
    const seen: string[] = [];
    const { follower } = follow({ copy: { isTracked: (oid) => oid === 9, onChange: (_m, r) => seen.push(r.name) } });
    send(follower, begin(100n), R, update(9, ['1', 'b']), commit(100n, 110n));
    expect(seen).toEqual(['t']);
  });

  test('ends the session when an append fails, and claims nothing of it', async () => {
    const { follower, raw, errors } = follow();
    send(follower, begin(100n), insert(9, ['1', 'a']), commit(100n, 110n));
    raw.appended[0]!.settle.reject(new Error('disk full'));
    await turn();
    expect(errors).toHaveLength(1);
    expect(follower.durableEnd).toBe(0n);
  });

  test('appends nothing more once it is closed, and is closed only when what was under way is durable', async () => {
    const { follower, raw } = follow();
    send(follower, begin(100n), insert(9, ['1', 'a']), commit(100n, 110n));
    send(follower, begin(110n), insert(9, ['2', 'b']), commit(110n, 120n));
    let isClosed = false;
    const closed = follower.close().then(() => (isClosed = true));
    await turn();
    expect(isClosed).toBe(false);
    await raw.settle(0);
    await closed;
    send(follower, begin(120n), insert(9, ['3', 'c']), commit(120n, 130n));
    await turn();
    expect(raw.tags).toEqual(['BIC']);
  });

  test('does not append a batch that waited for a relation record when the session ended', async () => {
    const { follower, raw, progress } = follow();
    send(follower, begin(100n), R, insert(9, ['1', 'a']), commit(100n, 110n));
    await follower.close();
    await progress.settle(0);
    expect(raw.tags).toEqual([]);
  });
});
