import { expect, test } from 'vitest';
import type { AuditRecord } from '#schemas/migration/audit-record.ts';
import type { MigrationRow } from '#schemas/migration/migration-row.ts';
import { judge } from '#schemas/triggers/evaluate.ts';
import { situationOf } from '#schemas/triggers/situation.ts';
import type { Trigger } from '#schemas/triggers/trigger.ts';

const MINUTE = 60_000;
const NOW = Date.parse('2026-11-22T03:10:00Z');
const ROW = { state: 'observing', epoch: 1n } as MigrationRow;
const ERRORS: Trigger = {
  name: 'errors',
  kind: 'errors',
  above: 0.01,
  windowMs: 5 * MINUTE,
  atLeast: 50,
  feed: { kind: 'reports' },
  action: 'rollback',
};

/** A cut-over of two minutes ago, by a clock that is so far ahead. */
function flipped(aheadMs: number): AuditRecord[] {
  const at = new Date(NOW - 2 * MINUTE + aheadMs).toISOString();
  return [
    {
      seq: 3,
      event: 'finished',
      at,
      fromState: 'cutover-decided',
      toState: 'observing',
      details: { epoch: '1' },
    } as unknown as AuditRecord,
  ];
}

test.each([0, 7 * MINUTE, -7 * MINUTE])('the flip is dated by the clock of the samples: the target’s is %i ms ahead', (aheadMs) => {
  const situation = situationOf(ROW, flipped(aheadMs), aheadMs);
  const samples = [
    { atMs: NOW - 4 * MINUTE, sum: 0, count: 10_000 },
    { atMs: NOW - MINUTE, sum: 5, count: 100 },
  ];
  expect(judge(ERRORS, { samples, flippedAtMs: situation!.flippedAtMs, nowMs: NOW })).toMatchObject({ state: 'fired', value: 0.05 });
});
