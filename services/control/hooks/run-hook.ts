/**
 * The file's hooks: a command with the event as JSON on its standard input, or a POST with it as the body. Guarantee: one that does not end in time is ended
 * and counts as a no; nothing that a hook says is believed but yes or no, and only its beginning is kept.
 */
import { spawn } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import type { HookEntry } from '#schemas/config/migration-file.ts';
import { messageOf } from '#schemas/errors.ts';
import type { HookCall, HookReport, HooksPort } from '../flip/ports.ts';

const SAID_MAX = 500;
const AFTER_TRIES = 5;
const AFTER_PAUSE_MS = 500;

export interface HooksOptions {
  readonly name: string;
  readonly before: readonly HookEntry[];
  readonly after: readonly HookEntry[];
  /** Of commands. */
  readonly environment: Readonly<Record<string, string | undefined>>;
}

export function hooksPort({ name, before, after, environment }: HooksOptions): HooksPort {
  const run = async (hook: HookEntry, call: HookCall): Promise<HookReport> => runHook(hook, eventOf(name, call), environment);
  return {
    before: async (call) => {
      const reports: HookReport[] = [];
      for (const hook of before) {
        const report = await run(hook, call);
        reports.push(report);
        if (!report.ok) break;
      }
      return reports;
    },
    after: async (call) =>
      Promise.all(
        after.map(async (hook) => {
          let report = await run(hook, call);
          for (let tries = 1; !report.ok && tries < AFTER_TRIES; tries++) {
            await delay(AFTER_PAUSE_MS * 2 ** (tries - 1));
            report = await run(hook, call);
          }
          return report;
        }),
      ),
  };
}

function eventOf(name: string, { event, kind, drill, epoch, serves }: HookCall): string {
  return JSON.stringify({ migration: name, event, act: kind, drill, epoch: String(epoch), serves });
}

async function runHook(hook: HookEntry, event: string, environment: HooksOptions['environment']): Promise<HookReport> {
  const began = performance.now();
  const result = hook.kind === 'http' ? await post(hook, event) : await execute(hook, event, environment);
  return { hook: hook.name, ...result, ms: Math.round(performance.now() - began) };
}

type Answer = Pick<HookReport, 'ok' | 'said'>;

async function post(hook: HookEntry & { readonly kind: 'http' }, event: string): Promise<Answer> {
  try {
    const response = await fetch(hook.url, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...hook.headers },
      body: event,
      signal: AbortSignal.timeout(hook.timeoutMs),
    });
    const text = await response.text();
    return { ok: response.ok, said: shown(`HTTP ${response.status}`, text) };
  } catch (error) {
    const cause = error instanceof Error && error.cause !== undefined ? messageOf(error.cause) : messageOf(error);
    return { ok: false, said: shown('no answer', cause) };
  }
}

async function execute(
  hook: HookEntry & { readonly kind: 'exec' },
  event: string,
  environment: HooksOptions['environment'],
): Promise<Answer> {
  const [program = '', ...args] = hook.command;
  const { promise, resolve } = Promise.withResolvers<Answer>();
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'], env: environment, timeout: hook.timeoutMs, killSignal: 'SIGKILL' });
  let said = '';
  const hear = (chunk: Buffer): void => {
    if (said.length < SAID_MAX) said += chunk.toString('utf8');
  };
  child.stdout.on('data', hear);
  child.stderr.on('data', hear);
  child.stdin.on('error', () => undefined); // it need not read
  child.stdin.end(event);
  child.once('error', (error) => resolve({ ok: false, said: shown('cannot be run', error.message) }));
  child.once('close', (code, signal) =>
    resolve({
      ok: code === 0,
      said: shown(code === null ? `ended by ${signal ?? 'a signal'} (after ${hook.timeoutMs} ms at most)` : `exit ${code}`, said),
    }),
  );
  return promise;
}

function shown(result: string, text: string): string {
  const line = text.trim().replaceAll(/\s+/g, ' ').slice(0, SAID_MAX);
  return line === '' ? result : `${result}: ${line}`;
}
