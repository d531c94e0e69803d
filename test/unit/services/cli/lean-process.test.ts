import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';

const CLI = join(import.meta.dirname, '..', '..', '..', '..', 'services', 'cli', 'main.ts');
/** Each time that Node starts in the process it tells so. */
const TELL = 'console.error("started "+JSON.stringify([process.pid,process.execArgv,process.argv.slice(2),process.env.MALLOC_ARENA_MAX]))';

type Start = readonly [pid: number, flags: readonly string[], args: readonly string[], arenas: string | null];

async function startsOf(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  flags: readonly string[] = [],
): Promise<Start[]> {
  const { CROSSFADE_LEAN: _, ...inherited } = process.env;
  const options = { env: { ...inherited, NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(TELL)}`, ...env } };
  const told = await new Promise<string>((resolve) =>
    execFile(process.execPath, [...flags, CLI, ...args], options, (_error, _out, err) => resolve(err)),
  );
  return [...told.matchAll(/^started (.*)$/gm)].map(([, start]) => JSON.parse(start!) as Start);
}

test('a service starts once more in its process, with less memory for itself', async () => {
  const [first, second, ...more] = await startsOf(['sink', '--help']);
  expect(more).toEqual([]);
  expect(first).toEqual([expect.any(Number), [], ['sink', '--help'], null]);
  expect(second).toEqual([
    first![0],
    ['--max-semi-space-size=8', '--max-old-space-size=1024', '--heap-growing-percent=60'],
    ['sink', '--help'],
    '2',
  ]);
});

test('what the operator has set for a service stays', async () => {
  const [, second] = await startsOf(['reader', '--help'], { MALLOC_ARENA_MAX: '4' }, ['--max-old-space-size=300']);
  expect(second?.slice(1)).toEqual([
    ['--max-old-space-size=300', '--max-semi-space-size=8', '--heap-growing-percent=60'],
    ['reader', '--help'],
    '4',
  ]);
});

test('other commands start once', async () => {
  expect(await startsOf(['up', '--help'])).toHaveLength(1);
});
