/**
 * Confluent's schema registry, and those with its API (Apicurio, Karapace, Redpanda). Guarantee: asked once per schema and once per id;
 * trouble that passes is waited out; a subject's compatibility is set only where it has none, and never a reason to fail by itself.
 */
import type { Agent } from 'node:http';
import { setTimeout as wait } from 'node:timers/promises';
import { COMPATIBILITY, SchemaRegistry as Client, SchemaType } from '@kafkajs/confluent-schema-registry';
import { messageOf, PipelineError } from '#schemas/errors.ts';
import type { SchemaRegistry } from '#schemas/wire/wire.ts';
import { registryAddress } from './registry-address.ts';

export interface ConfluentOptions {
  /** With a CA of its own, or a client certificate. */
  readonly agent?: Agent;
  /** Milliseconds that trouble may last; 30 s when absent. */
  readonly patienceMs?: number;
}

const PATIENCE_MS = 30_000;
const FIRST_WAIT_MS = 100;
const LONGEST_WAIT_MS = 2_000;

/** `url` as in the file, `http://user:password@host:8081`. */
export function confluentRegistry(url: string, options: ConfluentOptions = {}): SchemaRegistry {
  return new ConfluentRegistry(url, options);
}

/** What the client throws: an HTTP status where there was an answer. */
interface Failure {
  readonly status?: number;
  readonly name?: string;
}

class ConfluentRegistry implements SchemaRegistry {
  readonly #client: Client;
  readonly #host: string;
  readonly #patienceMs: number;
  readonly #ids = new Map<string, Promise<number>>();
  readonly #schemas = new Map<number, Promise<string>>();
  /** Texts as the server gave them: the client keeps only what it understands of them. */
  readonly #texts = new Map<number, string>();
  readonly #closing = new AbortController();

  constructor(url: string, options: ConfluentOptions) {
    const { username, password, host } = registryAddress(url);
    this.#host = host;
    this.#patienceMs = options.patienceMs ?? PATIENCE_MS;
    this.#client = new Client({
      host: this.#host,
      ...(username !== '' && { auth: { username, password } }),
      ...(options.agent !== undefined && { agent: options.agent }),
      // The client's retry options stand in one object that all clients share: all of them, and always the same.
      retry: { maxRetryTimeInSecs: 5, initialRetryTimeInSecs: 0.1, factor: 0.2, multiplier: 2, retries: 0 },
      middlewares: [() => ({ response: (next) => next().then((response) => this.#keep(response)) })],
    });
  }

  register(subject: string, schema: string): Promise<number> {
    return once(this.#ids, `${subject}\n${schema}`, () => this.#patiently(`register ${subject}`, () => this.#register(subject, schema)));
  }

  schema(id: number): Promise<string> {
    return once(this.#schemas, id, async () => {
      await this.#patiently(`fetch schema ${id}`, () => this.#client.getSchema(id));
      const text = this.#texts.get(id);
      if (text === undefined) throw this.#refused(`fetch schema ${id}`, new Error('the answer holds no schema'));
      this.#texts.delete(id);
      return text;
    });
  }

  async close(): Promise<void> {
    this.#closing.abort();
  }

  /** Of an answer to a question for a schema, its text. */
  #keep<T extends { request(): { path(): string }; data(): unknown }>(response: T): T {
    const id = /\/schemas\/ids\/(\d+)/.exec(response.request().path())?.[1];
    if (id !== undefined) {
      const data: unknown = response.data();
      const body = (typeof data === 'string' ? JSON.parse(data) : data) as { readonly schema?: string };
      if (body.schema !== undefined) this.#texts.set(Number(id), body.schema);
    }
    return response;
  }

  async #register(subject: string, schema: string): Promise<number> {
    const confluent = { type: SchemaType.AVRO, schema } as const;
    try {
      const { id } = await this.#client.register(confluent, { subject });
      return id;
    } catch (error) {
      // Another process has set the subject's compatibility in the same moment.
      if (/already exists/.test(messageOf(error))) return (await this.#client.register(confluent, { subject })).id;
      const own = /!= (\w+)\)/.exec(messageOf(error))?.[1];
      const compatibility = Object.values(COMPATIBILITY).find((level) => level.valueOf() === own);
      if ((error as Failure).name !== 'ConfluentSchemaRegistryCompatibilityError' || compatibility === undefined) throw error;
      // The subject's own level stands; whether this schema passes it, the registry says.
      const { id } = await this.#client.register(confluent, { subject, compatibility });
      return id;
    }
  }

  async #patiently<T>(what: string, call: () => Promise<T>): Promise<T> {
    const until = performance.now() + this.#patienceMs;
    for (let waitMs = FIRST_WAIT_MS; ; waitMs = Math.min(2 * waitMs, LONGEST_WAIT_MS)) {
      try {
        return await call();
      } catch (error) {
        if (!passes(error) || performance.now() + waitMs > until) throw this.#refused(what, error);
        await wait(waitMs, undefined, { signal: this.#closing.signal });
      }
    }
  }

  #refused(what: string, error: unknown): PipelineError {
    const { status } = error as Failure;
    const message = `the schema registry at ${this.#host} does not ${what}: ${messageOf(error)}`;
    const remedy = REMEDIES[status ?? 0];
    return new PipelineError('CF-3006', message, { cause: error, ...(remedy !== undefined && { remedy }) });
  }
}

const INCOMPATIBLE =
  "The table's columns changed in a way that the subject's compatibility refuses: set its compatibility to NONE (PUT /config/<subject>), or delete the subject, then start again.";

const REMEDIES: Readonly<Record<number, string>> = {
  401: 'Give user and password in log.kafka.registry: http://user:password@host:8081.',
  403: 'Grant the registry user to read and write subjects of this migration.',
  404: 'Check log.kafka.registry: Confluent serves its API at the root, Apicurio under /apis/ccompat/v7.',
  409: INCOMPATIBLE,
  422: INCOMPATIBLE,
};

/** Trouble of the network or the server, not of what was asked. */
function passes(error: unknown): boolean {
  const { status } = error as Failure;
  return status === undefined ? error instanceof Error : status === 0 || status === 408 || status === 429 || status >= 500;
}

/** The same promise for the same question, unless it failed. */
async function once<K, V>(kept: Map<K, Promise<V>>, key: K, ask: () => Promise<V>): Promise<V> {
  let answer = kept.get(key);
  if (answer === undefined) {
    answer = ask();
    kept.set(key, answer);
    answer.catch(() => kept.delete(key));
  }
  return answer;
}
