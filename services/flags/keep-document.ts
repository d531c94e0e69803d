/** The last known flags in the data directory: DIR/flags.json. Guarantee: whole or absent; only used until the target has answered. */
import { readFileSync } from 'node:fs';
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { FlagDocument } from '#schemas/flags/flag-document.ts';
import { flagDocumentSchema } from '#schemas/flags/flag-schema.ts';

const OWNER_ONLY = 0o600;

function pathOf(dataDir: string): string {
  return join(dataDir, 'flags.json');
}

/** Undefined where there is none, or none of this migration. */
export function readKeptFlags(dataDir: string, name: string): FlagDocument | undefined {
  try {
    const document = flagDocumentSchema.parse(JSON.parse(readFileSync(pathOf(dataDir), 'utf8')));
    return document.name === name ? document : undefined;
  } catch {
    return undefined;
  }
}

export async function keepFlags(dataDir: string, document: FlagDocument): Promise<void> {
  await mkdir(dataDir, { recursive: true });
  const aside = `${pathOf(dataDir)}.${process.pid}`;
  await writeFile(aside, JSON.stringify(document), { mode: OWNER_ONLY });
  await rename(aside, pathOf(dataDir));
}
