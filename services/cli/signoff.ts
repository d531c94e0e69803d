/**
 * `signoff`: a person ends the migration for good. Guarantee: the state moves only when the target serves and is observed, a comparison of the last day
 * found source and target equal, and everybody whom the file asks for has signed; from then on there is no rollback. Until then a signature is recorded, and the command tells who is missing.
 */
import { hostname } from 'node:os';
import { readAudit } from '#connectors/target/postgres/audit.ts';
import { takeMigrationLease } from '#connectors/target/postgres/migration-lease.ts';
import { readState } from '#connectors/target/postgres/migration-state.ts';
import { PipelineError } from '#schemas/errors.ts';
import { errorFinding } from '#schemas/finding.ts';
import { whyNoReverse } from '#schemas/mapping/reverse/derive-reverse.ts';
import type { Gate } from '#schemas/migration/gate.ts';
import { lastProof } from '#schemas/migration/last-proof.ts';
import { signoffGates } from '#schemas/migration/signoff-gates.ts';
import { personOf, readSubject, sign, type Subject } from './approvals/signed-subject.ts';
import type { CommandContext, CommandSpec, Outcome } from './command.ts';
import { targetOption } from './migration-input.ts';
import { loadSignedTarget, planOption } from './plan/signed-plan.ts';

export const signoffCommand: CommandSpec = {
  name: 'signoff',
  about: 'End the migration: the target stays. After it there is no rollback.',
  examples: [['crossfade signoff --as "Ada Lovelace" --confirm shop', 'exit 10 while others have to sign too']],
  configure: (command) => {
    planOption(command);
    targetOption(command);
    command
      .option('--as <name>', 'who signs')
      .option('--confirm <name>', "the migration's name, typed by hand")
      .option('--reason <text>', 'recorded beside it');
  },
  run,
};

async function run(context: CommandContext): Promise<Outcome> {
  const person = personOf(context, 'signoff');
  const { file } = await loadSignedTarget(context);
  if (context.options.text('confirm') !== file.name) {
    throw new PipelineError('CF-1007', 'after a sign-off there is no rollback: it has to be confirmed', {
      remedy: `Type the migration's name: crossfade signoff --as "${person}" --confirm ${file.name}`,
    });
  }
  const reason = context.options.text('reason');
  const before = await readSubject(file, 'signoff');
  if ((await readState(before.url, file.name))?.state === 'signed-off') return done(before, [], 'was signed off before');
  // A signature on what cannot be signed off yet would wait for the wrong moment.
  const shut = (await gatesOf(before)).filter(({ gate, isOpen }) => !isOpen && (gate === 'state' || gate === 'verify'));
  if (shut.length > 0) return closed(before, shut);
  await sign(before, { subject: 'signoff', person, reason });
  const after = await readSubject(file, 'signoff');
  const gates = await gatesOf(after);
  if (gates.some(({ isOpen }) => !isOpen)) return closed(after, gates);
  await signOff(after, person, reason);
  return done(after, gates, 'is signed off: the target stays, and there is no rollback any more');
}

function done({ file, planHash }: Subject, gates: readonly Gate[], how: string): Outcome {
  return { summary: `${file.name} ${how}`, result: { name: file.name, signedOff: true, plan: planHash, gates } };
}

async function gatesOf({ file, url, approvals, planHash }: Subject): Promise<Gate[]> {
  const proof = lastProof(await readAudit(url, file.name));
  const row = await readState(url, file.name);
  return signoffGates({ row, required: file.approvals, approvals, planHash, proof, nowMs: Date.now(), noWayBack: whyNoReverse(file) });
}

async function signOff({ file, url, planHash, approvals }: Subject, person: string, reason: string | undefined): Promise<void> {
  const lease = await takeMigrationLease({ url, name: file.name, holder: `crossfade signoff on ${hostname()}, process ${process.pid}` });
  try {
    const signed = approvals.filter((one) => one.subject === 'signoff' && one.planHash === planHash).map((one) => one.person);
    await lease.apply('signed-off', {
      actor: person,
      planHash,
      details: { plan: planHash, signed, ...(reason !== undefined && { reason }) },
    });
  } finally {
    await lease.release();
  }
}

function closed({ file, planHash }: Subject, gates: readonly Gate[]): Outcome {
  const shut = gates.filter(({ isOpen }) => !isOpen);
  const code = shut.some(({ gate }) => gate === 'state' || gate === 'verify') ? 'CF-8002' : 'CF-8004';
  const message = `${file.name} is not signed off: ${shut.map(({ gate, evidence }) => `${gate}: ${evidence}`).join('; ')}`;
  return {
    summary: message,
    result: { name: file.name, signedOff: false, plan: planHash, gates },
    error: new PipelineError(code, message, { remedy: shut[0]!.remedy }),
    findings: shut.map(({ gate, evidence, remedy }) => errorFinding(code, `gate ${gate}: ${evidence}`, remedy)),
  };
}
