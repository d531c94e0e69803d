/** Whoever has plain `npm test` leave something out has to see that all the project must show is still shown. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { LONG_TESTS } from '#test/long-tests.ts';
import { MUST_SHOW, type Shown } from '#test/must-show.ts';
import { PROOFS } from '#test/prove/proofs/all.ts';
import { SMALL_FORMS } from '#test/prove/small-forms.ts';

const root = join(import.meta.dirname, '..', '..', '..');
const leftOut = new Set(LONG_TESTS.filter(({ isCoveredBy }) => isCoveredBy !== undefined).map(({ file }) => file));
const groupFile = (group: string): string => `test/scenario/proofs/${group}.test.ts`;

/** Why plain `npm test` would not show it; undefined when it does. */
function missing(shown: Shown): string | undefined {
  const group = 'proof' in shown ? Object.keys(SMALL_FORMS).find((name) => SMALL_FORMS[name]!.includes(shown.proof)) : undefined;
  const file = 'file' in shown ? shown.file : group === undefined ? undefined : groupFile(group);
  if (file === undefined) return `${JSON.stringify(shown)}: no such proof`;
  if (!existsSync(join(root, file))) return `${file}: no such file`;
  if (leftOut.has(file)) return `${JSON.stringify(shown)}: ${file} is left out`;
  if ('test' in shown && !readFileSync(join(root, file), 'utf8').includes(shown.test))
    return `${file}: no test ${JSON.stringify(shown.test)}`;
  return undefined;
}

test('plain npm test holds a small form of each line that must be shown', () => {
  expect(MUST_SHOW.flatMap(({ by }) => by.map(missing)).filter((why) => why !== undefined)).toEqual([]);
  expect(MUST_SHOW.filter(({ by, command }) => (by.length === 0) === (command === undefined)).map(({ line }) => line)).toEqual([]);
});

test('the look finds what is left out, is not there, or has another name', () => {
  const [some] = leftOut;
  for (const shown of [
    { proof: 'kill-100-is-red-without-duplicate-rule' },
    { proof: 'no-such' },
    { file: some!, test: '' },
    { file: 'test/scenario/init.test.ts', test: 'no such test' },
  ])
    expect(missing(shown), JSON.stringify(shown)).toBeDefined();
});

test('each proof is in one group of small forms, and each group has its file', () => {
  expect(Object.values(SMALL_FORMS).flat().toSorted()).toEqual(PROOFS.map(({ name }) => name).toSorted());
  for (const group of Object.keys(SMALL_FORMS))
    expect(readFileSync(join(root, groupFile(group)), 'utf8'), group).toContain(`testSmallForms('${group}')`);
});

test('each test that plain npm test leaves out, or begins first, is there, once', () => {
  const named = LONG_TESTS.map(({ file }) => file);
  expect(named.filter((file) => !existsSync(join(root, file)))).toEqual([]);
  expect(named).toEqual([...new Set(named)]);
});
