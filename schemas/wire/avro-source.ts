/**
 * The constant parts of an event: its source block and its clock. Guarantee: written once per transaction and once per millisecond, and
 * copied from there; the bytes are those of the schema in envelope-type.ts.
 */
import { EXACT_MAX, writeLong, writeNanos, writeSize } from './avro-primitives.ts';
import { writeText } from './avro-value.ts';
import { CONNECTOR_VERSION } from './envelope-type.ts';
import { Slab } from './slab.ts';
import { CommitSequence } from './source-block.ts';
import type { WireShape, WireSource } from './wire.ts';

const NO_SOURCE: WireSource = { commitLsn: -1n, commitTimeMicros: 0n, xid: 0, snapshot: false };

/** What all tables' blocks of one transaction share; of an encoder's whole process, since transactions mostly touch several tables. */
export class TransactionParts {
  readonly bytes: Slab = new Slab(256);
  /** Ends of the parts in `bytes`: the time in ms; sequence and the finer times; transaction id and LSN. */
  msEnd = 0;
  timesEnd = 0;
  readonly #sequence = new CommitSequence();
  #last: WireSource = NO_SOURCE;

  prepare(source: WireSource): void {
    const { commitTimeMicros: micros, commitLsn, xid } = source;
    const last = this.#last;
    if (source === last || (commitLsn === last.commitLsn && xid === last.xid && micros === last.commitTimeMicros)) return;
    this.#last = source;
    const b = this.bytes;
    const near = Number(micros);
    const isExact = near >= 0 && near <= EXACT_MAX / 2;
    b.reset();
    writeLong(b, isExact ? Math.floor(near / 1000) : micros / 1000n);
    this.msEnd = b.pos;
    const sequence = this.#sequence.text(commitLsn);
    writeSize(b, sequence.length);
    b.ascii(sequence);
    b.byte(2);
    writeLong(b, isExact ? near : micros);
    b.byte(2);
    if (isExact) writeNanos(b, near);
    else writeLong(b, micros * 1000n);
    this.timesEnd = b.pos;
    writeLong(b, xid);
    b.byte(2);
    writeLong(b, BigInt.asIntN(64, commitLsn));
    b.byte(0); // xmin
    b.byte(0); // origin
    b.byte(0); // origin_lsn
  }
}

export class AvroSource {
  readonly #transaction: TransactionParts;
  /** What never changes, between the parts of the transaction. */
  readonly #head: Buffer;
  readonly #database: { readonly streamed: Buffer; readonly copied: Buffer };
  readonly #table: Buffer;
  readonly #block = new Slab(512);
  readonly #clock = new Slab(64);
  #clockMs = 0;
  #last: WireSource = NO_SOURCE;

  constructor(name: string, shape: WireShape, transaction: TransactionParts) {
    this.#transaction = transaction;
    const { database, schema, table } = shape;
    this.#head = constant((b) => [CONNECTOR_VERSION, 'postgresql', name].forEach((text) => writeText(b, text)));
    const where = (snapshot: string): Buffer =>
      constant((b) => {
        b.byte(0); // the enum's branch stands first
        writeText(b, snapshot);
        writeText(b, database);
        b.byte(2);
      });
    this.#database = { streamed: where('false'), copied: where('incremental') };
    this.#table = constant((b) => {
      writeText(b, schema);
      writeText(b, table);
      b.byte(2);
    });
  }

  /** Writes what follows `after`: source, transaction (none), op, and the three clocks. */
  write(out: Slab, source: WireSource, op: number): void {
    if (!this.#isLast(source)) this.#prepare(source);
    out.bytes(this.#block.buffer, 0, this.#block.pos);
    out.room(3);
    out.buffer[out.pos] = 0; // no transaction block
    out.buffer[out.pos + 1] = 2; // one character
    out.buffer[out.pos + 2] = op;
    out.pos += 3;
    const now = Date.now();
    if (now !== this.#clockMs) this.#prepareClock(now);
    out.bytes(this.#clock.buffer, 0, this.#clock.pos);
  }

  #isLast(source: WireSource): boolean {
    const last = this.#last;
    if (source === last) return true;
    return (
      source.commitLsn === last.commitLsn &&
      source.xid === last.xid &&
      source.snapshot === last.snapshot &&
      source.commitTimeMicros === last.commitTimeMicros
    );
  }

  #prepare(source: WireSource): void {
    const transaction = this.#transaction;
    transaction.prepare(source);
    const { bytes, msEnd, timesEnd } = transaction;
    const b = this.#block;
    b.reset();
    put(b, this.#head);
    b.bytes(bytes.buffer, 0, msEnd);
    put(b, source.snapshot ? this.#database.copied : this.#database.streamed);
    b.bytes(bytes.buffer, msEnd, timesEnd);
    put(b, this.#table);
    b.bytes(bytes.buffer, timesEnd, bytes.pos);
    this.#last = source;
  }

  #prepareClock(now: number): void {
    const c = this.#clock;
    c.reset();
    c.byte(2);
    writeLong(c, now);
    c.byte(2);
    writeLong(c, now * 1000);
    c.byte(2);
    writeLong(c, BigInt(now) * 1_000_000n);
    this.#clockMs = now;
  }
}

function constant(write: (b: Slab) => void): Buffer {
  const b = new Slab(256);
  write(b);
  return Buffer.from(b.take());
}

function put(into: Slab, part: Buffer): void {
  into.bytes(part, 0, part.length);
}
