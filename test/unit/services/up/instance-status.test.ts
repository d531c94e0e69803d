import { expect, test } from 'vitest';
import type { CompiledMapping } from '#schemas/mapping/compiled-mapping.ts';
import { instanceStatus, type Parts } from '#services/up/instance-status.ts';

const NAME = { schema: 'public', name: 'item' };

/** Status of a table that the sink and the reader know in these states. */
function phaseFor(sink: 'copying' | 'following', reader: 'waiting' | 'copying' | 'following'): string {
  const parts: Parts = {
    name: 'm',
    mapping: { tables: [{ from: NAME, to: NAME }] } as unknown as CompiledMapping,
    reader: { status: () => ({ restarts: 0 }) as ReturnType<Parts['reader']['status']> },
    copier: {
      complete: false,
      progress: () => [
        { schema: 'public', table: 'item', state: reader, rowsCopied: 0, rowsEstimated: 0, chunksInFlight: 0, chunksReread: 0 },
      ],
    },
    sink: {
      status: () =>
        ({ tables: [{ from: NAME, to: NAME, state: sink, rowsCopied: 0, changesApplied: 0 }] }) as unknown as ReturnType<
          Parts['sink']['status']
        >,
    },
    drift: () => null,
  };
  return instanceStatus(parts).tables[0]!.phase;
}

test('a table follows once the sink follows it and the reader will not read it again', () => {
  expect(phaseFor('copying', 'following')).toBe('copying');
  expect(phaseFor('following', 'waiting')).toBe('copying');
  expect(phaseFor('following', 'copying')).toBe('copying');
  expect(phaseFor('following', 'following')).toBe('following');
});
