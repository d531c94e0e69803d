import { expect, test } from 'vitest';
import { compileMapping } from '#schemas/mapping/compile-mapping.ts';
import type { Value } from '#schemas/mapping/steps/step.ts';
import { rowFunction, type Field } from '#schemas/mapping/steps/table-steps.ts';
import { ask, step } from '#test/support/ask-postgres.ts';
import { catalogOf, fileOf, told } from '#test/support/compile.ts';

const [FROM, UNTIL] = [Temporal.Instant.from('2020-01-01T00:00Z'), Temporal.Instant.from('2028-01-01T00:00Z')];

function transitions(zone: string): Temporal.Instant[] {
  const found: Temporal.Instant[] = [];
  let at = FROM.toZonedDateTimeISO(zone).getTimeZoneTransition('next');
  while (at !== null && Temporal.Instant.compare(at.toInstant(), UNTIL) < 0) {
    found.push(at.toInstant());
    at = at.getTimeZoneTransition('next');
  }
  return found;
}

/** Around each transition: seconds and hours before and behind it, and the middle of what is shown twice or never. */
const AROUND_SECONDS = [-86_400, -7200, -3601, -3600, -1800, -1, 0, 1, 900, 1800, 3599, 3600, 5400, 7200, 10_800, 86_400];

function localText(instant: Temporal.Instant, offsetNanoseconds: number): string {
  const local = Temporal.Instant.fromEpochNanoseconds(instant.epochNanoseconds + BigInt(offsetNanoseconds));
  return local.toString({ timeZone: 'UTC', fractionalSecondDigits: 6 }).slice(0, 26).replace('T', ' ');
}

test('local times of every zone around each transition of 2020 to 2027 become the moments that AT TIME ZONE makes of them, and back', async () => {
  const zones = Intl.supportedValuesOf('timeZone');
  const [names, locals, moments]: [string[], string[], string[]] = [[], [], []];
  for (const zone of zones) {
    for (const instant of [FROM, ...transitions(zone)]) {
      const { offsetNanoseconds } = instant.toZonedDateTimeISO(zone);
      for (const seconds of AROUND_SECONDS) {
        const near = instant.add({ seconds, microseconds: seconds % 7 });
        names.push(zone);
        locals.push(localText(near, offsetNanoseconds));
        moments.push(`${localText(near, 0)}+00`);
      }
    }
  }
  expect(names.length).toBeGreaterThan(30_000);
  const there = await ask('v1::timestamp AT TIME ZONE v2', locals, names);
  const back = await ask('v1::timestamptz AT TIME ZONE v2', moments, names);
  const steps = new Map(
    zones.map((zone) => [
      zone,
      {
        there: step({ zone: { from: zone, ambiguous: 'later', skipped: 'later' } }),
        back: step({ zone: { to: zone, ambiguous: 'fail', skipped: 'fail' } }),
      },
    ]),
  );
  // Node and the server may carry different editions of the zones: such a zone proves nothing, as each is right by its own.
  const others = new Set(names.filter((zone, i) => clockOf(zone, moments[i]!) !== back[i]));
  if (others.size > 0) process.stdout.write(`zones of another edition in the server: ${[...others].join(', ')}\n`);
  expect(others.size).toBeLessThan(5);
  const unlike = new Set<string>();
  names.forEach((zone, i) => {
    if (others.has(zone)) return;
    if (steps.get(zone)!.there(locals[i]!) !== there[i] || steps.get(zone)!.back(moments[i]!) !== back[i]) unlike.add(zone);
  });
  expect([...unlike]).toEqual([]);
});

/** What the zone's clock shows, by Temporal alone. */
function clockOf(zone: string, moment: string): string {
  const local = Temporal.Instant.from(moment.replace(' ', 'T')).toZonedDateTimeISO(zone).toPlainDateTime();
  return local
    .toString()
    .replace('T', ' ')
    .replace(/(:\d\d)(\.\d*?)0+$/, '$1$2');
}

test('a local time that is shown twice or never follows the policy', async () => {
  const of = (ambiguous: 'earlier' | 'later' | 'fail', skipped: typeof ambiguous): ((text: string) => Value) =>
    step({ zone: { from: 'America/New_York', ambiguous, skipped } });
  expect(of('earlier', 'fail')('2024-11-03 01:30:00')).toBe('2024-11-03 05:30:00+00');
  expect(of('later', 'fail')('2024-11-03 01:30:00')).toBe('2024-11-03 06:30:00+00');
  expect(() => of('fail', 'later')('2024-11-03 01:30:00')).toThrow('the local time was shown twice by the clocks of America/New_York');
  expect(of('fail', 'earlier')('2024-03-10 02:30:00')).toBe('2024-03-10 06:30:00+00');
  expect(of('fail', 'later')('2024-03-10 02:30:00')).toBe('2024-03-10 07:30:00+00');
  expect(() => of('later', 'fail')('2024-03-10 02:30:00')).toThrow('the local time was left out by the clocks of America/New_York');
});

test('far and near, before Christ and endless timestamps keep every microsecond through a zone', async () => {
  const locals = [
    '0001-01-01 00:00:00 BC',
    '4713-01-01 00:00:00 BC',
    '0044-03-15 12:00:00.000001 BC',
    '1883-11-18 12:03:57',
    '1883-11-18 12:03:58.5',
    '1969-12-31 23:59:59.999999',
    '9999-12-31 23:59:59.999999',
    '12024-02-29 00:00:00.1',
    '100000-02-29 01:02:03.456789',
    'infinity',
    '-infinity',
  ];
  const made = step({ zone: { from: 'America/New_York', ambiguous: 'later', skipped: 'later' } });
  const expected = await ask(`v1::timestamp AT TIME ZONE 'America/New_York'`, locals);
  const read = await ask(
    'v1::timestamptz',
    locals.map((text) => made(text)!),
  );
  expect(read).toEqual(expected);
  const back = step({ zone: { to: 'Asia/Kathmandu', ambiguous: 'fail', skipped: 'fail' } });
  expect(expected.map((text) => back(text!))).toEqual(await ask(`v1::timestamptz AT TIME ZONE 'Asia/Kathmandu'`, expected.map(String)));
});

const NUMBERS = [
  '0',
  '1',
  '2.5',
  '3.5',
  '-2.5',
  '-3.5',
  '0.125',
  '-0.125',
  '2.675',
  '1e3',
  '1.5e-7',
  '99999999999999999999.995',
  '-0.004999',
  '7',
];

function randomNumbers(seed: number): string[] {
  let state = seed;
  const next = (below: number): number => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return Math.floor(state / 65_536) % below;
  };
  return Array.from({ length: 2000 }, () => {
    const digits = Array.from({ length: 1 + next(25) }, () => next(10)).join('');
    const fraction = Array.from({ length: next(8) }, (_, i) => (i > 2 ? 5 : next(10))).join('');
    return `${next(2) === 0 ? '-' : ''}${digits}${fraction === '' ? '' : `.${fraction}`}`;
  });
}

const ROUNDINGS = {
  'half-up': 'round(v1::numeric, 2)',
  down: 'trunc(v1::numeric, 2)',
  ceiling: 'ceil(v1::numeric * 100) * 0.01',
  floor: 'floor(v1::numeric * 100) * 0.01',
  up: 'sign(v1::numeric) * ceil(abs(v1::numeric) * 100) * 0.01',
  'half-down': 'sign(v1::numeric) * ceil(abs(v1::numeric) * 100 - 0.5) * 0.01',
  'half-even': `CASE WHEN abs(v1::numeric * 100) % 1 = 0.5 THEN 2 * round(v1::numeric * 50) * 0.01 ELSE round(v1::numeric, 2) END`,
} as const;

test.for(Object.entries(ROUNDINGS) as [keyof typeof ROUNDINGS, string][])('rounds %s as PostgreSQL numeric does', async ([mode, sql]) => {
  const values = [...NUMBERS, ...randomNumbers(20_261_121)];
  const made = step({ decimal: { scale: 2, round: mode } });
  expect(values.map(made)).toEqual(await ask(`((${sql})::numeric(60,2))`, values));
});

test('multiplies and divides exactly, rounded once', async () => {
  const values = randomNumbers(7);
  const cents = step({ decimal: { divide: '100', scale: 6 } });
  const padded = await ask(
    '(v1::numeric * 0.01)::numeric(60,6)',
    values.filter((text) => (text.split('.')[1] ?? '').length <= 4),
  );
  expect(values.filter((text) => (text.split('.')[1] ?? '').length <= 4).map(cents)).toEqual(padded);
  const taxed = step({ decimal: { multiply: '1.19', divide: '7', scale: 3, round: 'half-up' } });
  expect(values.map(taxed)).toEqual(await ask('round(v1::numeric * 1.19 * 1e40 / 7 * 1e-40, 3)', values));
});

const TEXTS = ['', 'a', 'é', '日本語', '😀', 'a\u0301', ' x ', "it's", 'line\nline', '\\', 'x'.repeat(5000)];

test.for(['sha256', 'sha512', 'md5'] as const)('%s is the same in SQL', async (algorithm) => {
  const sql = algorithm === 'md5' ? 'md5(v1)' : `encode(${algorithm}(convert_to(v1, 'UTF8')), 'hex')`;
  expect(TEXTS.map(step({ hash: { algorithm, encoding: 'hex' } }))).toEqual(await ask(sql, TEXTS));
  if (algorithm !== 'sha256') return;
  expect(TEXTS.map(step({ hash: { algorithm, encoding: 'base64' } }))).toEqual(
    await ask(`encode(sha256(convert_to(v1, 'UTF8')), 'base64')`, TEXTS),
  );
});

const BOXES = '{(2,2),(1,1);(4,4),(3,3)}';
const BOXES_IN_TWO = '{{(2,2),(1,1);(4,4),(3,3)};{(6,6),(5,5);(8,8),(7,7)}}';

test('an array of boxes is parted by semicolons, whether in a domain, of a domain, or within another', async () => {
  const source =
    'CREATE DOMAIN area AS box; CREATE DOMAIN areas AS box[]; CREATE TABLE a (id int PRIMARY KEY, b box[], c areas, d area[], e text[], f box[]); ALTER TABLE a REPLICA IDENTITY FULL';
  const file = fileOf(`  - from: public.a
    drop: [b, c, d, e, f]
    set:
      p: { from: b, steps: [{ element: 2 }] }
      q: { from: c, steps: [{ element: -1 }] }
      r: { from: d, steps: [{ element: 1 }] }
      s: { from: [f, c], steps: [coalesce, { element: 2 }, { element: 1 }] }
      t: { from: e, steps: [{ element: 1 }] }
`);
  const target = 'CREATE TABLE a (id int PRIMARY KEY, p text, q text, r text, s text, t text)';
  const { mapping, findings } = compileMapping(file, await catalogOf(source), await catalogOf(target));
  expect(told(findings)).toEqual([]);
  const { steps, compute } = rowFunction(mapping!.tables[0]!.steps!);
  const row: Readonly<Record<string, string>> = { b: BOXES, c: BOXES, d: BOXES, e: '{a;b,c}', f: BOXES_IN_TWO };
  const into: Field[] = [];
  const refusal = compute(
    steps.inputs.map(({ name }) => row[name]),
    into,
  );
  expect(refusal).toBeUndefined();
  const [first, second, third] = await ask('(v1::box[])[v2::int]', [BOXES, BOXES, '{(6,6),(5,5);(8,8),(7,7)}'], ['1', '2', '1']);
  expect(into).toEqual([second, second, first, third, 'a;b']);
});

test('an array element, a part of a text, a JSON value and a normal form are the same in SQL', async () => {
  const arrays = ['{}', '{a}', '{a,b}', '{"a,b",NULL}', '{NULL,"NULL"}', '{"q\\"\\\\",x}', '{"",""}', '{ü," "}'];
  expect(arrays.map(step({ element: 1 }))).toEqual(await ask('(v1::text[])[1]', arrays));
  expect(arrays.map(step({ element: 2 }))).toEqual(await ask('(v1::text[])[2]', arrays));
  const parts = ['a/b/c', '/b', 'a', '', '//', 'a/'];
  expect(parts.map((text) => step({ split: { by: '/', take: 2 } })(text) ?? '')).toEqual(await ask(`split_part(v1, '/', 2)`, parts));
  expect(parts.map((text) => step({ split: { by: '/', take: -1 } })(text) ?? '')).toEqual(await ask(`split_part(v1, '/', -1)`, parts));
  const documents = [
    '{"a":{"b":1.50}}',
    '{"a":{"b":"x\\u00e9\\n"}}',
    '{"a":{"b":null}}',
    '{"a":{}}',
    '{"a":[1]}',
    '{"a":{"b":[1, {"c":2}]}}',
    '{"a":{"b":12345678901234567890123}}',
    '{"a":{"b":1,"b":2}}',
    '[]',
    '"a"',
    '{"x":"}{","a":{"b":true}}',
  ];
  expect(documents.map(step({ extract: '/a/b' }))).toEqual(await ask(`v1::json #>> '{a,b}'`, documents));
  for (const form of ['NFC', 'NFD', 'NFKC', 'NFKD'] as const)
    expect(TEXTS.map(step({ normalise: form }))).toEqual(await ask(`normalize(v1, ${form})`, TEXTS));
});
