/**
 * Where a running instance says how to reach it: DIR/instance.json. Guarantee: the file is whole or absent (written aside, then
 * renamed), readable by its owner only, and removed by the instance that wrote it, never by another.
 */
import { randomBytes } from 'node:crypto';
import { chmod, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';

const instanceSchema = z.strictObject({
  url: z.url(),
  token: z.string().min(1),
  pid: z.int().positive(),
});
export type Instance = z.infer<typeof instanceSchema>;

const FILE = 'instance.json';
const TOKEN_FILE = 'token';
const OWNER_ONLY = 0o600;

export async function writeInstance(dataDir: string, instance: Instance): Promise<void> {
  await writeWhole(join(dataDir, FILE), `${JSON.stringify(instance)}\n`);
}

/** Undefined when there is none, or what is there was not written by us. */
export async function readInstance(dataDir: string): Promise<Instance | undefined> {
  const text = await readOrNothing(join(dataDir, FILE));
  if (text === undefined) return undefined;
  try {
    return instanceSchema.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}

/** Removes the file if `pid` wrote it: a successor's must stay. */
export async function removeInstance(dataDir: string, pid: number): Promise<void> {
  const found = await readInstance(dataDir);
  if (found?.pid === pid) await rm(join(dataDir, FILE), { force: true });
}

/** `CROSSFADE_TOKEN`, else the data directory's own token, made at first need and the same at every start. */
export async function instanceToken(dataDir: string, environment: Readonly<Record<string, string | undefined>>): Promise<string> {
  const given = environment['CROSSFADE_TOKEN'];
  if (given !== undefined && given !== '') return given;
  const path = join(dataDir, TOKEN_FILE);
  const kept = (await readOrNothing(path))?.trim();
  if (kept !== undefined && kept !== '') return kept;
  const token = randomBytes(32).toString('base64url');
  await writeWhole(path, `${token}\n`);
  return token;
}

async function writeWhole(path: string, text: string): Promise<void> {
  await mkdir(join(path, '..'), { recursive: true });
  const aside = `${path}.${process.pid}`;
  await writeFile(aside, text, { mode: OWNER_ONLY });
  // The mode above counts only for a new file; a left-over of a crash keeps its own.
  await chmod(aside, OWNER_ONLY);
  await rename(aside, path);
}

async function readOrNothing(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
