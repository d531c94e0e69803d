#!/usr/bin/env node
/**
 * The command line (`npx crossfade …`). In a checkout: installs what is missing, then runs services/cli/main.ts on Node 26. In a package that was
 * installed: runs dist/ on this Node if it is new enough, else on the package `node` if that is installed, too.
 */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { ensureInstalled, isNew, root, run, runProgram } from './bootstrap.mjs';

const ENVIRONMENT_NOT_READY = 3;
const args = process.argv.slice(2);

if (existsSync(join(root, 'services', 'cli', 'main.ts'))) {
  ensureInstalled();
  await runProgram('services/cli/main.ts', args);
} else await runPackage();

async function runPackage() {
  const main = join(root, 'dist', 'services', 'cli', 'main.js');
  if (isNew) {
    await import(main);
    return;
  }
  const node26 = findNode();
  if (node26 !== undefined) process.exit(await run(node26, [main, ...args]));
  process.stderr.write(
    `crossfade: runs on Node 26, and this is ${process.versions.node}: npm install --save-dev node@26, or take a newer Node\n`,
  );
  process.exit(ENVIRONMENT_NOT_READY);
}

/** The npm package `node`, where whoever installed this one has it. */
function findNode() {
  try {
    const manifest = createRequire(import.meta.url).resolve('node/package.json');
    const { version } = createRequire(import.meta.url)(manifest);
    const binary = join(dirname(manifest), 'bin', process.platform === 'win32' ? 'node.exe' : 'node');
    return Number(version.split('.')[0]) >= 26 && existsSync(binary) ? binary : undefined;
  } catch {
    return undefined;
  }
}
