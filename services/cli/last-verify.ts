/**
 * What the last verify found, for repair: DIR/last-verify.json. Guarantee: whole or absent, readable by its owner only (it names keys),
 * and read back only when it has the shape that verify gives.
 */
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { VerifyResult } from '#schemas/reconcile/verify-result.ts';

const FILE = 'last-verify.json';

const verdict = z.looseObject({
  from: z.string(),
  to: z.string(),
  missing: z.number(),
  extra: z.number(),
  different: z.number(),
  sample: z.array(z.looseObject({ sourceKey: z.array(z.string()).exactOptional() })),
});
const schema = z.looseObject({ at: z.looseObject({ lsn: z.string().nullable() }), tables: z.array(verdict), differences: z.number(), inconclusive: z.number() });

export async function storeLastVerify(dataDir: string, result: VerifyResult): Promise<void> {
  await mkdir(dataDir, { recursive: true });
  const path = join(dataDir, FILE);
  const aside = `${path}.${process.pid}`;
  await writeFile(aside, JSON.stringify(result), { mode: 0o600 });
  await rename(aside, path);
}

/** Undefined when none was stored. */
export async function readLastVerify(dataDir: string): Promise<VerifyResult | undefined> {
  let text: string;
  try {
    text = await readFile(join(dataDir, FILE), 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  const parsed = schema.safeParse(JSON.parse(text));
  return parsed.success ? (parsed.data as unknown as VerifyResult) : undefined;
}
