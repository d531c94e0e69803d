import { afterEach, describe, expect, it } from 'vitest';
import type { ReadBatch } from '#connectors/change-log/change-log.ts';
import { installTestHooks } from '#schemas/test-hooks.ts';
import { arriving } from '#services/sink/arriving.ts';

function batchOf(...records: readonly string[]): ReadBatch {
  const parts = records.flatMap((one) => {
    const prefix = Buffer.alloc(4);
    prefix.writeUInt32BE(one.length);
    return [prefix, Buffer.from(one)];
  });
  return { baseOffset: 7, count: records.length, bytes: Buffer.concat(parts) };
}

describe('what of the log reaches the sink', () => {
  afterEach(() => installTestHooks({}));

  it('is the batch itself without a hook', () => {
    const batch = batchOf('B', 'I row', 'C');
    expect(arriving(batch)).toBe(batch);
  });

  it('keeps the place of what is lost, and alters a copy', () => {
    installTestHooks({ astray: (_, one) => (one.includes('lost') ? undefined : one.includes('bent') ? Buffer.from('I ben?') : one) });
    const batch = batchOf('I lost', 'I bent', 'C');
    expect(arriving(batch)).toEqual(batchOf('Y lost', 'I ben?', 'C'));
    expect(batch).toEqual(batchOf('I lost', 'I bent', 'C'));
  });
});
