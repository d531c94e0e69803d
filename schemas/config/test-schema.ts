/**
 * The grammar of `tests:`, in the migration file and in the file of tests beside it. Guarantee: each test says what comes of one source
 * row (rows, none, or an error), every value keeps the text that stands in the file, and each has its place.
 */
import { z } from 'zod';
import { expected, sqlName } from './file-terms.ts';
import { targetOfEntry } from './target-schema.ts';
import type { ExpectedRow, MappingTest, PlacedValue } from './mapping-test.ts';
import type { Path, Place, YamlSource } from './yaml-source.ts';

const value = z.union([z.string(), z.null()], expected('a value, or null'));
const row = z.record(z.string(), value, expected('a block of column: value'));
const tableName = z
  .string(expected('a table as schema.table'))
  .regex(/^[^*]+\.[^*]+$/, { error: 'expected one table as schema.table, without a glob' });

const placedRow = z.strictObject(
  { to: tableName.optional().describe('Target table, where there are several.'), row },
  expected('a block with row: …, and to: where there are several tables'),
);

const EXPECTATION = expected('none, a block of target column: value, or a list of { to, row }');
const expectation = z.union([z.literal('none', EXPECTATION), z.array(placedRow), row], EXPECTATION);

const mappingTest = z
  .strictObject(
    {
      name: z.string(expected('a text')).optional().describe('What the test is about.'),
      from: tableName.describe('Source table.'),
      target: targetOfEntry.describe('Whose mapping is tested; needed where the file has several `targets`.'),
      given: row.describe('The source row; columns that are not named are null.'),
      expect: expectation.optional().describe('What comes of it; columns that are not named are not compared. none: the row is left out.'),
      error: sqlName.optional().describe('The row is refused: a code (CF-4002), or a part of the message.'),
    },
    expected('a block of from, given, and expect or error'),
  )
  .refine((test) => (test.expect === undefined) !== (test.error === undefined), { error: 'expected either expect: or error:' });

export const mappingTests: z.ZodArray<typeof mappingTest> = z.array(mappingTest, expected('a list of tests'));

/** A file that holds nothing else (`migration.tests.yaml`). */
export const testsFileSchema: z.ZodObject<{ tests: typeof mappingTests }, z.core.$strict> = z.strictObject(
  { tests: mappingTests },
  expected('a block with tests: […]'),
);

type ParsedTest = z.output<typeof mappingTest>;

/** `path` stands in findings. */
export interface TestsIn {
  readonly source: YamlSource;
  readonly path: string;
  readonly wrong: (message: string, at: Path) => void;
}

export function buildTests(parsed: readonly ParsedTest[], { source, path, wrong }: TestsIn): MappingTest[] {
  const values = (block: Readonly<Record<string, string | null>>, at: Path): ReadonlyMap<string, PlacedValue> =>
    new Map(
      Object.entries(block).map(([name, text]) => {
        const place = [...at, name];
        if (source.isSecret(place)) wrong('a test holds its values itself, not by reference', place);
        return [name, { text, ...source.keyPlace(place) }];
      }),
    );
  return parsed.map((test, i) => {
    const at: Path = ['tests', i];
    return {
      name: test.name ?? `test ${i + 1}`,
      from: test.from,
      ...(test.target !== undefined && { target: test.target }),
      given: values(test.given, [...at, 'given']),
      ...(test.error === undefined
        ? { expect: buildRows(test.expect!, [...at, 'expect'], values, source) }
        : { error: { text: test.error, ...source.valuePlace([...at, 'error']) } }),
      path,
      ...source.valuePlace([...at, 'from']),
    };
  });
}

// oxlint-disable-next-line max-params -- as the other builders of the file
function buildRows(
  parsed: NonNullable<ParsedTest['expect']>,
  at: Path,
  values: (block: Readonly<Record<string, string | null>>, at: Path) => ReadonlyMap<string, PlacedValue>,
  source: YamlSource,
): ExpectedRow[] {
  if (parsed === 'none') return [];
  const place = (where: Path): Place => source.valuePlace(where);
  if (!Array.isArray(parsed)) return [{ columns: values(parsed, at), ...source.keyPlace(at) }];
  return parsed.map(({ to, row: columns }, i) => ({
    ...(to !== undefined && { to }),
    columns: values(columns, [...at, i, 'row']),
    ...place([...at, i]),
  }));
}

/** Under `tests` a number or a boolean is the text that stands there: 7.50 is not 7.5. */
export function keepsTextInTests(path: Path): boolean {
  if (path[0] !== 'tests' || path.length < 4) return false;
  const isTarget = typeof path[3] === 'number' && path[4] === 'to';
  return path[2] === 'given' || (path[2] === 'expect' && !isTarget);
}
