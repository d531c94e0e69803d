/**
 * What verify last found, table by table: DIR/last-verify.json, or last-verify.TARGET.json. Guarantee: whole or absent, readable by its owner only (it names keys),
 * and read back only when it has the shape that verify gives. A comparison of some tables replaces the verdicts of those only, one of
 * all of them everything: also what is told of tables that are no more in the file. So does one that was made the other way, since another side serves.
 */
import { readFileSync } from 'node:fs';
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { VerifyResult } from '#schemas/reconcile/verify-result.ts';

function fileOf(target: string | undefined): string {
  return target === undefined ? 'last-verify.json' : `last-verify.${target}.json`;
}

const OWNER_ONLY = 0o600;

const verdict = z.looseObject({
  from: z.string(),
  to: z.string(),
  missing: z.number(),
  extra: z.number(),
  different: z.number(),
  sample: z.array(z.looseObject({ sourceKey: z.array(z.string()).exactOptional() })),
});
const schema = z.looseObject({
  at: z.looseObject({ lsn: z.string().nullable() }),
  tables: z.array(verdict),
  differences: z.number(),
  inconclusive: z.number(),
  serves: z.literal('target').exactOptional(),
});

export interface Stored {
  readonly result: VerifyResult;
  /** One of several. */
  readonly target?: string | undefined;
  /** All tables of the file were compared. */
  readonly isWhole: boolean;
}

export async function storeLastVerify(dataDir: string, { result, target, isWhole }: Stored): Promise<void> {
  const before = isWhole ? undefined : readLastVerify(dataDir, target);
  // What was found while the other side served says nothing of this way.
  const whole = merge(before?.serves === result.serves ? before : undefined, result);
  await mkdir(dataDir, { recursive: true });
  const path = join(dataDir, fileOf(target));
  const aside = `${path}.${process.pid}`;
  await writeFile(aside, JSON.stringify(whole), { mode: OWNER_ONLY });
  await rename(aside, path);
}

function merge(before: VerifyResult | undefined, result: VerifyResult): VerifyResult {
  const pairOf = ({ from, to }: VerifyResult['tables'][number]): string => JSON.stringify([from, to]);
  const again = new Set(result.tables.map(pairOf));
  const tables = [...(before?.tables.filter((table) => !again.has(pairOf(table))) ?? []), ...result.tables];
  const { at, serves } = result;
  return {
    at,
    ...(serves !== undefined && { serves }),
    tables,
    differences: tables.reduce((sum, table) => sum + table.missing + table.extra + table.different, 0),
    inconclusive: tables.filter((table) => table.inconclusive !== undefined).length,
  };
}

/** Undefined when none was stored. */
export function readLastVerify(dataDir: string, target?: string): VerifyResult | undefined {
  try {
    const parsed = schema.safeParse(JSON.parse(readFileSync(join(dataDir, fileOf(target)), 'utf8')));
    return parsed.success ? (parsed.data as unknown as VerifyResult) : undefined;
  } catch {
    return undefined; // absent, or not what we wrote: verify again
  }
}

/** For status: rows that the last verify found different; null when none has run. */
export function lastDrift(dataDir: string, target?: string): number | null {
  return driftOf(readLastVerify(dataDir, target)) ?? null;
}

/** None found where something could not be compared is not none: unknown. */
export function driftOf(result: Pick<VerifyResult, 'differences' | 'inconclusive'> | undefined): number | undefined {
  if (result === undefined || (result.differences === 0 && result.inconclusive > 0)) return undefined;
  return result.differences;
}
