/** What counts as JSON, and what is found in it, beside PostgreSQL's json and jsonb: texts that are JSON, nearly JSON, and not at all. */
import { expect, test } from 'vitest';
import { ask, takenBy } from '#test/support/ask-postgres.ts';
import { seeded, seedFromEnvironment, type Random } from '#test/support/random.ts';

const TEXTS = 4000;
const NAMES = ['a', 'b', 'c', '0', '1', '', String.raw`\u0061`, String.raw`a\/b`, 'é'];
const BLANKS = ['', '', '', ' ', '\n', '\t', '\r', '  '];
const SCALARS = ['true', 'false', 'null', '0', '-0', '1.50', '-12e3', '1E+2', '12345678901234567890123.4500', '0.1e-7'];
const STRINGS = [
  'x',
  '',
  '}{][,:',
  String.raw`\"`,
  String.raw`\\`,
  String.raw`\\u0000`,
  String.raw`\n`,
  String.raw`\u00e9`,
  String.raw`\ud83d\ude00`,
  '😀',
  '\u007f\u2028',
];
/** What jsonb refuses in a text. */
const UNDECODABLE = [String.raw`\u0000`, String.raw`\ud83d`, String.raw`\uDE00`, String.raw`\ud83d\n\ude00`, String.raw`\\\ud83d`];
const NOISE = [
  ...'{}[]",:\\ \t\n\r\v\f0123456789+-.eEtrufalsn\'/*x\u00a0\u2003\ufeff\u0001\u001f',
  'NaN',
  'Infinity',
  '//',
  '/*',
  String.raw`\u`,
];

function pick<T>(random: Random, from: readonly T[]): T {
  return from[random.between(0, from.length - 1)]!;
}

function json(random: Random, depth: number): string {
  const blank = (): string => pick(random, BLANKS);
  const kind = random.between(0, depth > 0 ? 5 : 1);
  const text = (): string => `"${random.chance(0.02) ? pick(random, UNDECODABLE) : pick(random, STRINGS)}"`;
  if (kind === 0) return blank() + pick(random, SCALARS) + blank();
  if (kind === 1) return blank() + text() + blank();
  const items = Array.from({ length: random.between(0, 4) }, () => {
    const value = json(random, depth - 1);
    return kind < 4 ? `${blank()}"${pick(random, NAMES)}"${blank()}:${value}` : value;
  });
  const inner = items.length === 0 ? blank() : items.join(',');
  return blank() + (kind < 4 ? `{${inner}}` : `[${inner}]`) + blank();
}

function mutated(random: Random, text: string): string {
  let made = text;
  for (let changes = random.between(1, 3); changes > 0; changes--) {
    const at = random.between(0, made.length);
    const kept = made.slice(at + random.between(0, 2));
    made = made.slice(0, at) + (random.chance(0.7) ? pick(random, NOISE) : '') + kept;
  }
  // The wire has no half characters.
  return made.toWellFormed();
}

function textsOf(seed: number): string[] {
  const random = seeded(seed);
  return Array.from({ length: TEXTS }, () => {
    const text = json(random, 3);
    return random.chance(0.5) ? text : mutated(random, text);
  });
}

function printedSeed(): number {
  const seed = seedFromEnvironment();
  process.stdout.write(`near-JSON: CROSSFADE_SEED=${seed}\n`);
  return seed;
}

test('extract and cast take what PostgreSQL takes as json and jsonb, and nothing else', async () => {
  const texts = ['', ' ', '{', '[1,]', '{"a":1,}', '01', '1.', '.5', '+1', 'nulll', '"\t"', '\ufeff1', '1 2', ...textsOf(printedSeed())];
  const isJson = (await ask(`pg_input_is_valid(v1, 'json')`, texts)).map((answer) => answer === 'true');
  const isJsonb = (await ask(`pg_input_is_valid(v1, 'jsonb')`, texts)).map((answer) => answer === 'true');
  expect(isJson.filter(Boolean).length).toBeGreaterThan(TEXTS / 3);
  expect(isJson.filter((one) => !one).length).toBeGreaterThan(TEXTS / 5);
  expect(isJson.filter((one, i) => one && !isJsonb[i]).length).toBeGreaterThan(10);
  const unlike = (takes: (text: string) => boolean, expected: readonly boolean[]): string[] =>
    texts.filter((text, i) => takes(text) !== expected[i]);
  const [extracted, asJson, asJsonb] = [
    takenBy({ extract: '/no/such/name' }),
    takenBy({ cast: { to: 'json', onError: 'fail' } }),
    takenBy({ cast: { to: 'jsonb', onError: 'fail' } }),
  ];
  expect(unlike((text) => extracted(text) === null, isJson)).toEqual([]);
  expect(unlike((text) => asJson(text) === text, isJson)).toEqual([]);
  expect(unlike((text) => asJsonb(text) === text, isJsonb)).toEqual([]);
});

test.for(['', '/a', '/a/b', '/0', '/1/a', '/a~1b', '/'])(
  'extract: %s finds what jsonb has there, numbers with all their digits',
  async (pointer) => {
    const texts = [
      '{"a":{"b":1},"a":{}}',
      '{"a":{"b":1,"b":null}}',
      '{"a":[],"a":{"b":"last"}}',
      '[{"a":1},{"a":1.500}]',
      ...textsOf(printedSeed()),
    ];
    const isJsonb = await ask(`pg_input_is_valid(v1, 'jsonb')`, texts);
    const valid = texts.filter((_, i) => isJsonb[i] === 'true');
    const path = pointer
      .split('/')
      .slice(1)
      .map((part) => part.replace('~1', '/'));
    const found = valid.map(takenBy({ extract: pointer }));
    expect(found).not.toContain(undefined);
    // NULL goes there as a text that no value is.
    const at = `v1::jsonb #> ARRAY[${path.map((part) => `'${part}'`).join(',')}]::text[]`;
    const same = `CASE WHEN (${at}) IS NULL OR jsonb_typeof(${at}) = 'null' THEN v2 = '<null>' ELSE CASE jsonb_typeof(${at})
    WHEN 'string' THEN v2 = (${at}) #>> '{}' WHEN 'number' THEN v2::numeric::text = (${at})::text ELSE v2::jsonb = ${at} END END`;
    const answers = await ask(
      same,
      valid,
      found.map((value) => value ?? '<null>'),
    );
    expect(valid.filter((_, i) => answers[i] !== 'true')).toEqual([]);
  },
);

test('a number found keeps its own spelling', () => {
  const spelled = ['12345678901234567890123.4500', '1E+2', '-0', '0.1e-7'];
  expect(spelled.map((number) => takenBy({ extract: '/a/0' })(`{"a": [${number}]}`))).toEqual(spelled);
});
