/**
 * A pipeline of extended-query messages over a node-postgres session: many statements and COPY data in one round trip.
 * Guarantee: statements run in the order given; after the first error nothing more of the pipeline runs; the session is ready for
 * the next query once `sync` has settled.
 */
import type { Writable } from 'node:stream';
import pg from 'pg';
import { invariant } from '#schemas/errors.ts';

/** What one statement answered. */
export interface StatementResult {
  /** Rows affected or copied. */
  readonly count: number;
  readonly rows: readonly (readonly (string | null)[])[];
}

/** An error of the target, and which statement of the pipeline met it. */
export class StatementError extends Error {
  override readonly name = 'StatementError';
  readonly sqlState: string;
  readonly label: number;
  readonly detail: string;
  readonly constraint: string;

  constructor(cause: Error & { code?: string; detail?: string; constraint?: string }, label: number) {
    super(cause.message, { cause });
    this.sqlState = cause.code ?? '';
    this.label = label;
    this.detail = cause.detail ?? '';
    this.constraint = cause.constraint ?? '';
  }

  /** True when the session died (or was ended) rather than a statement failed. */
  get lost(): boolean {
    return !(this.cause instanceof pg.DatabaseError) || this.sqlState.startsWith('08') || this.sqlState.startsWith('57P');
  }
}

/** Deadlock, serialisation failure, lock not available, cancelled, short of a resource: the same again may succeed. */
const TRANSIENT = /^(40001|40P01|55P03|57014|53...)$/;

export function isTransient(error: StatementError): boolean {
  return TRANSIENT.test(error.sqlState);
}

interface WireConnection {
  readonly stream: Writable;
  once(event: 'readyForQuery' | 'end', listener: () => void): void;
  removeListener(event: 'readyForQuery' | 'end', listener: () => void): void;
}

/** Small enough that the server starts while we still encode, large enough that a write costs little per row. */
const BLOCK_BYTES = 256 * 1024;
const SPARE_BLOCKS = 8;
const COPY_DATA = 0x64;

export class Wire {
  readonly #client: pg.Client;
  readonly #statements = new Map<string, string>();
  readonly #spare: Buffer[] = [];
  #statementCount = 0;
  #connection: WireConnection | undefined;
  #parsed: string[] = [];
  #labels: number[] = [];
  #results: StatementResult[] = [];
  #rows: (string | null)[][] = [];
  #error: Error | undefined;
  #settled: (() => void) | undefined;
  #ready = false;
  #open = false;
  readonly #unsent: { readonly data: Buffer; readonly done: (() => void) | undefined }[] = [];
  /** Start of the open CopyData message in `buffer`, or -1. */
  #copyAt = -1;
  /** Block being filled; hot paths write into it directly between `room` and setting `pos`. */
  buffer: Buffer = Buffer.allocUnsafeSlow(BLOCK_BYTES);
  pos = 0;
  /** Attached to statements for StatementError.label. */
  label = 0;

  constructor(client: pg.Client) {
    this.#client = client;
  }

  get client(): pg.Client {
    return this.#client;
  }

  /** Statements written to the open pipeline so far. */
  get statements(): number {
    return this.#labels.length;
  }

  /** Opens a pipeline. Every `start` must be followed by one `sync`. */
  start(): void {
    invariant(!this.#open, 'one pipeline at a time');
    this.#open = true;
    this.#connection = undefined;
    this.#results = [];
    this.#labels = [];
    this.#parsed = [];
    this.#rows = [];
    this.#error = undefined;
    this.#ready = false;
    this.pos = 0;
    this.#client.query(this as unknown as pg.Submittable);
  }

  /** Called by node-postgres. */
  submit(connection: unknown): void {
    this.#connection = connection as WireConnection;
    for (const { data, done } of this.#unsent.splice(0)) this.#write(data, done);
  }

  /** Makes sure that `bytes` fit at `pos`; may send what is there. An open CopyData message goes on in the next block. */
  room(bytes: number): void {
    if (this.pos + bytes <= this.buffer.length) return;
    const inCopy = this.#copyAt >= 0;
    if (inCopy) this.#patchCopy();
    this.flush();
    if (bytes + 5 > this.buffer.length) this.buffer = Buffer.allocUnsafeSlow(bytes + 5);
    if (inCopy) this.#openCopy();
  }

  /** Sends what is encoded; the block returns for reuse once the socket has taken it. */
  flush(): void {
    if (this.pos === 0) return;
    const block = this.buffer;
    const data = block.subarray(0, this.pos);
    this.pos = 0;
    this.buffer = this.#spare.pop() ?? Buffer.allocUnsafeSlow(BLOCK_BYTES);
    this.#write(data, () => {
      if (block.length === BLOCK_BYTES && this.#spare.length < SPARE_BLOCKS) this.#spare.push(block);
    });
  }

  #write(data: Buffer, done?: () => void): void {
    if (this.#connection === undefined) {
      // node-postgres has not submitted us yet (its last query failed and the session is not ready again), or never will.
      if (this.#error === undefined) this.#unsent.push({ data, done });
      else done?.();
    } else if (this.#connection.stream.writable) this.#connection.stream.write(data, done);
    else done?.();
  }

  /** Runs one statement with text parameters. */
  execute(sql: string, values: readonly (string | null)[] = []): void {
    this.bindHead(sql, values.length);
    for (const value of values) this.bindText(value);
    this.bindEnd();
  }

  /** Parse (once per session) and the head of a Bind; then one `bindText` or raw value per parameter, then `bindEnd`. */
  bindHead(sql: string, parameters: number): void {
    const name = this.#statements.get(sql) ?? this.#parse(sql);
    const nameBytes = name.length;
    this.room(64 + nameBytes);
    const b = this.buffer;
    let p = this.pos;
    this.#bindAt = p;
    b[p++] = 0x42; // B
    p += 4;
    b[p++] = 0; // unnamed portal
    p += b.write(name, p, 'latin1');
    b[p++] = 0;
    p = b.writeUInt16BE(0, p); // all parameters as text
    p = b.writeUInt16BE(parameters, p);
    this.pos = p;
  }

  #bindAt = 0;

  bindText(value: string | null): void {
    if (value === null) {
      this.bindRoom(4);
      this.pos = this.buffer.writeInt32BE(-1, this.pos);
      return;
    }
    const length = Buffer.byteLength(value);
    this.bindRoom(4 + length);
    this.pos = this.buffer.writeInt32BE(length, this.pos);
    this.pos += this.buffer.write(value, this.pos, 'utf8');
  }

  /** Room within a Bind: the message must stay in one block, so a full one is sent up to the message's start. */
  bindRoom(bytes: number): void {
    if (this.pos + bytes <= this.buffer.length) return;
    const begun = this.buffer.subarray(this.#bindAt, this.pos);
    const old = this.buffer;
    const length = begun.length;
    const need = length + bytes + 64;
    const next = Buffer.allocUnsafeSlow(Math.max(BLOCK_BYTES, need * 2));
    begun.copy(next, 0);
    if (this.#bindAt > 0) this.#write(old.subarray(0, this.#bindAt));
    this.buffer = next;
    this.pos = length;
    this.#bindAt = 0;
  }

  bindEnd(): void {
    this.bindRoom(32);
    const b = this.buffer;
    let p = b.writeUInt16BE(0, this.pos); // results as text
    b.writeUInt32BE(p - this.#bindAt - 1, this.#bindAt + 1);
    p = this.#writeExecute(p);
    this.pos = p;
    this.#labels.push(this.label);
  }

  #writeExecute(at: number): number {
    const b = this.buffer;
    b[at] = 0x45; // E
    b.writeUInt32BE(9, at + 1);
    b[at + 5] = 0;
    return b.writeUInt32BE(0, at + 6);
  }

  #parse(sql: string): string {
    const name = `cf${++this.#statementCount}`;
    const text = Buffer.from(sql, 'utf8');
    const length = 4 + name.length + 1 + text.length + 1 + 2;
    this.room(length + 1);
    const b = this.buffer;
    let p = this.pos;
    b[p++] = 0x50; // P
    p = b.writeUInt32BE(length, p);
    p += b.write(name, p, 'latin1');
    b[p++] = 0;
    p += text.copy(b, p);
    b[p++] = 0;
    this.pos = b.writeUInt16BE(0, p);
    this.#statements.set(sql, name);
    this.#parsed.push(sql);
    return name;
  }

  /** Starts a COPY … FROM STDIN; rows are then written at `pos` (after `room`) or by `copyBlob`. */
  copyStart(sql: string): void {
    this.execute(sql);
    this.room(64);
    this.#openCopy();
  }

  #openCopy(): void {
    this.#copyAt = this.pos;
    this.buffer[this.pos] = COPY_DATA;
    this.pos += 5;
  }

  #patchCopy(): void {
    const length = this.pos - this.#copyAt - 1;
    if (length === 4) this.pos = this.#copyAt;
    else this.buffer.writeUInt32BE(length, this.#copyAt + 1);
    this.#copyAt = -1;
  }

  /** COPY text passed through uncopied. */
  copyBlob(rows: Buffer): void {
    this.#patchCopy();
    for (let at = 0; at < rows.length; at += BLOCK_BYTES) {
      const part = rows.subarray(at, Math.min(rows.length, at + BLOCK_BYTES));
      this.room(5);
      this.buffer[this.pos] = COPY_DATA;
      this.buffer.writeUInt32BE(part.length + 4, this.pos + 1);
      this.pos += 5;
      this.flush();
      this.#write(part);
    }
    this.room(64);
    this.#openCopy();
  }

  copyEnd(): void {
    this.#patchCopy();
    this.room(5);
    this.buffer[this.pos] = 0x63; // c
    this.pos = this.buffer.writeUInt32BE(4, this.pos + 1);
  }

  /** Ends the pipeline. @throws StatementError for the first statement that failed. */
  async sync(): Promise<readonly StatementResult[]> {
    this.room(5);
    this.buffer[this.pos] = 0x53; // S
    this.pos = this.buffer.writeUInt32BE(4, this.pos + 1);
    this.flush();
    if (!this.#ready) await new Promise<void>((resolve) => (this.#settled = resolve));
    this.#settled = undefined;
    this.#open = false;
    const error = this.#error;
    if (error !== undefined) {
      // Whether the server got as far as these is unknown: they are parsed again under new names.
      for (const sql of this.#parsed) this.#statements.delete(sql);
      throw new StatementError(error, this.#labels[this.#results.length] ?? -1);
    }
    return this.#results;
  }

  #finish(): void {
    this.#ready = true;
    this.#settled?.();
  }

  // What follows is called by node-postgres while this pipeline is the session's active query.
  handleReadyForQuery(): void {
    this.#finish();
  }

  handleError(error: Error): void {
    this.#error ??= error;
    this.#unsent.length = 0;
    const connection = this.#connection;
    if (connection === undefined || !(error instanceof pg.DatabaseError)) {
      this.#finish();
      return;
    }
    const done = (): void => {
      connection.removeListener('readyForQuery', done);
      connection.removeListener('end', done);
      this.#finish();
    };
    connection.once('readyForQuery', done);
    connection.once('end', done);
  }

  handleDataRow(message: { readonly fields: (string | null)[] }): void {
    this.#rows.push(message.fields);
  }

  handleCommandComplete(message: { readonly text: string }): void {
    const count = Number(message.text.slice(message.text.lastIndexOf(' ') + 1));
    this.#results.push({ count: Number.isNaN(count) ? 0 : count, rows: this.#rows });
    this.#rows = [];
  }

  handleRowDescription(): void {}
  handlePortalSuspended(): void {}
  handleEmptyQuery(): void {}
  handleCopyInResponse(): void {}
  handleCopyData(): void {}
}
