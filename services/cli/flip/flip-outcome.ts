/** What a flip came to, for people and for scripts. Guarantee: exit 0 only when it is done; closed gates are all told, each with what to do. */
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { PipelineError } from '#schemas/errors.ts';
import { listNames, warningFinding } from '#schemas/finding.ts';
import type { ReverseDerivation } from '#schemas/mapping/reverse/derive-reverse.ts';
import type { FlipOutcome } from '#services/control/flip/engine.ts';
import { type FlipKind, flipTo, type GateResult } from '#services/control/flip/ports.ts';
import type { StepReport } from '#services/control/flip/step-log.ts';
import type { Outcome } from '../command.ts';
import type { Paint } from '../paint.ts';
import { renderTable } from '../render.ts';

export interface FlipAsked {
  readonly kind: FlipKind;
  readonly file: MigrationFile;
  readonly reverse: ReverseDerivation;
}

const ACT = { cutover: 'cut-over', rollback: 'rollback' } as const;

export function describeStep({ step, ms, note, error }: StepReport, paint: Paint): string {
  const sign = error === undefined ? paint.green('✓') : paint.red('✗');
  const said = error ?? note;
  return `${sign} ${step.padEnd(13)} ${formatMs(ms).padStart(8)}${said === undefined ? '' : `  ${said}`}`;
}

function formatMs(ms: number): string {
  return ms < 10_000 ? `${Math.round(ms)} ms` : `${Math.round(ms / 1000)} s`;
}

export function flipOutcome(outcome: FlipOutcome, asked: FlipAsked, paint: Paint): Outcome {
  const { file, kind } = asked;
  const act = ACT[kind];
  const steps = outcome.steps.map(({ step, ms, note }) => ({ step, ms: Math.round(ms), ...(note !== undefined && { note }) }));
  const recovered = outcome.recovered && { recovered: { ...outcome.recovered, epoch: String(outcome.recovered.epoch) } };
  if (outcome.outcome === 'already') {
    const { serves } = outcome;
    return { summary: `${file.name}: the ${serves} serves already`, result: { outcome: 'already', serves, steps, ...recovered } };
  }
  const gates = outcome.gates.map(({ gate, state, evidence }) => ({ gate, state, evidence }));
  const findings = outcome.gates.flatMap(({ finding }) => finding ?? []);
  const text = renderGates(outcome.gates, paint);
  if (outcome.outcome === 'closed') {
    const closed = outcome.gates.filter(({ state }) => state === 'closed').map(({ gate }) => gate);
    const summary = `${file.name}: the ${act} waits for ${listNames(closed)}; nothing was begun`;
    return {
      summary,
      result: { outcome: 'closed', gates, steps, ...recovered },
      findings,
      text,
      error: new PipelineError('CF-8310', summary),
    };
  }
  if (outcome.outcome === 'planned') {
    const summary = `${file.name}: all gates of the ${act} are open`;
    return { summary, result: { outcome: 'planned', gates, steps, ...recovered }, findings, text: `${text}\n${plannedSteps(asked)}` };
  }
  const { serves, blockMs, epoch, certificate, warnings } = outcome;
  const result = { outcome: outcome.outcome, serves, epoch: String(epoch), blockMs, certificate, gates, steps, ...recovered };
  const told = [...findings, ...warnings.map((message) => warningFinding('CF-8311', message))];
  if (outcome.outcome === 'drilled') {
    const summary = `${file.name}: drill of the ${act} done; writes were blocked for ${blockMs} ms, and go on at the ${serves}`;
    return { summary, result, findings: told, text: `Next: crossfade ${kind}${kind === 'cutover' ? ` --confirm ${file.name}` : ''}\n` };
  }
  const summary = `${file.name}: the ${serves} serves (epoch ${epoch}); writes were blocked for ${blockMs} ms`;
  return { summary, result, findings: told, text: nextSteps(asked) };
}

function renderGates(gates: readonly GateResult[], paint: Paint): string {
  const colour = { open: paint.green, closed: paint.red, skipped: paint.dim };
  return renderTable(
    ['gate', 'state', 'evidence'],
    gates.map(({ gate, state, evidence }) => [gate, colour[state](state), evidence]),
  );
}

function plannedSteps({ kind, file }: FlipAsked): string {
  const to = flipTo(kind);
  const { before = [], after = [] } = file.cutover?.hooks ?? {};
  const hooks = (list: readonly { readonly name: string }[]): string =>
    list.length === 0 ? 'none' : list.map(({ name }) => name).join(', ');
  return [
    'What would be done:',
    `  hooks that may veto: ${hooks(before)}`,
    '  both sides compared whole, while writes go on',
    `  writers wait: tables locked, all changes brought to the ${to}, what changed since compared again, sequences set`,
    `  decided: the ${to} serves; writers that still go elsewhere get SQLSTATE 25006`,
    `  flags, then hooks: ${hooks(after)}`,
    `Next: crossfade ${kind}${kind === 'cutover' ? ` --confirm ${file.name}` : ''}\n`,
  ].join('\n');
}

function nextSteps({ kind, file, reverse }: FlipAsked): string {
  if (kind === 'rollback') return 'Next: keep crossfade up running; the source serves as before, and the target follows it again.\n';
  const back =
    reverse.file === undefined
      ? 'There is no way back: the file says `reverse: off`.'
      : 'To go back without losing a write: crossfade rollback';
  return `${back}\nKeep crossfade up running and watch: crossfade status. When all is well: crossfade signoff --as "NAME" --confirm ${file.name}\n`;
}
