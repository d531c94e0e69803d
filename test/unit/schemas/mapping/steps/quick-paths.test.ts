/** What is done the quick way gives what the other one gives. */
import { expect, test } from 'vitest';
import { buildStep } from '#schemas/mapping/steps/build-step.ts';
import { decimalText, parseDecimal, scaled, type Rounding } from '#schemas/mapping/steps/decimal.ts';
import { smallScaler } from '#schemas/mapping/steps/small-decimal.ts';
import { StepRefusal, type RawColumn } from '#schemas/mapping/steps/step.ts';
import { parseTimestamp, timestampText } from '#schemas/mapping/steps/timestamp-text.ts';
import { seeded, seedFromEnvironment, type Random } from '#test/support/random.ts';

const MODES: readonly (Rounding | undefined)[] = [undefined, 'half-up', 'half-down', 'half-even', 'up', 'down', 'ceiling', 'floor'];

function digits(random: Random, most: number): string {
  return Array.from({ length: random.between(1, most) }, () => random.between(0, 9)).join('');
}

function numberText(random: Random): string {
  const sign = random.chance(0.4) ? '-' : '';
  // Halves and zeros come often: it is there that modes differ.
  const fraction = random.chance(0.5) ? '' : `.${random.chance(0.5) ? '5' : digits(random, 6)}`;
  return `${sign}${random.chance(0.1) ? '0' : digits(random, 16)}${fraction}`;
}

test('small decimals are those of any size', () => {
  const seed = seedFromEnvironment();
  const random = seeded(seed);
  let quick = 0;
  for (let i = 0; i < 20_000; i++) {
    const by = parseDecimal(random.chance(0.5) ? '1' : numberText(random))!;
    const over = parseDecimal(random.chance(0.5) ? '100' : numberText(random))!;
    if (over.digits === 0n) continue;
    const scaling = { by, over, scale: random.between(0, 8), mode: MODES[random.between(0, MODES.length - 1)] };
    const text = numberText(random);
    const found = smallScaler(scaling)?.(text);
    if (found === undefined) continue;
    quick++;
    expect(found, `CROSSFADE_SEED=${seed}: ${text}`).toBe(decimalText(scaled(parseDecimal(text)!, scaling)));
  }
  expect(quick).toBeGreaterThan(2_000);
});

test.each(['', '-', '.', '5.', '.5', '+5', '1e3', ' 5', '5-', '1.2.3', 'NaN', '1234567890123456'])(
  '%j is left to the other way',
  (text) => {
    expect(smallScaler({ by: parseDecimal('1')!, over: parseDecimal('1')!, scale: 2, mode: 'half-up' })?.(text)).toBeUndefined();
  },
);

test('timestamps in the usual spelling are read as in any other, and printed as they were', () => {
  const seed = seedFromEnvironment();
  const random = seeded(seed);
  for (let i = 0; i < 20_000; i++) {
    const text = timestampText(
      random.between(-720_000, 3_000_000),
      random.between(0, 86_399) * 1e6 + (random.chance(0.5) ? 0 : random.between(0, 999_999)),
    );
    const zone = random.chance(0.5) || text.endsWith(' BC') ? '' : '+00';
    // The other spelling is known to the pattern only.
    const parsed = parseTimestamp(text + zone);
    expect(parsed, `CROSSFADE_SEED=${seed}: ${text}`).toEqual(parseTimestamp(text.replace(' ', 'T') + zone));
    expect(timestampText(parsed!.days, parsed!.micros)).toBe(text);
  }
});

test.each([
  '2024-02-30 00:00:00',
  '2024-13-01 00:00:00',
  '2024-01-01 24:00:01',
  '2024-01-01 12:60:00',
  '2024-01-01 12:00:00.',
  '2024-01-01 12:00:00.1234567',
  '2024-01-01 1a:00:00',
  '2024-01-01 12:00:00+0',
  '0000-01-01 00:00:00',
])('%j is no timestamp', (text) => expect(parseTimestamp(text)).toBeUndefined());

const column = {
  name: 'j',
  type: 'jsonb',
  baseType: 'jsonb',
  typeName: 'jsonb',
  typtype: 'b',
  builtin: true,
  elementOid: 0,
} as RawColumn['column'];

function jsonText(random: Random, depth: number): string {
  const kind = random.between(0, depth > 0 ? 5 : 3);
  const text = (): string => ['""', '"a"', String.raw`"\u00e9\n"`, '"b"', '"ab"', String.raw`"\\"`, '"0"'][random.between(0, 6)]!;
  if (kind === 0) return text();
  if (kind < 4) return ['null', 'true', '12345678901234567890.10', '-0', '1e3', 'false'][random.between(0, 5)]!;
  const inner = Array.from({ length: random.between(0, 4) }, () => jsonText(random, depth - 1));
  if (kind === 4) return `[${inner.join(', ')}]`;
  const names = new Set(inner.map(text));
  return `{${[...names].map((name, i) => `${name}: ${inner[i]!}`).join(', ')}}`;
}

test('a path into jsonb, which PostgreSQL has checked, finds what it finds in a text that is checked here', () => {
  const seed = seedFromEnvironment();
  const random = seeded(seed);
  const inputs = [column];
  for (const pointer of ['/a', '/b/a', '/ab', '/0', '/1/a', '/a/0/b', '/é\n', String.raw`/\ `.trim(), '']) {
    const known = buildStep({ extract: pointer }, { inputs, raw: { column, orDefault: false } });
    const checked = buildStep({ extract: pointer }, { inputs });
    if (known.takes !== 'one' || checked.takes !== 'one') throw new Error('takes one');
    for (let i = 0; i < 2_000; i++) {
      const text = jsonText(random, 4);
      expect(known.apply(text), `CROSSFADE_SEED=${seed}: ${pointer} of ${text}`).toBe(checked.apply(text));
    }
  }
});

test('what is cut off is no reason to look for ever', () => {
  const known = buildStep({ extract: '/a/0/b' }, { inputs: [column], raw: { column, orDefault: false } });
  if (known.takes !== 'one') throw new Error('takes one');
  const whole = '{"x": [1, {"y": "z"}], "a": [{"b": "c"}]}';
  for (let end = 0; end < whole.length; end++) {
    for (const text of [whole.slice(0, end), `${whole.slice(0, end)}}`, `${whole.slice(0, end)}]`]) {
      try {
        known.apply(text);
      } catch (error) {
        expect(error instanceof SyntaxError || error instanceof StepRefusal).toBe(true);
      }
    }
  }
});
