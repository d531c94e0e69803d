/** The audit trail: whether it holds, and its records. */
import { type Block, code, count, heading, type Inline, type Line, shortTime, table, text } from '../document/blocks.ts';
import type { AuditRecord } from '../migration/audit-record.ts';
import { textIn } from './details.ts';
import { maskValues } from './mask-values.ts';
import type { ReportedAudit } from './report-document.ts';

export function layoutAudit({ ok, why, head, records }: ReportedAudit): Block[] {
  const verdict: Line = ok
    ? [
        `${count(records.length, 'record')}; the chain of hashes holds`,
        ...(head.hash === '' ? [] : [', and ends in ', code(head.hash)]),
        '.',
      ]
    : [{ strong: `The chain of hashes does not hold: ${why ?? ''}.` }, ' From there on the trail proves nothing.'];
  return [
    heading(2, ['Audit trail']),
    text(verdict),
    ...(records.length === 0 ? [] : [table(['', 'When', 'Who', 'What', 'State', 'Hash'], records.map(row), [0])]),
  ];
}

const HASH_SHOWN = 12;

function row(record: AuditRecord): readonly Line[] {
  const { seq, at, actor, event, fromState, toState, hash } = record;
  const states = toState === null || fromState === toState ? '' : `${fromState ?? ''} → ${toState}`;
  return [[String(seq)], [shortTime(at)], [actor], [event, ...about(record)], [states], [code(hash.slice(0, HASH_SHOWN))]];
}

/** What tells one record from the next of the same kind. */
function about({ details }: AuditRecord): Inline[] {
  const said = ['step', 'subject', 'trigger', 'removed', 'reason'].flatMap((key) => textIn(details, key) ?? []);
  return said.length === 0 ? [] : [`: ${maskValues(said.join(', '))}`];
}
