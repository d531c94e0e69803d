import { expect, test } from 'vitest';
import { readMigrationFile } from '#schemas/config/read-migration-file.ts';

function read(check: string): readonly [string | undefined, unknown] {
  const text = `crossfade: 1\nname: m\nsource: { postgres: "postgres://h/a" }\ntarget: { postgres: "postgres://h/b" }\ntables:\n  - from: public.*\nchecks:\n  - ${check}\n`;
  const { file, findings } = readMigrationFile({ path: 'm.yaml', text, env: {} });
  return [findings[0]?.message, file?.checks?.[0]];
}

const SQL = 'sql: { target: "select sum(n) from {public.a}" }';

test('a number that is expected is the one that is written, or has to stand in quotes', () => {
  expect(read(`{ name: total, ${SQL}, expect: 9007199254740993 }`)[0]).toContain('in quotes');
  expect(read(`{ name: total, ${SQL}, expect: "9007199254740993" }`)[1]).toMatchObject({ expect: '9007199254740993' });
  expect(read(`{ name: total, ${SQL}, expect: -0.5 }`)[1]).toMatchObject({ expect: '-0.5', timeoutSeconds: 600 });
});

test('only a query has a time of its own', () => {
  expect(read(`{ name: total, ${SQL}, expect: 1, timeoutSeconds: 5 }`)[1]).toMatchObject({ timeoutSeconds: 5 });
  expect(read('{ name: total, table: public.a, sum: n, timeoutSeconds: 5 }')[0]).toContain('goes with sql');
});
