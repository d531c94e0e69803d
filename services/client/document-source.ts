/**
 * Where the client has its flags from: HTTP of a running instance, or the Redis that it pushes to. Guarantee: `onDocument` is called with whatever
 * arrives, older or newer; nothing here throws to the application, and no timer keeps its process alive.
 */
import type { Redis } from 'ioredis';
import type { FlagDocument } from '#schemas/flags/flag-document.ts';
import { pushKey } from '#schemas/flags/push-names.ts';

export interface DocumentSource {
  /** Looks at once; resolves when what it found was told. Rejects while nobody answers. */
  refresh(): Promise<void>;
  close(): Promise<void>;
}

export interface DocumentSourceOptions {
  readonly name: string;
  readonly pollMs: number;
  readonly onDocument: (document: FlagDocument) => void;
  readonly onError: (error: unknown) => void;
}

const REQUEST_MS = 2_000;

export interface HttpAddress {
  readonly url: string;
  readonly token: string;
}

export function httpSource({ url, token }: HttpAddress, options: DocumentSourceOptions): DocumentSource {
  let etag = '';
  const refresh = async (): Promise<void> => {
    const response = await fetch(`${url}/v1/flags`, {
      headers: { authorization: `Bearer ${token}`, ...(etag !== '' && { 'if-none-match': etag }) },
      signal: AbortSignal.timeout(REQUEST_MS),
    });
    if (response.status === 304) return;
    if (!response.ok) throw new Error(`crossfade flags: HTTP ${response.status} of ${url}`);
    const document = checked(await response.json(), options.name);
    etag = response.headers.get('etag') ?? '';
    options.onDocument(document);
  };
  return polled(refresh, options);
}

/** Messages bring what is new; the hash is read at the start and now and then, for messages that were lost. */
export function redisSource(url: string, options: DocumentSourceOptions): DocumentSource {
  const key = pushKey(options.name);
  const clients = openClients(url, options);
  const subscribed = clients.then(async ([, subscriber]) => {
    subscriber.on('message', (_channel, text) => take(text, options));
    await subscriber.subscribe(key);
  });
  subscribed.catch(options.onError);
  const refresh = async (): Promise<void> => {
    const [client] = await clients;
    const text = await client.hget(key, 'document');
    if (text !== null) take(text, options);
  };
  const source = polled(refresh, options);
  return {
    refresh,
    close: async () => {
      await source.close();
      for (const client of await clients.catch(() => [])) client.disconnect();
    },
  };
}

async function openClients(url: string, { onError }: DocumentSourceOptions): Promise<[Redis, Redis]> {
  // Applications that use HTTP load nothing of it.
  const ioredis = await import('ioredis');
  return [0, 1].map(() => {
    const client = new ioredis.Redis(url, { connectionName: 'crossfade client', protocol: 2, commandTimeout: REQUEST_MS });
    client.on('error', onError);
    return client;
  }) as [Redis, Redis];
}

function take(text: string, { name, onDocument, onError }: DocumentSourceOptions): void {
  try {
    onDocument(checked(JSON.parse(text), name));
  } catch (error) {
    onError(error);
  }
}

function polled(refresh: () => Promise<void>, { pollMs, onError }: DocumentSourceOptions): DocumentSource {
  let isClosed = false;
  let timer: NodeJS.Timeout | undefined;
  const poll = async (): Promise<void> => {
    await refresh().catch(onError);
    if (!isClosed) timer = setTimeout(() => void poll(), pollMs).unref();
  };
  void poll();
  return {
    refresh,
    close: async () => {
      isClosed = true;
      clearTimeout(timer);
    },
  };
}

/** @throws Error when it is no document of this migration: another one's must never decide where this one's rows are read */
function checked(value: unknown, name: string): FlagDocument {
  const document = value as Partial<FlagDocument> | null;
  const isDocument =
    typeof document === 'object' &&
    document !== null &&
    document.name === name &&
    typeof document.epoch === 'number' &&
    typeof document.state === 'number' &&
    (document.serves === 'source' || document.serves === 'target');
  if (!isDocument) throw new Error(`crossfade flags: what was received is no document of migration ${name}`);
  return document as FlagDocument;
}
