/**
 * The file's hooks: a command with the event as JSON on its standard input, or a POST with it as the body. Guarantee: one that does not end in time is ended
 * with all that it has begun, and counts as a no; what one leaves running behind it is not waited for; nothing that a hook says is believed but yes or no, and only its
 * beginning is kept, without the secrets that it was sent.
 */
import { spawn } from 'node:child_process';
import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { HookEntry } from '#schemas/config/migration-file.ts';
import { messageOf } from '#schemas/errors.ts';
import type { HookCall, HookReport, HooksPort } from '../flip/ports.ts';

const SAID_MAX = 500;
const SECRET_LENGTH_MIN = 6;
/** For what a command has said and we have not read. */
const LAST_WORDS_MS = 250;
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
      // Followed, it would be a GET, and a page to log in at would be a yes.
      redirect: 'manual',
      signal: AbortSignal.timeout(hook.timeoutMs),
    });
    const said = await beginningOf(response);
    if (response.status >= 300 && response.status < 400)
      return { ok: false, said: `HTTP ${response.status}: sends to another address, which is not asked` };
    return { ok: response.ok, said: shown(`HTTP ${response.status}`, withoutSecrets(said, hook.headers)) };
  } catch (error) {
    const cause = error instanceof Error && error.cause !== undefined ? messageOf(error.cause) : messageOf(error);
    return { ok: false, said: shown('no answer', cause) };
  }
}

/** An answer may be longer than the memory. */
async function beginningOf({ body }: Response): Promise<string> {
  let said = '';
  if (body === null) return said;
  for await (const chunk of body.pipeThrough(new TextDecoderStream())) {
    said += chunk;
    if (said.length >= SAID_MAX) break;
  }
  return said;
}

/** Some answer with what they were sent, and all of it stays in the audit trail. */
function withoutSecrets(text: string, headers: Readonly<Record<string, string>> = {}): string {
  const secrets = Object.values(headers).flatMap((value) => [value, ...value.split(' ')]);
  return secrets.filter(({ length }) => length >= SECRET_LENGTH_MIN).reduce((masked, secret) => masked.replaceAll(secret, '***'), text);
}

async function execute(
  hook: HookEntry & { readonly kind: 'exec' },
  event: string,
  environment: HooksOptions['environment'],
): Promise<Answer> {
  const [program = '', ...args] = hook.command;
  const { promise, resolve } = Promise.withResolvers<Answer>();
  // A group of its own: what a shell has begun ends with it.
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'], env: environment, detached: true });
  let said = '';
  let isLate = false;
  const hear = (chunk: Buffer): void => {
    if (said.length < SAID_MAX) said += chunk.toString('utf8');
  };
  child.stdout.on('data', hear);
  child.stderr.on('data', hear);
  child.stdin.on('error', () => undefined); // it need not read
  child.stdin.end(event);
  const late = setTimeout(() => {
    isLate = true;
    endGroup(child.pid);
  }, hook.timeoutMs);
  child.once('error', (error) => resolve({ ok: false, said: shown('cannot be run', error.message) }));
  child.once('exit', (code, signal) => {
    const end = isLate
      ? `not done within ${hook.timeoutMs} ms: ended`
      : code === null
        ? `ended by ${signal ?? 'a signal'}`
        : `exit ${code}`;
    const answer = (): void => resolve({ ok: code === 0 && !isLate, said: shown(end, said) });
    child.once('close', answer);
    // What it left running may keep its output open for ever.
    setTimeout(answer, LAST_WORDS_MS);
  });
  const answer = await promise;
  clearTimeout(late);
  for (const stream of [child.stdout, child.stderr] as Socket[]) stream.unref();
  return answer;
}

function endGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // It has ended this very moment.
  }
}

function shown(result: string, text: string): string {
  const line = text.trim().replaceAll(/\s+/g, ' ').slice(0, SAID_MAX);
  return line === '' ? result : `${result}: ${line}`;
}
