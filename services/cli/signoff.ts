/**
 * `signoff`: a person ends the migration for good. Guarantee: the state moves only when the target serves and was observed for as long as the file asks (or somebody says why not), a comparison of the last day
 * found source and target equal, and everybody whom the file asks for has signed; from then on there is no rollback. Until then a signature is recorded, and the command tells who is missing.
 */
import { hostname } from 'node:os';
import { readAudit } from '#connectors/target/postgres/audit.ts';
import { takeMigrationLease } from '#connectors/target/postgres/migration-lease.ts';
import { readState } from '#connectors/target/postgres/migration-state.ts';
import { cutoverOf } from '#schemas/config/cutover-schema.ts';
import { PipelineError } from '#schemas/errors.ts';
import { errorFinding } from '#schemas/finding.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { deriveReverse, whyNoReverse } from '#schemas/mapping/reverse/derive-reverse.ts';
import { acceptedOneWay } from '#schemas/mapping/reverse/reverse-findings.ts';
import type { Gate } from '#schemas/migration/gate.ts';
import { lastProof } from '#schemas/migration/last-proof.ts';
import { lastCutover } from '#schemas/migration/observed-time.ts';
import { signoffGates } from '#schemas/migration/signoff-gates.ts';
import { type MappingFit, readFit } from './catalogs.ts';
import { personOf, readSubject, sign, type Subject } from './approvals/signed-subject.ts';
import type { CommandContext, CommandSpec, Outcome } from './command.ts';
import { targetOption, waveOption } from './migration-input.ts';
import { loadSignedTarget, planOption } from './plan/signed-plan.ts';

export const signoffCommand: CommandSpec = {
  name: 'signoff',
  about: 'End the migration: the target stays. After it there is no rollback.',
  examples: [
    ['crossfade signoff --as "Ada Lovelace" --confirm shop', 'exit 10 while others have to sign too'],
    ['crossfade signoff --as "Ada Lovelace" --confirm shop --early "nobody works here until Monday"', 'before the end of observe:'],
  ],
  configure: (command) => {
    planOption(command);
    targetOption(command);
    command
      .option('--as <name>', 'who signs')
      .option('--confirm <name>', "the migration's name, typed by hand")
      .option('--reason <text>', 'recorded beside it')
      .option('--early <why>', 'sign before the time of observe: is over, and say why; recorded beside it');
  },
  run,
};

async function run(context: CommandContext): Promise<Outcome> {
  const person = personOf(context, 'signoff');
  const { file } = await loadSignedTarget(context);
  if (context.options.text('confirm') !== file.name) {
    throw new PipelineError('CF-1007', 'after a sign-off there is no rollback: it has to be confirmed', {
      remedy: `Type the migration's name: crossfade signoff${waveOption(file)} --as "${person}" --confirm ${file.name}`,
    });
  }
  const reason = context.options.text('reason');
  const before = await readSubject(file, 'signoff');
  if ((await readState(before.url, file.name))?.state === 'signed-off') return done(before, [], 'was signed off before');
  // A signature on what cannot be signed off yet would wait for the wrong moment.
  const early = context.options.text('early');
  const shut = (await gatesOf(before, early)).filter(({ gate, isOpen }) => !isOpen && FACTS.has(gate));
  if (shut.length > 0) return closed(before, shut);
  await sign(before, { subject: 'signoff', person, reason });
  const after = await readSubject(file, 'signoff');
  const gates = await gatesOf(after, early);
  if (gates.some(({ isOpen }) => !isOpen)) return closed(after, gates);
  await signOff(after, { person, reason, early });
  return done(after, gates, 'is signed off: the target stays, and there is no rollback any more');
}

function done({ file, planHash }: Subject, gates: readonly Gate[], how: string): Outcome {
  return { summary: `${file.name} ${how}`, result: { name: file.name, signedOff: true, plan: planHash, gates } };
}

/** Gates that no signature opens. */
const FACTS: ReadonlySet<string> = new Set(['state', 'observed', 'verify']);

async function gatesOf({ file, url, approvals, planHash }: Subject, early: string | undefined): Promise<Gate[]> {
  const audit = await readAudit(url, file.name);
  const row = await readState(url, file.name);
  return signoffGates({
    row,
    required: file.approvals,
    approvals,
    planHash,
    proof: lastProof(audit),
    nowMs: Date.now(),
    noWayBack: await whyNothingGoesBack(file),
    observed: file.observe && { forMs: file.observe.forMs, since: lastCutover(audit)?.at, early },
  });
}

async function whyNothingGoesBack(file: MigrationFile): Promise<string | undefined> {
  return whyNoReverse(file) ?? whyAllIsOneWay(file, await readFit(file));
}

/** Of each table by itself, which the cut-over had accepted. A way back that merely cannot be derived excuses nobody from the comparison. */
export function whyAllIsOneWay(file: MigrationFile, { mapping, source, target }: MappingFit): string | undefined {
  return target === undefined ? undefined : acceptedOneWay(deriveReverse(file, mapping, { source, target }), cutoverOf(file).accept);
}

interface Signing {
  readonly person: string;
  readonly reason: string | undefined;
  readonly early: string | undefined;
}

async function signOff({ file, url, planHash, approvals }: Subject, { person, reason, early }: Signing): Promise<void> {
  const lease = await takeMigrationLease({ url, name: file.name, holder: `crossfade signoff on ${hostname()}, process ${process.pid}` });
  try {
    const signed = approvals.filter((one) => one.subject === 'signoff' && one.planHash === planHash).map((one) => one.person);
    await lease.apply('signed-off', {
      actor: person,
      planHash,
      details: { plan: planHash, signed, ...(reason !== undefined && { reason }), ...(early !== undefined && { early }) },
    });
  } finally {
    await lease.release();
  }
}

function closed({ file, planHash }: Subject, gates: readonly Gate[]): Outcome {
  const shut = gates.filter(({ isOpen }) => !isOpen);
  const code = shut.some(({ gate }) => FACTS.has(gate)) ? 'CF-8002' : 'CF-8004';
  const message = `${file.name} is not signed off: ${shut.map(({ gate, evidence }) => `${gate}: ${evidence}`).join('; ')}`;
  return {
    summary: message,
    result: { name: file.name, signedOff: false, plan: planHash, gates },
    error: new PipelineError(code, message, { remedy: shut[0]!.remedy }),
    findings: shut.map(({ gate, evidence, remedy }) => errorFinding(code, `gate ${gate}: ${evidence}`, remedy)),
  };
}
