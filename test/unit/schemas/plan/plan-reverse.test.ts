import { describe, expect, test } from 'vitest';
import type { MigrationFile, SetEntry } from '#schemas/config/migration-file.ts';
import { compileMapping } from '#schemas/mapping/compile-mapping.ts';
import { comparePlans } from '#schemas/plan/compare-plans.ts';
import { layoutPlan } from '#schemas/plan/layout-plan.ts';
import { planHash } from '#schemas/plan/plan-hash.ts';
import { renderHtml, renderMarkdown } from '#schemas/document/render-document.ts';
import type { Catalog } from '#schemas/table.ts';
import { catalogOf } from '#test/support/compile.ts';
import { HEAD, planFile, planOf, TO_POSTGRES } from '#test/support/plan.ts';

describe('the way back that a file declares', () => {
  const catalogs = async (): Promise<readonly [Catalog, Catalog]> => [
    await catalogOf('CREATE TABLE a (id int PRIMARY KEY, name text); CREATE TABLE b (id int PRIMARY KEY, n int)'),
    await catalogOf('CREATE TABLE a (id int PRIMARY KEY, first text, last text); CREATE TABLE b (id int PRIMARY KEY, n int)'),
  ];
  const NAMES = 'set: { first: { from: name, steps: [{ split: { by: " ", take: 1 } }] }, last: { value: x } }';
  const made = (steps: string, more = ''): string =>
    `  - from: public.a\n    ${NAMES}\n    drop: [name]\n    reverse: { set: { name: { from: [first, last], steps: [${steps}] }${more} } }\n  - from: public.b\n`;
  const DERIVED = `  - { from: public.a, drop: [name], ${NAMES} }\n  - from: public.b\n`;
  const SAID = made("{ concat: ' ' }");

  test('stands in the document, in both forms, without what came out of the environment', async () => {
    const [source, target] = await catalogs();
    const plan = planOf(SAID.replace('- from: public.b', '- { from: public.b, reverse: none }'), source, target);
    expect(plan.tables.map(({ reverse }) => reverse)).toEqual([
      [
        {
          column: 'name',
          type: 'text',
          from: [
            { column: 'first', type: 'text' },
            { column: 'last', type: 'text' },
          ],
          conversion: ['joined with " " between; nulls: left out'],
        },
      ],
      'none',
    ]);
    const blocks = layoutPlan(plan);
    const line = '| `name` | `text` | `first, last` | `text` | joined with " " between; nulls: left out |';
    expect(renderMarkdown(blocks)).toContain(line);
    expect(renderMarkdown(blocks)).toContain('Way back: none. What is written on the target does not go back');
    expect(renderHtml('plan', blocks)).toMatch(
      /Way back, as far as the file declares it[\s\S]*<code>first, last<\/code>[\s\S]*Way back: none/,
    );
    const hidden = JSON.stringify(planOf(made("{ concat: '${ORIGIN}' }"), source, target));
    expect(hidden).toContain('step concat, with a setting from the environment');
    expect(hidden).not.toContain('hunter');
    expect(renderMarkdown(layoutPlan(planOf(DERIVED, source, target, 'reverse: off\n')))).toContain('| Way back | none:');
    expect(renderMarkdown(layoutPlan(planOf(DERIVED, source, target)))).not.toContain('Way back');
  });

  test.for([
    ['another expression', made("{ concat: '-' }"), 'its way back is "name" from first (text), last (text) → text: joined with "-"'],
    [
      'one column more',
      made("{ concat: ' ' }", ', id: { from: id }'),
      'its way back is "id" from id (integer) → integer: copied; "name" from',
    ],
    ['none at all', DERIVED, 'its way back is what follows from the mapping, was "name" from'],
    [
      'a table of which nothing goes back',
      SAID.replace('- from: public.b', '- { from: public.b, reverse: none }'),
      'its way back is none, was',
    ],
  ] as const)('is in the hash, and what changed is told: %s', async ([, changed, told]) => {
    const [source, target] = await catalogs();
    const [before, after] = [planOf(SAID, source, target), planOf(changed, source, target)];
    expect(after.hash).not.toBe(before.hash);
    expect(after.mappingHash).toBe(before.mappingHash);
    expect(comparePlans(before, after)).toHaveLength(1);
    expect(comparePlans(before, after)[0]).toContain(told);
  });

  test('is in the hash with the text of a lookup and of a function, and with the switch of the whole file', async () => {
    const [source, target] = await catalogs();
    const lookup = (digest: string): string => {
      const file = planFile(
        `${HEAD}${TO_POSTGRES}tables:\n${made('{ lookup: { file: names.yaml, onMiss: fail } }').replace('[first, last]', 'first')}`,
      );
      const { reverse } = file.tables[0]!;
      const set = reverse?.mode === 'set' ? reverse.set : {};
      const step = { lookup: { ...set['name']!.steps[0]!.step.lookup!, loaded: { digest, values: new Map() } } };
      return hashOf(withReverse(file, { ...set['name']!, steps: [{ ...set['name']!.steps[0]!, step }] }), source, target);
    };
    expect(lookup('a')).toBe(lookup('a'));
    expect(lookup('b')).not.toBe(lookup('a'));
    const called = (digest: string): string => {
      const file = planFile(`${HEAD}${TO_POSTGRES}tables:\n${made('{ call: "./back.ts#join" }')}`);
      return hashOf({ ...file, functions: new Map([['./back.ts#join', { digest, call: () => 'x' }]]) }, source, target);
    };
    expect(called('b')).not.toBe(called('a'));
    const off = planOf(SAID, source, target, 'reverse: off\n');
    expect(off.hash).not.toBe(planOf(SAID, source, target).hash);
    expect(comparePlans(planOf(SAID, source, target), off)).toEqual(['The way back: none, was: as each table says.']);
  });

  test('where there is none, the hash is what it was before ways back were part of it: what people signed stays signed', async () => {
    const [source, target] = await catalogs();
    expect(planOf(DERIVED, source, target).hash).toBe('725273d84ffc8977186ba5ffb7c06973a2fde350ddde3f005fb52ce9478b41e2');
    expect(planOf(DERIVED, source, target, 'reverse: on\n').hash).toBe(planOf(DERIVED, source, target).hash);
  });
});

function withReverse(file: MigrationFile, name: SetEntry): MigrationFile {
  const [first, ...rest] = file.tables;
  return { ...file, tables: [{ ...first!, reverse: { ...first!.reverse!, mode: 'set', set: { name } } }, ...rest] };
}

function hashOf(file: MigrationFile, source: Catalog, target: Catalog): string {
  const { mapping, findings } = compileMapping(file, source, target);
  if (mapping === undefined) throw new Error(findings.map(({ message }) => message).join('\n'));
  return planHash(file, mapping);
}
