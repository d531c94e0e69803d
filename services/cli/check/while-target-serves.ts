/** What a lost slot means while the target serves. Guarantee: nobody is told to give up a target that applications write to. */
import type pg from 'pg';
import { readStateRow } from '#connectors/target/postgres/migration-state.ts';
import type { MigrationFile } from '#schemas/config/migration-file.ts';
import type { Finding } from '#schemas/errors.ts';
import { warningFinding } from '#schemas/finding.ts';

/** `found` on the source; `target`: absent where there is none to ask. */
export async function whileTargetServes(
  { name, targets, settings }: MigrationFile,
  target: pg.Client | undefined,
  found: readonly Finding[],
): Promise<readonly Finding[]> {
  const isLost = ({ code, severity }: Finding): boolean => code === 'CF-2004' && severity === 'error';
  if (target === undefined || targets !== undefined || settings.log.kafka !== undefined || !found.some(isLost)) return found;
  if ((await readStateRow(target, name))?.state !== 'observing') return found;
  return found.map((finding) => (isLost(finding) ? warningFinding(finding.code, finding.message, REMEDY) : finding));
}

const REMEDY =
  'The target serves, and has it all: crossfade up fences the source where that is needed, and begins the way from it anew (docs/cutover.md).';
