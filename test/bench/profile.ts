/** V8 CPU profiles in a few lines. Guarantee: self time by function over all threads of a process, idle time told apart. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
  }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

const LINES_MAX = 25;
/** Not work of ours: waiting, and the profiler's own start. */
const IDLE = new Set(['(idle)', '(program)']);

/** One text block for all profiles in a directory; undefined when there are none. */
export function summariseProfiles(directory: string): string | undefined {
  if (!existsSync(directory)) return undefined;
  const files = readdirSync(directory).filter((name) => name.endsWith('.cpuprofile'));
  const selfMs = new Map<string, number>();
  for (const name of files) addSelfTimes(selfMs, JSON.parse(readFileSync(join(directory, name), 'utf8')) as CpuProfile);
  if (selfMs.size === 0) return undefined;
  const busy = [...selfMs].filter(([name]) => !IDLE.has(name)).toSorted((a, b) => b[1] - a[1]);
  const total = busy.reduce((sum, [, ms]) => sum + ms, 0);
  const waiting = [...IDLE].map((name) => `${name} ${((selfMs.get(name) ?? 0) / 1000).toFixed(2)} s`).join(', ');
  const lines = busy
    .slice(0, LINES_MAX)
    .map(([name, ms]) => `${ms.toFixed(0).padStart(7)} ms ${((100 * ms) / total).toFixed(1).padStart(5)} %  ${name}`);
  return [`${(total / 1000).toFixed(2)} s of JavaScript and native calls in ${files.length} threads; ${waiting}`, ...lines].join('\n');
}

function addSelfTimes(selfMs: Map<string, number>, profile: CpuProfile): void {
  const names = new Map(profile.nodes.map((node) => [node.id, nameOf(node.callFrame)]));
  for (const [at, id] of profile.samples.entries()) {
    const name = names.get(id) ?? '(unknown)';
    selfMs.set(name, (selfMs.get(name) ?? 0) + (profile.timeDeltas[at] ?? 0) / 1000);
  }
}

function nameOf(frame: CpuProfile['nodes'][number]['callFrame']): string {
  if (frame.url === '') return frame.functionName;
  const place = frame.url.replace(/^file:\/\//, '').replace(/^.*\/(node_modules\/|(?=(schemas|connectors|services)\/))/, '$1');
  return `${frame.functionName || '(anonymous)'} ${place}:${frame.lineNumber + 1}`;
}
