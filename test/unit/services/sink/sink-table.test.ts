import { describe, expect, test } from 'vitest';
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import type { Lane } from '#services/sink/lane.ts';
import { rememberAll, SinkTable } from '#services/sink/sink-table.ts';

function tableIn(state: SinkTable['state'], awaitsChunk = false): SinkTable {
  const lane = { drop: () => undefined } as unknown as Lane;
  const known = { state, error: undefined, heldKey: undefined, rowsEstimated: undefined, rowsCopied: 7, changesApplied: 3 };
  return new SinkTable({} as TableMapping, lane, known, { skipBelow: 0, awaitsChunk });
}

describe('a table of the sink', () => {
  test('stays held when the reader says again, after a restart, that it follows', () => {
    const table = tableIn('held');
    expect(table.announced('following')).toBe(false);
    expect(table.state).toBe('held');
  });

  test('leaves the hold when a re-copy of all of it begins, unless a row of it was refused', () => {
    const table = tableIn('held');
    expect(table.announced('copying')).toBe(true);
    expect(table.state).toBe('copying');
    table.rejected('5', 'refused');
    expect(table.announced('copying')).toBe(false);
    expect(table.state).toBe('held');
  });

  test('is as it was before a transaction that turned out to be void', () => {
    const table = tableIn('following');
    const undo = rememberAll([table]);
    table.rejected('5', 'refused');
    table.rowsCopied = 100;
    undo();
    expect(table).toMatchObject({ state: 'following', error: undefined, heldKey: undefined, rowsCopied: 7 });
  });

  test('that refers to itself waits for its chunk, after a restart too', () => {
    expect(tableIn('copying', true).state).toBe('waiting');
    const table = tableIn('waiting', true);
    table.announced('copying');
    expect(table.state).toBe('waiting');
    table.announced('following');
    expect(table.state).toBe('following');
  });
});
