/**
 * `verify` of a file with several targets. Guarantee: each is compared by itself, and the whole is clean only when every one of them was
 * compared and is equal: a target that verify cannot read is inconclusive, not passed over.
 */
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import { type Finding, messageOf, PipelineError } from '#schemas/errors.ts';
import { warningFinding } from '#schemas/finding.ts';
import { formatLsn, minLsn, parseLsn } from '#schemas/lsn.ts';
import type { VerifyResult } from '#schemas/reconcile/verify-result.ts';
import type { CommandContext, Outcome } from './command.ts';
import { formatCount } from './render.ts';

export interface VerifyTargets {
  readonly context: CommandContext;
  /** @throws PipelineError CF-1008 where it has no such table, CF-5001 where it cannot be reached */
  readonly verify: (target: MigrationFile) => Promise<VerifyResult>;
  /** As of the only target. */
  readonly outcomeOf: (result: VerifyResult) => Outcome;
}

/** The target's verdict, or why there is none. */
type Verdict = { readonly name: string } & (
  | { readonly result: VerifyResult; readonly outcome: Outcome }
  | { readonly error: PipelineError }
);

export async function verifyTargets(targets: readonly MigrationFile[], { context, verify, outcomeOf }: VerifyTargets): Promise<Outcome> {
  const named = context.options.texts('table').length > 0;
  const verdicts: Verdict[] = [];
  let unknown: unknown;
  for (const file of targets) {
    const name = file.targetName!;
    try {
      const result = await verify(file);
      verdicts.push({ name, result, outcome: outcomeOf(result) });
    } catch (error) {
      const code = error instanceof PipelineError ? error.code : undefined;
      // A table that was named may be another target's.
      if (named && code === 'CF-1008') unknown ??= error;
      // Without a verdict: of none of its tables is anything known.
      else if (error instanceof PipelineError && error.code === 'CF-5001') verdicts.push({ name, error });
      else throw error;
    }
  }
  if (verdicts.length === 0) throw unknown;
  return together(verdicts);
}

function together(verdicts: readonly Verdict[]): Outcome {
  const results = verdicts.flatMap((one) => ('result' in one ? [one.result] : []));
  const differences = results.reduce((sum, one) => sum + one.differences, 0);
  const open = verdicts.reduce((sum, one) => sum + ('result' in one ? one.result.inconclusive : 1), 0);
  const findings = verdicts.flatMap((one): readonly Finding[] =>
    'result' in one ? (one.outcome.findings ?? []).map((finding) => ofTarget(one.name, finding)) : [notCompared(one.name, one.error)],
  );
  const lsns = results.map(({ at }) => at.lsn).filter((lsn) => lsn !== null);
  const result = {
    at: { lsn: lsns.length < verdicts.length ? null : formatLsn(lsns.map(parseLsn).reduce(minLsn)) },
    tables: verdicts.flatMap((one) => ('result' in one ? one.result.tables.map((table) => ({ ...table, target: one.name })) : [])),
    differences,
    inconclusive: open,
    checks: verdicts.flatMap((one) => ('result' in one ? (one.result.checks ?? []).map((check) => ({ ...check, target: one.name })) : [])),
    ...(results.some(({ shadow }) => shadow !== undefined) && {
      shadow: verdicts.flatMap((one) =>
        'result' in one ? (one.result.shadow ?? []).map((query) => ({ ...query, target: one.name })) : [],
      ),
    }),
    targets: verdicts.map((one) =>
      'result' in one
        ? { name: one.name, at: one.result.at, differences: one.result.differences, inconclusive: one.result.inconclusive }
        : {
            name: one.name,
            at: { lsn: null },
            differences: 0,
            inconclusive: 1,
            error: { code: one.error.code, message: one.error.message },
          },
    ),
  };
  const summary = verdicts.map((one) => `${one.name}: ${'result' in one ? one.outcome.summary : one.error.message}`).join('; ');
  const text = verdicts.map((one) => ('result' in one ? `${one.name}\n${one.outcome.text ?? ''}` : '')).join('\n');
  const shape = { result, findings, text, summary };
  if (differences > 0) return { ...shape, error: new PipelineError('CF-6001', `${formatCount(differences)} rows differ. ${summary}`) };
  const codes = verdicts.flatMap((one) => ('outcome' in one ? (one.outcome.error?.code ?? []) : []));
  const drift = (['CF-6020', 'CF-6021'] as const).find((code) => codes.includes(code));
  if (drift !== undefined) return { ...shape, error: new PipelineError(drift, summary) };
  return open > 0 || codes.includes('CF-6002') ? { ...shape, error: new PipelineError('CF-6002', summary) } : shape;
}

function ofTarget(name: string, finding: Finding): Finding {
  const remedy = finding.remedy?.replace(/^(crossfade (?:repair|dlq)\b.*)$/, `$1 --target ${name}`);
  return { ...finding, message: `${name}: ${finding.message}`, ...(remedy !== undefined && { remedy }) };
}

function notCompared(name: string, error: PipelineError): Finding {
  return warningFinding('CF-6002', `${name}: ${messageOf(error)}`, error.remedy);
}
