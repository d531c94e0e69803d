/**
 * CPU seconds and peak memory of processes, from /proc. Guarantee: a cluster's figure covers the postmaster, its live children and
 * those it has reaped; a reading that the platform does not give is undefined, never a guess.
 */
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';

/** USER_HZ: 100 on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;
const SAMPLE_EVERY_MS = 500;

export interface UsageGroup {
  readonly name: string;
  readonly kind: 'cluster' | 'process';
  /** Undefined while it is not running. */
  pid(): number | undefined;
  /** True when the process starts within the measurement, so that all its CPU counts. */
  readonly fresh: boolean;
}

export interface Usage {
  readonly name: string;
  readonly cpuSeconds: number | undefined;
  /** Process: peak resident set. Cluster: peak sum of private memory, shared buffers left out. */
  readonly peakMemoryMb: number | undefined;
}

export class UsageMeter {
  private readonly groups: readonly UsageGroup[];
  private readonly before = new Map<string, number>();
  private readonly peakKb = new Map<string, number>();
  private readonly timer: NodeJS.Timeout;

  constructor(groups: readonly UsageGroup[]) {
    this.groups = groups;
    for (const group of groups) {
      const pid = group.pid();
      if (group.fresh || pid === undefined) continue;
      this.before.set(group.name, cpuSeconds(pid) ?? 0);
      if (group.kind === 'process') resetPeak(pid);
    }
    this.timer = setInterval(() => this.sample(), SAMPLE_EVERY_MS);
  }

  stop(): readonly Usage[] {
    clearInterval(this.timer);
    this.sample();
    return this.groups.map((group) => {
      const pid = group.pid();
      const cpu = pid === undefined ? undefined : cpuSeconds(pid);
      const kb = this.peakKb.get(group.name);
      return {
        name: group.name,
        cpuSeconds: cpu === undefined ? undefined : cpu - (this.before.get(group.name) ?? 0),
        peakMemoryMb: kb === undefined ? undefined : kb / 1024,
      };
    });
  }

  private sample(): void {
    for (const group of this.groups) {
      const pid = group.pid();
      const kb = pid === undefined ? undefined : group.kind === 'process' ? statusKb(pid, 'VmHWM') : privateKb(pid);
      if (kb !== undefined) this.peakKb.set(group.name, Math.max(kb, this.peakKb.get(group.name) ?? 0));
    }
  }
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

function children(pid: number): readonly number[] {
  try {
    return readdirSync(`/proc/${pid}/task`).flatMap((task) =>
      (read(`/proc/${pid}/task/${task}/children`) ?? '').split(' ').filter(Boolean).map(Number),
    );
  } catch {
    return [];
  }
}

/** User and system seconds of a process, its reaped children and its live ones. */
export function cpuSeconds(pid: number): number | undefined {
  const own = ticks(pid);
  if (own === undefined) return undefined;
  return children(pid).reduce((sum, child) => sum + (ticks(child) ?? 0), own) / TICKS_PER_SECOND;
}

function ticks(pid: number): number | undefined {
  const stat = read(`/proc/${pid}/stat`);
  if (stat === undefined) return undefined;
  // The command name may hold spaces and parentheses: fields are counted after its last parenthesis.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return [11, 12, 13, 14].reduce((sum, index) => sum + Number(fields[index] ?? 0), 0);
}

function statusKb(pid: number, field: string): number | undefined {
  const match = new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(read(`/proc/${pid}/status`) ?? '');
  return match ? Number(match[1]) : undefined;
}

function privateKb(pid: number): number | undefined {
  const own = statusKb(pid, 'RssAnon');
  if (own === undefined) return undefined;
  return children(pid).reduce((sum, child) => sum + (statusKb(child, 'RssAnon') ?? 0), own);
}

function resetPeak(pid: number): void {
  try {
    writeFileSync(`/proc/${pid}/clear_refs`, '5');
  } catch {
    // Not Linux, or not ours: the peak then covers the process's whole life, which is only ever too high.
  }
}
