/**
 * `approve`: a person signs an act or an item of the checklist. Guarantee: recorded on the target with the hash of the plan as it is now, together
 * with its audit record; without a subject nothing is written, and what is signed and missing is told.
 */
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { PipelineError } from '#schemas/errors.ts';
import { APPROVED_ACTS, type ApprovalState, describeApprovals, short } from '#schemas/migration/approvals.ts';
import { infoFinding } from '#schemas/finding.ts';
import { didYouMean } from '#schemas/nearest-name.ts';
import { changesSince, personOf, readSubject, sign, statesOf, type Subject } from './approvals/signed-subject.ts';
import type { CommandContext, CommandSpec, Outcome } from './command.ts';
import { eachTarget } from './each-target.ts';
import { targetOption } from './migration-input.ts';
import { loadSignedTargets, planOption } from './plan/signed-plan.ts';
import { renderTable } from './render.ts';

export const approveCommand: CommandSpec = {
  name: 'approve',
  about: 'Sign an act or an item of the checklist, for the plan as it is now; without a subject: tell what is signed and what is missing.',
  examples: [
    ['crossfade approve', 'what the file asks for (approvals:), and who has signed'],
    ['crossfade approve cutover --as "Ada Lovelace"', 'one of the people that the cut-over waits for'],
    ['crossfade approve backup-restored --as "Ada Lovelace" --reason "restored on staging, 12 min"', 'an item of the checklist'],
  ],
  configure: (command) => {
    planOption(command);
    targetOption(command);
    command
      .argument('[subject]', `${APPROVED_ACTS.filter((act) => act !== 'signoff').join(' | ')} | an item of the checklist`)
      .option('--as <name>', 'who signs')
      .option('--reason <text>', 'recorded beside it');
  },
  run,
};

async function run(context: CommandContext): Promise<Outcome> {
  const [subject] = context.args;
  const person = subject === undefined ? undefined : personOf(context, `approve ${subject}`);
  const { targets } = await loadSignedTargets(context);
  if (subject !== undefined) checkSubject(subject, targets[0]!);
  return eachTarget(targets, async (file) => {
    const before = await readSubject(file, 'approve');
    if (subject === undefined || person === undefined) return withChanges(before, told(before));
    const isNew = await sign(before, { subject, person, reason: context.options.text('reason') });
    const after = await readSubject(file, 'approve');
    const state = statesOf(after).find(({ required }) => required.subject === subject);
    const whole = state === undefined ? 'the file asks for no approval of it' : describeApprovals(state, after.planHash);
    return {
      ...(await withChanges(after, told(after))),
      summary: `${person} ${isNew ? 'has signed' : 'had signed'} ${subject} of ${file.name} under plan ${short(after.planHash)}: ${whole}`,
    };
  });
}

function checkSubject(subject: string, file: MigrationFile): void {
  if (subject === 'signoff') {
    throw new PipelineError('CF-1007', 'the migration is signed off by a command of its own', {
      remedy: `crossfade signoff --as "First Last" --confirm ${file.name}`,
    });
  }
  const known = [
    ...APPROVED_ACTS.filter((act) => act !== 'signoff'),
    ...(file.approvals ?? []).filter(({ isItem }) => isItem).map((one) => one.subject),
  ];
  if (known.includes(subject)) return;
  throw new PipelineError('CF-1007', `nothing is called ${JSON.stringify(subject)} that could be signed${didYouMean(subject, known)}`, {
    remedy: `It is one of: ${known.join(', ')}.`,
  });
}

function told(subject: Subject): Outcome {
  const { file, planHash } = subject;
  const states = statesOf(subject);
  const open = states.filter(({ missing }) => missing > 0);
  const asked = states.length === 0 ? 'the file asks for no approval' : `${states.length - open.length} of ${states.length} signed`;
  return {
    summary: `${file.name}, plan ${short(planHash)}: ${asked}`,
    result: { name: file.name, plan: planHash, approvals: states.map(resultOf) },
    ...(states.length > 0 && {
      text: renderTable(
        ['subject', 'signed', ''],
        states.map((state) => [state.required.subject, state.missing === 0 ? 'yes' : 'no', describeApprovals(state, planHash)]),
      ),
    }),
  };
}

/** Whoever signed another plan is told what has become of it. */
async function withChanges(subject: Subject, outcome: Outcome): Promise<Outcome> {
  const changes = await changesSince(subject, statesOf(subject));
  if (changes.size === 0) return outcome;
  const findings = [...changes].flatMap(([hash, lines]) =>
    lines.map((line) =>
      infoFinding('CF-8004', `since plan ${short(hash)} was signed: ${line}`, 'Look at it, and sign the plan as it is now.'),
    ),
  );
  return { ...outcome, result: { ...(outcome.result as object), changes: Object.fromEntries(changes) }, findings };
}

function resultOf({ required, given, missing, from, outdated }: ApprovalState): object {
  const { subject, count, isItem } = required;
  return {
    subject,
    kind: isItem ? 'item' : 'act',
    required: count,
    missing,
    ...(from !== undefined && { from }),
    given: given.map(({ person, at, reason }) => ({ person, at, ...(reason !== undefined && { reason }) })),
    outdated: outdated.map(({ person, at, planHash }) => ({ person, at, plan: planHash })),
  };
}
