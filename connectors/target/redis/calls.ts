/**
 * Calls of our scripts, many on their way at a time. Guarantee: calls on one connection run in the order they were made; what is on its
 * way is bounded in bytes; the first failure is kept and told to whoever waits next.
 */
import { createHash } from 'node:crypto';
import { PipelineError } from '#schemas/errors.ts';
import { serversOf, type RedisClient } from './connection.ts';
import { DROP_GUARDS, SWEEP_ROWS, WRITE_PROGRESS, WRITE_ROWS } from './scripts.ts';

const IN_FLIGHT_BYTES = 4 * 1024 * 1024;

export interface Call {
  readonly script: string;
  readonly keys: readonly string[];
  readonly args: readonly (string | Buffer)[];
}

export class ScriptCalls {
  readonly #client: RedisClient;
  #inFlightBytes = 0;
  #failure: { readonly error: unknown } | undefined;
  #waiting: (() => void)[] = [];

  constructor(client: RedisClient) {
    this.#client = client;
  }

  /**
   * One call. A server that has lost the script ends the session: sent again as a whole, a call would come after those behind it.
   */
  async run({ script, keys, args }: Call): Promise<unknown> {
    try {
      return await this.#client.evalsha(shaOf(script), keys.length, ...keys, ...args);
    } catch (error) {
      throw meaning(error);
    }
  }

  /** Waits for room, then sends; the answer goes to `onAnswer`. @throws what an earlier call failed with */
  async send(call: Call, bytes: number, onAnswer: (answer: unknown) => void): Promise<void> {
    while (this.#inFlightBytes > IN_FLIGHT_BYTES && this.#failure === undefined) await this.#change();
    this.#check();
    this.#inFlightBytes += bytes;
    this.run(call)
      .then(onAnswer)
      .catch((error: unknown) => (this.#failure ??= { error }))
      .finally(() => {
        this.#inFlightBytes -= bytes;
        const waiting = this.#waiting;
        this.#waiting = [];
        for (const resolve of waiting) resolve();
      });
  }

  /** Resolves when every answer is in. */
  async settled(): Promise<void> {
    while (this.#inFlightBytes > 0 && this.#failure === undefined) await this.#change();
    this.#check();
  }

  async #change(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #check(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }
}

const shas = new Map<string, string>();

function shaOf(script: string): string {
  let sha = shas.get(script);
  if (sha === undefined) shas.set(script, (sha = createHash('sha1').update(script).digest('hex')));
  return sha;
}

/** Each server knows every script that is called by its hash. */
export async function loadScripts(client: RedisClient): Promise<void> {
  const scripts = [WRITE_ROWS, SWEEP_ROWS, DROP_GUARDS, WRITE_PROGRESS];
  for (const server of serversOf(client)) for (const script of scripts) await server.script('LOAD', script);
}

function meaning(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  if (/\bCFEPOCH\b/.test(error.message)) return new PipelineError('CF-5005', 'another sink has taken over this migration');
  if (/\bCFSTATE\b/.test(error.message)) return new PipelineError('CF-5006', 'Redis shows another progress than this sink has written');
  return error;
}
