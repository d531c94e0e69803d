/**
 * Guarantee: no container outlives the process that started it where testcontainers' own reaper is off: a small detached process holds
 * the other end of a pipe, and at its end of file, which even SIGKILL brings about, removes what is still registered. Run as a program
 * this file is that process.
 */
import { spawn } from 'node:child_process';
import type { Socket } from 'node:net';
import { createInterface } from 'node:readline';
import type { Writable } from 'node:stream';
import { getContainerRuntimeClient } from 'testcontainers';

let pipe: Writable | undefined;

export function watchContainer(id: string, watched: boolean): void {
  if (process.env['TESTCONTAINERS_RYUK_DISABLED'] !== 'true') return;
  pipe ??= startWatchdog();
  pipe.write(`${JSON.stringify({ id, watched })}\n`);
}

function startWatchdog(): Writable {
  const watchdog = spawn(process.execPath, [import.meta.filename], { detached: true, stdio: ['pipe', 'ignore', 'ignore'] });
  watchdog.unref();
  (watchdog.stdin as unknown as Socket).unref();
  watchdog.stdin.on('error', () => undefined); // it can only be gone when somebody killed it; the container then ends with dispose
  return watchdog.stdin;
}

async function keepWatch(): Promise<void> {
  const containers = new Set<string>();
  for await (const line of createInterface({ input: process.stdin })) {
    const { id, watched } = JSON.parse(line) as { readonly id: string; readonly watched: boolean };
    if (watched) containers.add(id);
    else containers.delete(id);
  }
  if (containers.size === 0) return;
  const client = await getContainerRuntimeClient();
  await Promise.allSettled([...containers].map(async (id) => client.container.getById(id).remove({ force: true, v: true })));
}

if (import.meta.main) await keepWatch();
