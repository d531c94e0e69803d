import { expect, test } from 'vitest';
import { readTestsFile } from '#schemas/config/read-tests-file.ts';
import { compileMapping } from '#schemas/mapping/compile-mapping.ts';
import { runMappingTests } from '#schemas/mapping/run-tests.ts';
import { appendTests } from '#services/cli/test/write-tests.ts';
import { catalogOf, fileOf } from '#test/support/compile.ts';
import { seeded, seedFromEnvironment } from '#test/support/random.ts';

const COLUMNS = ['id', 'Größe', 'a b', 'null', 'true', '5', 'select', 'q"q', '- x', '#', '~', '<<', 'to', 'row', '${X}'];
const PIECES = ['a', 'Z', '0', ' ', '\n', '\r', '\t', '"', "'", '\\', '${HOME}', '$${', ':', '#', '- ', '{', '}', '[', ']', ',', '&', '*', '!', '|', '>', '%', '@', '`', 'null', '~', '1.50', '0x1F', '.inf', '\u0001', '\u007f', '\u0085', '\u00a0', '\u2028', '\ufeff', 'é', '漢', '😀']; // prettier-ignore
const seed = seedFromEnvironment();

test('what is written reads back as the same rows, whatever the values and the names of columns', async () => {
  const random = seeded(seed);
  const ddl = `CREATE TABLE a (${COLUMNS.map((name) => `"${name.replaceAll('"', '""')}" text`).join(', ')}, PRIMARY KEY (id))`;
  const source = await catalogOf(ddl);
  const { mapping } = compileMapping(fileOf('  - from: public.a\n'), source, source);
  const value = (): string | null =>
    random.chance(0.1) ? null : Array.from({ length: random.between(0, 6) }, () => PIECES[random.between(0, PIECES.length - 1)]!).join('');
  const rows = Array.from({ length: 300 }, (_, i) => new Map(COLUMNS.map((name) => [name, name === 'id' ? `row ${i}` : value()])));
  const recorded = rows.map((row) => ({ tables: mapping!.tables, row }));
  const first = appendTests(undefined, [], recorded.slice(0, 100));
  const known = readTestsFile({ path: 't', text: first.text });
  expect({ seed, findings: known.findings }).toEqual({ seed, findings: [] });
  const { text, added } = appendTests(first.text, known.tests, recorded);
  expect({ seed, added }).toEqual({ seed, added: 200 });
  const { tests, findings } = readTestsFile({ path: 't', text });
  expect({ seed, findings }).toEqual({ seed, findings: [] });
  expect(tests.map((one) => new Map([...one.given].map(([name, { text: given }]) => [name, given])))).toEqual(
    rows.map((row) => new Map([...row].filter(([, given]) => given !== null))),
  );
  expect(runMappingTests(tests, mapping!, source).flatMap(({ faults }) => faults)).toEqual([]);
});

test('all rows that one target gets of a row are expected', async () => {
  const source = await catalogOf('CREATE TABLE a (id int PRIMARY KEY, tags text[])');
  const target = await catalogOf('CREATE TABLE tag (id int, n int, tag text, PRIMARY KEY (id, n))');
  const { mapping } = compileMapping(
    fileOf('  - { from: public.a, to: public.tag, explode: { column: tags, element: tag, ordinal: n } }\n'),
    source,
    target,
  );
  const rows = ['{}', '{x}', '{x,y}'].map((tags, i) => new Map([['id', String(i)], ['tags', tags]])); // prettier-ignore
  const { text } = appendTests(
    undefined,
    [],
    rows.map((row) => ({ tables: mapping!.tables, row })),
  );
  const results = runMappingTests(readTestsFile({ path: 't', text }).tests, mapping!, source);
  expect(results.map(({ test: one, faults }) => [one.expect?.length ?? 0, faults])).toEqual([[0, []], [1, []], [2, []]]); // prettier-ignore
});
