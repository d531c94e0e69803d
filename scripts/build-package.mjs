/**
 * What `npm pack` puts into the package (prepack): the sources as JavaScript in dist/, because Node strips no types under node_modules, and declarations
 * of what others import. Guarantee: dist/ holds nothing of a former build; a checkout never needs it. Run by Node 26.
 */
import { spawnSync } from 'node:child_process';
import { copyFileSync, globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { dirname, join } from 'node:path';
import { binDirectory, root } from './bootstrap.mjs';

const FOLDERS = ['schemas', 'connectors', 'services'];
/** What others import: of these there are declarations. */
const ENTRIES = ['services/cli/test/mapping-of.ts', 'services/client/client.ts'];
/** Of an import, a re-export, a dynamic import: those of ours name their file. */
const SPECIFIER = /(\bfrom\s*|\bimport\s*\(?\s*)(['"])((?:\.{1,2}\/|#)[^'"\n]+)\.ts\2/g;

const dist = join(root, 'dist');
const { name, version, imports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

function toJavaScript(text) {
  return text.replaceAll(SPECIFIER, '$1$2$3.js$2');
}

function write(path, text) {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
}

rmSync(dist, { recursive: true, force: true });
for (const path of globSync(`{${FOLDERS.join(',')}}/**/*.*`, { cwd: root })) {
  const to = join(dist, path);
  if (path.endsWith('.ts')) write(to.replace(/\.ts$/, '.js'), toJavaScript(stripTypeScriptTypes(readFileSync(join(root, path), 'utf8'))));
  else if (!path.endsWith('.md')) {
    mkdirSync(dirname(to), { recursive: true });
    copyFileSync(join(root, path), to);
  }
}
// Nearer than the package's own: `#schemas/…` is what lies here, and files of it are modules.
const inner = Object.fromEntries(
  Object.keys(imports)
    .filter((key) => FOLDERS.includes(key.slice(1, -2)))
    .map((key) => [key, imports[key]]),
);
write(join(dist, 'package.json'), `${JSON.stringify({ name, version, private: true, type: 'module', imports: inner }, null, 2)}\n`);

const flags = ['--noEmit', 'false', '--declaration', '--emitDeclarationOnly', '--outDir', dist, '--rootDir', root];
const settings = { ...JSON.parse(readFileSync(join(root, 'tsconfig.json'), 'utf8')), include: undefined, files: ENTRIES };
const project = join(root, 'tsconfig.package.json');
writeFileSync(project, JSON.stringify(settings));
const { status, stdout } = spawnSync(join(binDirectory, 'tsc'), ['-p', project, ...flags], { cwd: root, encoding: 'utf8' });
rmSync(project);
if (status !== 0) {
  process.stderr.write(stdout);
  process.exit(1);
}
for (const path of globSync('**/*.d.ts', { cwd: dist })) write(join(dist, path), toJavaScript(readFileSync(join(dist, path), 'utf8')));
