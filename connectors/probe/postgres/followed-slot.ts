/**
 * What a slot brings from now on, followed beside the pipeline. Guarantee: every transaction of the publication with a commit LSN at or
 * above `start` is handed on, whole and in commit order; once `reached(lsn)` resolves, all with a commit LSN below `lsn` were. A session
 * that is lost is told and never begun again. The slot followed is a temporary copy: the server drops it with the session, however that ends.
 *
 * The bytes come through node-postgres, not by the reader's transport, so that a fault there cannot hide itself here.
 */
import pg from 'pg';
import { messageOf } from '#schemas/errors.ts';
import { maxLsn, readLsn, ZERO_LSN, type Lsn } from '#schemas/lsn.ts';
import { decodeCommit, TAG } from '#schemas/pgoutput/message.ts';
import { quoteIdent } from '#schemas/table.ts';
import { clientConfig } from '#connectors/postgres/session.ts';
import { copySlot } from './stream-window.ts';
import type { Side } from './held-snapshot.ts';

export interface FollowedSlot extends AsyncDisposable {
  /** Commits at or above this are handed on. */
  readonly start: Lsn;
  /** Why the session is lost; undefined while it is not. */
  readonly lost: string | undefined;
  /** To be called once. `message` (pgoutput) may be reused after the call. */
  follow(onMessage: (message: Buffer) => void): Promise<void>;
  /** @returns false when the session was lost, or after the time. The WAL up to `lsn` must be flushed. */
  reached(lsn: Lsn, withinMs: number): Promise<boolean>;
}

export interface FollowOptions {
  readonly url: string;
  readonly side: Side;
  /** Of the migration. */
  readonly slot: string;
  readonly publication: string;
}

/** The parts of node-postgres's connection that the protocol needs and its types leave out. */
interface StreamConnection {
  readonly stream: { destroy(): void };
  on(event: 'copyData', listener: (message: { readonly chunk: Buffer }) => void): unknown;
  once(event: 'replicationStart', listener: () => void): unknown;
  sendCopyFromChunk(chunk: Buffer): void;
}

const XLOG_DATA = 0x77;
const XLOG_DATA_HEADER_BYTES = 25;
const KEEPALIVE = 0x6b;
const STATUS_EVERY_MS = 1_000;
/** While somebody waits the server is asked this often how far it is. */
const ASK_EVERY_MS = 4;
const PG_EPOCH_MS = 946_684_800_000;

/** @throws PipelineError CF-2001, CF-5001 when the server cannot be reached, CF-2004 when the slot is gone, CF-6002 when all slots are taken. */
export async function followSlot(options: FollowOptions): Promise<FollowedSlot> {
  const config = clientConfig(options.url, { applicationName: 'crossfade fence', role: options.side });
  const client = new pg.Client({ ...config, replication: 'database' } as pg.ClientConfig);
  client.on('error', () => undefined);
  try {
    await client.connect();
    return new Follower(client, options, await copySlot(client, options.slot, 'fence'));
  } catch (error) {
    await client.end().catch(() => undefined);
    throw error;
  }
}

class Follower implements FollowedSlot {
  readonly start: Lsn;
  readonly #client: pg.Client;
  readonly #connection: StreamConnection;
  readonly #slot: string;
  readonly #publication: string;
  #position: Lsn = ZERO_LSN;
  #lost: string | undefined;
  #moved = Promise.withResolvers<void>();
  #status: NodeJS.Timeout | undefined;

  constructor(client: pg.Client, { publication }: FollowOptions, copy: { readonly slot: string; readonly start: Lsn }) {
    this.#client = client;
    this.#connection = (client as unknown as { connection: StreamConnection }).connection;
    this.#publication = publication;
    this.#slot = copy.slot;
    this.start = copy.start;
    client.on('error', (error) => this.#lose(messageOf(error)));
    client.on('end', () => this.#lose('the session has ended'));
  }

  get lost(): string | undefined {
    return this.#lost;
  }

  async follow(onMessage: (message: Buffer) => void): Promise<void> {
    const started = Promise.withResolvers<void>();
    this.#connection.once('replicationStart', () => started.resolve());
    this.#connection.on('copyData', ({ chunk }) => this.#receive(chunk, onMessage));
    const publication = quoteIdent(this.#publication).replaceAll("'", "''");
    const sql = `START_REPLICATION SLOT ${quoteIdent(this.#slot)} LOGICAL 0/0 (proto_version '1', publication_names '${publication}', messages 'true')`;
    this.#client.query(sql).then(
      () => this.#lose('the server closed the stream'),
      (error: unknown) => {
        this.#lose(messageOf(error));
        started.reject(error);
      },
    );
    await started.promise;
    this.#status = setInterval(() => this.#sendStatus(true), STATUS_EVERY_MS);
    this.#status.unref();
  }

  async reached(lsn: Lsn, withinMs: number): Promise<boolean> {
    if (this.#position >= lsn) return this.#lost === undefined;
    const ask = setInterval(() => this.#sendStatus(true), ASK_EVERY_MS);
    const { promise: late, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, withinMs);
    const deadline = performance.now() + withinMs;
    try {
      this.#sendStatus(true);
      while (this.#lost === undefined && this.#position < lsn && performance.now() < deadline)
        await Promise.race([this.#moved.promise, late]);
      return this.#lost === undefined && this.#position >= lsn;
    } finally {
      clearInterval(ask);
      clearTimeout(timer);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#status);
    this.#lose('closed');
    // A walsender ends with its socket, and its temporary slot with it.
    this.#connection.stream.destroy();
    await this.#client.end().catch(() => undefined);
  }

  #receive(payload: Buffer, onMessage: (message: Buffer) => void): void {
    if (this.#lost !== undefined) return;
    try {
      if (payload[0] === XLOG_DATA) {
        const message = payload.subarray(XLOG_DATA_HEADER_BYTES);
        onMessage(message);
        if (message[0] === TAG.commit) this.#at(decodeCommit(message).endLsn);
      } else if (payload[0] === KEEPALIVE) {
        // All that the server has to send up to there was sent.
        this.#at(readLsn(payload, 1));
        if (payload[17] === 1) this.#sendStatus(false);
      }
    } catch (error) {
      this.#lose(messageOf(error));
    }
  }

  #at(position: Lsn): void {
    this.#position = maxLsn(this.#position, position);
    this.#wake();
  }

  #wake(): void {
    const { resolve } = this.#moved;
    this.#moved = Promise.withResolvers<void>();
    resolve();
  }

  #lose(why: string): void {
    this.#lost ??= why;
    clearInterval(this.#status);
    this.#wake();
  }

  /** Standby status update: written = flushed = applied; the WAL below may go. */
  #sendStatus(asks: boolean): void {
    if (this.#lost !== undefined) return;
    const status = Buffer.alloc(34);
    status[0] = 0x72;
    for (const at of [1, 9, 17]) status.writeBigUInt64BE(this.#position, at);
    status.writeBigInt64BE(BigInt(Date.now() - PG_EPOCH_MS) * 1000n, 25);
    status[33] = asks ? 1 : 0;
    this.#connection.sendCopyFromChunk(status);
  }
}
