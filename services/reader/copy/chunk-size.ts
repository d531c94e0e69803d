/** How many rows the next chunk of a table has. Guarantee: it moves toward the time target by at most a factor of two at a time, and stays under the byte limit. */

export const CHUNK_MAX_BYTES = 8 << 20;
const MAX_ROWS = 500_000;

export class ChunkSize {
  #rows: number;
  readonly #targetMs: number;

  constructor(firstRows: number, targetMs: number, bytesPerRow: number) {
    this.#targetMs = targetMs;
    this.#rows = clamp(Math.min(firstRows, bytesPerRow > 0 ? CHUNK_MAX_BYTES / bytesPerRow : firstRows));
  }

  get rows(): number {
    return this.#rows;
  }

  /** Takes in a chunk just read. Small last chunks say little and are left out. */
  measured(rows: number, bytes: number, elapsedMs: number): void {
    if (rows < this.#rows / 4 || rows === 0) return;
    const byTime = rows * Math.min(2, Math.max(0.5, this.#targetMs / Math.max(1, elapsedMs)));
    const byBytes = CHUNK_MAX_BYTES / (bytes / rows);
    this.#rows = clamp(Math.min(byTime, byBytes));
  }
}

function clamp(rows: number): number {
  return Math.round(Math.min(MAX_ROWS, Math.max(1, rows)));
}
