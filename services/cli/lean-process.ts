/**
 * Services that run beside each other take little memory: this process starts once more, with a smaller young generation, a heap that is
 * collected earlier, and a malloc that gives large buffers back. Guarantee: same process id, arguments and streams; what the operator has
 * set himself stays; where a process cannot be replaced everything works as it is.
 */

const SERVICES: ReadonlySet<string> = new Set(['reader', 'transformer', 'sink', 'reconciler', 'control']);
/** Set in the process that has been started so. */
const MARK = 'CROSSFADE_LEAN';

/**
 * Young generation: rows live as long as their batch. Old: what V8 may take at most also says how much garbage it lets stand. Batches are
 * memory outside of the heap, and by its own rule V8 collects the whole of it for every few of them: a seventh of our CPU in a copy for some megabytes.
 */
const NODE_FLAGS: readonly string[] = ['--max-semi-space-size=8', '--max-old-space-size=1024', '--heap-growing-percent=60'];

/** glibc keeps freed buffers for the next ones of their size unless it is told not to; other libraries do not read these. */
const MALLOC: Readonly<Record<string, string>> = {
  MALLOC_ARENA_MAX: '2',
  MALLOC_MMAP_THRESHOLD_: '65536',
  MALLOC_TRIM_THRESHOLD_: '262144',
};

/** Does not come back when it replaces the process; to be called before anything is opened. */
export function makeLean(): void {
  const { argv, env, execArgv, execPath } = process;
  if (process.execve === undefined || process.platform === 'win32' || env[MARK] !== undefined || !SERVICES.has(argv[2] ?? '')) return;
  const told = `${execArgv.join(' ')} ${env['NODE_OPTIONS'] ?? ''}`;
  const flags = NODE_FLAGS.filter((flag) => !told.includes(flag.split('=')[0]!));
  process.execve(execPath, [execPath, ...execArgv, ...flags, ...argv.slice(1)], { ...MALLOC, ...env, [MARK]: '1' });
}
