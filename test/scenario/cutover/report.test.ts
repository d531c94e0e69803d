/** The report of a migration that ran on a real server. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { ReportDocument } from '#schemas/report/report-document.ts';
import { saveChecks } from '#connectors/target/postgres/reconcile-record.ts';
import { execute } from '#test/support/application.ts';
import { envelopeOf } from '#test/support/command-line.ts';
import { CERTIFICATE, CUT_OVER, leaveFences, movedShop } from '#test/support/moved-shop.ts';

const TIMEOUT_MS = 180_000;

test('the report says what moved, on what evidence, what went wrong, and what is left', { timeout: TIMEOUT_MS }, async () => {
  await using shop = await movedShop('approvals: { signoff: [Ada Lovelace, Grace Hopper] }\n');
  const report = async (...args: readonly string[]): Promise<ReportDocument> =>
    envelopeOf(await shop.run('report', '--json', ...args)).result as ReportDocument;

  // Before any flip.
  const early = await report();
  expect(early).toMatchObject({ state: null, serves: 'source', acts: [], incidents: [], unread: [], audit: { ok: true } });
  expect(early.tables.map((one) => [one.from, one.to, one.rowsCopied, one.atFlip])).toEqual([
    ['public.customers', 'public.customers', 200, null],
    ['public.orders', 'public.orders', 1000, null],
  ]);
  expect(early.remnants.map(({ place, kind, name }) => `${place} ${kind} ${name}`)).toEqual(
    expect.arrayContaining([
      'source slot shop',
      'source publication shop',
      'target schema crossfade',
      expect.stringContaining('here directory'),
    ]),
  );

  expect((await shop.run('verify')).exitCode).toBe(0);
  const verdict = { kind: 'sum', source: '10', target: '10', message: 'equal', lsn: '0/10' } as const;
  await saveChecks(shop.target, 'shop', [{ ...verdict, name: 'takings', verdict: 'equal' }], 0.1);
  await saveChecks(shop.target, 'shop', [{ ...verdict, name: 'takings', verdict: 'differs', target: '12', message: '2 more' }], 0.1);
  await leaveFences(shop);
  await shop.apply(
    ['drill-begun', {}],
    ['backed-out', { drilled: true, ...CERTIFICATE }],
    ['cutover-begun', {}],
    ['backed-out', { reason: 'the locks were not had within 1000 ms: pid 4711 holds them', step: 'fence', code: 'CF-8101' }],
    ...CUT_OVER,
    ['proved', {}],
  );
  expect((await shop.run('signoff', '--as', 'Ada Lovelace', '--confirm', 'shop')).exitCode).toBe(10);
  const flipped = await report('--count');
  expect(flipped).toMatchObject({
    state: 'observing',
    serves: 'target',
    evidence: { verify: { rows: 1200, differences: 0 }, setAside: 0, checks: [{ name: 'takings', verdict: 'differs', times: 2 }] },
  });
  expect(flipped.acts.map(({ kind, epoch, outcome, blockMs }) => [kind, epoch, outcome, blockMs])).toEqual([
    ['cutover-drill', '1', 'drilled', 212],
    ['cutover', '2', 'backed-out', null],
    ['cutover', '3', 'done', 212],
  ]);
  expect(flipped.acts[2]).toMatchObject({
    marker: CERTIFICATE.marker,
    sequences: CERTIFICATE.sequences,
    before: CERTIFICATE.before.summary,
  });
  expect(flipped.tables[1]).toMatchObject({
    atFlip: { source: 1000, target: 1000 },
    now: { source: { rows: 1000, isExact: true }, target: { rows: 1000, isExact: true } },
  });
  expect(flipped.approvals).toMatchObject([{ subject: 'signoff', required: { count: 2 }, given: [{ person: 'Ada Lovelace' }] }]);
  expect(flipped.incidents.map(({ what, isOver }) => `${what}: ${isOver ? 'over' : 'open'}`).toSorted()).toEqual([
    'The check takings differed when it was made last (crossfade verify has the figures): over',
    'The cut-over of epoch 2 was backed out at step fence: the locks were not had within 1000 ms: pid 4711 holds them: over',
  ]);
  expect(flipped.remnants).toContainEqual(
    expect.objectContaining({ place: 'source', kind: 'trigger', name: '"crossfade_shop_row" ON "public"."orders"' }),
  );

  // The same for people, as both kinds of document.
  const markdown = (await shop.run('report')).stdout;
  expect(markdown).toContain('# Migration report: `shop`');
  expect(markdown).toContain('| `public.orders` | `public.orders` | 1,000 |');
  expect(markdown).toMatch(/\| `takings` \| sum \| .* \| `0\/10` \| 10 \| 12 \| \*\*differs\*\*: 2 more \| 2 \|/);
  expect((await shop.run('report', '--format', 'html', '--out', 'report.html')).exitCode).toBe(0);
  const html = readFileSync(join(shop.directory, 'report.html'), 'utf8');
  expect(html).toContain('<h3>Certificate: the cut-over of epoch 3</h3>');
  const kept = process.env['CROSSFADE_KEEP_DOCUMENTS'];
  if (kept !== undefined) writeFileSync(join(kept, 'report.html'), html);

  // A trail that was tampered with, and a source that is gone, are told and end nothing.
  await execute(shop.target, `UPDATE crossfade.audit SET actor = 'Eve' WHERE seq = 2`);
  const path = join(shop.directory, 'migration.yaml');
  writeFileSync(path, readFileSync(path, 'utf8').replace('/old"', '/gone"'));
  const late = await report();
  expect(late.audit).toMatchObject({ ok: false, why: 'record 2 is not what was written' });
  expect(late.incidents.filter(({ isOver }) => !isOver)).toMatchObject([
    { what: 'The audit trail does not hold: record 2 is not what was written' },
  ]);
  expect(late.unread).toHaveLength(2);
  expect(envelopeOf(await shop.run('report', '--json')).findings.map(({ code }) => code)).toEqual(['CF-8006']);
  expect(late.tables[0]?.now.source).toBeNull();
});
