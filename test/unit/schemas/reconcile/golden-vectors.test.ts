/** The golden vectors, by the TypeScript implementation. (By SQL: test/scenario/verify/canonical-digest.test.ts.) */
import { expect, test } from 'vitest';
import { RowDigester } from '#schemas/reconcile/row-digester.ts';
import { goldenVectors } from '#test/support/golden-vectors.ts';
import { digestInTypeScript } from '#test/support/row-digests.ts';

const { secrets, vectors } = goldenVectors();

test.for(vectors)('$about', (vector) => {
  const digester = new RowDigester(secrets);
  const { keyHash, a, b } = vector;
  expect(digestInTypeScript(digester, vector.row, vector.key)).toEqual({ keyHash, a, b });
  digester.begin();
  for (const value of vector.row) digester.text(value);
  if (vector.text !== undefined) expect(digester.rowText()).toBe(vector.text);
});

test('values as bytes give what values as texts give', () => {
  const [texts, bytes] = [new RowDigester(secrets), new RowDigester(secrets)];
  for (const { row } of vectors) {
    texts.begin();
    bytes.begin();
    for (const value of row) {
      texts.text(value);
      const octets = Buffer.from(`??${value ?? ''}??`);
      if (value === null) bytes.null();
      else bytes.value(octets, 2, octets.length - 2);
    }
    expect(bytes.row()).toEqual(texts.row());
  }
});

test('different rows have different digests', () => {
  const rows = new Set(vectors.map(({ row }) => JSON.stringify(row)));
  expect(new Set(vectors.map(({ a, b }) => `${a} ${b}`)).size).toBe(rows.size);
});
