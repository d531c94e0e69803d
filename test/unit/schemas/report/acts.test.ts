/** Acts, counts and incidents as they follow from an audit trail; and the gates of the clean-up. */
import { expect, test } from 'vitest';
import type { AuditRecord } from '#schemas/migration/audit-record.ts';
import { actsOf } from '#schemas/report/acts.ts';
import { buildReport } from '#schemas/report/build-report.ts';
import { runningGate, stateGates } from '#schemas/report/cleanup-gates.ts';
import { layoutReport } from '#schemas/report/layout-report.ts';
import { renderHtml, renderMarkdown } from '#schemas/document/render-document.ts';

type Step = readonly [event: string, to: string | null, details?: Record<string, unknown>];

function trail(...steps: readonly Step[]): AuditRecord[] {
  let state: string | null = 'following';
  return steps.map(([event, to, details = {}], i) => {
    const fromState = to === null ? null : state;
    state = to ?? state;
    return {
      name: 'shop',
      seq: i + 1,
      at: `2026-11-22T08:00:${String(i).padStart(2, '0')}.000000Z`,
      actor: 'Ada',
      event,
      fromState,
      toState: to,
      details,
      prevHash: '',
      hash: 'ab',
    };
  });
}

const COUNTS = { summary: 'equal', tables: [{ from: 'public.b', to: 'public.a', rowsSource: 7, rowsTarget: 6 }] };

test('an act is what all its records say together, and one that has no end is under way', () => {
  const acts = actsOf(
    trail(
      ['approved', null, { subject: 'cutover' }],
      ['cutover-begun', 'cutting-over', { epoch: '1' }],
      ['stepped', 'cutting-over', { step: 'decide', marker: { id: 'm', lsn: '0/1' }, lockWaitMs: 3 }],
      ['noted', null, { reason: 'not of the act' }],
      // A successor that found it decided knows less than the one that died.
      ['decided', 'cutover-decided', { recovered: true }],
      ['finished', 'observing', { recovered: true, timings: { finish: 2, fence: 1, 'of a later version': 3 } }],
      ['rollback-begun', 'rolling-back', { epoch: '2' }],
      ['backed-out', 'observing', { reason: 'drain time-out', step: 'drain', code: 'CF-8305' }],
      ['drill-begun', 'rollback-drill', { epoch: '3' }],
      ['forced-found', 'following', {}],
      ['cutover-begun', 'cutting-over', { epoch: '4', gates: [{ gate: 'lag', isOpen: true, evidence: 'none' }, 'odd'] }],
    ),
  );
  expect(acts.map(({ kind, epoch, outcome }) => `${kind} ${epoch} ${outcome}`)).toEqual([
    'cutover 1 done',
    'rollback 2 backed-out',
    'rollback-drill 3 forced',
    'cutover 4 under way',
  ]);
  expect(acts[0]).toMatchObject({ marker: { id: 'm', lsn: '0/1' }, lockWaitMs: 3, blockMs: null, reason: null });
  expect(acts[0]!.timings.map(({ step }) => step)).toEqual(['fence', 'finish', 'of a later version']);
  expect(acts[1]).toMatchObject({ reason: 'drain time-out', step: 'drain', code: 'CF-8305', marker: null });
  expect(acts[3]!.gates).toEqual([{ gate: 'lag', state: 'open', evidence: 'none' }]);
});

test('a rollback is counted the other way round, names are text in both forms, and what is open is said first', () => {
  const place = { server: 'PostgreSQL 18.4', address: 'postgres://host/db' };
  const records = trail(
    ['rollback-begun', 'rolling-back', { epoch: '2' }],
    ['finished', 'following', { before: COUNTS }],
    ['trigger-fired', null, { trigger: 'errors', evidence: '2 %', rehearsed: true }],
    ['fence-raised', null, { side: 'target', reason: 'it failed over' }],
    ['forced-found', 'following', { lost: true }],
    ['reverse-begun-anew', null, { lsn: '0/9' }],
  );
  const report = buildReport({
    name: 'shop',
    target: undefined,
    writtenAt: '2026-11-22T09:00:00.000Z',
    crossfade: '0',
    source: place,
    targetPlace: place,
    row: undefined,
    plans: [],
    tables: [
      {
        from: 'public.a',
        to: 'public.b',
        phase: 'held',
        error: '<b>|bad|</b>',
        rowsCopied: 1,
        changesApplied: 2,
        conflicts: { 'update/target': 3 },
        now: { source: null, target: null },
      },
    ],
    audit: { records, verdict: { ok: false, records: 3, seq: 2, why: 'record 2 is missing' } },
    verify: undefined,
    comparisons: [],
    checks: [
      {
        name: 'totals',
        kind: 'sum',
        at: '2026-01-01T00:00:00Z',
        lsn: null,
        verdict: 'differs',
        source: '1',
        target: '2',
        message: 'differ',
        times: 1,
      },
    ],
    findings: [
      {
        id: 'x',
        from: 'public.a',
        to: 'public.b',
        key: { id: '1' },
        kind: 'missing',
        columns: [],
        rows: 1,
        state: 'confirmed',
        steps: [{ state: 'confirmed', atMs: 0, lsn: null }],
      },
    ],
    setAside: 2,
    required: [],
    approvals: [],
    remnants: [],
    unread: [],
  });
  expect(report.tables[0]!.atFlip).toEqual({ source: 6, target: 7 });
  expect(report.incidents.map(({ what, isOver }) => [what, isOver])).toEqual([
    ['1 row of public.b missing on the target: confirmed, and not repaired', false],
    ['The check totals differed when it was made last (crossfade verify has the figures)', false],
    ['The trigger errors fired (rehearsed): 2 %', true],
    ['The fence of the target was raised again: it failed over', true],
    ['The target had lost the rollback (found by Ada)', true],
    ['The way back lost its place while the target served, and was begun anew at 0/9', false],
    ['Table public.a is held: <b>|bad|</b>', false],
    ['2 rows are set aside (crossfade dlq list)', false],
    ['The audit trail does not hold: record 2 is missing', false],
  ]);
  const blocks = layoutReport(report);
  expect(renderMarkdown(blocks)).toContain(String.raw`held: \<b\>\|bad\|\</b\>`);
  expect(renderMarkdown(blocks)).toContain("`public.a`: 3 × another row stood there, the target's stayed");
  const html = renderHtml('x', blocks);
  expect(html).toContain('&lt;b&gt;|bad|&lt;/b&gt;');
  expect(html).toContain('<strong>6 points still open.</strong>');
  expect(html).not.toMatch(/<script|https?:\/\//);
});

test('nothing is taken away while the source may be needed, or something runs', () => {
  const facts = {
    name: 'shop',
    target: undefined,
    abort: false,
    audit: [{ event: 'signed-off', at: '2026-11-22T08:00:00.000000Z' }],
    afterMs: 3_600_000,
    nowMs: Date.parse('2026-11-22T08:30:00Z'),
  } as const;
  const open = (over: object): boolean => stateGates({ ...facts, state: 'signed-off', ...over }).every(({ isOpen }) => isOpen);
  expect(open({})).toBe(false);
  expect(open({ nowMs: Date.parse('2026-11-22T09:00:00Z') })).toBe(true);
  expect(open({ afterMs: 0 })).toBe(true);
  expect(open({ state: 'cleaned-up' })).toBe(true);
  for (const state of [
    'observing',
    'cutting-over',
    'cutover-decided',
    'rolling-back',
    'rollback-decided',
    'cutover-drill',
    'rollback-drill',
  ] as const)
    for (const abort of [true, false]) expect(open({ state, abort }), state).toBe(false);
  for (const state of [undefined, 'following', 'verified'] as const)
    expect([open({ state }), open({ state, abort: true })]).toEqual([false, true]);
  expect(runningGate(['crossfade shop reader (process 1)'])).toMatchObject({ isOpen: false });
});
