/**
 * One backup: taken, verified, and in its place. Guarantee: the file of the last good one is replaced only by one that was verified; it is readable by its owner
 * alone; no secret of its URL stands in a command line.
 */
import { chmod, open, rename, rm, stat } from 'node:fs/promises';
import { devNull } from 'node:os';
import type { BackupEntry } from '#schemas/config/migration-file.ts';
import { messageOf, PipelineError } from '#schemas/errors.ts';
import { listNames } from '#schemas/finding.ts';
import { dumpVersion, tablesNotIn, whyNotDumped } from '#schemas/migration/backup.ts';
import { isSecretParameter } from '#schemas/url-secrets.ts';
import { type ProgramRun, runProgram } from './run-program.ts';

export interface BackupJob {
  readonly entry: BackupEntry;
  readonly url: string;
  /** As PostgreSQL has it in numbers. */
  readonly serverVersion: number;
  /** Plain tables of the migration on that side: of each the dump must hold rows. */
  readonly tables: readonly { readonly schema: string; readonly name: string }[];
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly signal: AbortSignal;
}

export interface TakenBackup {
  readonly by: string;
  readonly file?: string;
  readonly bytes?: number;
  readonly takenMs: number;
  readonly verifiedMs: number;
}

/** @throws PipelineError CF-8601 (it failed, or is not whole), CF-8603 (no pg_dump that can) */
export async function takeBackup(job: BackupJob): Promise<TakenBackup> {
  const { entry, url } = job;
  const by = entry.command === undefined ? `pg_dump ${await usableDump(job)}` : 'a command of the file';
  const part = entry.file === undefined ? undefined : `${entry.file}.part`;
  if (part !== undefined) await makePrivate(part);
  const { bare, password } = withoutSecrets(url);
  const environment = {
    ...job.environment,
    CROSSFADE_BACKUP_URL: bare,
    ...(password !== '' && { PGPASSWORD: password }),
    ...(part !== undefined && { CROSSFADE_BACKUP_FILE: part }),
  };
  const run = async (command: readonly string[]): Promise<ProgramRun> =>
    runProgram(command, { environment, timeoutMs: entry.timeoutMs, signal: job.signal });
  const taken = await run(entry.command ?? ['pg_dump', '--format=custom', '--no-password', `--file=${part!}`, `--dbname=${bare}`]);
  if (!taken.ok) {
    if (part !== undefined) await rm(part, { force: true });
    throw new PipelineError('CF-8601', `the ${entry.of} was not saved: ${taken.said}`);
  }
  const verifiedMs = await verify({ ...job, part }, run);
  const size = part === undefined ? undefined : await stat(part).catch(() => undefined);
  if (part !== undefined && size !== undefined) await rename(part, entry.file!);
  return {
    by,
    takenMs: taken.ms,
    verifiedMs,
    ...(entry.file !== undefined && size !== undefined && { file: entry.file, bytes: size.size }),
  };
}

/** Its version. @throws PipelineError CF-8603 */
async function usableDump({ serverVersion, environment, signal }: BackupJob): Promise<string> {
  const printed = await askDump(environment, signal);
  const why = whyNotDumped(printed, serverVersion);
  if (why !== undefined) throw new PipelineError('CF-8603', why);
  return dumpVersion(printed)!.text;
}

const ASK_MS = 10_000;

/** What pg_dump says it is. @throws PipelineError CF-8603 */
export async function askDump(environment: BackupJob['environment'], signal: AbortSignal): Promise<string> {
  const { ok, said, printed } = await runProgram(['pg_dump', '--version'], { environment, timeoutMs: ASK_MS, signal });
  if (!ok) throw new PipelineError('CF-8603', `pg_dump ${said}`);
  return printed.trim();
}

/** It holds rows of everybody: nobody else is to read it, from its first byte on. */
async function makePrivate(path: string): Promise<void> {
  try {
    await using handle = await open(path, 'w', 0o600);
    await handle.sync();
    await chmod(path, 0o600);
  } catch (error) {
    throw new PipelineError('CF-8601', `the backup cannot be written: ${messageOf(error)}`, { cause: error });
  }
}

/** Of its secrets only the password is given on: with a key that wants one, no session of ours could have asked the server anything. */
function withoutSecrets(url: string): { readonly bare: string; readonly password: string } {
  const parsed = new URL(url);
  const parts = parsed.search.slice(1).split('&');
  // As our own sessions read it: one in the query goes before one of the user.
  const inQuery = parts.map((part) => new URLSearchParams(part).get('password')).findLast((password) => password !== null);
  const password = inQuery || decodeURIComponent(parsed.password);
  parsed.password = '';
  // As text: written anew it would have + for blanks, which libpq does not know.
  parsed.search = parts.filter((part) => !isSecretParameter(part)).join('&');
  return { bare: parsed.href, password };
}

/** @returns milliseconds. @throws PipelineError CF-8601 */
async function verify(
  { entry, tables, part }: BackupJob & { readonly part: string | undefined },
  run: (command: readonly string[]) => Promise<ProgramRun>,
): Promise<number> {
  const failed = (why: string): PipelineError =>
    new PipelineError('CF-8601', `the backup of the ${entry.of} is not whole: ${why}`, {
      ...(part !== undefined && { remedy: `Look at it, and delete it: ${part}. Then run crossfade backup once more.` }),
    });
  let ms = 0;
  const must = async (command: readonly string[]): Promise<string> => {
    const { ok, said, printed, ms: took } = await run(command);
    ms += took;
    if (!ok) throw failed(said);
    return printed;
  };
  if (entry.command === undefined) {
    const missing = tablesNotIn(await must(['pg_restore', '--list', part!]), tables);
    if (missing.length > 0) throw failed(`it holds no rows of ${listNames(missing)}`);
    // Every block is read and unpacked.
    if (entry.verify === undefined) await must(['pg_restore', `--file=${devNull}`, part!]);
  }
  if (entry.verify !== undefined) await must(entry.verify);
  return ms;
}
