/**
 * Completes package-lock.json after `npm install`. A registry mirror that holds no packages of other platforms makes npm leave their
 * optional packages out of the lock file, and `npm ci` then refuses it on every machine ("Missing: … from lock file"). This adds an entry
 * for each, without integrity (npm has never seen them); the architecture test says when it is needed.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const path = join(dirname(dirname(fileURLToPath(import.meta.url))), 'package-lock.json');
const lock = JSON.parse(readFileSync(path, 'utf8'));
const packages = lock.packages;

let added = 0;
for (const [parent, entry] of Object.entries(packages)) {
  for (const [name, range] of Object.entries(entry.optionalDependencies ?? {})) {
    const version = range.replace(/^[\^~]/, '');
    const found = resolve(parent, name);
    if (found !== undefined && satisfies(packages[found].version, range, version)) continue;
    const at = found === undefined ? `node_modules/${name}` : `${parent}/node_modules/${name}`;
    packages[at] = { version, ...platformOf(name), ...(entry.dev && { dev: true }), optional: true };
    added++;
  }
}
const sorted = Object.fromEntries(Object.entries(packages).toSorted(([a], [b]) => a.localeCompare(b, 'en')));
writeFileSync(path, `${JSON.stringify({ ...lock, packages: sorted }, undefined, 2)}\n`);
process.stdout.write(`${added} platform packages added to package-lock.json\n`);

/** Where Node would find `name` from the package at `from`. */
function resolve(from, name) {
  for (let at = from; ; at = at.includes('/node_modules/') ? at.slice(0, at.lastIndexOf('/node_modules/')) : '') {
    const candidate = `${at === '' ? '' : `${at}/`}node_modules/${name}`;
    if (packages[candidate] !== undefined) return candidate;
    if (at === '') return undefined;
  }
}

/** Platform packages are pinned or of the same major; anything finer is npm's business. */
function satisfies(version, range, wanted) {
  return range.startsWith('^') ? version.split('.')[0] === wanted.split('.')[0] : version === wanted || !/^[\d~]/.test(range);
}

/** `@scope/binding-linux-x64-musl` → the os, cpu and libc that let npm skip it elsewhere. */
function platformOf(name) {
  const [os, cpu, abi] = name
    .replace(/^.*\//, '')
    .replace(/^binding-/, '')
    .split('-');
  const libc = os === 'linux' && { gnu: ['glibc'], musl: ['musl'] }[abi];
  return { cpu: [cpu], os: [os === 'windows' ? 'win32' : os], ...(libc && { libc }) };
}
