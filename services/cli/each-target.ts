/** A command for each of several targets. Guarantee: one answer, which fails when it does for any of them, and tells each one's own. */
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import type { Outcome } from './command.ts';

/** With one target its outcome is the answer. */
export async function eachTarget(targets: readonly MigrationFile[], run: (file: MigrationFile) => Promise<Outcome>): Promise<Outcome> {
  const [only] = targets;
  if (targets.length === 1) return run(only!);
  const outcomes: { readonly name: string; readonly outcome: Outcome }[] = [];
  for (const file of targets) outcomes.push({ name: file.targetName!, outcome: await run(file) });
  const error = outcomes.find(({ outcome }) => outcome.error !== undefined)?.outcome.error;
  const told = outcomes.filter(({ outcome }) => outcome.summary !== '');
  return {
    summary: told.map(({ name, outcome }) => `${name}: ${outcome.summary}`).join('; '),
    result: { targets: outcomes.map(({ name, outcome }) => ({ targetName: name, ...(outcome.result as object) })) },
    findings: outcomes.flatMap(({ name, outcome }) =>
      (outcome.findings ?? []).map((finding) => ({ ...finding, message: `${name}: ${finding.message}` })),
    ),
    text: outcomes.map(({ outcome }) => outcome.text ?? '').join('\n'),
    ...(error !== undefined && { error }),
  };
}
