/** What is told of the mirror of the log, equality by equality. */
import { expect, test } from 'vitest';
import { MirrorBoard } from '#services/reconciler/stream/mirror-board.ts';
import type { Equality, MirrorVerdict } from '#services/reconciler/stream/mirror-verdict.ts';

function verdictOf(equality: Equality, outcome: MirrorVerdict['outcome'], sums: MirrorVerdict['sums'] = []): MirrorVerdict {
  const counts = { rows: 1, buckets: 0, differences: outcome === 'differs' ? 1 : 0, sample: [], open: 0, held: 0 };
  return { from: 'public.a', to: 'new.a', equality, outcome, sums, lsn: equality === 'log-target' ? '0/10' : null, ...counts };
}

test('each equality by itself; a table that differs is told until it is equal, whatever could not be judged', () => {
  const board = new MirrorBoard();
  expect(board.status()).toMatchObject({ comparedAt: null, sums: [] });
  const sum = (side: string): MirrorVerdict['sums'] => [{ column: 'v', log: '3', side }];
  expect(board.note(verdictOf('source-log', 'equal', sum('3')), 1)).toBeUndefined();
  expect(board.note(verdictOf('log-target', 'differs', sum('2')), 2)).toBe('begins to differ');
  expect(board.status()).toEqual({
    comparedAt: '1970-01-01T00:00:00.002Z',
    sourceLog: { equal: 1, differs: 0, inconclusive: 0, differing: [] },
    logTarget: { equal: 0, differs: 1, inconclusive: 0, differing: ['new.a'] },
    unjudged: [],
    sums: [{ table: 'new.a', column: 'v', log: '3', target: '2', lsn: '0/10', source: { log: '3', source: '3' } }],
  });
  expect(board.note(verdictOf('log-target', 'inconclusive'), 3)).toBeUndefined();
  expect(board.note(verdictOf('log-target', 'differs'), 4)).toBeUndefined();
  expect(board.status().logTarget).toMatchObject({ differs: 1, inconclusive: 0 });
  expect(board.note(verdictOf('log-target', 'equal'), 5)).toBe('equal again');
  expect(board.note(verdictOf('source-log', 'inconclusive'), 6)).toBeUndefined();
  expect(board.status()).toMatchObject({ sourceLog: { equal: 0, inconclusive: 1 }, logTarget: { equal: 1, differing: [] } });
  board.clear();
  expect(board.status()).toMatchObject({ comparedAt: null, sourceLog: { inconclusive: 0 } });
});

test('a table that is not judged is named with the reason, once', () => {
  const board = new MirrorBoard();
  const why = 'it is partitioned';
  for (const equality of ['log-target', 'source-log'] as const)
    board.note({ ...verdictOf(equality, 'inconclusive'), inconclusive: { cause: 'unreadable', message: why } }, 1);
  expect(board.status().unjudged).toEqual([{ from: 'public.a', to: 'new.a', why }]);
  board.note(verdictOf('log-target', 'equal'), 2);
  board.note(verdictOf('source-log', 'equal'), 2);
  expect(board.status().unjudged).toEqual([]);
});
