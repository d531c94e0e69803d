/** What excuses a sign-off from a comparison: that the file gives up each table's way back by name, and nothing less. */
import { expect, test } from 'vitest';
import { buildCutover, cutoverSettings } from '#schemas/config/cutover-schema.ts';
import { compileMapping } from '#schemas/mapping/compile-mapping.ts';
import { deriveReverse } from '#schemas/mapping/reverse/derive-reverse.ts';
import { whyAllIsOneWay } from '#services/cli/signoff.ts';
import { catalogOf, fileOf } from '#test/support/compile.ts';

test('a way back that cannot be derived excuses nobody from the comparison, unless each table is accepted', async () => {
  const source = await catalogOf('CREATE TABLE lost (id int PRIMARY KEY, gone text NOT NULL); CREATE TABLE never (id int PRIMARY KEY)');
  const target = await catalogOf('CREATE TABLE lost (id int PRIMARY KEY); CREATE TABLE never (id int PRIMARY KEY)');
  const written = fileOf('  - { from: public.lost, drop: [gone] }\n  - { from: public.never, reverse: none }\n');
  const mapping = compileMapping(written, source, target).mapping!;
  expect(deriveReverse(written, mapping, { source, target }).file).toBeUndefined();
  const why = (accept: readonly string[]): string | undefined =>
    whyAllIsOneWay({ ...written, cutover: buildCutover(cutoverSettings.parse({ accept })) }, { mapping, source, target });
  expect(why([])).toBeUndefined();
  expect(why(['public.never'])).toBeUndefined();
  expect(why(['public.lost'])).toBe('none of its tables goes back');
});
