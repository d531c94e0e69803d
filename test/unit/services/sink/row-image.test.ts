import { expect, test } from 'vitest';
import { compileMapping } from '#schemas/mapping/compile-mapping.ts';
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { decodeTuple, type Relation } from '#schemas/pgoutput/message.ts';
import { bindRelation, type BoundRelation } from '#services/sink/bind-relation.ts';
import { catalogOf, fileOf } from '#test/support/compile.ts';

const SOURCE = 'CREATE TABLE a (x varchar(9), big text, id int PRIMARY KEY, y int, z text); ALTER TABLE a REPLICA IDENTITY FULL';
const TARGET = 'CREATE TABLE a (id int PRIMARY KEY, xy text, n numeric(5,1), s timestamp(3), k text, big text)';
const TABLES = `  - from: public.a
    set:
      xy: { from: [x, y], steps: [{ concat: "/" }, trim, lower, { normalise: NFC }] }
      n: { from: y, steps: [{ decimal: { divide: 100, scale: 1, round: half-even } }] }
      s: { from: z, steps: [{ nullIf: "" }, { zone: { to: Europe/Berlin } }] }
      k: { from: x, steps: [{ map: { values: { a: b, c: d }, else: keep } }, { split: { by: "-", take: 1 } }, { default: none }] }
`;

async function bound(): Promise<BoundRelation> {
  const { mapping, findings } = compileMapping(fileOf(TABLES), await catalogOf(SOURCE), await catalogOf(TARGET));
  if (mapping === undefined) throw new Error(findings.map(({ message }) => message).join('\n'));
  const table: TableMapping = mapping.tables[0]!;
  const columns = (await catalogOf(SOURCE)).tables[0]!.columns;
  const relation: Relation = {
    oid: 7,
    schema: 'public',
    name: 'a',
    replicaIdentity: 'f',
    columns: columns.map(({ name, typeOid, typmod }) => ({ name, typeOid, typmod, isKey: true })),
  };
  return bindRelation(relation, table);
}

function tupleOf(values: readonly (string | null | undefined)[]): Buffer {
  const parts = [Buffer.from([0, values.length])];
  for (const value of values) {
    if (typeof value !== 'string') parts.push(Buffer.from(value === null ? 'n' : 'u'));
    else {
      const head = Buffer.from('t0000');
      head.writeUInt32BE(Buffer.byteLength(value), 1);
      parts.push(head, Buffer.from(value));
    }
  }
  return Buffer.concat(parts);
}

test('a tuple becomes its mapped row: bytes that pass, values that are computed, and absent as absent', async () => {
  const { image, layout, table } = await bound();
  const rowOf = (values: readonly (string | null | undefined)[]): Record<string, string | null | undefined> => {
    // Not at the head of its buffer: a message stands before it.
    const { buffer, at } = image!.of({ buffer: Buffer.concat([Buffer.from('xyz'), tupleOf(values)]), at: 3 });
    const row = decodeTuple(buffer, at);
    return Object.fromEntries(table.columns.map(({ target }, i) => [target, row[i]]));
  };
  expect(rowOf(['Ü-1', 'long', '17', '250', '2024-07-01 00:00:00+00'])).toEqual({
    id: '17',
    xy: 'ü-1/250',
    n: '2.5',
    s: '2024-07-01 02:00:00',
    k: 'Ü',
    big: 'long',
  });
  expect(rowOf([null, undefined, '17', '250', undefined])).toEqual({
    id: '17',
    xy: '250',
    n: '2.5',
    s: undefined,
    k: 'none',
    big: undefined,
  });
  expect(rowOf(['', '', '17', null, ''])).toEqual({ id: '17', xy: '', n: null, s: null, k: '', big: '' });
  expect([...layout.key].map((i) => table.columns[i]?.target)).toEqual(['id']);
});

test('a row that only has to be found is not computed; one that cannot be mapped says why', async () => {
  const { image, layout } = await bound();
  const odd = { buffer: tupleOf(['a', null, '17', '5', 'no timestamp']), at: 0 };
  const { buffer, at } = image!.keyOf(odd);
  expect([...layout.key].map((i) => decodeTuple(buffer, at)[i])).toEqual(['17']);
  expect(() => image!.of(odd)).toThrow('column "s", step 2 (zone): the value is no timestamp');
});

test('a mapping of ten steps costs some microseconds a row, taking the tuple apart and putting it together included', async () => {
  const { image } = await bound();
  const tuples = [...Array(64).keys()].map((i) => ({
    buffer: tupleOf([` Some-${i} `, 'as it is', String(i), String(i * 7), `2024-0${1 + (i % 9)}-11 12:34:56.789+00`]),
    at: 0,
  }));
  const rows = 50_000;
  let least = Infinity;
  for (let round = 0; round < 4; round++) {
    // This thread's own time: what else the machine does should not count.
    const start = process.threadCpuUsage();
    for (let i = 0; i < rows; i++) image!.of(tuples[i % tuples.length]!);
    const { user, system } = process.threadCpuUsage(start);
    least = Math.min(least, (user + system) / rows);
  }
  process.stdout.write(`ten steps: ${least.toFixed(2)} µs a row (on a quiet machine below 5)\n`);
  // Of a machine that others share, or a slower one, only what a mistake would cost can be asked.
  expect(least).toBeLessThan(15);
});
