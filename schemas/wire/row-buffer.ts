/** Room for one decoded row. Guarantee: the fields are valid until the row is begun again; other rows' are never touched. */
import type { ExactTexts } from './exact-text.ts';
import { Slab } from './slab.ts';
import { ABSENT_FIELD, type RowFields } from './wire.ts';

export class RowBuffer implements RowFields {
  readonly from: Int32Array;
  readonly length: Int32Array;
  readonly out: Slab = new Slab(1024);
  buffer: Buffer;

  constructor(fields: number) {
    this.from = new Int32Array(fields);
    this.length = new Int32Array(fields);
    this.buffer = this.out.buffer;
  }

  begin(): void {
    this.out.reset();
  }

  end(): void {
    this.buffer = this.out.buffer;
  }

  /** Puts a text in place of what a field has. */
  replace(field: number, text: string): void {
    const start = this.out.pos;
    this.out.utf8(text);
    this.from[field] = start;
    this.length[field] = this.out.pos - start;
    this.end();
  }

  markAbsent(absent: Buffer): void {
    for (let i = 0; i < absent.length; i++) {
      if (absent[i] === 0) continue;
      for (let bit = 0; bit < 8; bit++) if ((absent[i]! & (1 << bit)) !== 0) this.length[8 * i + bit] = ABSENT_FIELD;
    }
  }
}

/** The exact texts of one part of an event, over what its form carried. */
export function putExact(row: RowBuffer | undefined, texts: ExactTexts[keyof ExactTexts], columns: readonly string[]): void {
  if (row === undefined || texts === undefined) return;
  for (const [column, text] of Object.entries(texts)) {
    const field = columns.indexOf(column);
    if (field >= 0) row.replace(field, text);
  }
}
