/**
 * The runbook of one migration as headings, tables and lists: seven stages, each a gate with its evidence. Guarantee: commands are this file's own; a time
 * is one that was measured here, or it is said that none was.
 */
import {
  type Block,
  bytes,
  code,
  count,
  duration,
  heading,
  type Inline,
  type Line,
  listed,
  shortTime,
  table,
  text,
} from '../document/blocks.ts';
import { describeApprovals, short } from '../migration/approvals.ts';
import type { ReportedAct } from '../report/acts.ts';
import { commandOf } from './commands.ts';
import { FLIP_STEP_ADVICE } from './flip-steps.ts';
import { layoutNow } from './layout-now.ts';
import { layoutStages } from './layout-stages.ts';
import { lastMeasured, type Runbook } from './runbook.ts';

export function layoutRunbook(runbook: Runbook): Block[] {
  const { plan, target } = runbook;
  return [
    heading(1, ['Runbook: ', code(plan.name), ...(target === undefined ? [] : [' to ', code(target)])]),
    text([
      'Made by Crossfade for this migration as file and databases are now. Each stage is a gate: the next one begins when its evidence is there. What fails before the decision of a flip is undone by itself, with writes going on.',
    ]),
    table(['', ''], facts(runbook)),
    ...layoutNow(runbook),
    ...layoutPeople(runbook),
    heading(2, ['The seven stages']),
    ...layoutStages(runbook),
    ...layoutFlipSteps(runbook),
    ...layoutTrouble(runbook),
  ];
}

function facts(runbook: Runbook): readonly (readonly Line[])[] {
  const { plan, file, writtenAt, serves, state, acts } = runbook;
  return [
    [['File'], [code(file)]],
    [['Plan'], [code(plan.hash)]],
    [['Source'], [`${plan.source.server}, `, code(plan.source.address)]],
    [['Target'], [`${plan.target.server}, `, code(plan.target.address)]],
    [['Volume'], [`${count(plan.scope.tables, 'table')}, about ${count(plan.scope.rows, 'row')}, ${bytes(plan.scope.bytes)}`]],
    [['Now'], [`the ${serves} serves${state === null ? ', nothing was begun' : `, state ${state}`}`]],
    [['Cut-over blocks writers'], [measured(lastMeasured(acts, 'cutover'))]],
    [['Rollback blocks writers'], [measured(lastMeasured(acts, 'rollback'))]],
    [['Written'], [shortTime(writtenAt)]],
  ];
}

function measured(act: ReportedAct | undefined): Inline {
  if (act?.blockMs === null || act === undefined) return { strong: 'not measured yet: run crossfade drill' };
  const how = act.outcome === 'drilled' ? 'drill' : 'flip';
  return `${duration(act.blockMs)}, measured by the ${how} of ${shortTime(act.beganAt)}`;
}

function layoutPeople({ approvals, contacts, plan }: Runbook): Block[] {
  const rows = approvals.map((state): readonly Line[] => {
    const { required, missing } = state;
    const who = required.of === undefined ? `anybody, ${required.count}` : `${required.count} of ${required.of.join(', ')}`;
    const lacking: Line = missing === 0 ? [] : [{ strong: `${missing} missing: ` }];
    return [[code(required.subject)], [required.isItem ? 'checklist' : 'act'], [who], [...lacking, describeApprovals(state, plan.hash)]];
  });
  return [
    heading(2, ['Who does what']),
    rows.length === 0
      ? text(['The file asks for no approval (', code('approvals:'), '): whoever runs the commands decides.'])
      : table(['To be signed', 'Kind', 'By', `Under plan ${short(plan.hash)}`], rows),
    ...(contacts.length === 0
      ? [text(['The file names no contacts (', code('contacts:'), ').'])]
      : [
          table(
            ['Role', 'Reached'],
            contacts.map(({ role, who }) => [[role], [who]]),
          ),
        ]),
  ];
}

function layoutFlipSteps({ acts, swapsNames }: Runbook): Block[] {
  const cutover = lastMeasured(acts, 'cutover');
  const rollback = lastMeasured(acts, 'rollback');
  const took = (act: ReportedAct | undefined, step: string): string => {
    const found = act?.timings.find((one) => one.step === step);
    return found === undefined ? '–' : duration(found.ms);
  };
  return [
    heading(2, ['A flip, step by step']),
    text(['Cut-over and rollback are the same act with the sides swapped. Times are of the last drill or flip here.']),
    table(
      ['Step', 'What it does', 'Cut-over', 'Rollback', 'When it fails'],
      FLIP_STEP_ADVICE.filter(({ ofSwap }) => ofSwap !== true || swapsNames === true).map(({ step, does, writersWait, onFailure }) => [
        [writersWait ? { strong: step } : step],
        [does],
        [took(cutover, step)],
        [took(rollback, step)],
        [onFailure],
      ]),
      [2, 3],
    ),
    text([{ strong: 'Marked' }, ' steps are those in which writers wait.']),
  ];
}

function lostWayBack(command: ReturnType<typeof commandOf>): readonly Line[] {
  return [
    ['CF-8203 in the log of crossfade up'],
    ['The slot of the way back is gone (the target failed over, or its WAL limit was met): what was written since is on the target only.'],
    [
      'Stop crossfade up and start it once as ',
      code(command('up', '--reverse-anew')),
      '; then ',
      code(command('verify')),
      ' and ',
      code(command('repair')),
      '. Until then a rollback backs out.',
    ],
  ];
}

function layoutTrouble(runbook: Runbook): Block[] {
  const { triggers, acts, plan } = runbook;
  const command = commandOf(runbook);
  const failed = acts.filter(({ outcome }) => outcome === 'backed-out').slice(-5);
  return [
    heading(2, ['When something else goes wrong']),
    table(
      ['What is seen', 'What it means', 'What to do'],
      [
        [
          ['The terminal or the machine of the operator dies in a flip'],
          ['Before the decision it is rolled back; after it, it stands.'],
          ['Run the same command again: it finds out, and goes on or backs out.'],
        ],
        [
          ['A writer gets SQLSTATE 25006'],
          ['It writes to the side that does not serve any more; nothing of its transaction was kept.'],
          ['Point it to the store that the message names.'],
        ],
        [['Exit code 10'], ['A gate is closed, or approvals are missing. Nothing was done.'], ['Each gate is listed with what opens it.']],
        [['Exit code 11'], ['Source and target differ.'], [code(command('repair')), ', then again.']],
        [
          ['The target cannot be reached while it serves'],
          ['No rollback can be complete: writes of the last moments may be on the target only.'],
          ['Bring the target back first. A forced rollback leaves those writes behind, and says which; it is never automatic.'],
        ],
        [
          ['A slot holds back much WAL'],
          ['Nothing is read or applied: crossfade up, or the other server, is down.'],
          [code(command('status')), '; bring it back before the disk of that server is full.'],
        ],
        ...(runbook.noWayBack !== undefined || runbook.isOnKafka ? [] : [lostWayBack(command)]),
        [
          ['A server fails over to a standby'],
          ['It may lack the last decision, and its fence: crossfade up raises it again within seconds of its answer.'],
          [
            'Keep applications away from it until ',
            code(command('status')),
            ' tells the phase of before; then ',
            code(command('verify')),
            '.',
          ],
        ],
        [
          ['CF-8006, or the report says that the audit trail does not hold'],
          ['Somebody changed its records.'],
          ['Stop, and find out who, before anything else is signed.'],
        ],
      ],
    ),
    ...listed(
      'Rollback triggers that watch after the cut-over:',
      triggers.map((line) => [line]),
    ),
    ...listed(
      `Acts of ${plan.name} that were backed out so far:`,
      failed.map((act) => [
        `${shortTime(act.beganAt)}, ${act.kind}, at step ${act.step ?? 'unknown'}: ${act.reason ?? 'no reason recorded'}`,
      ]),
    ),
  ];
}
