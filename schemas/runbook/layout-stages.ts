/** The seven stages of a runbook. Guarantee: each says what is done with which command, what is evidence that it is done, and what to do when it is not. */
import { type Block, bytes, code, count, duration, heading, type Line, text } from '../document/blocks.ts';
import type { PlanDocument } from '../plan/plan-document.ts';
import type { DualStage } from '../flags/dual-stages.ts';
import { commandOf, signing } from './commands.ts';
import { lastMeasured, type Runbook } from './runbook.ts';

interface Stage {
  readonly title: string;
  readonly what: Line;
  readonly commands: readonly string[];
  readonly evidence: readonly Line[];
  readonly onFailure: Line;
}

export function layoutStages(runbook: Runbook): Block[] {
  const stages = [scope, mapping, batching, validation, strategy, flip, reconciliation];
  return stages.flatMap((stage, i) => {
    const { title, what, commands, evidence, onFailure } = stage(runbook);
    return [
      heading(3, [`${i + 1}. ${title}`]),
      text(what),
      { kind: 'commands', lines: commands } as const,
      text(['Done when:']),
      { kind: 'list', items: evidence, mark: 'check' } as const,
      text([{ label: 'If not: ' }, ...onFailure]),
    ];
  });
}

function losses({ tables }: PlanDocument): number {
  return tables.flatMap(({ columns }) => columns).filter(({ lossy, irreversible }) => lossy.length + irreversible.length > 0).length;
}

function scope(runbook: Runbook): Stage {
  const { plan, hasChecks, backup } = runbook;
  const command = commandOf(runbook);
  return {
    title: 'Scope and invariants',
    what: [
      `Moved: ${count(plan.scope.tables, 'table')}. ${runbook.wave === undefined ? 'Left out of the source' : 'Moved by other waves, or left out'}: ${plan.scope.leftOut.length === 0 ? 'none' : count(plan.scope.leftOut.length, 'table')}.`,
    ],
    commands: [
      command('check'),
      command('plan', '--format', 'html', '--out', 'plan.html'),
      ...(backup === undefined ? [] : [command('backup')]),
    ],
    evidence: [
      [code('crossfade check'), ' ends with exit code 0.'],
      ...(plan.scope.leftOut.length === 0
        ? []
        : [
            [
              `What is left out${runbook.wave === undefined ? '' : ', or moved by other waves,'} is meant to be: ${plan.scope.leftOut.join(', ')}.`,
            ],
          ]),
      [
        hasChecks
          ? 'The invariants of the file (checks:) are those that the business relies on.'
          : 'It is agreed that rows alone are compared: the file has no checks:.',
      ],
      ...(backup === undefined
        ? [['A backup of both sides exists and was restored once (the file asks for none: ', code('backup:'), ').'] satisfies Line]
        : [
            [`The ${backup.of} is saved and verified: ${backup.last ?? 'not done yet'}. crossfade up waits for it.`] satisfies Line,
            [`It was restored once, and so was a backup of the ${backup.of === 'source' ? 'target' : 'source'}.`] satisfies Line,
          ]),
    ],
    onFailure: ['mend what check names; each finding has its remedy. Nothing has been created yet.'],
  };
}

function mapping(runbook: Runbook): Stage {
  const { plan, hasTests, hasSchemaSteps } = runbook;
  const command = commandOf(runbook);
  const lossy = losses(plan);
  return {
    title: 'Mapping',
    what: [
      `The plan says what becomes of every column; ${lossy === 0 ? 'none is lossy or irreversible' : `${count(lossy, 'column')} are lossy or irreversible`}, ${count(plan.warnings.length, 'warning')}.`,
    ],
    commands: [
      ...(hasTests ? [command('test')] : []),
      ...(hasSchemaSteps ? [command('schema', 'apply')] : []),
      command('plan', '--format', 'json', '--out', 'plan.json'),
      ...signing(runbook, ({ isItem }) => isItem),
    ],
    evidence: [
      [`The plan was read by somebody who knows the data, and its hash is `, code(plan.hash), '.'],
      ...(lossy === 0 ? [] : [[`Each of the ${lossy} columns under "To be read before signing" is accepted.`]]),
      ...(hasTests ? [['Every mapping test passes.']] : []),
    ],
    onFailure: [
      'change the file, and begin with stage 1 again: a changed mapping has another hash, and signatures of the old one do not count.',
    ],
  };
}

function batching(runbook: Runbook): Stage {
  const { plan, isOnKafka } = runbook;
  const command = commandOf(runbook);
  return {
    title: 'Batching: copy and follow',
    what: [
      `About ${count(plan.scope.rows, 'row')}, ${bytes(plan.scope.bytes)}: copied in pieces while writes go on; changes are followed. It can be stopped, slowed and killed at any moment.`,
    ],
    commands: [
      ...(isOnKafka
        ? ['reader', 'transformer', 'sink', 'reconciler', 'control'].map((service) => command(service))
        : [command('up', '--plan', plan.hash)]),
      command('status'),
      command('throttle', '--rows', '5000'),
    ],
    evidence: [['Phase ', code('following'), ', no table held, no row set aside, lag below a second at usual load.']],
    onFailure: [
      'status names each held table with its cause; mend it, then ',
      code(command('resume')),
      '. Rows set aside: ',
      code(command('dlq', 'list')),
      '. To give up: stop it, then ',
      code(command('cleanup', '--abort', '--confirm', plan.name)),
      '; the source was never changed.',
    ],
  };
}

function validation(runbook: Runbook): Stage {
  const command = commandOf(runbook);
  return {
    title: 'Validation',
    what: ['Every row of both sides is compared at one state, while writes go on.'],
    commands: [command('verify')],
    evidence: [
      ['verify ends with exit code 0, not older than 24 hours at the cut-over.'],
      ['The running comparison (status, line "proof") shows no row that differs.'],
    ],
    onFailure: [
      'exit code 11 names the rows: ',
      code(command('repair')),
      ', then verify again. Rows that differ twice are a fault in the mapping or another writer on the target: do not go on.',
    ],
  };
}

function strategy(runbook: Runbook): Stage {
  const command = commandOf(runbook);
  const drill = lastMeasured(runbook.acts, 'cutover');
  return {
    title: 'Strategy: rehearse',
    what: [
      'The drill does everything of the cut-over but its decision: writers wait, and go on where they were. ',
      drill?.blockMs === null || drill === undefined ? 'None was run yet.' : `The last one made them wait ${duration(drill.blockMs)}.`,
    ],
    commands: [...stageCommands(runbook, 'dualwrite', 'shadow'), command('drill')],
    evidence: [
      ...(runbook.isDualWrite
        ? [
            [
              'The application writes both stores and reads both; its conflicts (',
              code(command('status', '--json')),
              ') are explained, its queue of second writes is empty.',
            ],
          ]
        : []),
      ['The time that the drill measured is one that writers can wait.'],
      ['Applications retry a write that was refused with SQLSTATE 25006, and find the store that serves by flag, DNS or configuration.'],
      ['Rollback triggers are set, and were rehearsed.'],
    ],
    onFailure: ['the table below says for each step what its failure means. Choose an hour with fewer long transactions, and drill again.'],
  };
}

/** Of dual writes. */
function stageCommands(runbook: Runbook, ...names: readonly DualStage[]): Stage['commands'] {
  return runbook.isDualWrite ? names.map((name) => commandOf(runbook)('flags', 'set', '--stage', name)) : [];
}

function flip(runbook: Runbook): Stage {
  const { plan } = runbook;
  const command = commandOf(runbook);
  return {
    title: 'Cut-over, and the way back',
    what: [
      `One command. Until its decision anything that fails leads back to where it began; after it the target serves, and ${runbook.noWayBack === undefined ? 'its writes flow back to the source' : 'nothing flows back to the source'}.`,
    ],
    commands: [
      ...signing(runbook, ({ subject }) => subject === 'cutover'),
      command('cutover', '--dry-run'),
      command('cutover', '--confirm', plan.name),
      command('status'),
    ],
    evidence: [
      ['cutover ends with exit code 0, and status says ', code('observing'), '.'],
      ['Applications write to the target; no error rate or response time has risen.'],
    ],
    onFailure: [
      'before the decision: nothing happened, read the step and begin again. After it, and something is wrong with the target: ',
      ...(runbook.noWayBack === undefined
        ? [code(command('rollback')), '. It needs no confirmation, loses no write, and can be followed by another cut-over.']
        : [`mend the target, for there is no way back (${runbook.noWayBack}).`]),
    ],
  };
}

function reconciliation(runbook: Runbook): Stage {
  const { plan, cleanupAfterMs, observe } = runbook;
  const command = commandOf(runbook);
  const back = runbook.noWayBack === undefined ? ' A rollback stays possible until the sign-off.' : '';
  const people = runbook.approvals.find(({ required }) => required.subject === 'signoff')?.required.of ?? ['NAME'];
  return {
    title: 'Reconciliation and sign-off',
    what: [
      observe === undefined
        ? `Observe for 24 to 72 hours, with a busy day in it, and compare now and then (the file asks for no time: observe:).${back}`
        : `Observe for ${duration(observe.forMs)}, with a busy day in it. crossfade up compares source and target every ${duration(observe.everyMs)}.${back}`,
    ],
    commands: [
      command('verify'),
      ...stageCommands(runbook, 'rampdown', 'complete'),
      command('drill'),
      ...people.map((person) => command('signoff', '--as', `"${person}"`, '--confirm', plan.name)),
      command('report', '--format', 'html', '--out', 'report.html'),
      command('cleanup', '--dry-run'),
      command('cleanup', '--confirm', plan.name),
    ],
    evidence: [
      ['verify ends with exit code 0 at the end of the observation.'],
      ['No trigger has fired that is not explained.'],
      ['The report has no open incident.'],
      [
        `Cleanup ${cleanupAfterMs === 0 ? 'is run when nobody needs the source any more' : `is run ${duration(cleanupAfterMs)} after the sign-off`}; crossfade report lists nothing that is left unknowingly.`,
      ],
    ],
    onFailure:
      runbook.noWayBack === undefined
        ? ['while it is not signed off, ', code(command('rollback')), '. After the sign-off there is no way back by Crossfade.']
        : ['mend the target, for there is no way back.'],
  };
}
