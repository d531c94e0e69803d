/** What `npm run demo | test | prove | bench | check` and `npm pack` call: installs what is missing, then runs the right thing on Node 26. */
import { spawnSync } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { binDirectory, ensureInstalled, root, run, runProgram, toolEnvironment } from './bootstrap.mjs';

const [task, ...args] = process.argv.slice(2);
const tool = (name) => join(binDirectory, name);

const CHECKS = [
  ['oxfmt', '--check'],
  ['oxlint', '--type-aware', '--deny-warnings'],
  ['tsc', '-p', '.', '--noEmit'],
  ['knip'],
  ['vitest', 'run', 'test/unit', 'test/architecture.test.ts'],
];

/** Each check says one line when it is green, everything when it is not; all of them run. */
function check() {
  let failed = 0;
  for (const [name, ...flags] of CHECKS) {
    const startMs = performance.now();
    const result = spawnSync(tool(name), flags, { cwd: root, env: toolEnvironment(), encoding: 'utf8', maxBuffer: 1 << 28 });
    const seconds = ((performance.now() - startMs) / 1000).toFixed(1);
    process.stdout.write(`${result.status === 0 ? 'ok    ' : 'FAILED'} ${[name, ...flags].join(' ')} (${seconds} s)\n`);
    if (result.status === 0) continue;
    failed++;
    process.stdout.write(`${result.stdout ?? ''}${result.stderr ?? ''}${result.error?.message ?? ''}\n`);
  }
  return failed === 0 ? 0 : 1;
}

async function test() {
  const report = join(root, '.cache', 'test.json');
  rmSync(report, { force: true });
  const rest = args.filter((arg) => arg !== '--all');
  // In CI, when all are asked for, and of what is named: nothing is left out.
  if (rest.length === args.length && rest.length === 0 && process.env.CI !== 'true') process.env.CROSSFADE_TESTS ??= 'short';
  const code = await run(tool('vitest'), ['run', '--root', root, ...rest]);
  const skipped = skippedTests(report);
  if (skipped.length > 0) process.stdout.write(`skipped: ${skipped.join(' · ')}\n`);
  return code;
}

/** Titles, which say what the test would have needed; of those that needed the same, only how many and what. */
function skippedTests(report) {
  try {
    const tests = JSON.parse(readFileSync(report, 'utf8')).testResults.flatMap((file) => file.assertionResults);
    const titles = tests.filter((result) => ['skipped', 'pending', 'todo'].includes(result.status)).map((result) => result.fullName);
    const counts = new Map(); // Map.groupBy is not in Node 20
    for (const title of titles) {
      const needs = /\(needs [^)]*\)/.exec(title)?.[0] ?? title;
      counts.set(needs, (counts.get(needs) ?? 0) + 1);
    }
    return [...counts].map(([needs, count]) => (needs.startsWith('(') ? `${count} tests ${needs}` : needs));
  } catch {
    return []; // another reporter was asked for
  }
}

const tasks = {
  demo: () => runProgram('services/demo/main.ts', args),
  prove: () => runProgram('test/prove/main.ts', args),
  bench: () => runProgram('test/bench/main.ts', args),
  build: () => runProgram('scripts/build-package.mjs', args),
  test: async () => process.exit(await test()),
  check: () => process.exit(check()),
};

if (!Object.hasOwn(tasks, task)) {
  process.stderr.write(`usage: node scripts/run.mjs ${Object.keys(tasks).join(' | ')} [arguments]\n`);
  process.exit(2);
}
// A dot a test is quiet on a screen; in a file, colours would make it a page.
if (!process.stdout.isTTY) process.env.NO_COLOR ??= '1';
ensureInstalled();
await tasks[task]();
