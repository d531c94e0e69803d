/**
 * Killing a server as a crash would. Guarantee: `killCluster` leaves no process of that postmaster alive (backends are sessions of
 * their own, so a process-group signal does not reach them), and after `releaseSharedMemory` none of its System V memory is left.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** A zombie counts as dead: in a container nobody may ever collect it. */
export function isAlive(pid: number): boolean {
  if (statOf(pid)?.[0] === 'Z') return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** The processes killed; wait until none is alive before starting on the same data directory. */
export function killCluster(postmaster: number): readonly number[] {
  signal(postmaster, 'SIGSTOP'); // no new backend between the listing and the kill
  const all = [postmaster, ...childrenOf(postmaster)];
  for (const pid of all) signal(pid, 'SIGKILL');
  return all;
}

/**
 * A killed postmaster leaves its System V segment behind, until a server starts on the same data directory. A cluster that is to be
 * removed must give it back here: the kernel has 4096 for the whole machine, and no server starts without one.
 * Without `ipcrm` on the machine the segment stays.
 */
export function releaseSharedMemory(dataDir: string): void {
  const file = join(dataDir, 'postmaster.pid');
  if (!existsSync(file)) return; // ended in order
  const id = /^\s*\d+\s+(\d+)\s*$/.exec(readFileSync(file, 'utf8').split('\n')[6] ?? '')?.[1]; // line 7: key and id
  if (id === undefined) return;
  try {
    execFileSync('ipcrm', ['-m', id], { stdio: 'ignore' });
  } catch {
    // none such on this machine, or the segment is gone
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // gone already
  }
}

function childrenOf(parent: number): number[] {
  if (!existsSync('/proc/self/stat')) {
    const lines = execFileSync('ps', ['-axo', 'pid=,ppid='], { encoding: 'utf8' }).trim().split('\n');
    return lines
      .map((line) => line.trim().split(/\s+/).map(Number))
      .flatMap(([pid, ppid]) => (pid !== undefined && ppid === parent ? [pid] : []));
  }
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => Number(statOf(pid)?.[1]) === parent);
}

/** Linux: the process's fields from its state on. */
function statOf(pid: number): readonly string[] | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' '); // the name in parentheses may hold anything
  } catch {
    return undefined;
  }
}
