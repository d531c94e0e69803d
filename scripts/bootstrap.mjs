/**
 * Brings the checkout to life on a machine with only Node >= 20 and npm. Guarantee: after `ensureInstalled` node_modules holds what the
 * lock file says, with Node 26 in it; an install that matches is never touched, because `npm ci` would pull node_modules from under a
 * running instance. Plain JavaScript on purpose: this is what runs before there is a Node that can run TypeScript.
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { delimiter, dirname, join, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = dirname(dirname(fileURLToPath(import.meta.url)));
const modules = join(root, 'node_modules');
export const binDirectory = join(modules, '.bin');
const node26 = join(modules, 'node', 'bin', process.platform === 'win32' ? 'node.exe' : 'node');

/** Prints one line when it has to install, nothing otherwise. Ends the process when the install fails. */
export function ensureInstalled() {
  const missing = findMissing();
  if (missing === undefined) return;
  process.stderr.write(`crossfade: installing packages with npm ci (${missing})\n`);
  npm('ci', '--include=dev', '--no-audit', '--no-fund', '--loglevel=error');
  // `ignore-scripts` in somebody's npm configuration leaves the `node` package without its binary.
  if (!existsSync(node26)) npm('rebuild', 'node', '--no-ignore-scripts', '--foreground-scripts', '--loglevel=error');
  const still = findMissing();
  if (still === undefined) return;
  process.stderr.write(`crossfade: npm ci ended well, but ${still}\n`);
  process.exit(1);
}

/** Why node_modules does not match the lock file; undefined when it does. */
function findMissing() {
  const installed = readPackages(join(modules, '.package-lock.json'));
  if (installed === undefined) return 'no node_modules yet';
  const wanted = readPackages(join(root, 'package-lock.json')) ?? {};
  for (const [path, entry] of Object.entries(wanted)) {
    if (path === '') continue;
    const version = installed[path]?.version;
    // Optional ones that are absent are those of other platforms.
    if (version === undefined ? entry.optional !== true : version !== entry.version)
      return `${path.replace('node_modules/', '')} is not at ${entry.version}`;
  }
  return existsSync(node26) ? undefined : 'Node 26 is missing';
}

function readPackages(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8')).packages;
  } catch {
    return undefined;
  }
}

/** npm must not run on the Node that it is about to delete: ours is taken off the path. */
function npm(...args) {
  const path = (process.env.PATH ?? '').split(delimiter).filter((entry) => !entry.startsWith(modules));
  const { npm_execpath: cli, npm_node_execpath: outer } = process.env;
  const direct = cli?.endsWith('npm-cli.js') && outer !== undefined && !outer.startsWith(modules + sep) && existsSync(outer);
  const [command, ...first] = direct ? [outer, cli] : [process.platform === 'win32' ? 'npm.cmd' : 'npm'];
  const env = { ...process.env, PATH: path.join(delimiter) };
  const result = spawnSync(command, [...first, ...args], { cwd: root, env, stdio: ['ignore', 2, 2], shell: process.platform === 'win32' });
  if (result.status === 0) return;
  process.stderr.write(`crossfade: npm ${args[0]} failed${result.error ? `: ${result.error.message}` : ''}\n`);
  process.exit(result.status ?? 1);
}

/** Environment in which our own tools and Node 26 come first, and compiled modules are kept: that halves the time to start. */
export function toolEnvironment() {
  const compiled = join(modules, '.cache', 'compiled');
  return { NODE_COMPILE_CACHE: compiled, ...process.env, PATH: `${binDirectory}${delimiter}${process.env.PATH ?? ''}` };
}

/** This Node can run what is ours. */
export const isNew = Number(process.versions.node.split('.')[0]) >= 26;

/** Runs a TypeScript program of ours on Node 26, in place of this process where Node can do that: signals and exit codes are its own. */
export async function runProgram(path, args) {
  const program = join(root, path);
  if (!existsSync(program)) {
    process.stderr.write(`crossfade: ${path} does not exist\n`);
    process.exit(1);
  }
  if (isNew && process.execve !== undefined) process.execve(node26, [node26, program, ...args], toolEnvironment());
  process.exit(await run(node26, [program, ...args]));
}

/** @returns the child's exit code, 128 + n when a signal ended it. */
export function run(command, args) {
  const child = spawn(command, args, { stdio: 'inherit', env: toolEnvironment() });
  // Ctrl-C in a terminal reaches the child by itself; a second one from here would mean "at once".
  process.on('SIGINT', () => process.stdin.isTTY || child.kill('SIGINT'));
  for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  return new Promise((resolve) => {
    child.once('error', (error) => {
      process.stderr.write(`crossfade: cannot start ${command}: ${error.message}\n`);
      resolve(1);
    });
    child.once('exit', (code, signal) => resolve(code ?? 128 + (constants.signals[signal] ?? 1)));
  });
}
