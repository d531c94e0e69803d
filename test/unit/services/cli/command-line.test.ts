import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import { envelopeOf, MAIN, runChild, runInProcess } from '#test/support/command-line.ts';
import { COMMANDS, LATER_COMMANDS } from '#services/cli/commands.ts';

const DESIGN_COMMANDS =
  'demo init check plan up reader transformer sink reconciler control status verify repair pause resume throttle dlq flags cutover rollback drill approve signoff report cleanup test explain completion'.split(
    ' ',
  );

test('every command of the design is either here or answered as one of a later version', () => {
  expect([...COMMANDS.map((spec) => spec.name), ...LATER_COMMANDS].toSorted()).toEqual(
    [...DESIGN_COMMANDS, 'backup', 'schema', 'triggers'].toSorted(),
  );
});

test.for(LATER_COMMANDS)('%s is not in this version: exit 2', async (name) => {
  const run = await runInProcess([name, '--json']);
  expect(run.exitCode).toBe(2);
  expect(envelopeOf(run)).toMatchObject({ command: name, ok: false, error: { code: 'CF-7005' } });
});

test.for(COMMANDS.map((spec) => spec.name))('%s --help has the common options and examples, and exits 0', async (name) => {
  const run = await runInProcess([name, '--help']);
  expect(run.exitCode).toBe(0);
  for (const part of ['--file', '--data', '--json', '--help', 'Examples:', `crossfade ${name}`]) expect(run.stdout).toContain(part);
});

test('an unknown command names the nearest one', async () => {
  const run = await runInProcess(['statsu', '--json']);
  expect(run.exitCode).toBe(2);
  expect(envelopeOf(run).error).toEqual({
    code: 'CF-1007',
    message: 'there is no command "statsu"',
    path: null,
    line: null,
    column: null,
    remedy: 'Did you mean crossfade status?',
  });
});

test('an unknown option names the nearest one', async () => {
  const run = await runInProcess(['verify', '--tabel', 'x', '--json']);
  expect(run.exitCode).toBe(2);
  expect(envelopeOf(run).error).toMatchObject({ code: 'CF-1007', remedy: 'Did you mean --table? See crossfade verify --help.' });
});

test.for([
  { args: ['up', '--port', '99999'], says: '--port' },
  { args: ['up', '--until', 'later'], says: 'caught-up' },
  { args: ['throttle'], says: 'no limit' },
  { args: ['throttle', '--rows', '0'], says: '--rows' },
  { args: ['throttle', '--off', '--rows', '5'], says: '--off' },
  { args: ['throttle', '--bytes', 'many'], says: '--bytes' },
  { args: ['completion', 'tcsh'], says: 'tcsh' },
  { args: ['completion'], says: 'shell' },
  { args: ['explain', 'CF-9999'], says: 'CF-9999' },
  { args: ['check', 'surplus'], says: 'argument' },
  { args: ['check', '--file'], says: '--file' },
])('wrong arguments end with exit 2 and CF-1007: $args', async ({ args, says }) => {
  const run = await runInProcess([...args, '--json']);
  expect(run.exitCode).toBe(2);
  const { error } = envelopeOf(run);
  expect(error?.code).toBe('CF-1007');
  expect(error?.message).toContain(says);
});

test('without a command the help is shown and the exit code is 2', async () => {
  const run = await runInProcess([]);
  expect(run.exitCode).toBe(2);
  expect(run.stderr).toContain('Usage: crossfade');
});

test('a file that is not there: exit 2, CF-1002, and how to write one', async () => {
  const run = await runInProcess(['check', '--json'], { directory: tmpdir() });
  expect(run.exitCode).toBe(2);
  expect(envelopeOf(run).error).toMatchObject({
    code: 'CF-1002',
    path: 'migration.yaml',
    remedy: expect.stringContaining('crossfade init') as string,
  });
});

function fileWith(content: string): string {
  const path = join(mkdtempSync(join(tmpdir(), 'crossfade-cli-')), 'migration.yaml');
  writeFileSync(path, content);
  return path;
}

test('a typo in the file: file, line, column, code, and the nearest name; exit 2', async () => {
  const path = fileWith(`crossfade: 1
name: shop
source: { postgres: "postgres://a@127.0.0.1:1/x" }
target: { postgres: "postgres://a@127.0.0.1:1/y" }
tabels:
  - from: public.*
`);
  const run = await runChild(['check', '-f', path, '--json']);
  expect(run.exitCode).toBe(2);
  const { error, findings } = envelopeOf(run);
  expect(error).toMatchObject({ code: 'CF-1004', path, line: 5, column: 1 });
  expect(findings.map((finding) => `${finding.message} ${finding.remedy}`).join('\n')).toContain('tables');
});

test('all faults of a file are told at once', async () => {
  const run = await runInProcess([
    'check',
    '--json',
    '-f',
    fileWith('crossfade: 2\nname: "Bad Name"\nsource: {}\ntarget: {}\ntables: []\n'),
  ]);
  expect(run.exitCode).toBe(2);
  expect(envelopeOf(run).findings.length).toBeGreaterThanOrEqual(4);
});

test('a YAML alias bomb is refused at once', async () => {
  const levels = 'bcdefghij'
    .split('')
    .map((name, i) => `${name}: &${name} [${Array.from({ length: 9 }, () => `*${'abcdefghi'[i]}`).join(', ')}]`);
  const path = fileWith(['a: &a ["x","x","x","x","x","x","x","x","x"]', ...levels, ''].join('\n'));
  const began = performance.now();
  const run = await runInProcess(['check', '--json', '-f', path]);
  expect(performance.now() - began).toBeLessThan(2_000);
  expect(run.exitCode).toBe(2);
  expect(envelopeOf(run).error?.code).toBe('CF-1006');
});

test('a file that is too large is not read', async () => {
  const run = await runInProcess(['check', '--json', '-f', fileWith(`# ${'x'.repeat(1024 * 1024)}\n`)]);
  expect(run.exitCode).toBe(2);
  expect(envelopeOf(run).error?.code).toBe('CF-1006');
});

test('a password in the file is in no output', async () => {
  const path = fileWith(`crossfade: 1
name: shop
source: { postgres: "postgres://a:s3cret@127.0.0.1:1/x" }
target: { postgres: "postgres://a:s3cret@127.0.0.1:1/y" }
tables:
  - from: public.*
`);
  for (const flags of [['--json'], []]) {
    const run = await runInProcess(['check', '-f', path, ...flags]);
    expect(run.exitCode).toBe(3);
    expect(run.stdout + run.stderr).not.toContain('s3cret');
  }
});

test('colours only on a terminal, and not where NO_COLOR says no', async () => {
  expect((await runInProcess(['explain', 'CF-2002'], { terminal: true })).stdout).toContain('\u001b[');
  expect((await runInProcess(['explain', 'CF-2002'])).stdout).not.toContain('\u001b[');
  expect((await runInProcess(['explain', 'CF-2002'], { terminal: true, environment: { NO_COLOR: '1' } })).stdout).not.toContain('\u001b[');
});

test('explain prints the entry of the catalogue', async () => {
  const run = await runInProcess(['explain', '2002', '--json']);
  expect(run.exitCode).toBe(0);
  expect(envelopeOf(run)).toMatchObject({ command: 'explain', ok: true, error: null, result: { code: 'CF-2002', exit: 3 } });
});

test('a command that does not drain ends at once at the first signal, with its envelope and 128 + n', async () => {
  const sockets: Socket[] = [];
  const listening = createServer();
  const connected = once(listening, 'connection'); // a server that never answers
  listening.on('connection', (socket) => sockets.push(socket.on('error', () => undefined)));
  listening.listen(0, '127.0.0.1');
  await once(listening, 'listening');
  const { port } = listening.address() as AddressInfo;
  const path = fileWith(`crossfade: 1
name: shop
source: { postgres: "postgres://a@127.0.0.1:${port}/x" }
target: { postgres: "postgres://a@127.0.0.1:${port}/y" }
tables:
  - from: public.*
`);
  const child = spawn(process.execPath, [MAIN, 'check', '-f', path, '--json'], { stdio: ['ignore', 'pipe', 'inherit'] });
  await connected;
  child.kill('SIGINT');
  const [stdout, [code]] = await Promise.all([text(child.stdout), once(child, 'exit')]);
  expect(code).toBe(130);
  expect(JSON.parse(stdout)).toMatchObject({ command: 'check', ok: false, error: { code: 'CF-7006' } });
  for (const socket of sockets) socket.destroy();
  listening.close();
});
