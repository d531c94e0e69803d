import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { isAlive } from '#services/demo/local-postgres/processes.ts';
import { execute } from '#test/support/application.ts';
import { makeCertificates } from '#test/support/certificate.ts';
import { freshDatabase, startPostgres } from '#test/support/postgres.ts';

test.for([14, 18] as const)('a PostgreSQL %i server keeps committed rows through a crash', async (version) => {
  await using server = await startPostgres({ version });
  const url = await server.createDatabase('shop');
  await execute(url, 'CREATE TABLE item (id int)', 'INSERT INTO item VALUES (7)');
  await server.kill();
  await server.start();
  expect(await execute(url, `SELECT id, current_setting('wal_level') AS level FROM item`)).toEqual([{ id: '7', level: 'logical' }]);
});

test('a dropped database takes its replication slots with it', async () => {
  const database = await freshDatabase(18);
  await execute(database.url, `SELECT pg_create_logical_replication_slot('held', 'pgoutput')`);
  await database[Symbol.asyncDispose]();
  expect(await execute(database.server.url(), 'SELECT slot_name FROM pg_replication_slots')).toEqual([]);
});

test.for([14, 18] as const)('PostgreSQL %i with TLS is reached by verify-full under its own name only', async (version) => {
  const { ca, cert, key } = makeCertificates({ hosts: ['localhost'] });
  await using server = await startPostgres({ version, ssl: { cert, key }, hba: ['hostssl all all 127.0.0.1/32 scram-sha-256'] });
  const root = join(dirname(server.dataDir), 'root.crt');
  await writeFile(root, ca);
  const named = `${server.url().replace('127.0.0.1', 'localhost')}?sslmode=verify-full&sslrootcert=${root}`;
  expect(await execute(named, 'SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()')).toEqual([{ ssl: 't' }]);
  await expect(execute(named.replace('localhost', '127.0.0.1'), 'SELECT 1')).rejects.toThrow(/does not match|altnames/);
  await expect(execute(server.url(), 'SELECT 1')).rejects.toThrow(/no pg_hba.conf entry/);
});

test('a server and its directory go with the process that started it, even one killed with SIGKILL', async () => {
  const program = `
    import { startPostgres } from '#services/demo/local-postgres/server.ts';
    const { pid, dataDir } = await startPostgres({ version: 18 });
    process.stdout.write(JSON.stringify({ pid, dataDir }));
    setInterval(() => undefined, 60_000);`;
  const starter = spawn(process.execPath, ['--input-type=module-typescript', '-e', program], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = (await once(starter.stdout, 'data')) as [Buffer];
  const { pid, dataDir } = JSON.parse(line.toString()) as { pid: number; dataDir: string };
  expect([isAlive(pid), existsSync(dataDir)]).toEqual([true, true]);
  const segment = segmentOf(dataDir);
  starter.kill('SIGKILL');
  await expect.poll(() => [isAlive(pid), existsSync(dataDir)], { timeout: 30_000 }).toEqual([false, false]);
  expect(sharedSegments()).not.toContain(segment);
});

test.skipIf(process.platform !== 'linux')('a killed server that is removed gives its shared memory back to the machine', async () => {
  const server = await startPostgres({ version: 18 });
  const id = segmentOf(server.dataDir);
  expect(sharedSegments()).toContain(id);
  await server.kill();
  expect(sharedSegments()).toContain(id); // as a crash leaves it
  await server[Symbol.asyncDispose]();
  expect(sharedSegments()).not.toContain(id);
});

function segmentOf(dataDir: string): number {
  const lines = readFileSync(join(dataDir, 'postmaster.pid'), 'utf8').split('\n');
  return Number(lines[6]?.trim().split(/\s+/)[1]); // key and id
}

/** Their ids (none where the system has no such file): the second column, below a line of names. */
function sharedSegments(): number[] {
  if (!existsSync('/proc/sysvipc/shm')) return [];
  const lines = readFileSync('/proc/sysvipc/shm', 'utf8').trim().split('\n').slice(1);
  return lines.map((line) => Number(line.trim().split(/\s+/)[1]));
}
