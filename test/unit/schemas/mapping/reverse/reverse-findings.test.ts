/** What `check` says of the way back: each loss once, as a warning unless the file accepts it, with what to do. */
import { expect, test } from 'vitest';
import { buildCutover, cutoverSettings } from '#schemas/config/cutover-schema.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { compileMapping } from '#schemas/mapping/compile-mapping.ts';
import { deriveReverse } from '#schemas/mapping/reverse/derive-reverse.ts';
import { reverseFindings } from '#schemas/mapping/reverse/reverse-findings.ts';
import { catalogOf, fileOf } from '#test/support/compile.ts';

const SOURCE = `CREATE TABLE whole (id int PRIMARY KEY); CREATE TABLE part (id int PRIMARY KEY, gone text, label text);
  CREATE TABLE lost (id int PRIMARY KEY, gone text NOT NULL); CREATE TABLE never (id int PRIMARY KEY)`;
const TARGET = `CREATE TABLE whole (id int PRIMARY KEY); CREATE TABLE part (id int PRIMARY KEY, label text);
  CREATE TABLE lost (id int PRIMARY KEY); CREATE TABLE never (id int PRIMARY KEY)`;
const TABLES = `  - { from: public.whole }
  - { from: public.part, drop: [gone], set: { label: { from: label, steps: [trim] } } }
  - { from: public.lost, drop: [gone] }
  - { from: public.never, reverse: none }
`;

async function told(change: (file: MigrationFile) => MigrationFile = (file) => file): Promise<string[]> {
  const [source, target] = [await catalogOf(SOURCE), await catalogOf(TARGET)];
  const file = change(fileOf(TABLES));
  const { mapping } = compileMapping(file, source, target);
  return reverseFindings(file, deriveReverse(file, mapping!, { source, target })).map(
    ({ severity, code, message, line }) => `${severity} ${code} ${line ?? '-'}: ${message}`,
  );
}

const accepting = (...accept: string[]) => (file: MigrationFile): MigrationFile => ({ ...file, cutover: buildCutover(cutoverSettings.parse({ accept })) }); // prettier-ignore

const PART = 'public.part goes back in part; lost: gone (it goes to no column of the target), label ("label": trim cannot be undone)';
const LOST =
  'public.lost is one-way: nothing that is written to public.lost on the target goes back ("gone" of the source is NOT NULL without a default, and is lost: it goes to no column of the target)';

test('each table of which something is lost is a warning, and what the file asks for is told', async () => {
  const lines = (await told()).map((line) => line.replace(/ \d+:/, ':'));
  expect(lines).toEqual([
    `warning CF-8325: ${LOST}`,
    'info CF-8325: nothing that is written to public.never on the target goes back to public.never, as the file says',
    `warning CF-8325: ${PART}`,
  ]);
});

test('what the file accepts is no warning any more', async () => {
  const lines = await told(accepting('public.*'));
  expect(lines.filter((line) => line.startsWith('warning'))).toEqual([]);
  expect(lines.filter((line) => line.endsWith('; accepted in the file'))).toHaveLength(2);
  expect((await told(accepting('public.part'))).filter((line) => line.startsWith('warning'))).toHaveLength(1);
});

test('of a file without a way back it is said once, and of one without a cut-over not at all', async () => {
  expect(await told((file) => ({ ...file, reverse: 'off' }))).toEqual([
    'info CF-8325 -: nothing that is written on the target after the cut-over goes back to the source: the file says `reverse: off`',
  ]);
  expect(await told((file) => ({ ...file, targetName: 'near' }))).toEqual([]);
});

test('a loss says how it is mended or accepted', async () => {
  const [source, target] = [await catalogOf(SOURCE), await catalogOf(TARGET)];
  const file = fileOf(TABLES);
  const { mapping } = compileMapping(file, source, target);
  const [lost] = reverseFindings(file, deriveReverse(file, mapping!, { source, target }));
  expect(lost!.remedy).toBe(
    'Change the mapping, or say how it goes back (reverse: { set: … }). Or accept it before the cut-over: cutover: { accept: [public.lost] }.',
  );
});
