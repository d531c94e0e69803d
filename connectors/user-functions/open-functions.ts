/**
 * Functions of the user's, in a worker per file. Guarantee: a call takes no longer than its limit whatever the function does, an endless one
 * costs its row and its worker and not the process, and a file stands alone, so that its digest covers all that it does.
 *
 * A call waits: the row function is synchronous, and a row has to be mapped before the next. It costs some 20 µs.
 */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { pathToFileURL } from 'node:url';
import { MessageChannel, receiveMessageOnPort, Worker, type MessagePort } from 'node:worker_threads';
import { messageOf, PipelineError } from '#schemas/errors.ts';
import { UserFunctionFailure, type FunctionRow, type UserFunction } from '#schemas/mapping/steps/user-function.ts';

export interface Call {
  readonly name: string;
  readonly row: FunctionRow;
}

export type Answer = { readonly value: unknown } | { readonly error: string };

export interface WorkerStart {
  readonly url: string;
  /** 0 while there is no answer. */
  readonly signal: Int32Array<SharedArrayBuffer>;
}

const START_MS_MAX = 10_000;
const CALL_MS_MAX = 1_000;
const HEAP_MB_MAX = 256;
/** Of a static or a dynamic import, or of require. */
const IMPORTED = /\b(?:from|import|require)\s*\(?\s*['"`]([^'"`]+)['"`]/g;

/** @throws PipelineError CF-1002 when the file cannot be read or loaded, CF-1004 when it imports another, or has no such function. */
export async function openFunctions(path: string, names: readonly string[]): Promise<ReadonlyMap<string, UserFunction>> {
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    throw new PipelineError('CF-1002', `${path} cannot be read: ${messageOf(error)}`, {
      cause: error,
      remedy: 'Mend the path given under call.',
    });
  });
  const other = [...text.matchAll(IMPORTED)].map((match) => match[1]!).find((specifier) => !specifier.startsWith('node:'));
  if (other !== undefined) {
    throw new PipelineError('CF-1004', `${path} imports ${other}; a file of functions stands alone`, {
      remedy: 'Only modules of Node (node:…) may be imported: the digest of the mapping covers this one file.',
    });
  }
  const digest = createHash('sha256').update(text).digest('hex');
  const host = new FunctionHost(path);
  const exported = host.start();
  const missing = names.find((name) => !exported.includes(name));
  if (missing !== undefined)
    throw new PipelineError('CF-1004', `${path} exports no function ${missing}`, { remedy: 'Mend the name behind the #.' });
  return new Map(names.map((name) => [name, { digest, call: (row) => host.call({ name, row }) }]));
}

class FunctionHost {
  readonly #path: string;
  #running: { readonly worker: Worker; readonly port: MessagePort; readonly signal: Int32Array<SharedArrayBuffer> } | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  /** Names of the functions that the file exports. */
  start(): readonly string[] {
    const { port1, port2 } = new MessageChannel();
    const signal = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
    const data: WorkerStart & { readonly port: MessagePort } = { url: pathToFileURL(this.#path).href, signal, port: port2 };
    const script = new URL(import.meta.url.endsWith('.ts') ? './function-worker.ts' : './function-worker.js', import.meta.url);
    const worker = new Worker(script, {
      workerData: data,
      transferList: [port2],
      resourceLimits: { maxOldGenerationSizeMb: HEAP_MB_MAX },
      env: {},
    });
    // It must not keep a process alive that is done; a failure shows as an answer that does not come.
    worker.on('error', () => undefined);
    worker.unref();
    port1.unref();
    this.#running = { worker, port: port1, signal };
    const answer = this.#wait(START_MS_MAX);
    if (answer === undefined || 'error' in answer) {
      const reason = answer === undefined ? `nothing within ${START_MS_MAX} ms` : answer.error;
      throw new PipelineError('CF-1002', `${this.#path} cannot be loaded: ${reason}`, { remedy: 'Mend the file, or the path under call.' });
    }
    return answer.value as string[];
  }

  call(call: Call): unknown {
    if (this.#running === undefined) this.start();
    const { port, signal } = this.#running!;
    Atomics.store(signal, 0, 0);
    port.postMessage(call);
    const answer = this.#wait(CALL_MS_MAX);
    if (answer === undefined) throw new UserFunctionFailure(`the function took longer than ${CALL_MS_MAX} ms`);
    if ('error' in answer) throw new UserFunctionFailure(answer.error);
    return answer.value;
  }

  /** Undefined when none came in time: the worker is given up then. */
  #wait(limitMs: number): Answer | undefined {
    const { worker, port, signal } = this.#running!;
    if (Atomics.wait(signal, 0, 0, limitMs) !== 'timed-out') return receiveMessageOnPort(port)?.message as Answer | undefined;
    this.#running = undefined;
    void worker.terminate();
    return undefined;
  }
}
