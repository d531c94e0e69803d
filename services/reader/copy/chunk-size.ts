/**
 * How many rows the next chunk of a table has. Guarantee: it moves toward the time target by at most a factor of two at a time, stays
 * under the byte limit, and is never so small that watermarks cost more than rows.
 */

export const CHUNK_MAX_BYTES: number = 8 << 20;
/** However slow the source: two commits and a snapshot per fewer rows help nobody. */
const MIN_ROWS = 500;
const MAX_ROWS = 500_000;

export class ChunkSize {
  #rows: number;
  readonly #minRows: number;
  readonly #targetMs: number;

  constructor(firstRows: number, targetMs: number, bytesPerRow: number) {
    this.#targetMs = targetMs;
    this.#minRows = Math.min(firstRows, MIN_ROWS);
    this.#rows = this.#fit(firstRows, bytesPerRow);
  }

  get rows(): number {
    return this.#rows;
  }

  /** Takes in a chunk just read. Small last chunks say little and are left out. */
  measured(rows: number, bytes: number, elapsedMs: number): void {
    if (rows < this.#rows / 4 || rows === 0) return;
    const byTime = rows * Math.min(2, Math.max(0.5, this.#targetMs / Math.max(1, elapsedMs)));
    this.#rows = this.#fit(Math.max(this.#minRows, byTime), bytes / rows);
  }

  #fit(rows: number, bytesPerRow: number): number {
    const byBytes = bytesPerRow > 0 ? CHUNK_MAX_BYTES / bytesPerRow : rows;
    return Math.round(Math.min(MAX_ROWS, Math.max(1, Math.min(rows, byBytes))));
  }
}
