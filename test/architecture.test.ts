/**
 * The shape of the tree as a test: who may import whom, sizes, banned calls, and that every crash point and guard a test can name is
 * really in the product. Function length and import cycles are the linter's (.oxlintrc.json).
 */
import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { FAILPOINTS, GUARDS } from '#schemas/test-hooks.ts';

const LINES_MAX = 400;
const FILES_MIN = 40; // below this the test looked at the wrong place
const root = dirname(import.meta.dirname);

interface SourceFile {
  readonly path: string;
  readonly text: string;
  /** Our own files it imports, as paths from the root. */
  readonly imports: readonly string[];
}

const files = globSync(['{schemas,connectors,services,test}/**/*.ts', 'scripts/*.mjs', '*.ts'], { cwd: root }).map(readSource);
const product = files.filter((file) => /^(schemas|connectors|services)\//.test(file.path));

function readSource(path: string): SourceFile {
  const text = readFileSync(join(root, path), 'utf8');
  const specifiers = [...text.matchAll(/(?:from|import)\s*\(?\s*'([^']+)'/g)].map((match) => match[1] ?? '');
  const imports = specifiers.flatMap((specifier) => {
    if (specifier.startsWith('#')) return [specifier.slice(1)];
    return specifier.startsWith('.') ? [join(dirname(path), specifier)] : [];
  });
  return { path, text, imports };
}

/** Every import that breaks `allowed`, as `from → to`. */
function forbidden(from: readonly SourceFile[], allowed: (target: string, file: SourceFile) => boolean): string[] {
  return from.flatMap((file) => file.imports.filter((target) => !allowed(target, file)).map((target) => `${file.path} → ${target}`));
}

function under(folder: string): SourceFile[] {
  return files.filter((file) => file.path.startsWith(folder));
}

test('the test sees the tree', () => {
  expect(files.length).toBeGreaterThan(FILES_MIN);
  for (const folder of ['schemas/', 'connectors/', 'services/', 'test/', 'scripts/']) expect(under(folder), folder).not.toEqual([]);
  const missing = files.flatMap((file) =>
    file.imports.filter((target) => !existsSync(join(root, target))).map((target) => `${file.path} → ${target}`),
  );
  expect(missing).toEqual([]); // so the pattern really finds imports, and all of them lead to a file
  expect(product.reduce((sum, file) => sum + file.imports.length, 0)).toBeGreaterThan(product.length / 2);
});

test('schemas imports nothing but schemas, and does no input or output', () => {
  expect(forbidden(under('schemas/'), (target) => target.startsWith('schemas/'))).toEqual([]);
  const impure = under('schemas/').filter((file) =>
    /'(node:(fs|net|http|https|dns|child_process|worker_threads|timers)[^']*|pg|pg-[^']*)'/.test(file.text),
  );
  expect(impure.map((file) => file.path)).toEqual([]);
});

test('connectors import schemas and their own family; connectors/postgres and port files are open to all of them', () => {
  const allowed = (target: string, file: SourceFile): boolean =>
    /^(schemas|connectors\/postgres)\//.test(target) || familyOf(target) === familyOf(file.path) || isPort(target);
  expect(forbidden(under('connectors/'), allowed)).toEqual([]);
});

function familyOf(path: string): string | undefined {
  return /^connectors\/([^/]+)\//.exec(path)?.[1];
}

/** connectors/source/source.ts, connectors/change-log/change-log.ts: named after its folder. */
function isPort(path: string): boolean {
  return /^connectors\/([^/]+)\/\1\.ts$/.test(path);
}

const COMPOSITION_ROOTS = ['up', 'cli', 'demo'];

test('services meet at the change log: only composition roots import another service, and runtime is open to all', () => {
  const serviceOf = (path: string): string | undefined => /^services\/([^/]+)\//.exec(path)?.[1];
  const allowed = (target: string, file: SourceFile): boolean => {
    const [from, to] = [serviceOf(file.path), serviceOf(target)];
    return to === undefined || to === from || to === 'runtime' || (from !== undefined && COMPOSITION_ROOTS.includes(from));
  };
  expect(forbidden(under('services/'), allowed)).toEqual([]);
  expect(forbidden(under('services/runtime/'), (target) => !/^services\/(?!runtime\/)/.test(target))).toEqual([]);
});

test('the product imports no test', () => {
  expect(forbidden(product, (target) => !target.startsWith('test/'))).toEqual([]);
});

test('no file is longer than a reader can hold in mind', () => {
  const long = files.map((file) => ({ path: file.path, lines: file.text.split('\n').length - 1 })).filter(({ lines }) => lines > LINES_MAX);
  expect(long).toEqual([]);
});

test('every product file says at its head what it guarantees', () => {
  expect(product.filter((file) => !/^(#!.*\n)?\/\*\*/.test(file.text)).map((file) => file.path)).toEqual([]);
});

test('file names are domain words in kebab-case', () => {
  const vague = /\/(utils?|common|helpers?|manager|misc|types)(\.ts|\/)/;
  // In test/prove the word is meant: the types of PostgreSQL.
  expect(
    files
      .filter(({ path }) => (vague.test(path) && !/^test\/prove\/(types|proofs)\//.test(path)) || !/^[a-z0-9/.-]+$/.test(path))
      .map(({ path }) => path),
  ).toEqual([]);
});

const SELECT_STAR = /(?:^|[`'"(]|\bAS\s)\s*SELECT\s+\*(?!\s+FROM\s+unnest)/im; // as a statement over a table, not as advice in a message
const BANNED: readonly { readonly what: string; readonly pattern: RegExp; readonly where: (path: string) => boolean }[] = [
  {
    what: 'console outside the command line',
    pattern: /\bconsole\.\w+\(/,
    where: (path) => /^(schemas|connectors|services\/(?!cli\/|demo\/))/.test(path),
  },
  {
    what: 'SELECT * in SQL of the product',
    pattern: SELECT_STAR,
    where: (path) => /^(schemas|connectors|services\/(?!demo\/))/.test(path),
  },
  { what: 'imports two folders up', pattern: /from '\.\.\/\.\.\//, where: () => true },
  {
    what: 'a sleep in a test: wait for the event',
    pattern: /timers\/promises|setTimeout\(\s*(resolve|done|r)\b/,
    where: (path) => /^test\/.*\.test\.ts$/.test(path),
  },
  { what: 'a mock of our own code', pattern: /\bvi\.mock\(/, where: (path) => path.startsWith('test/') },
  { what: 'a suppressed type error', pattern: /@ts-(ignore|nocheck|expect-error)/, where: () => true },
  { what: 'a note to do something later', pattern: /\b(TODO|FIXME|XXX)\b/, where: () => true },
  { what: 'enum, namespace: not erasable', pattern: /^\s*(export )?(declare )?(const )?(enum|namespace) \w/m, where: () => true },
];

test.for(BANNED)('nowhere: $what', ({ pattern, where }) => {
  const found = files.filter((file) => where(file.path) && file.path !== 'test/architecture.test.ts' && pattern.test(file.text));
  expect(found.map((file) => file.path)).toEqual([]);
});

test('every crash point and every guard a test can name is in the product', () => {
  const text = product
    .filter((file) => file.path !== 'schemas/test-hooks.ts')
    .map((file) => file.text)
    .join('\n');
  expect(FAILPOINTS.filter((name) => !text.includes(`failpoint('${name}')`))).toEqual([]);
  expect(GUARDS.filter((name) => !text.includes(`guarded('${name}')`))).toEqual([]);
});

test('every guard is switched off by some test', () => {
  const text = under('test/')
    .filter((file) => file.path !== 'test/architecture.test.ts')
    .map((file) => file.text)
    .join('\n');
  expect(GUARDS.filter((name) => !text.includes(`'${name}'`))).toEqual([]);
});

test('the lock file names the optional packages of every platform, or npm ci refuses it (scripts/complete-lock.mjs)', () => {
  const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { optionalDependencies?: Record<string, string> }>;
  };
  const wanted = Object.values(lock.packages).flatMap((entry) => Object.keys(entry.optionalDependencies ?? {}));
  const listed = new Set(Object.keys(lock.packages).map((path) => path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length)));
  expect(wanted.filter((name) => !listed.has(name))).toEqual([]);
});

test('nothing tracked names this machine or a package registry', () => {
  const tracked = globSync(['**/*.{ts,mjs,json,md,yaml,yml,sh}', '.ci/run', '.*.json', '.gitignore'], {
    cwd: root,
    exclude: ['**/node_modules/**', '.cache/**', '.crossfade/**', 'package-lock.json'],
  });
  expect(tracked.length).toBeGreaterThan(FILES_MIN);
  const machine = /(?<![\w.])\/(work|home|Users|root)\/[\w.]|registry\.npm|npmjs\.org|verdaccio|artifactory/;
  expect(tracked.filter((path) => path !== 'test/architecture.test.ts' && machine.test(readFileSync(join(root, path), 'utf8')))).toEqual(
    [],
  );
});

test('the papers are there', () => {
  for (const path of ['README.md', 'ARCHITECTURE.md', 'CHANGELOG.md', 'LICENSE', 'schemas/README.md', '.ci/run'])
    expect(existsSync(join(root, path)), path).toBe(true);
});

test('whoever makes a client of kafkajs has its request queue mended, or Node warns of negative timers and it spins', () => {
  const makers = files.filter(({ text }) => /from 'kafkajs'/.test(text) && /\bnew (?:Kafka|Client)\(/.test(text));
  const mended = makers.filter(({ imports }) => imports.includes('connectors/change-log/kafka/mend-request-queue.ts'));
  expect(makers.map(({ path }) => path)).toContain('connectors/change-log/kafka/client.ts');
  expect(makers).toEqual(mended);
});
