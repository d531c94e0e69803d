/**
 * Runs in a worker of its own: loads one file of the user's and answers calls of its functions. Guarantee: one answer for each call, by the
 * very text that was hashed; the file on disk is not looked at, nor is any other: what it imports, however and whenever, is of Node or refused.
 */
import { isBuiltin, registerHooks } from 'node:module';
import { workerData, type MessagePort } from 'node:worker_threads';
import type { Answer, Call, WorkerStart } from './open-functions.ts';

const { url, text, port, signal } = workerData as WorkerStart & { readonly port: MessagePort };

/** Its digest is of this one file. */
class NotAlone extends Error {
  override readonly name = 'NotAlone';
  readonly specifier: string;

  constructor(specifier: string) {
    super(`it imports ${specifier}`);
    this.specifier = specifier;
  }
}

let loaded: Readonly<Record<string, unknown>> = {};

function answerTo({ name, row }: Call): Answer {
  const called = loaded[name];
  if (typeof called !== 'function') return { error: `${name} is no function that the file exports` };
  try {
    const value: unknown = (called as (given: unknown) => unknown)(row);
    return value instanceof Promise ? { error: 'the function is async; it must give its answer at once' } : { value };
  } catch {
    // What is thrown may hold values of the row.
    return { error: 'the function threw' };
  }
}

function send(answer: Answer): void {
  try {
    port.postMessage(answer);
  } catch {
    port.postMessage({ error: 'the function gave back what cannot leave its worker' });
  }
  Atomics.store(signal, 0, 1);
  Atomics.notify(signal, 0);
}

registerHooks({
  resolve: (specifier, context, next) => {
    if (specifier === url) return { url, shortCircuit: true };
    if (!isBuiltin(specifier)) throw new NotAlone(specifier);
    return next(specifier, context);
  },
  load: (wanted, context, next) =>
    wanted === url
      ? { format: url.endsWith('ts') ? 'module-typescript' : 'module', source: text, shortCircuit: true }
      : next(wanted, context),
});

port.on('message', (call: Call) => send(answerTo(call)));
try {
  loaded = (await import(url)) as typeof loaded;
  send({ value: Object.keys(loaded).filter((name) => typeof loaded[name] === 'function') });
} catch (error) {
  if (error instanceof NotAlone) send({ error: error.message, imports: error.specifier });
  else send({ error: error instanceof Error ? error.message : 'it threw while it was loaded' });
}
