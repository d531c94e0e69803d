/**
 * COPY … TO STDOUT as pieces of whole lines. Guarantee: every row once and in order; a piece is never changed after it was handed
 * over; while a piece is being consumed the socket rests, so at most one socket buffer waits besides it.
 *
 * It takes the socket from node-postgres for the length of the answer (as pg-copy-streams does) because a server sends one message
 * per row: here a row costs one look at its header and one copy.
 */
import type { Socket } from 'node:net';
import type pg from 'pg';

/** Size of a piece, and of the slab that rows are gathered in. */
const PIECE_BYTES = 1 << 20;
const HEADER_BYTES = 5;
const COPY_DATA = 0x64;
const COPY_DONE = 0x63;
const ERROR_RESPONSE = 0x45;

export type OnPiece = (piece: Buffer, rows: number) => void | Promise<void>;

interface Connection {
  readonly stream: Socket;
  query(text: string): void;
}

/** Runs a COPY TO STDOUT. Resolves when the server has confirmed it and every piece is consumed. */
export async function copyOut(client: pg.ClientBase, sql: string, onPiece: OnPiece): Promise<void> {
  const query = new CopyOutQuery(sql, onPiece);
  client.query(query as unknown as pg.Submittable);
  await query.done;
}

class CopyOutQuery {
  readonly done: Promise<void>;
  readonly #sql: string;
  readonly #onPiece: OnPiece;
  readonly #settle = Promise.withResolvers<void>();
  #connection: Connection | undefined;
  #pgListener: ((data: Buffer) => void) | undefined;
  readonly #listener = (data: Buffer): void => this.#onData(data);
  #slab: Buffer = Buffer.allocUnsafeSlow(PIECE_BYTES);
  #from = 0;
  #at = 0;
  #rows = 0;
  /** Bytes of the current CopyData's payload still to come. */
  #missing = 0;
  #skip = 0;
  #header: Buffer = Buffer.alloc(0);
  /** Consumption of pieces, in order. */
  #consumed: Promise<void> = Promise.resolve();
  #waiting = 0;
  #failure: unknown;

  constructor(sql: string, onPiece: OnPiece) {
    this.#sql = sql;
    this.#onPiece = onPiece;
    this.done = this.#settle.promise;
  }

  submit(connection: Connection): void {
    this.#connection = connection;
    const { stream } = connection;
    const listener = stream.listeners('data')[0] as (data: Buffer) => void;
    this.#pgListener = listener;
    stream.removeListener('data', listener);
    stream.on('data', this.#listener);
    connection.query(this.#sql);
  }

  handleError(error: unknown): void {
    this.#detach(undefined);
    this.#failure ??= error;
    this.#finish();
  }

  handleCommandComplete(): void {}

  handleReadyForQuery(): void {
    this.#finish();
  }

  #finish(): void {
    this.#consumed.then(
      () => (this.#failure === undefined ? this.#settle.resolve() : this.#settle.reject(this.#failure as Error)),
      (error: unknown) => this.#settle.reject(error as Error),
    );
  }

  #onData(data: Buffer): void {
    let p = 0;
    const end = data.length;
    while (p < end) {
      if (this.#missing > 0) {
        const n = Math.min(this.#missing, end - p);
        data.copy(this.#slab, this.#at, p, p + n);
        this.#at += n;
        this.#missing -= n;
        p += n;
        continue;
      }
      if (this.#skip > 0) {
        const n = Math.min(this.#skip, end - p);
        this.#skip -= n;
        p += n;
        continue;
      }
      if (this.#header.length > 0 || end - p < HEADER_BYTES) {
        const n = Math.min(HEADER_BYTES - this.#header.length, end - p);
        this.#header = Buffer.concat([this.#header, data.subarray(p, p + n)]);
        p += n;
        if (this.#header.length < HEADER_BYTES) return;
        const header = this.#header;
        this.#header = Buffer.alloc(0);
        if (this.#message(header[0]!, header.readUInt32BE(1) - 4, header, data.subarray(p))) return;
        continue;
      }
      const tag = data[p]!;
      const length = ((data[p + 1]! << 24) | (data[p + 2]! << 16) | (data[p + 3]! << 8) | data[p + 4]!) - 4;
      p += HEADER_BYTES;
      if (tag === COPY_DATA) {
        this.#row(length);
        if (end - p >= length) {
          data.copy(this.#slab, this.#at, p, p + length);
          this.#at += length;
          p += length;
          this.#missing = 0;
        }
      } else if (this.#message(tag, length, data.subarray(p - HEADER_BYTES, p), data.subarray(p))) return;
    }
  }

  /** True when the socket was given back. */
  #message(tag: number, length: number, header: Buffer, rest: Buffer): boolean {
    if (tag === COPY_DATA) {
      this.#row(length);
      return false;
    }
    if (tag === COPY_DONE) {
      this.#flush();
      this.#detach(rest);
      return true;
    }
    if (tag === ERROR_RESPONSE) {
      this.#detach(Buffer.concat([header, rest]));
      return true;
    }
    this.#skip = length;
    return false;
  }

  /** A row of `length` bytes comes next: it lies whole in one slab. */
  #row(length: number): void {
    if (this.#at + length > this.#slab.length) {
      this.#flush();
      if (this.#at + length > this.#slab.length) {
        this.#slab = Buffer.allocUnsafeSlow(Math.max(PIECE_BYTES, length));
        this.#from = 0;
        this.#at = 0;
      }
    }
    this.#rows++;
    this.#missing = length;
  }

  #flush(): void {
    if (this.#at === this.#from) return;
    const piece = this.#slab.subarray(this.#from, this.#at);
    const rows = this.#rows;
    this.#from = this.#at;
    this.#rows = 0;
    const stream = this.#connection!.stream;
    this.#waiting++;
    stream.pause();
    const consume = async (): Promise<void> => {
      if (this.#failure !== undefined) return;
      try {
        await this.#onPiece(piece, rows);
      } catch (error) {
        this.#failure ??= error;
        // The rest would be read for nothing.
        stream.destroy();
      }
    };
    this.#consumed = this.#consumed.then(consume).then(() => {
      this.#waiting--;
      if (this.#waiting === 0) stream.resume();
    });
  }

  #detach(rest: Buffer | undefined): void {
    const listener = this.#pgListener;
    const stream = this.#connection?.stream;
    this.#pgListener = undefined;
    if (!listener || !stream) return;
    stream.removeListener('data', this.#listener);
    stream.on('data', listener);
    if (rest && rest.length > 0) listener(rest);
  }
}
