/**
 * Guarantee: no server outlives the process that started it, however that process ends. PostgreSQL has no option for this, so a small
 * detached process holds the other end of a pipe: at its end of file, which even SIGKILL brings about, it kills what is still
 * registered and removes its directory. Run as a program this file is that process.
 */
import { spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Writable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { isAlive, killCluster, releaseSharedMemory } from './processes.ts';

const KILL_TIMEOUT_MS = 5000;

let pipe: Writable | undefined;

/** What is to go with this process: a postmaster, or a directory. */
export type Ward = { readonly pid: number } | { readonly directory: string };

export function watch(ward: Ward): void {
  pipe ??= startWatchdog();
  pipe.write(`${JSON.stringify({ ...ward, watched: true })}\n`);
}

export function unwatch(ward: Ward): void {
  pipe?.write(`${JSON.stringify({ ...ward, watched: false })}\n`);
}

/** Where in its temporary directory a server keeps its data. */
export function clusterIn(home: string): string {
  return join(home, 'data');
}

function startWatchdog(): Writable {
  const watchdog = spawn(process.execPath, [import.meta.filename], { detached: true, stdio: ['pipe', 'ignore', 'ignore'], cwd: '/' });
  watchdog.unref();
  (watchdog.stdin as unknown as Socket).unref();
  watchdog.stdin.on('error', () => undefined); // it can only be gone when somebody killed it; the server then ends with dispose
  return watchdog.stdin;
}

async function keepWatch(): Promise<void> {
  const servers = new Set<number>();
  const directories = new Set<string>();
  for await (const line of createInterface({ input: process.stdin })) {
    const ward = JSON.parse(line) as Ward & { readonly watched: boolean };
    if ('pid' in ward) toggle(servers, ward.pid, ward.watched);
    else toggle(directories, ward.directory, ward.watched);
  }
  const killed = [...servers].filter(isAlive).flatMap(killCluster);
  const deadline = Date.now() + KILL_TIMEOUT_MS;
  while (killed.some(isAlive) && Date.now() < deadline) await delay(20);
  for (const directory of directories) {
    releaseSharedMemory(clusterIn(directory));
    rmSync(directory, { recursive: true, force: true, maxRetries: 3 });
  }
}

function toggle<T>(set: Set<T>, item: T, present: boolean): void {
  if (present) set.add(item);
  else set.delete(item);
}

if (import.meta.main) await keepWatch();
