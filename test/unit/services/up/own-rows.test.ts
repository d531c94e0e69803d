import { describe, expect, test } from 'vitest';
import type { CompiledMapping } from '#schemas/mapping/compiled-mapping.ts';
import { decodeRelation } from '#schemas/pgoutput/message.ts';
import { ownerOf } from '#services/up/own-rows.ts';
import { insert, relation, remove, update } from '#test/support/frames.ts';

const OID = 16_400;
const COLUMNS = ['tenant', 'id', 'note'] as const;

/** Acme's rows of one table; `key`: what the stream tells of an old row. */
function acme(key: readonly string[]): (message: Buffer) => string {
  const table = {
    from: { schema: 'public', name: 't' },
    to: { schema: 'public', name: 't' },
    filter: { conditions: [{ column: 'tenant', op: 'in', values: ['acme'] }] },
  };
  const whose = ownerOf({ name: 'm', hash: '', tables: [table] } as unknown as CompiledMapping, []);
  const described = decodeRelation(relation({ oid: OID, name: 't', columns: COLUMNS.map((name) => ({ name, key: key.includes(name) })) }));
  return (message) => whose(described, message);
}

describe('whose a change is', () => {
  test('is told by the row that it leaves, or else by the one that it found', () => {
    const owner = acme(['tenant', 'id']);
    expect([insert(OID, ['acme', '1', 'x']), insert(OID, ['globex', '1', 'x']), insert(OID, [null, '1', 'x'])].map(owner)).toEqual([
      'ours',
      'others',
      'others',
    ]);
    expect(owner(remove(OID, ['acme', '1', null]))).toBe('ours');
    expect(owner(remove(OID, ['globex', '1', null]))).toBe('others');
    // Without an old row the key is the same.
    expect(owner(update(OID, ['globex', '1', 'y']))).toBe('others');
    expect(owner(update(OID, ['globex', '1', 'y'], { kind: 'K', values: ['acme', '1', null] }))).toBe('ours');
  });

  test('is not known where the old row does not show it', () => {
    const owner = acme(['id']);
    expect(owner(remove(OID, [null, '1', null]))).toBe('unknown');
    expect(owner(update(OID, ['globex', '1', 'y']))).toBe('unknown');
    expect(owner(update(OID, ['acme', '1', 'y']))).toBe('ours');
    expect(owner(remove(OID, ['globex', '1', 'x'], 'O'))).toBe('others');
    expect(owner(update(OID, ['globex', '1', 'y'], { kind: 'O', values: ['acme', '1', 'x'] }))).toBe('ours');
  });
});
