/**
 * What one of several targets was like when it was last taken over: DIR/target.NAME.json. Guarantee: whole or absent; it lets the others start
 * while this one is away, and is held against the target when that is back.
 */
import { readFileSync } from 'node:fs';
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Catalog } from '#schemas/table.ts';

export interface KeptTarget {
  /** Absent: Redis has none. */
  readonly catalog?: Catalog;
  /** Foreign keys are checked while we write. */
  readonly ordered: boolean;
}

const OWNER_ONLY = 0o600;

function pathOf(dataDir: string, name: string): string {
  return join(dataDir, `target.${name}.json`);
}

export async function keepTarget(dataDir: string, name: string, kept: KeptTarget): Promise<void> {
  await mkdir(dataDir, { recursive: true });
  const path = pathOf(dataDir, name);
  const aside = `${path}.${process.pid}`;
  await writeFile(aside, JSON.stringify(kept), { mode: OWNER_ONLY });
  await rename(aside, path);
}

/** Undefined when it was never taken over from here. */
export function readKeptTarget(dataDir: string, name: string): KeptTarget | undefined {
  try {
    return JSON.parse(readFileSync(pathOf(dataDir, name), 'utf8')) as KeptTarget;
  } catch {
    return undefined;
  }
}
