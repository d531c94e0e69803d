/** Vitest's main process as the holder of shared servers. Guarantee: a run that asks for none starts none. */
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { messageOf } from '#schemas/errors.ts';
import { closeServers, type ServerName, serverOf } from './server-holder.ts';
import { SHARED_SERVERS } from './shared-servers.ts';

let server: Server | undefined;
let directory: string | undefined;

export async function setup(): Promise<void> {
  directory = mkdtempSync(join(tmpdir(), 'crossfade-shared-'));
  const path = join(directory, 'socket');
  server = createServer((socket) => {
    socket.on('error', () => undefined); // a test process that was killed while it waited
    socket.once('data', (name) => void answer(name.toString()).then((text) => socket.end(text)));
  });
  await new Promise<void>((done) => server?.listen(path, done));
  process.env[SHARED_SERVERS] = path; // test processes inherit it
}

export async function teardown(): Promise<void> {
  server?.close();
  await closeServers();
  if (directory !== undefined) rmSync(directory, { recursive: true, force: true });
}

async function answer(name: string): Promise<string> {
  try {
    return JSON.stringify({ address: await serverOf(name as ServerName) });
  } catch (error) {
    return JSON.stringify({ error: messageOf(error) });
  }
}
