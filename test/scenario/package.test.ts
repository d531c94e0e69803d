/** The package as somebody installs it: JavaScript under node_modules, in a folder that knows nothing of this repository. */
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { renderCatalogues } from '#schemas/config/catalogue-file.ts';
import { readMigrationFile } from '#schemas/config/read-migration-file.ts';
import { execute } from '#test/support/application.ts';
import { catalogOf } from '#test/support/compile.ts';
import { startPostgres } from '#test/support/postgres.ts';

const run = promisify(execFile);
const ROOT = join(import.meta.dirname, '..', '..');
const MODULES = join(ROOT, 'node_modules');
const TIMEOUT_MS = 180_000;

const FILE = `crossfade: 1
name: people
source: { postgres: "\${SOURCE_URL}" }
target: { postgres: "\${TARGET_URL}" }
tables:
  - from: public.person
    set:
      name: { from: name, steps: [{ call: "./functions.ts#shout" }, trim] }
      at: { from: at, steps: [{ zone: { from: Europe/Berlin } }] }
tests:
  - name: names are shouted
    from: public.person
    given: { id: 1, name: " Ada", at: "2024-07-01 12:00:00" }
    expect: { name: ADA!, at: "2024-07-01 10:00:00+00" }
`;
const FUNCTIONS = `interface Row { readonly name: string | null }
export function shout(row: Row): string | null {
  return row.name === null ? null : row.name.toUpperCase() + '!';
}
`;
const PROGRAM = `import { mappingOf, type TargetRow } from 'crossfade/testing';
const map = await mappingOf('migration.yaml');
const rows: TargetRow[] = map('public.person', { id: 2, name: 'Bo', at: null });
console.log(JSON.stringify(rows));
`;

let directory: string;

/** What npm would do, without asking a registry: the tarball's files, and the packages that it depends on. */
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'crossfade-package-'));
  const installed = join(directory, 'node_modules', 'crossfade');
  await mkdir(installed, { recursive: true });
  // npm runs on the Node that it came with.
  const PATH = (process.env['PATH'] ?? '')
    .split(delimiter)
    .filter((entry) => !entry.startsWith(MODULES))
    .join(delimiter);
  await run('npm', ['pack', '--silent', '--pack-destination', directory], { cwd: ROOT, env: { ...process.env, PATH } });
  const tarball = readdirSync(directory).find((name) => name.endsWith('.tgz'))!;
  await run('tar', ['-xzf', join(directory, tarball), '-C', installed, '--strip-components=1']);
  const { dependencies } = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8')) as { readonly dependencies: object };
  for (const name of [...Object.keys(dependencies), '@types/node', '@types/pg']) await link(name);
  await mkdir(join(directory, 'node_modules', '.bin'));
  await symlink(join('..', 'crossfade', 'scripts', 'crossfade.mjs'), join(directory, 'node_modules', '.bin', 'crossfade'));
  const { file } = readMigrationFile({ path: 'm', text: FILE, env: {}, offline: true });
  const [source, target] = [
    await catalogOf('CREATE TABLE person (id integer PRIMARY KEY, name text, at timestamp)'),
    await catalogOf('CREATE TABLE person (id integer PRIMARY KEY, name text, at timestamptz)'),
  ];
  await write('migration.yaml', FILE);
  await write('migration.catalogue.json', renderCatalogues(file!, { source, target }));
  await write('functions.ts', FUNCTIONS);
  await write('own.ts', PROGRAM);
  await write('package.json', '{ "name": "own", "private": true, "type": "module" }');
}, TIMEOUT_MS);

afterAll(async () => rm(directory, { recursive: true, force: true }));

async function link(name: string): Promise<void> {
  const path = join(directory, 'node_modules', name);
  await mkdir(dirname(path), { recursive: true });
  await symlink(join(MODULES, name), path);
}

async function write(name: string, text: string): Promise<void> {
  await writeFile(join(directory, name), text);
}

interface Outer {
  readonly node?: string;
  readonly environment?: Readonly<Record<string, string>>;
}

async function crossfade(
  args: readonly string[],
  { node = process.execPath, environment = {} }: Outer = {},
): Promise<{ readonly code: number; readonly output: string }> {
  const program = join('node_modules', '.bin', 'crossfade');
  try {
    const { stdout, stderr } = await run(node, [program, ...args], { cwd: directory, env: { ...process.env, ...environment } });
    return { code: 0, output: stdout + stderr };
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
    return { code, output: stdout + stderr };
  }
}

test('holds JavaScript and declarations, and no source that Node would refuse', async () => {
  const { stdout } = await run('tar', [
    '-tzf',
    join(
      directory,
      readdirSync(directory).find((name) => name.endsWith('.tgz'))!,
    ),
  ]);
  const names = stdout.trim().split('\n');
  expect(names.filter((name) => name.endsWith('.ts') && !name.endsWith('.d.ts'))).toEqual([]);
  expect(names).toContain('package/dist/schemas/config/migration.schema.json');
  expect(names.filter((name) => /^package\/(?:test|node_modules|\.c)/.test(name))).toEqual([]);
});

test('its command runs, with a function of the user’s in TypeScript', { timeout: TIMEOUT_MS }, async () => {
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { readonly version: string };
  expect(await crossfade(['--version'])).toEqual({ code: 0, output: `${version}\n` });
  const tested = await crossfade(['test', '-f', 'migration.yaml']);
  expect(tested.output).toContain('1 test passed');
  expect(tested.code).toBe(0);
});

test('it moves a database', { timeout: TIMEOUT_MS }, async () => {
  await using server = await startPostgres({ version: 18, settings: { wal_level: 'logical' } });
  const [source, target] = [await server.createDatabase('old'), await server.createDatabase('new')];
  await execute(
    source,
    'CREATE TABLE person (id integer PRIMARY KEY, name text, at timestamp)',
    `INSERT INTO person VALUES (1, 'Ada', '2024-07-01 12:00')`,
  );
  await execute(target, 'CREATE TABLE person (id integer PRIMARY KEY, name text, at timestamptz)');
  const moved = await crossfade(['up', '--until', 'caught-up', '--port', '0'], { environment: { SOURCE_URL: source, TARGET_URL: target } });
  expect(moved.output).toContain('people is caught up');
  expect(await execute(target, `SELECT name, at = '2024-07-01 10:00+00' AS same FROM person`)).toEqual([{ name: 'ADA!', same: 't' }]);
});

test('crossfade/testing is there for plain Node, and typed for TypeScript', { timeout: TIMEOUT_MS }, async () => {
  const expected = [{ to: 'public.person', row: { id: '2', at: null, name: 'BO!' } }];
  expect(JSON.parse((await run(process.execPath, ['own.ts'], { cwd: directory })).stdout)).toEqual(expected);
  await write('plain.mjs', PROGRAM.replace(', type TargetRow', '').replace(': TargetRow[]', ''));
  expect(JSON.parse((await run(process.execPath, ['plain.mjs'], { cwd: directory })).stdout)).toEqual(expected);
  await typed('own.ts');
  await write('wrong.ts', PROGRAM.replace("'public.person'", '7'));
  const wrong = await typed('wrong.ts').catch((error: unknown) => error as { readonly stdout: string });
  expect(wrong.stdout).toContain("Argument of type 'number' is not assignable to parameter of type 'string'");
});

async function typed(program: string): Promise<{ readonly stdout: string }> {
  const flags = [
    '--noEmit',
    '--strict',
    '--module',
    'nodenext',
    '--target',
    'esnext',
    '--types',
    'node',
    '--skipLibCheck',
    '--ignoreConfig',
  ];
  return run(join(MODULES, '.bin', 'tsc'), [...flags, program], { cwd: directory });
}

const FOLLOWER = `import { createCrossfadeClient, createDualWriter, isFenced, type ReadStage } from 'crossfade/client';
const client = createCrossfadeClient({ name: 'people', url: process.env.FLAGS_URL!, token: 'given' });
const heard: boolean = await client.ready();
const stage: ReadStage = client.readFrom({ unit: 'acme' });
const read: number = await client.read({ unit: 'acme', source: () => 1, target: async () => 2 });
const written: string = await client.write({ source: () => 'old', target: () => 'new' });
await client.close();
console.log(JSON.stringify({ heard, stage, read, written, fenced: isFenced(new Error('x')), dual: typeof createDualWriter }));
`;

/** Refuses whatever else of the package, or another one. */
const ONLY_CLIENT = `export async function resolve(name, context, next) {
  const found = await next(name, context);
  const isItsOwn = ['/dist/services/client/', '/dist/schemas/flags/', '/dist/schemas/config/wave-name.js'].some((part) => found.url.includes(part));
  if (found.url.includes('node_modules') && !isItsOwn) throw new Error('loads ' + found.url);
  return found;
}
`;

/** Just what the client asks for. */
async function serveFlags(): Promise<AsyncDisposable & { readonly url: string; readonly reported: unknown[] }> {
  const reported: unknown[] = [];
  const server = createServer((request, response) => {
    const answer = (status: number, body: unknown): void =>
      void response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    if (request.headers.authorization !== 'Bearer given') return answer(401, {});
    if (request.url === '/v1/flags') return answer(200, { name: 'people', epoch: 1, state: 3, serves: 'target' });
    request.on('data', (part: Buffer) => reported.push(...(JSON.parse(part.toString()) as { observations: unknown[] }).observations));
    request.on('end', () => answer(202, { ok: true }));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, reported, [Symbol.asyncDispose]: async () => void server.close() };
}

test('crossfade/client is there for plain Node, also an older one, and typed for TypeScript', { timeout: TIMEOUT_MS }, async () => {
  await using flags = await serveFlags();
  const plain = FOLLOWER.replace(', type ReadStage', '')
    .replaceAll(/(const \w+): \w+ =/g, '$1 =')
    .replace('FLAGS_URL!', 'FLAGS_URL');
  await write('follower.mjs', plain);
  await write('follower.ts', FOLLOWER);
  // Nothing but the client's own files, and no package.
  await write('only-client.mjs', ONLY_CLIENT);
  await write(
    'alone.mjs',
    "import { register } from 'node:module';\nregister('./only-client.mjs', import.meta.url);\nawait import(process.argv[2]);\n",
  );
  const env = { ...process.env, FLAGS_URL: flags.url };
  const expected = { heard: true, stage: 'target', read: 2, written: 'new', fenced: false, dual: 'function' };
  const runs = [
    [process.execPath, 'follower.ts'] as const,
    ...[process.execPath, ...(older === undefined ? [] : [older])].map((node) => [node, 'alone.mjs'] as const),
  ];
  for (const [node, program] of runs) {
    const { stdout } = await run(node, [program, './follower.mjs'], { cwd: directory, env });
    expect(JSON.parse(stdout), `${node} ${program}`).toEqual(expected);
  }
  expect(flags.reported).toHaveLength(2 * runs.length);
  await typed('follower.ts');
  await write('wrong-client.ts', FOLLOWER.replace("name: 'people'", 'name: 7'));
  expect(await typed('wrong-client.ts').catch((error: unknown) => (error as { readonly stdout: string }).stdout)).toContain(
    "Type 'number' is not assignable to type 'string'",
  );
});

const older = await olderNode();

test.skipIf(older === undefined)(
  'an older Node says what it needs, and takes the package `node` (needs an older Node on the PATH)',
  { timeout: TIMEOUT_MS },
  async () => {
    const alone = await crossfade(['--version'], { node: older! });
    expect(alone.code).toBe(3);
    expect(alone.output).toContain('npm install --save-dev node@26');
    await link('node');
    const tested = await crossfade(['test', '-f', 'migration.yaml'], { node: older! });
    expect(tested.output).toContain('1 test passed');
  },
);

async function olderNode(): Promise<string | undefined> {
  for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
    const node = join(folder, 'node');
    if (folder.startsWith(MODULES) || !existsSync(node)) continue;
    const { stdout } = await run(node, ['-p', 'process.versions.node']);
    if (Number(stdout.split('.')[0]) < 26) return node;
  }
  return undefined;
}
