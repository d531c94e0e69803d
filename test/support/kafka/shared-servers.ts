/**
 * Servers that all files of a test run share, because each costs seconds of two cores. Guarantee: at most one of each per run, started when
 * first asked for, gone with the run. It is vitest's main process that holds them (global-setup.ts); elsewhere this process does.
 * Nobody may stop or fill up a shared server: tests keep apart by the names of their topics, groups, subjects and connectors.
 */
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { type ServerName, serverOf } from './server-holder.ts';

export const SHARED_SERVERS = 'CROSSFADE_SHARED_SERVERS';

/** One broker without limits of its own: default message size, PLAINTEXT only. */
export async function sharedKafka(): Promise<{ readonly brokers: string[] }> {
  return { brokers: [await ask('kafka')] };
}

export async function sharedRegistry(): Promise<{ readonly url: string }> {
  return { url: await ask('registry') };
}

/** The address of a server, which is started if it is not running yet. */
async function ask(name: ServerName): Promise<string> {
  const path = process.env[SHARED_SERVERS];
  if (path === undefined) return serverOf(name);
  const socket = connect(path);
  socket.write(name);
  const answer = JSON.parse(await text(socket)) as { readonly address?: string; readonly error?: string };
  if (answer.address === undefined) throw new Error(answer.error ?? `no shared ${name}`);
  return answer.address;
}
