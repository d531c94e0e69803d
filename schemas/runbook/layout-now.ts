/** What is to be done first when something is wrong, whoever holds the paper. Guarantee: it goes by who serves as the runbook was written, and says how to see whether that is still so. */
import { type Block, code, duration, heading, type Line, text } from '../document/blocks.ts';
import { commandOf, signing } from './commands.ts';
import { lastMeasured, type Runbook } from './runbook.ts';

export function layoutNow(runbook: Runbook): Block[] {
  const command = commandOf(runbook);
  return [
    heading(2, ['If something is wrong now']),
    text([
      'First see who serves, for this was written ',
      { strong: runbook.serves === 'target' ? 'while the target served' : 'while the source served' },
      ':',
    ]),
    { kind: 'commands', lines: [command('status')] },
    { kind: 'list', items: [sourceServes(runbook), ...targetServes(runbook)] },
    ...goingBack(runbook),
  ];
}

function sourceServes(runbook: Runbook): Line {
  return [
    { label: 'The source serves: ' },
    'applications do not need Crossfade. Stop it if it is in the way; started again it goes on where it was. Stopped for long, its slot fills the disk of the source: ',
    code(commandOf(runbook)('cleanup', '--abort', '--confirm', runbook.plan.name)),
    ' gives the migration up and takes the slot away.',
  ];
}

const UNREACHABLE: Line = [
  { label: 'The target serves, and cannot be reached: ' },
  'bring it back first: what was written last may be nowhere else.',
];

function targetServes({ noWayBack, state, swapsNames }: Runbook): Line[] {
  if (state === 'signed-off' || state === 'cleaned-up')
    return [[{ label: 'The target serves: ' }, 'it is signed off, and Crossfade has no way back any more.']];
  if (noWayBack !== undefined) return [[{ label: 'The target serves: ' }, `there is no way back, since ${noWayBack}. Mend the target.`]];
  return [
    [
      { label: 'The target serves, and is at fault: ' },
      'go back, as below. It needs no confirmation and loses no write. Keep ',
      code('crossfade up'),
      ' running: it carries what is written.',
    ],
    ...(swapsNames === true ? [] : [UNREACHABLE]),
    [
      { label: 'A flip is under way: ' },
      'let it end. It backs out by itself, or is finished by itself; run again, the same command finds out.',
    ],
  ];
}

function goingBack(runbook: Runbook): Block[] {
  if (runbook.noWayBack !== undefined || runbook.state === 'signed-off' || runbook.state === 'cleaned-up') return [];
  const command = commandOf(runbook);
  const { blockMs } = lastMeasured(runbook.acts, 'rollback') ?? { blockMs: null };
  const signatures = runbook.approvals.find(({ required }) => required.subject === 'rollback')?.missing ?? 0;
  const signed = signatures === 0 ? '' : ` (${signatures} to sign first)`;
  const waited =
    blockMs === null
      ? ['How long writers wait for it was not measured yet: ', code(command('drill')), ' while the target serves.']
      : [`Writers waited ${duration(blockMs)} for it the last time.`];
  return [
    text([{ label: 'To go back' }, `${signed}:`]),
    { kind: 'commands', lines: [...signing(runbook, ({ subject }) => subject === 'rollback'), command('rollback')] },
    text(waited),
    ...(runbook.swapsNames === true
      ? []
      : [
          text([{ label: 'Only if the target will not come back' }, ' (tells what would be lost, and how to go on; changes nothing yet):']),
          { kind: 'commands', lines: [command('rollback', '--forced')] } as const,
        ]),
  ];
}
