/**
 * Whom the servers run as. Guarantee: never root (PostgreSQL refuses it), and every directory handed out can be reached by that user.
 */
import { chownSync, existsSync, mkdirSync, mkdtempSync, readFileSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { invariant } from '#schemas/errors.ts';

export interface User {
  readonly uid: number;
  readonly gid: number;
}

/** The user to run servers as; undefined when it is simply ours. */
export function serverUser(): User | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const users = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'))
    .filter((fields) => Number(fields[2]) > 0);
  const chosen = users.find((fields) => fields[0] === 'nobody') ?? users[0];
  invariant(chosen !== undefined, 'running as root, and no other user exists to run PostgreSQL as');
  return { uid: Number(chosen[2]), gid: Number(chosen[3]) };
}

/** True when `user` may pass through every directory above `path` and read it (execute it, if we may). */
export function isReachable(path: string, user: User | undefined): boolean {
  if (user === undefined) return true;
  const bits = (at: string): number => {
    const stat = statSync(at);
    if (stat.uid === user.uid) return stat.mode >> 6;
    return stat.gid === user.gid ? stat.mode >> 3 : stat.mode;
  };
  for (let above = dirname(path); ; above = dirname(above)) {
    if ((bits(above) & 1) === 0) return false;
    if (above === dirname(above)) break;
  }
  return (bits(path) & 4) !== 0;
}

/** A temporary root which the server's user can reach: TMPDIR may be somebody's private one. */
function temporaryRoot(user: User | undefined): string {
  const root = [tmpdir(), '/tmp', '/var/tmp'].find((at) => existsSync(at) && isReachable(join(at, '.'), user));
  invariant(root !== undefined, 'no temporary directory that the server user can reach');
  return root;
}

/** A directory kept between runs, ours alone to write, everybody's to read. */
export function cacheDirectory(user: User | undefined): string {
  const own = process.getuid?.() ?? 0;
  const path = join(temporaryRoot(user), `crossfade-cache-${own}`);
  mkdirSync(path, { recursive: true, mode: 0o755 });
  // Somebody else's directory of that name in a shared /tmp must not feed us binaries.
  return statSync(path).uid === own ? path : newDirectory('crossfade-cache-', user);
}

/** A new empty directory that belongs to the server's user. */
export function newDirectory(prefix: string, user: User | undefined): string {
  const path = mkdtempSync(join(temporaryRoot(user), prefix));
  if (user !== undefined) chownSync(path, user.uid, user.gid);
  return path;
}
