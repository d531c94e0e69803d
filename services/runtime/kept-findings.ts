/**
 * What the running comparison found of a target that has no tables of ours (Redis): DIR/findings.json, or findings.TARGET.json. Guarantee: whole or absent,
 * readable by its owner only (it names keys); every finding that is open is in it, and of the ended ones the last thousand.
 */
import { readFileSync } from 'node:fs';
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type DriftFinding, OPEN_STATES } from '#schemas/reconcile/drift-finding.ts';

const OWNER_ONLY = 0o600;
const ENDED_MAX = 1_000;

function pathOf(dataDir: string, target: string | undefined): string {
  return join(dataDir, target === undefined ? 'findings.json' : `findings.${target}.json`);
}

/** The oldest first. None where nothing was kept. @param target One of several. */
export function readKeptFindings(dataDir: string, target?: string): readonly DriftFinding[] {
  let text: string;
  try {
    text = readFileSync(pathOf(dataDir, target), 'utf8');
  } catch (error) {
    if ((error as { readonly code?: string }).code === 'ENOENT') return [];
    throw error;
  }
  return JSON.parse(text) as DriftFinding[];
}

export function openKeptFindings(dataDir: string, target?: string): readonly DriftFinding[] {
  return readKeptFindings(dataDir, target).filter(({ state }) => OPEN_STATES.has(state));
}

/** Findings as they are now; those of before that are not among them stay. */
export async function keepFindings(dataDir: string, findings: readonly DriftFinding[], target?: string): Promise<void> {
  if (findings.length === 0) return;
  const all = new Map(readKeptFindings(dataDir, target).map((one) => [idOf(one), one]));
  for (const one of findings) all.set(idOf(one), one);
  const ended = [...all.values()].filter(({ state }) => !OPEN_STATES.has(state));
  for (const one of ended.slice(0, Math.max(0, ended.length - ENDED_MAX))) all.delete(idOf(one));
  await mkdir(dataDir, { recursive: true });
  const path = pathOf(dataDir, target);
  const aside = `${path}.${process.pid}`;
  await writeFile(aside, JSON.stringify([...all.values()]), { mode: OWNER_ONLY, flush: true }); // before the name is its: whole after a power cut, too
  await rename(aside, path);
}

/** A row that differs again later is another finding. */
function idOf({ id, steps }: DriftFinding): string {
  return JSON.stringify([id, steps[0]!.atMs]);
}
