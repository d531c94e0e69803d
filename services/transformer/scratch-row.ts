/** A row put together from fields of others. Guarantee: taking a field copies no bytes while all fields stand in one buffer. */
import { ABSENT_FIELD, NULL_FIELD, type RowFields } from '#schemas/wire/wire.ts';

export class ScratchRow implements RowFields {
  buffer: Buffer = Buffer.alloc(0);
  readonly from: Int32Array;
  readonly length: Int32Array;

  constructor(columns: number) {
    this.from = new Int32Array(columns);
    this.length = new Int32Array(columns);
  }

  /** All null. */
  clear(buffer: Buffer): void {
    this.buffer = buffer;
    this.length.fill(NULL_FIELD);
  }

  copy(row: RowFields): void {
    this.buffer = row.buffer;
    this.from.set(row.from.subarray(0, this.from.length));
    this.length.set(row.length.subarray(0, this.length.length));
  }

  /** Field `field` of `row`, which stands in this row's buffer. */
  take(column: number, row: RowFields, field: number): void {
    this.from[column] = row.from[field]!;
    this.length[column] = row.length[field]!;
  }

  /** Absent fields (of `columns`, or all) from another row. */
  fill(row: RowFields, columns?: readonly number[]): void {
    let shift = 0;
    if (row.buffer !== this.buffer) {
      shift = this.buffer.length;
      this.buffer = Buffer.concat([this.buffer, row.buffer]);
    }
    for (let i = 0; i < this.length.length; i++) {
      if (this.length[i] !== ABSENT_FIELD || columns?.includes(i) === false) continue;
      this.from[i] = row.from[i]! + shift;
      this.length[i] = row.length[i]!;
    }
  }

  /** Bytes of its own, so that it outlives what it was read from. */
  own(): void {
    this.buffer = Buffer.from(this.buffer);
  }
}
