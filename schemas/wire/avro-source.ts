/**
 * The constant parts of an event: its source block and its clock. Guarantee: written once per transaction and once per millisecond, and
 * copied from there; the bytes are those of the schema in envelope-type.ts.
 */
import { writeLong } from './avro-primitives.ts';
import { writeText } from './avro-value.ts';
import { CONNECTOR_VERSION } from './envelope-type.ts';
import { Slab } from './slab.ts';
import type { CommitSequence } from './source-block.ts';
import type { WireShape, WireSource } from './wire.ts';

const NO_SOURCE: WireSource = { commitLsn: -1n, commitTimeMicros: 0n, xid: 0, snapshot: false };

export class AvroSource {
  readonly #name: string;
  readonly #shape: WireShape;
  readonly #sequence: CommitSequence;
  readonly #block = new Slab(512);
  readonly #clock = new Slab(64);
  #clockMs = 0;
  #last: WireSource = NO_SOURCE;

  constructor(name: string, shape: WireShape, sequence: CommitSequence) {
    this.#name = name;
    this.#shape = shape;
    this.#sequence = sequence;
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
    return (
      source.commitLsn === last.commitLsn &&
      source.xid === last.xid &&
      source.snapshot === last.snapshot &&
      source.commitTimeMicros === last.commitTimeMicros
    );
  }

  #prepare(source: WireSource): void {
    const { commitTimeMicros: micros, commitLsn, xid, snapshot } = source;
    const shape = this.#shape;
    const b = this.#block;
    b.reset();
    writeText(b, CONNECTOR_VERSION);
    writeText(b, 'postgresql');
    writeText(b, this.#name);
    writeLong(b, micros / 1000n);
    b.byte(0); // the enum's branch stands first
    writeText(b, snapshot ? 'incremental' : 'false');
    writeText(b, shape.database);
    b.byte(2);
    writeText(b, this.#sequence.text(commitLsn));
    b.byte(2);
    writeLong(b, micros);
    b.byte(2);
    writeLong(b, micros * 1000n);
    writeText(b, shape.schema);
    writeText(b, shape.table);
    b.byte(2);
    writeLong(b, xid);
    b.byte(2);
    writeLong(b, BigInt.asIntN(64, commitLsn));
    b.byte(0); // xmin
    b.byte(0); // origin
    b.byte(0); // origin_lsn
    this.#last = { commitLsn, commitTimeMicros: micros, xid, snapshot };
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
