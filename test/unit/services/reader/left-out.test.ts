import { afterEach, describe, expect, test } from 'vitest';
import { originMessage, originName } from '#schemas/frame/frame.ts';
import { installTestHooks } from '#schemas/test-hooks.ts';
import type { ForeignWrites, LeftOut, RowOwner } from '#services/reader/left-out.ts';
import { follow, send, turn } from '#test/support/followed.ts';
import { begin, commit, insert, logicalMessage, origin, ourMessage, relation, truncate } from '#test/support/frames.ts';

const R = relation({ oid: 9, name: 't', columns: [{ name: 'id', key: true }, { name: 'v' }] });
const ROW = insert(9, ['1', 'a']);
const OTHERS = origin(originName('m_reverse'));
const MESSAGE = logicalMessage('crossfade', originMessage('m_reverse'));
const ignoreOrigins = ['m_reverse'];

afterEach(() => installTestHooks({}));

/** Answers when the test says so. */
class Asked implements ForeignWrites {
  isTaken = false;
  readonly questions: PromiseWithResolvers<boolean>[] = [];
  readonly counted: LeftOut[] = [];
  areTaken(): boolean {
    return this.isTaken;
  }
  ask(): Promise<boolean> {
    const question = Promise.withResolvers<boolean>();
    this.questions.push(question);
    return question.promise;
  }
  async leftOut(one: LeftOut): Promise<void> {
    this.counted.push(one);
  }
}

describe('what the other direction wrote', () => {
  test.each([
    ['its replication origin', OTHERS],
    ['its first act', MESSAGE],
  ])('is left out by %s, and the slot moves on', (_by, mark) => {
    const { follower, raw } = follow({ ignoreOrigins });
    send(follower, begin(100n), mark, R, ROW, commit(100n, 110n));
    expect(raw.tags).toEqual([]);
    expect(follower.durableEnd).toBe(110n);
  });

  test('would be taken without the guard', () => {
    installTestHooks({ disabledGuards: ['no-loops'] });
    const { follower, raw, progress } = follow({ ignoreOrigins });
    send(follower, begin(100n), OTHERS, R, ROW, commit(100n, 110n));
    expect([raw.tags, progress.tags]).toEqual([[], ['{']]);
  });

  test.each([
    ['an origin of somebody else', origin('pg_16384')],
    ['our own message', logicalMessage('crossfade', originMessage('m'))],
    ['a message under another prefix', logicalMessage('other', originMessage('m_reverse'))],
    ['one that is no JSON', logicalMessage('crossfade', '{"kind":"origin"')],
  ])('is not told by %s', async (_what, mark) => {
    const { follower, raw } = follow({ ignoreOrigins });
    send(follower, begin(100n), mark, ROW, commit(100n, 110n));
    expect(raw.tags.join()).toContain('I');
  });

  test('a message behind a row is not its first act', () => {
    const { follower, raw } = follow({ ignoreOrigins });
    send(follower, begin(100n), ROW, MESSAGE, ROW, commit(100n, 110n));
    expect(raw.tags).toEqual(['BIIC']);
  });

  test('leaves the next transaction alone, which gets the description that came before', async () => {
    const { follower, raw, progress } = follow({ ignoreOrigins });
    send(follower, begin(100n), OTHERS, R, ROW, commit(100n, 110n), begin(120n), ROW, commit(120n, 130n));
    await progress.settle(0);
    expect(raw.tags).toEqual(['BRIC']);
  });

  test('does not hold back a marker of ours', () => {
    const { follower, raw } = follow({ ignoreOrigins });
    send(follower, begin(100n), OTHERS, ourMessage({ kind: 'marker', name: 'm', id: 'x' }), ROW, commit(100n, 110n));
    expect(raw.tags).toEqual(['BMC']);
  });

  test('has open chunks of its tables read again, and no other change of it reaches the copy', () => {
    const told: string[] = [];
    const copy = {
      isTracked: (oid: number) => oid === 9,
      onBegin: () => void told.push('begin'),
      onChange: () => void told.push('change'),
      onTruncate: () => void told.push('truncate'),
      onLeftOut: (oid: number) => void told.push(`left out ${oid}`),
    };
    const { follower } = follow({ ignoreOrigins, copy });
    send(follower, begin(100n), OTHERS, R, ROW, insert(8, ['1', 'a']), truncate([9]), commit(100n, 110n));
    expect(told).toEqual(['begin', 'left out 9', 'left out 9']);
  });
});

describe('what others write while the other side serves', () => {
  test('is left out and counted before anything newer is taken', async () => {
    const foreign = new Asked();
    const { follower, raw, progress } = follow({ foreign });
    send(follower, begin(100n), R, ROW, ROW, commit(100n, 110n), begin(120n), ROW, commit(120n, 130n));
    expect(foreign.questions).toHaveLength(1);
    foreign.questions[0]!.resolve(false);
    await turn();
    expect(foreign.counted).toEqual([{ commitLsn: 100n, changes: new Map([['public.t', 2]]) }]);
    foreign.questions[1]!.resolve(true);
    await turn();
    await progress.settle(0);
    expect(raw.tags).toEqual(['BRIC']);
  });

  test('is taken when the side serves by now, and nobody is asked once that is known', async () => {
    const foreign = new Asked();
    const { follower, raw } = follow({ foreign });
    send(follower, begin(100n), ROW, commit(100n, 110n));
    foreign.questions[0]!.resolve(true);
    foreign.isTaken = true;
    await turn();
    send(follower, begin(120n), ROW, commit(120n, 130n));
    await raw.settle(0);
    expect([raw.tags, foreign.questions.length, foreign.counted]).toEqual([['BIC', 'BIC'], 1, []]);
  });

  test("is nobody's question where the rows are others', and is not counted where that cannot be told", async () => {
    const foreign = new Asked();
    const owners: RowOwner[] = ['others', 'others', 'others', 'unknown', 'unknown', 'unknown'];
    const { follower, raw } = follow({ foreign, whose: () => owners.shift()! });
    send(follower, begin(100n), R, ROW, ROW, commit(100n, 110n));
    send(follower, begin(120n), ROW, ROW, commit(120n, 130n));
    expect([raw.tags, foreign.questions.length]).toEqual([[], 1]);
    foreign.questions[0]!.resolve(false);
    await turn();
    expect([raw.tags, foreign.counted, owners]).toEqual([[], [], ['unknown']]);
  });

  test('is asked about neither for a marker nor for what the other direction wrote', () => {
    const foreign = new Asked();
    const { follower, raw } = follow({ foreign, ignoreOrigins });
    send(follower, begin(100n), ourMessage({ kind: 'marker', name: 'm', id: 'x' }), commit(100n, 110n));
    send(follower, begin(120n), OTHERS, ROW, commit(120n, 130n));
    expect([raw.tags, foreign.questions.length]).toEqual([['BMC'], 0]);
  });

  test('reaches the log without the guard', () => {
    installTestHooks({ disabledGuards: ['foreign'] });
    const { follower, raw } = follow({ foreign: new Asked() });
    send(follower, begin(100n), ROW, commit(100n, 110n));
    expect(raw.tags).toEqual(['BIC']);
  });

  test('ends the session when nobody can tell', async () => {
    const foreign = new Asked();
    const { follower, raw, errors } = follow({ foreign });
    send(follower, begin(100n), ROW, commit(100n, 110n));
    foreign.questions[0]!.reject(new Error('the source is away'));
    await turn();
    expect([raw.tags, errors.length]).toEqual([[], 1]);
  });
});
