/**
 * Functions of the user's, in a worker per file. Guarantee: a call takes no longer than its limit whatever the function does, an endless one
 * costs its row and its worker and not the process, and a file stands alone, so that its digest covers all that it does: what was hashed is
 * what runs, also after a restart of its worker and whatever became of the file. A worker that does not start again refuses rows.
 *
 * A call waits: the row function is synchronous, and a row has to be mapped before the next. It costs some 20 µs.
 */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { pathToFileURL } from 'node:url';
import { MessageChannel, receiveMessageOnPort, Worker, type MessagePort } from 'node:worker_threads';
import { messageOf, PipelineError } from '#schemas/errors.ts';
import { UserFunctionFailure, type FunctionRow, type UserFunction } from '#schemas/mapping/steps/user-function.ts';
import { NotUtf8, utf8Text } from '#schemas/utf8.ts';

export interface Call {
  readonly name: string;
  readonly row: FunctionRow;
}

export type Answer =
  | { readonly value: unknown }
  | { readonly error: string; /** Of a start: what the file imports, and may not. */ readonly imports?: string };

export interface WorkerStart {
  /** Names the text. */
  readonly url: string;
  readonly text: string;
  /** 0 while there is no answer. */
  readonly signal: Int32Array<SharedArrayBuffer>;
}

const START_MS_MAX = 10_000;
const CALL_MS_MAX = 1_000;
const HEAP_MB_MAX = 256;
/** Until a start that failed is tried again: it may take its whole time, and every row asks for it. */
const RESTART_PAUSE_MS = 30_000;

/** @throws PipelineError CF-1002 when the file cannot be read or loaded, CF-1004 when it imports another, or has no such function. */
export async function openFunctions(
  path: string,
  names: readonly string[],
  restartPauseMs: number = RESTART_PAUSE_MS,
): Promise<ReadonlyMap<string, UserFunction>> {
  const text = await textOf(path);
  const digest = createHash('sha256').update(text).digest('hex');
  const host = new FunctionHost(path, text, restartPauseMs);
  const exported = host.open();
  const missing = names.find((name) => !exported.includes(name));
  if (missing !== undefined)
    throw new PipelineError('CF-1004', `${path} exports no function ${missing}`, { remedy: 'Mend the name behind the #.' });
  return new Map(names.map((name) => [name, { digest, call: (row) => host.call({ name, row }) }]));
}

/** @throws PipelineError CF-1002 */
async function textOf(path: string): Promise<string> {
  try {
    return utf8Text(await readFile(path));
  } catch (error) {
    throw new PipelineError('CF-1002', `${path} cannot be read: ${messageOf(error)}`, {
      cause: error,
      remedy: error instanceof NotUtf8 ? 'Save it in UTF-8.' : 'Mend the path given under call.',
    });
  }
}

class FunctionHost {
  readonly #path: string;
  readonly #text: string;
  readonly #restartPauseMs: number;
  #running: { readonly worker: Worker; readonly port: MessagePort; readonly signal: Int32Array<SharedArrayBuffer> } | undefined;
  #failed: { readonly reason: string; readonly atMs: number } | undefined;

  constructor(path: string, text: string, restartPauseMs: number) {
    this.#path = path;
    this.#text = text;
    this.#restartPauseMs = restartPauseMs;
  }

  /** Names of the functions that the file exports. */
  open(): readonly string[] {
    const answer = this.#start();
    if ('value' in answer) return answer.value as string[];
    if (answer.imports !== undefined) {
      throw new PipelineError('CF-1004', `${this.#path} imports ${answer.imports}; a file of functions stands alone`, {
        remedy: 'Only modules of Node (node:…) may be imported: the digest of the mapping covers this one file.',
      });
    }
    throw new PipelineError('CF-1002', `${this.#path} cannot be loaded: ${answer.error}`, {
      remedy: 'Mend the file, or the path under call.',
    });
  }

  call(call: Call): unknown {
    if (this.#running === undefined) this.#restart();
    const { port, signal } = this.#running!;
    Atomics.store(signal, 0, 0);
    port.postMessage(call);
    const answer = this.#wait(CALL_MS_MAX);
    if (answer === undefined) throw new UserFunctionFailure(`the function took longer than ${CALL_MS_MAX} ms`);
    if ('error' in answer) throw new UserFunctionFailure(answer.error);
    return answer.value;
  }

  /** @throws UserFunctionFailure */
  #restart(): void {
    const now = performance.now();
    if (this.#failed === undefined || now - this.#failed.atMs >= this.#restartPauseMs) {
      const answer = this.#start();
      this.#failed = 'error' in answer ? { reason: answer.error, atMs: performance.now() } : undefined;
    }
    if (this.#failed !== undefined) throw new UserFunctionFailure(`the function's worker does not start again: ${this.#failed.reason}`);
  }

  /** Nothing runs behind an error. */
  #start(): Answer {
    const { port1, port2 } = new MessageChannel();
    const signal = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
    const data: WorkerStart & { readonly port: MessagePort } = {
      url: pathToFileURL(this.#path).href,
      text: this.#text,
      signal,
      port: port2,
    };
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
    const answer = this.#wait(START_MS_MAX) ?? { error: `nothing within ${START_MS_MAX} ms` };
    if ('error' in answer) this.#giveUp();
    return answer;
  }

  /** Undefined when none came in time: the worker is given up then. */
  #wait(limitMs: number): Answer | undefined {
    const { port, signal } = this.#running!;
    if (Atomics.wait(signal, 0, 0, limitMs) !== 'timed-out') return receiveMessageOnPort(port)?.message as Answer | undefined;
    this.#giveUp();
    return undefined;
  }

  #giveUp(): void {
    void this.#running?.worker.terminate();
    this.#running = undefined;
  }
}
