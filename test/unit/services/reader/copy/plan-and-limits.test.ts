import { mkdtempSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { clearSpool, RowSpool } from '#connectors/source/row-spool.ts';
import { boundarySql, copySql, missingSql, rangeCondition } from '#connectors/source/postgres/chunk-sql.ts';
import { ChunkSize } from '#services/reader/copy/chunk-size.ts';
import { KeptChanges } from '#services/reader/copy/kept-changes.ts';
import { KeyQueue } from '#services/reader/copy/key-queue.ts';
import { compareShapes } from '#services/reader/copy/shape.ts';
import { Throttle } from '#services/reader/copy/throttle.ts';
import { Window } from '#services/reader/copy/window.ts';

describe('the size of chunks', () => {
  test('moves toward the time target, by a factor of two at most', () => {
    const size = new ChunkSize(1_000, 500, 100);
    size.measured(1_000, 100_000, 10);
    expect(size.rows).toBe(2_000);
    size.measured(2_000, 200_000, 750);
    expect(size.rows).toBe(1_333);
    size.measured(1_333, 133_300, 60_000);
    expect(size.rows).toBe(667);
    size.measured(667, 66_700, 60_000);
    expect(size.rows).toBe(500);
  });

  test('stays under the byte limit, one row at least', () => {
    expect(new ChunkSize(50_000, 500, 8_192).rows).toBe(1_024);
    expect(new ChunkSize(50_000, 500, 100e6).rows).toBe(1);
  });
});

describe('the throttle', () => {
  test('makes rows and bytes wait for their allowance', () => {
    let now = 0;
    const throttle = new Throttle({ rowsPerSecond: 1_000, bytesPerSecond: 1e6 }, () => now);
    expect(throttle.take(500, 10)).toBe(500);
    now = 500;
    expect(throttle.take(0, 10)).toBe(0);
    expect(throttle.take(0, 2e6)).toBeGreaterThan(1_500);
    throttle.setLimits({});
    expect(throttle.take(1e9, 1e9)).toBe(0);
  });

  test('is passable only when no reason to pause is left', async () => {
    const throttle = new Throttle({}, () => 0);
    throttle.close('operator');
    throttle.close('source load');
    let passed = false;
    const passing = throttle.passable(new AbortController().signal).then(() => (passed = true));
    throttle.open('operator');
    await Promise.resolve();
    expect([passed, throttle.pausedBy]).toEqual([false, ['source load']]);
    throttle.open('source load');
    await passing;
    await throttle.passable(AbortSignal.abort());
  });
});

describe('keys to be copied again', () => {
  test('a request is done when all of its keys are', () => {
    const queue = new KeyQueue('t');
    queue.add(
      'one',
      Array.from({ length: 600 }, (_, i) => `k${i}`),
    );
    const first = queue.take()!;
    queue.add('two', ['k0']);
    const second = queue.take()!;
    expect([first.keys.length, second.keys.length]).toEqual([500, 101]);
    expect([queue.isPending('k0'), queue.isDelivered()]).toEqual([true, false]);
    queue.deliver(first);
    expect(queue.finish(first)).toEqual([]);
    queue.deliver(second);
    expect([queue.isPending('k0'), queue.isDelivered(), queue.isEmpty()]).toEqual([false, true, false]);
    expect(queue.finish(second)).toEqual(['one', 'two']);
    expect(queue.isEmpty()).toBe(true);
  });

  test('keys of a chunk that failed are asked for again', () => {
    const queue = new KeyQueue('t');
    queue.add('one', ['a']);
    const chunk = queue.take()!;
    expect(queue.take()).toBeUndefined();
    queue.giveBack(chunk);
    expect(queue.take()?.keys).toEqual(['a']);
  });
});

describe('a changed shape', () => {
  const column = (name: string, typeOid = 23, typmod = -1) => ({ name, typeOid, typmod });
  const policy = { mapped: new Set(['id', 'v']), dropped: new Set(['d']), ignoresUnmapped: false };
  test.each([
    ['none', [column('id'), column('v')], [column('v'), column('id')]],
    ['none', [column('id'), column('v')], [column('id'), column('v'), column('d')]],
    ['none', [column('id'), column('v'), column('x')], [column('id'), column('v')]],
    ['none', [column('id'), column('v'), column('d')], [column('id'), column('v'), column('d', 25)]],
    ['rewritten', [column('id'), column('v')], [column('id'), column('v', 20)]],
    ['rewritten', [column('id'), column('v', 1700, 5)], [column('id'), column('v', 1700, 9)]],
    ['rewritten', [column('id')], [column('id'), column('v')]],
    ['uncovered', [column('id'), column('v')], [column('id'), column('w')]],
    ['uncovered', [column('id'), column('v')], [column('id'), column('v'), column('new')]],
  ] as const)('is %s', (kind, was, now) => {
    expect(compareShapes(was, now, policy).kind).toBe(kind);
  });

  test('a column dropped and added again under its name and type is another one', () => {
    const shape = (number?: number) => [{ ...column('v'), ...(number !== undefined && { number }) }];
    expect(compareShapes(shape(2), shape(3), policy).kind).toBe('rewritten');
    expect(compareShapes(shape(2), shape(2), policy).kind).toBe('none');
    // A relation message does not tell the number.
    expect(compareShapes(shape(2), shape(), policy).kind).toBe('none');
  });
});

describe('spooled rows', () => {
  test('come back in order from memory and file, and leave nothing', () => {
    const directory = mkdtempSync(join(tmpdir(), 'crossfade-spool-'));
    const spool = new RowSpool(join(directory, 'rows'), 10);
    for (const text of ['first', 'four', 'a longer one', 'x']) spool.add(Buffer.from(text), 2);
    expect([...spool].map(({ bytes }) => bytes.toString())).toEqual(['first', 'four', 'a longer one', 'x']);
    expect([spool.rows, spool.memoryBytes, spool.bytes]).toEqual([8, 9, 22]);
    spool.close();
    expect(readdirSync(directory)).toEqual([]);
  });

  test('are nobody else’s: two readers may spool into one directory, and one that begins clears it', () => {
    const directory = mkdtempSync(join(tmpdir(), 'crossfade-spool-'));
    const [zombie, successor] = [new RowSpool(join(directory, 'chunk'), 0), new RowSpool(join(directory, 'chunk'), 0)];
    zombie.add(Buffer.from('old'), 1);
    clearSpool(directory);
    successor.add(Buffer.from('new'), 1);
    zombie.add(Buffer.from('older'), 1);
    zombie.close();
    expect([...successor].map(({ bytes }) => bytes.toString())).toEqual(['new']);
    successor.close();
  });

  test('changes kept for a whole-table chunk come back as they came', () => {
    const directory = mkdtempSync(join(tmpdir(), 'crossfade-spool-'));
    const kept = new KeptChanges(join(directory, 'changes'));
    const message = Buffer.alloc(100_000, 7);
    for (let i = 0; i < 150; i++) kept.add(i, i % 10 === 0 ? undefined : message.subarray(0, i * 600));
    expect([...kept].map(({ xid, message: m }) => [xid, m?.length])).toEqual(
      Array.from({ length: 150 }, (_, i) => [i, i % 10 === 0 ? undefined : i * 600]),
    );
    kept.close();
    expect(readdirSync(directory)).toEqual([]);
  });
});

test('a window restricted to some keys forgets the others', () => {
  const window = new Window();
  window.onFull('a');
  window.onPartial('b', new Map([['v', '1']]));
  window.onPartial('c', new Map([['v', '1']]));
  window.restrictTo(new Set(['c']));
  window.onFull('d');
  window.onPartial('e', new Map());
  expect([[...window.full], [...window.partial.keys()], window.isRestricted]).toEqual([[], ['c'], true]);
});

describe('the SQL of a chunk', () => {
  const relation = { schema: 'public', name: 'odd "name"' };
  const plain = { name: 'a', type: 'integer' };
  const foreign = { name: 'w', type: 'public.citext', operatorSchema: 'public' };
  const query = { relation, wholeTree: false, lock: [relation], columns: ['a', 'w'], key: [plain, foreign], range: {}, shapeOf: [1] };

  test('compares keys as rows where the operators are the built-in ones', () => {
    expect(rangeCondition([plain, { name: 'b', type: 'text' }], { after: ['1', "o'c"], upTo: ['2', 'x'] })).toBe(
      ` WHERE ("a", "b") > ('1'::integer, 'o''c'::text) AND ("a", "b") <= ('2'::integer, 'x'::text)`,
    );
    expect(rangeCondition([plain], { after: ['1'], from: '0', to: '9' })).toBe(
      ` WHERE "a" > '1'::integer AND "a" >= '0'::integer AND "a" <= '9'::integer`,
    );
    expect(rangeCondition([plain], {})).toBe('');
  });

  test('names the operators of types that live elsewhere', () => {
    expect(rangeCondition([plain, foreign], { after: ['1', 'x'] })).toBe(
      ` WHERE "a" >= '1'::integer AND ("a" > '1'::integer OR ("a" = '1'::integer AND "w" OPERATOR("public".>) 'x'::public.citext))`,
    );
    expect(copySql({ ...query, keys: [['1', 'x']] })).toContain(`t."w" OPERATOR("public".=) k.c1`);
    expect(missingSql({ ...query, keys: [['1', 'x']] })).toContain('NOT EXISTS (SELECT FROM ONLY "public"."odd ""name""" t WHERE');
  });

  test('asks for the row that ends a chunk', () => {
    expect(boundarySql(relation, [plain], { after: ['5'] }, 100)).toBe(
      `SELECT "a" FROM ONLY "public"."odd ""name""" WHERE "a" > '5'::integer ORDER BY "a" LIMIT 1 OFFSET 99`,
    );
  });
});
