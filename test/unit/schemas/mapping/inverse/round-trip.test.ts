/** Up, then down: what the mapping claims to be undone is undone, whatever the values. */
import { beforeAll, describe, expect, test } from 'vitest';
import { compileMapping } from '#schemas/mapping/compile-mapping.ts';
import { invertMapping, type TableInverse } from '#schemas/mapping/inverse/invert-table.ts';
import { randomRoundTrips, roundTrip } from '#schemas/mapping/inverse/round-trip.ts';
import type { Catalog } from '#schemas/table.ts';
import { catalogOf, fileOf } from '#test/support/compile.ts';
import { seedFromEnvironment } from '#test/support/random.ts';

const seed = seedFromEnvironment();
let source: Catalog;
let target: Catalog;

beforeAll(async () => {
  source =
    await catalogOf(`CREATE TABLE a (id integer PRIMARY KEY, small smallint NOT NULL, price numeric(10,2) NOT NULL, free numeric, ok boolean NOT NULL,
    code char(3), local timestamp, label text NOT NULL, maybe text, tenant integer NOT NULL, gone text, big bigint NOT NULL); ALTER TABLE a REPLICA IDENTITY FULL`);
  target =
    await catalogOf(`CREATE TABLE a (id bigint PRIMARY KEY, small integer, price numeric(14,4), free numeric, ok text, code text, local timestamptz,
    label text, maybe text, cents bigint, number numeric(20,0))`);
});

function inverseOf(tables: string): TableInverse {
  const { mapping, findings } = compileMapping(fileOf(tables), source, target);
  expect(findings.filter(({ severity }) => severity === 'error')).toEqual([]);
  return invertMapping(mapping!.tables, source)[0]!;
}

const TABLES = `  - from: public.a
    where: { tenant: 7 }
    drop: [tenant, gone]
    columns: { small: { to: small, cast: integer } }
    set:
      ok: { from: ok, steps: [{ map: { values: { true: yes, false: no } } }] }
      code: { from: code, steps: [{ map: { values: { A: alpha, B: beta } } }] }
      local: { from: local, steps: [{ zone: { from: Europe/Berlin } }] }
      label: { from: label, steps: [{ default: none }] }
      cents: { from: price, steps: [{ decimal: { multiply: 100, scale: 0 } }] }
      number: { from: big, steps: [{ cast: 'numeric(20,0)' }] }
      maybe: { from: maybe, steps: [{ default: none }] }
`;

test('every column is kept or lost, and those kept come back as they went: 5,000 random rows', () => {
  const inverse = inverseOf(TABLES);
  expect(inverse.kept.map(({ column }) => column)).toEqual([
    'id', 'small', 'price', 'free', 'ok', 'code', 'local', 'label', 'tenant', 'big',
  ]); // prettier-ignore
  expect(inverse.lost).toEqual([
    { column: 'maybe', why: '"maybe": a null comes back as the default' },
    { column: 'gone', why: 'it goes to no column of the target' },
  ]);
  const { rows, faults } = randomRoundTrips(inverse, source, { seed, rows: 5000 });
  expect({ seed, faults }).toEqual({ seed, faults: [] });
  expect(rows).toBeGreaterThan(1000);
});

test('a claim that does not hold is found', () => {
  const inverse = inverseOf(TABLES);
  const wrong: TableInverse = { ...inverse, down: (rows) => new Map([...inverse.down(rows), ['label', 'x']]) };
  const row = new Map([
    ['id', '1'],
    ['tenant', '7'],
    ['ok', 't'],
    ['label', 'y'],
    ['price', '1.50'],
  ]);
  expect(roundTrip(wrong, row)).toEqual([{ column: 'label', given: 'y', back: 'x' }]);
  expect(randomRoundTrips(wrong, source, { seed, rows: 200 }).faults).toMatchObject([{ column: 'label', back: 'x' }]);
});

describe('what cannot be undone is lost, with the reason', () => {
  test.for([
    ['{ from: label, steps: [trim] }', 'trim cannot be undone'],
    ['{ from: label, steps: [{ map: { values: { a: x, b: x } } }] }', 'map sends several values to "x"'],
    ['{ from: label, steps: [{ map: { values: { a: x }, else: keep } }] }', 'map takes values that are not listed'],
    ['{ from: label, steps: [{ map: { values: { a: null } } }] }', 'map makes "a" null'],
    ['{ from: label, steps: [{ default: x }, trim] }', 'trim cannot be undone'],
    ['{ from: label, steps: [{ map: { values: { a: x } } }, { hash: sha256 }] }', 'hash cannot be undone behind another step'],
    ['{ from: [label, maybe], steps: [concat] }', 'it is made of several columns'],
  ] as const)('%s', ([set, why]) => {
    const inverse = inverseOf(
      `  - { from: public.a, drop: [tenant, gone, big, ok, code, local, maybe, price], columns: { small: { cast: integer } }, set: { label: ${set} } }\n`,
    );
    expect(inverse.lost.find(({ column }) => column === 'label')).toEqual({ column: 'label', why: `"label": ${why}` });
  });

  test.for([
    ['cents: { from: price, steps: [{ decimal: { multiply: 100, scale: 0, round: half-up } }] }', 'price', '"cents": decimal rounds'],
    [
      'number: { from: free, steps: [{ decimal: { multiply: 100, scale: 0 } }] }',
      'free',
      '"number": the digits behind the point are not kept',
    ],
    [
      'local: { from: local, steps: [{ zone: { from: Europe/Berlin, ambiguous: later, skipped: later } }] }',
      'local',
      '"local": local times that the clocks of Europe/Berlin leave out come back as others',
    ],
  ] as const)('%s', ([set, column, why]) => {
    const dropped = ['tenant', 'gone', 'big', 'ok', 'code', 'local', 'maybe', 'price', 'free'].join(', ');
    const inverse = inverseOf(`  - { from: public.a, drop: [${dropped}], columns: { small: { cast: integer } }, set: { ${set} } }\n`);
    expect(inverse.lost.find((one) => one.column === column)).toEqual({ column, why });
  });
});

test('of several targets a column comes back where one keeps it for every row, or each for its own', () => {
  const [whole] = compileMapping(fileOf(TABLES), source, target).mapping!.tables;
  const without = (name: string): typeof whole => ({ ...whole!, columns: whole!.columns.filter((one) => one.source.name !== name) });
  const to = (name: string, table: typeof whole, values: readonly string[]): NonNullable<typeof whole> => ({
    ...table!,
    to: { schema: 'public', name },
    filter: { conditions: [{ column: 'tenant', op: 'in', values }] },
  });
  const { filter: _filter, ...unfiltered } = whole!;
  const lostOf = (...tables: readonly NonNullable<typeof whole>[]): string[] =>
    invertMapping(tables, source)[0]!.lost.map(({ column }) => column);
  expect(lostOf(to('b', whole, ['7']), to('c', without('id'), ['8']))).toEqual(['id', 'maybe', 'gone']);
  expect(lostOf(unfiltered, to('c', without('id'), ['8']))).toEqual(['maybe', 'tenant', 'gone']);
  const both = invertMapping([to('b', whole, ['7']), to('c', whole, ['8'])], source)[0]!;
  expect(both.lost.map(({ column }) => column)).toEqual(['maybe', 'gone']);
  expect(randomRoundTrips(both, source, { seed, rows: 1000 })).toMatchObject({ faults: [] });
});
