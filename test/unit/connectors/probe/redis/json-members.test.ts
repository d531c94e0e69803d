/** A JSON object taken apart without a value being rewritten. */
import { expect, test } from 'vitest';
import { jsonMembers } from '#connectors/probe/redis/json-members.ts';
import { seeded, seedFromEnvironment, type Random } from '#test/support/random.ts';

test('gives each value as it is written: digits, spaces and nesting', () => {
  const text = ` { "a":1.10 ,"b": [1, {"x": "}]," }],"c":"q\\"{","d":{"e":{}} , "\\u0066": 12345678901234567890.10e+5 }`;
  expect([...jsonMembers(text)!]).toEqual([
    ['a', '1.10'],
    ['b', '[1, {"x": "}]," }]'],
    ['c', String.raw`"q\"{"`],
    ['d', '{"e":{}}'],
    ['f', '12345678901234567890.10e+5'],
  ]);
  expect([...jsonMembers('{}')!]).toEqual([]);
});

test('gives nothing for what is no object, or has a name twice', () => {
  for (const text of ['', '[]', '"a"', '{"a":1', '{"a":1,"a":2}', '{"a":1} x', 'null']) expect(jsonMembers(text), text).toBeUndefined();
});

function value(random: Random, depth: number): unknown {
  const kind = random.between(0, depth > 3 ? 3 : 5);
  if (kind === 0) return random.between(-1000, 1000) / 8;
  if (kind === 1) return ['', '"', '\\', '}{][,:', 'é 💥\n', '\\"'][random.between(0, 5)];
  if (kind === 2) return null;
  if (kind === 3) return random.chance(0.5);
  const items = Array.from({ length: random.between(0, 4) }, () => value(random, depth + 1));
  return kind === 4 ? items : Object.fromEntries(items.map((item, i) => [`k${i}"${i}`, item]));
}

test('of any object the parts parse to what the whole does', () => {
  const seed = seedFromEnvironment();
  const random = seeded(seed);
  for (let i = 0; i < 500; i++) {
    const object = { first: value(random, 0), ['se"cond']: value(random, 0), third: value(random, 0) };
    const members = jsonMembers(JSON.stringify(object, undefined, random.between(0, 2)))!;
    expect(Object.fromEntries([...members].map(([name, text]) => [name, JSON.parse(text)])), `seed ${seed}`).toEqual(object);
  }
});
