import { expect, test } from 'vitest';
import { renderMarkdown } from '#schemas/document/render-document.ts';
import { layoutNow } from '#schemas/runbook/layout-now.ts';
import type { Runbook } from '#schemas/runbook/runbook.ts';

const RUNBOOK = {
  file: 'conf/shop.yaml',
  isDefaultFile: false,
  wave: 'acme',
  target: undefined,
  plan: { name: 'shop_acme' },
  state: 'observing',
  serves: 'target',
  approvals: [],
  acts: [],
} as unknown as Runbook;

function lines(runbook: Runbook): string[] {
  return renderMarkdown(layoutNow(runbook))
    .split('\n')
    .filter((line) => line.startsWith('    '))
    .map((line) => line.trim());
}

test('what is typed first names file and wave, and goes back only where there is a way back', () => {
  const at = '-f conf/shop.yaml --wave acme';
  expect(lines(RUNBOOK)).toEqual([`crossfade status ${at}`, `crossfade rollback ${at}`, `crossfade rollback ${at} --forced`]);
  const required = { subject: 'rollback', count: 1, of: ['Ada'], isItem: false };
  const signed = { ...RUNBOOK, approvals: [{ required, given: [], from: ['Ada'], missing: 1, outdated: [] }] };
  expect(lines(signed)).toContain(`crossfade approve ${at} rollback --as "Ada"`);
  expect(renderMarkdown(layoutNow(signed))).toContain('(1 to sign first)');
  // One database is not lost on one side.
  expect(lines({ ...RUNBOOK, swapsNames: true })).toEqual([`crossfade status ${at}`, `crossfade rollback ${at}`]);
  for (const ended of [{ noWayBack: 'the file says so' }, { state: 'signed-off' as const }])
    expect(lines({ ...RUNBOOK, ...ended })).toEqual([`crossfade status ${at}`]);
});
