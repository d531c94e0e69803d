/** Casts of a step beside PostgreSQL's own: what passes is a value there too, in the same spelling, and nothing was rounded on the way. */
import { expect, test } from 'vitest';
import { compileMapping } from '#schemas/mapping/compile-mapping.ts';
import { ask, takenBy } from '#test/support/ask-postgres.ts';
import { catalogOf, fileOf, told } from '#test/support/compile.ts';
import { seeded, seedFromEnvironment } from '#test/support/random.ts';

const NUMBERS = ['0', '-0', '0.00', '1', '100', '-100', '100.00', '12300', '1.23e4', '99900', '99949', '99950', '1e5', '150', '49', '50'];
const ODD_NUMBERS = ['0.005', '.00012', '1e-5', '123e-7', '99999', '1e2147', 'NaN', ' 7e2 ', '', 'x', '-0.00099'];

test.for(['numeric(3,-2)', 'numeric(1,-4)', 'numeric(5)', 'numeric(5,2)', 'numeric(2,5)', 'numeric(1000,-1000)', 'numeric'])(
  'a cast to %s takes what PostgreSQL keeps whole',
  async (to) => {
    const values = [...NUMBERS, ...ODD_NUMBERS];
    const kept = `CASE WHEN pg_input_is_valid(v1, '${to}') THEN CASE WHEN v1::numeric = v1::${to} THEN v1::${to} END END`;
    const expected = (await ask(kept, values)).map((value) => value ?? undefined);
    expect(values.map(takenBy({ cast: { to, onError: 'fail' } }))).toEqual(expected);
  },
);

test.for(['numeric(0)', 'numeric(1001,2)', 'numeric(3,1001)', 'numeric(3,-1001)'])('%s is no type', (to) => {
  expect(() => takenBy({ cast: { to, onError: 'fail' } })).toThrow('cannot cast to');
});

const UUIDS = [
  'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
  'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11',
  '{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}',
  'a0eebc999c0b4ef8bb6d6bb9bd380a11',
  'a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11',
  '{a0eebc99-9c0b4ef8-bb6d6bb9-bd380a11}',
  '{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
  'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}',
  '{{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}}',
  ' a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
  'a0eebc99--9c0b-4ef8-bb6d-6bb9bd380a11',
  'a0e-ebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
  '-a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
  'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11-',
  'g0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
  'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1',
  '{}',
  '',
];

test('a cast to uuid takes what PostgreSQL takes, in its spelling', async () => {
  const expected = (await ask(`CASE WHEN pg_input_is_valid(v1, 'uuid') THEN v1::uuid END`, UUIDS)).map((value) => value ?? undefined);
  expect(UUIDS.map(takenBy({ cast: { to: 'uuid', onError: 'fail' } }))).toEqual(expected);
  expect(expected.filter((value) => value !== undefined)).toEqual(Array.from({ length: 6 }, () => UUIDS[0]));
});

const LIMITS = {
  date: ['5874897-12-31', '5874898-01-01', '9999999-12-31', '4714-11-24 BC', '4714-11-23 BC', '9999-01-01 BC', 'infinity'],
  timestamp: ['294276-12-31 23:59:59.999999', '294277-01-01 00:00:00', '294276-12-31 24:00:00', '4714-11-24 00:00:00 BC', '4714-11-23 23:59:59 BC'],
  timestamptz: [
    '294276-12-31 23:59:59.999999+00', '294276-12-31 23:59:59.999999-00:01', '294277-01-01 00:30:00+01', '4714-11-24 00:00:00+00 BC',
    '4714-11-24 00:30:00+01 BC', '2024-01-01 00:00:00+15:59:59', '2024-01-01 00:00:00+16', '2024-01-01 00:00:00-99', '2024-01-01 00:00:00+02:60',
  ],
  jsonb: ['1e131071', '1e131072', '{"a":[1e-16383,"1e999999"]}', '{"a":1e-16384}', '0e-16384', '1E400000', '"\\"1e400000"', `0.${'1'.repeat(16_383)}`, `0.${'1'.repeat(16_384)}`],
} as const; // prettier-ignore

test.for(Object.entries(LIMITS) as [keyof typeof LIMITS, readonly string[]][])(
  'a cast to %s ends where PostgreSQL does',
  async ([to, values]) => {
    const name = { date: 'date', timestamp: 'timestamp without time zone', timestamptz: 'timestamp with time zone', jsonb: 'jsonb' }[to];
    const expected = await ask(`pg_input_is_valid(v1, '${to}')`, [...values]);
    expect(new Set(expected).size).toBe(2);
    expect(values.map(takenBy({ cast: { to: name, onError: 'fail' } })).map((taken) => String(taken !== undefined))).toEqual(expected);
  },
);

test('what is endless is multiplied and divided as numeric is', async () => {
  const values = ['Infinity', '-Infinity', 'NaN'];
  for (const [by, over] of [
    ['2', '-4'],
    ['-2', '-4'],
    ['-1.5', '3'],
    ['0', '-4'],
    ['1', '1'],
  ] as const) {
    const made = takenBy({ decimal: { multiply: by, divide: over, scale: 2 } });
    expect(values.map(made)).toEqual(await ask(`v1::numeric * ${by} / ${over}`, values));
  }
});

const FLOATS = [
  '0',
  '-0',
  '-0.0',
  '0e9',
  '1e-05',
  '0.0001',
  '0.00001',
  '1e14',
  '1e15',
  '1e16',
  '123456',
  '999999.5',
  '1000000',
  '1e23',
  '-1e23',
];
const EDGES = [
  '5e-324',
  '2.4703282292062327e-324',
  '2.4703282292062328e-324',
  '1.7976931348623157e308',
  '1.7976931348623158e308',
  '1.7976931348623159e308',
  '1e-400',
  '1e400',
  '1e-45',
  '7e-46',
  '7.1e-46',
  '3.4028235e38',
  '3.40282356e38',
  '3.4028235677973366e38',
  '3.40282356779733661637539395458142568447e38',
  '3.40282356779733661637539395458142568448e38',
  '7.006492321624085354618e-46',
  // Around the middle of two reals, too near for a double to tell.
  '1.00000005960464477539062',
  '1.000000059604644775390625',
  '1.00000005960464477539063',
  '1.00000017881393432617187499',
  '1.000000178813934326171875',
  '1.00000017881393432617187501',
  '9007199254740993',
  '9007199254740993.00000000000001',
];
const WORDS = ['NaN', 'nan', 'Infinity', '-Infinity', '+Infinity', 'inf', '-INF', 'infinity', '', 'x', '1,5', ' 2.50 ', '.5', '5.', '+7'];

/** Numbers of every size, shortly and fully written; halves of what a type can tell apart; powers of two, whose neighbours lie unevenly. */
function floats(seed: number): string[] {
  const random = seeded(seed);
  const bits = new DataView(new ArrayBuffer(8));
  const made: string[] = [];
  for (let i = 0; i < 20_000; i++) {
    bits.setUint32(0, random.between(0, 0xffffffff));
    bits.setUint32(4, random.between(0, 0xffffffff));
    const [double, real] = [bits.getFloat64(0), bits.getFloat32(0)];
    made.push(String(double), String(real), `${random.between(1, 999_999)}e${random.between(-60, 60)}`);
  }
  for (let power = -1074; power < 1024; power++) made.push(String(2 ** power), (2 ** power).toPrecision(21));
  for (let digits = 1; digits < 1000; digits++) for (let tens = 10; tens < 25; tens++) made.push(`${digits}e${tens}`);
  for (let i = 0; i < 5000; i++) {
    const odd = BigInt(random.between(2 ** 23, 2 ** 24 - 1)) * 2n + 1n;
    const shift = random.between(0, 60);
    made.push(
      String(odd << BigInt(shift)),
      String((odd << BigInt(shift)) + 1n),
      String((odd << BigInt(shift)) - 1n),
      String(Number(odd) / 2 ** shift),
    );
  }
  return made;
}

test.for(['double precision', 'real'])('a cast to %s gives the nearest number in the spelling of PostgreSQL', async (to) => {
  const seed = seedFromEnvironment();
  process.stdout.write(`floats: CROSSFADE_SEED=${seed}\n`);
  const values = [...FLOATS, ...EDGES, ...WORDS, ...floats(seed)];
  const expected = await ask(`CASE WHEN pg_input_is_valid(v1, '${to}') THEN v1::${to} END`, values);
  const taken = takenBy({ cast: { to, onError: 'fail' } });
  const unlike = values.flatMap((value, i) => (taken(value) === (expected[i] ?? undefined) ? [] : [[value, taken(value), expected[i]]]));
  expect(unlike).toEqual([]);
});

test("the server's cast of a text to a time refuses words that mean another time whenever they are read, and nothing else", async () => {
  const source = await catalogOf(
    'CREATE TABLE a (id int PRIMARY KEY, d text, t varchar(40), z char(30), o time, m text[], r text, k timestamp)',
  );
  const target = await catalogOf(
    'CREATE TABLE a (id int PRIMARY KEY, d date, t timestamp(3), z timestamptz, o timetz, m date[], r tstzrange, k date)',
  );
  const types = { d: 'date', t: 'timestamp(3)', z: 'timestamptz', o: 'timetz', m: '"date[]"', r: 'tstzrange', k: 'date' };
  const columns = Object.entries(types).map(([name, type]) => `${name}: { cast: ${type} }`);
  const { mapping, findings } = compileMapping(fileOf(`  - { from: public.a, columns: { ${columns.join(', ')} } }\n`), source, target);
  expect(told(findings)).toEqual([]);
  const casts = new Map(mapping!.tables[0]!.columns.map(({ target: name, cast }) => [name, cast]));
  // A cast of one time to another is as it was: no such word is in its text.
  for (const name of ['o', 'k']) expect(casts.get(name)!.sql).not.toContain('CASE');
  const cast = (name: string, value: string): Promise<(string | null)[]> =>
    ask(
      casts
        .get(name)!
        .sql.split('$$')
        .join(`(v1::${casts.get(name)!.fromType})`),
      [value],
    );
  const words = [['d', 'today'], ['t', ' NOW '], ['t', 'Tomorrow 12:00'], ['z', 'yesterday'], ['m', '{2024-01-01,now}'], ['r', '[2024-01-01,now)']] as const; // prettier-ignore
  for (const [name, value] of words) await expect(cast(name, value)).rejects.toThrow(/a word for the time of reading/);
  const kept = [['d', 'epoch', '1970-01-01'], ['d', 'Jan 2 2024', '2024-01-02'], ['t', '2024-01-01 10:00:00.1239', '2024-01-01 10:00:00.124'], ['z', 'infinity', 'infinity'], ['m', '{2024-01-01,NULL}', '{2024-01-01,NULL}']] as const; // prettier-ignore
  for (const [name, value, made] of kept) expect(await cast(name, value)).toEqual([made]);
});
