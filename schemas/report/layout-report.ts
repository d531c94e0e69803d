/** The report as headings, tables and lists. Guarantee: everything in the report is in the layout, the open points first. */
import {
  type Block,
  bytes,
  code,
  count,
  duration,
  figure,
  heading,
  type Inline,
  type Line,
  listed,
  shortTime,
  table,
  text,
} from '../document/blocks.ts';
import { short } from '../migration/approvals.ts';
import { layoutActs } from './layout-acts.ts';
import { layoutAudit } from './layout-audit.ts';
import { peopleOf } from './build-report.ts';
import type { Remnant } from './remnant.ts';
import type { ReportDocument, ReportedApproval, ReportedCheck, ReportedIncident, ReportedTable, TableSize } from './report-document.ts';

export function layoutReport(report: ReportDocument): Block[] {
  return [
    heading(1, ['Migration report: ', code(report.name), ...(report.target === null ? [] : [' to ', code(report.target)])]),
    text(standing(report)),
    table(['', ''], summaryRows(report)),
    ...layoutIncidents(report.incidents),
    ...listed(
      'This report could not read:',
      report.unread.map((line) => [line]),
    ),
    heading(2, ['What moved']),
    ...layoutTables(report.tables),
    ...layoutActs(report.acts),
    ...layoutEvidence(report),
    ...layoutApprovals(report.approvals),
    ...layoutRemnants(report.remnants),
    ...layoutAudit(report.audit),
  ];
}

const STANDINGS = {
  following: 'The source serves. The target follows it.',
  verified: 'The source serves. The target follows it, and was proved equal.',
  'cutover-drill': 'The source serves. A drill of the cut-over is under way.',
  'cutting-over': 'The source serves. A cut-over is under way.',
  'cutover-decided': 'The target serves. The cut-over is decided, and being finished.',
  observing: 'The target serves, and is observed. A rollback loses no write.',
  'rollback-drill': 'The target serves. A drill of the rollback is under way.',
  'rolling-back': 'The target serves. A rollback is under way.',
  'rollback-decided': 'The source serves. The rollback is decided, and being finished.',
  'signed-off': 'The target serves, and the migration is signed off: there is no rollback.',
  aborted: 'The migration was given up. The source serves.',
  'cleaned-up': 'The migration has ended and is cleaned up.',
} as const;

function standing({ state, incidents }: ReportDocument): Line {
  const open = incidents.filter(({ isOver }) => !isOver).length;
  const where = state === null ? 'The source serves. No cut-over was ever begun.' : STANDINGS[state];
  return open === 0 ? [where] : [where, ' ', { strong: `${count(open, 'point')} still open.` }];
}

function summaryRows(report: ReportDocument): readonly (readonly Line[])[] {
  const { acts, plans, audit } = report;
  const first = audit.records[0]?.at;
  const done = acts.filter(({ outcome }) => outcome === 'done');
  const blocks = done.flatMap(({ blockMs }) => blockMs ?? []);
  const counts = (kind: string): number => done.filter((act) => act.kind === kind).length;
  const ended = audit.records.findLast(({ event }) => event === 'signed-off' || event === 'aborted');
  return [
    [['Source'], [`${report.source.server}, `, code(report.source.address)]],
    [['Target'], [`${report.targetPlace.server}, `, code(report.targetPlace.address)]],
    [
      ['Plan'],
      plans[0] === undefined
        ? ['none recorded']
        : [
            code(plans[0].hash),
            plans[0].signed ? ', which crossfade up was held to (--plan)' : ', which crossfade up was not held to (--plan)',
          ],
    ],
    ...(first === undefined ? [] : [[['First record'], [shortTime(first)]]]),
    [['Flips'], [`${count(counts('cutover'), 'cut-over')}, ${count(counts('rollback'), 'rollback')}`]],
    ...(report.serves !== 'target' || done.length === 0
      ? []
      : [[['Target serves since'], [shortTime(done.at(-1)!.endedAt ?? done.at(-1)!.beganAt)]]]),
    ...(blocks.length === 0 ? [] : [[['Writers waited'], [`${duration(Math.max(...blocks))} at the longest flip`]]]),
    ...(ended === undefined
      ? []
      : [[[ended.event === 'aborted' ? 'Given up' : 'Signed off'], [`${shortTime(ended.at)}, by ${ended.actor}`]]]),
    [['Written'], [`${shortTime(report.writtenAt)}, by Crossfade ${report.crossfade}`]],
  ];
}

function layoutIncidents(incidents: readonly ReportedIncident[]): Block[] {
  const row = ({ at, what, isOver }: ReportedIncident): readonly Line[] => [
    [shortTime(at)],
    [what],
    isOver ? ['over'] : [{ strong: 'open' }],
  ];
  const all = [...incidents.filter(({ isOver }) => !isOver), ...incidents.filter(({ isOver }) => isOver)];
  return [heading(2, ['Incidents']), all.length === 0 ? text(['None.']) : table(['When', 'What', 'Now'], all.map(row))];
}

function layoutTables(tables: readonly ReportedTable[]): Block[] {
  if (tables.length === 0) return [text(['No table was ever copied.'])];
  const hasFlip = tables.some(({ atFlip }) => atFlip !== null);
  const isExact = tables.every(({ now }) => [now.source, now.target].every((one) => one === null || one.isExact));
  const sum = (pick: (one: ReportedTable) => number): string => figure(tables.reduce((total, one) => total + pick(one), 0));
  const flipCells = (one: ReportedTable): Line[] =>
    hasFlip ? [one.atFlip === null ? ['–'] : [figure(one.atFlip.source)], one.atFlip === null ? ['–'] : [unequal(one.atFlip)]] : [];
  return [
    text([
      `${count(tables.length, 'table')}, ${sum((one) => one.rowsCopied)} rows copied, ${sum((one) => one.changesApplied)} changes applied since.`,
    ]),
    table(
      [
        'Source table',
        'Target table',
        'Copied',
        'Changes',
        ...(hasFlip ? ['At the flip, source', 'At the flip, target'] : []),
        'Now, source',
        'Now, target',
        'Size, source',
        'Size, target',
        ...(tables.every(({ phase }) => phase === 'following') ? [] : ['']),
      ],
      tables.map((one) => [
        [code(one.from)],
        [code(one.to)],
        [figure(one.rowsCopied)],
        [figure(one.changesApplied)],
        ...flipCells(one),
        [rows(one.now.source)],
        [rows(one.now.target)],
        [size(one.now.source)],
        [size(one.now.target)],
        ...(tables.every(({ phase }) => phase === 'following') ? [] : [one.phase === 'held' ? [{ strong: 'held' }] : [one.phase]]),
      ]),
      Array.from({ length: hasFlip ? 8 : 6 }, (_, i) => i + 2),
    ),
    ...listed(
      'Rows that the application and the stream had written differently, each settled by the policy of its table:',
      tables.flatMap(conflictLine),
    ),
    ...(isExact ? [] : [text(["About (~) is the servers' own estimate; ", code('crossfade report --count'), ' counts.'])]),
  ];
}

const CONFLICTS: Readonly<Record<string, string>> = {
  insert: 'another row had its key',
  update: 'another row stood there',
  delete: 'another row was to go',
  missing: 'the row was gone',
  copy: 'the first copy met another row',
};

function conflictLine({ from, conflicts }: ReportedTable): Line[] {
  const told = Object.entries(conflicts)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, n]) => {
      const [kind = '', winner = ''] = name.split('/');
      return `${figure(n)} × ${CONFLICTS[kind] ?? kind}, the ${winner}'s stayed`;
    });
  return told.length === 0 ? [] : [[code(from), `: ${told.join('; ')}`]];
}

function unequal({ source, target }: { readonly source: number; readonly target: number }): Inline {
  return source === target ? figure(target) : { strong: figure(target) };
}

function rows(one: TableSize | null): string {
  return one === null ? '–' : `${one.isExact ? '' : '~'}${figure(one.rows)}`;
}

function size(one: TableSize | null): string {
  return one === null ? '–' : bytes(one.bytes);
}

function layoutEvidence({ evidence, acts }: ReportDocument): Block[] {
  const { verify, comparisons, checks, backups, findings, setAside } = evidence;
  const proof = acts.findLast(({ outcome, compare }) => outcome === 'done' && compare !== null);
  const open = findings.filter(({ state }) => state === 'suspected' || state === 'confirmed' || state === 'repairing');
  const verdict =
    verify === null
      ? 'No verify was run from here.'
      : `The last verify compared ${figure(verify.rows)} rows of ${count(verify.tables, 'table')}${verify.lsn === null ? '' : ` at ${verify.lsn}`}: ${verify.differences === 0 ? 'no difference' : `${figure(verify.differences)} rows differ`}${verify.inconclusive === 0 ? '' : `, ${count(verify.inconclusive, 'table')} not judged`}.`;
  const items: Line[] = [
    ...backups.map((backup): Line => [`Backup: ${backup}.`]),
    ...(proof === undefined ? [] : [[`Behind the fence of the last flip (epoch ${proof.epoch}): ${proof.compare}.`]]),
    [verdict],
    [
      findings.length === 0
        ? 'The running comparison never found a row that differs.'
        : `The running comparison found ${count(findings.length, 'difference')}, of which ${open.length} are open.`,
    ],
    [
      setAside === null
        ? 'Whether rows are set aside is not known.'
        : setAside === 0
          ? 'No row is set aside.'
          : `${figure(setAside)} rows are set aside.`,
    ],
  ];
  return [
    heading(2, ['Evidence']),
    { kind: 'list', items },
    ...(comparisons.length === 0
      ? []
      : [
          text(['Beside the pipeline each table was compared while it ran, last:']),
          table(
            ['Target table', 'When', 'Source state', 'Rows', 'Verdict', 'Times (7 days)'],
            comparisons.map((one) => [
              [code(one.to)],
              [shortTime(one.at)],
              one.lsn === null ? ['–'] : [code(one.lsn)],
              [figure(one.rows)],
              one.verdict === 'equal'
                ? ['equal']
                : [{ strong: one.verdict === 'differs' ? `${figure(one.differences)} differ` : one.verdict }],
              [figure(one.times)],
            ]),
            [3, 5],
          ),
        ]),
    ...layoutChecks(checks),
  ];
}

function layoutChecks(checks: readonly ReportedCheck[]): Block[] {
  if (checks.length === 0) return [];
  const verdict = ({ verdict: word, message }: ReportedCheck): Line => (word === 'equal' ? ['equal'] : [{ strong: word }, `: ${message}`]);
  return [
    text(['The checks and shadow queries of the file were made beside the pipeline, last:']),
    table(
      ['Check', 'Kind', 'When', 'Source state', 'Source', 'Target', 'Verdict', 'Times (7 days)'],
      checks.map((one) => [
        [code(one.name)],
        [one.kind],
        [shortTime(one.at)],
        one.lsn === null ? ['–'] : [code(one.lsn)],
        [one.source ?? '–'],
        [one.target ?? '–'],
        verdict(one),
        [figure(one.times)],
      ]),
      [7],
    ),
  ];
}

function layoutApprovals(approvals: readonly ReportedApproval[]): Block[] {
  const title = heading(2, ['Approvals']);
  if (approvals.length === 0) return [title, text(['The file asks for none, and none was given.'])];
  const signatures = (one: ReportedApproval): Line =>
    one.given.flatMap(({ person, at, plan, reason }, i) => [
      ...(i === 0 ? [] : ['; ']),
      `${person}, ${shortTime(at)}, plan `,
      code(short(plan)),
      ...(reason === null ? [] : [` (${reason})`]),
    ]);
  return [
    title,
    table(
      ['Subject', 'Asked for', 'Signed by'],
      approvals.map((one) => [[code(one.subject)], [askedFor(one)], one.given.length === 0 ? ['nobody'] : signatures(one)]),
    ),
  ];
}

function askedFor({ required, given }: ReportedApproval): string {
  if (required === null) return 'no';
  const whose = required.of === undefined ? '' : ` of ${required.of.join(', ')}`;
  return `${peopleOf(given)} of ${required.count}${whose}`;
}

function layoutRemnants(remnants: readonly Remnant[]): Block[] {
  const data = remnants.filter(({ holdsData }) => holdsData);
  const row = (one: Remnant): readonly Line[] => [[one.place], [one.kind], [code(one.name)], [one.detail], [wayOut(one)]];
  const head = ['Where', 'What', 'Name', 'Detail', 'How it goes'];
  return [
    heading(2, ['Where raw data still rests']),
    data.length === 0 ? text(['Nowhere but in the tables themselves.']) : table(head, data.map(row)),
    heading(2, ['What is left to clean']),
    remnants.length === 0 ? text(['Nothing: every trace is gone.']) : table(head, remnants.filter(({ holdsData }) => !holdsData).map(row)),
  ];
}

function wayOut({ fate, how }: Remnant): string {
  if (fate === 'cleanup') return 'crossfade cleanup';
  return how ?? 'by hand';
}
