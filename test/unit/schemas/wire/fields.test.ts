import { expect, test } from 'vitest';
import { decodeTuple } from '#schemas/pgoutput/message.ts';
import { decodeCopyRows } from '#schemas/value/copy-text.ts';
import { copyLineOfFields, CopyLineReader, fieldsOfTuple, makeRowFields, tupleOfFields } from '#schemas/wire/fields.ts';
import { awkwardText } from '#test/prove/types/random-values.ts';
import { seeded, seedFromEnvironment } from '#test/support/random.ts';
import { rowOf, textsOf, type TextValue } from '#test/support/wire-rows.ts';

test('tuples and COPY lines become fields and back, for any text', () => {
  const seed = seedFromEnvironment();
  const random = seeded(seed);
  const text = awkwardText();
  for (let i = 0; i < 500; i++) {
    const columns = random.between(0, 9);
    const values: TextValue[] = Array.from({ length: columns }, () => (random.chance(0.2) ? null : text(random)));
    const line = copyLineOfFields(rowOf(values));
    // A line of no columns is empty, which is one empty text to whoever does not know better.
    if (columns > 0) expect(decodeCopyRows(line, columns), `seed ${seed}`).toEqual([values]);
    const reader = new CopyLineReader(columns);
    expect(reader.read(Buffer.concat([Buffer.from('before\n'), line, line]), 7), `seed ${seed}`).toBe(7 + line.length);
    expect(textsOf(reader.row, columns), `seed ${seed}`).toEqual(values);

    const tupleValues = values.map((value) => (random.chance(0.2) ? undefined : value));
    const tuple = tupleOfFields(rowOf(tupleValues));
    expect(decodeTuple(tuple, 0), `seed ${seed}`).toEqual(tupleValues);
    const into = makeRowFields(columns);
    expect(fieldsOfTuple(Buffer.concat([Buffer.from('xxx'), tuple]), 3, into)).toBe(3 + tuple.length);
    expect(textsOf(into, columns), `seed ${seed}`).toEqual(tupleValues);
  }
});

test('a row with an absent field is no COPY line', () => {
  expect(() => copyLineOfFields(rowOf(['a', undefined]))).toThrow('a row of COPY is whole');
});
