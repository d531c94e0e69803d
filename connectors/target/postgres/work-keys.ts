/**
 * The source keys that a round's work writes, for columns that hold ids in their place. Guarantee: every key of a row that may be written, and
 * every key that it refers to, is found, whatever form the row comes in; keys that rows are only looked for by are not.
 */
import type { KeyMapColumn } from '#schemas/mapping/key-map.ts';
import { copyFieldText, splitCopyLine } from '#schemas/value/copy-text.ts';
import { OP, type ChunkBatch, type TableBatch, type Work } from '#connectors/target/target.ts';
import { TupleColumns } from './encode.ts';
import { chunkLines } from './refusable-rows.ts';

interface Place {
  /** Field of the tuple or line. */
  readonly at: number;
  readonly keys: Set<string>;
  readonly map: KeyMapColumn;
}

const scratch = new TupleColumns();

export class KeysOfWork {
  readonly #domains = new Map<string, { readonly map: KeyMapColumn; readonly keys: Set<string> }>();
  readonly #isKnown: (map: KeyMapColumn, key: string) => boolean;

  constructor(isKnown: (map: KeyMapColumn, key: string) => boolean) {
    this.#isKnown = isKnown;
  }

  /** Those that are not known, by their domain, in the order of the domains' names. */
  get found(): ReadonlyMap<KeyMapColumn, ReadonlySet<string>> {
    const domains = [...this.#domains.values()].filter(({ keys }) => keys.size > 0);
    return new Map(domains.toSorted((a, b) => (a.map.domain < b.map.domain ? -1 : 1)).map(({ map, keys }) => [map, keys]));
  }

  add(work: Work): void {
    if (work.kind === 'fold') this.#addBatch(work);
    else if (work.kind === 'chunk') this.#addChunk(work);
  }

  #places({ table }: Work, columns: ArrayLike<number>): Place[] {
    return Array.from(columns).flatMap((column, at): Place[] => {
      const map = column < 0 ? undefined : table.columns[column]!.keyMap;
      if (map === undefined) return [];
      let domain = this.#domains.get(map.domain);
      if (domain === undefined) this.#domains.set(map.domain, (domain = { map, keys: new Set() }));
      return [{ at, keys: domain.keys, map }];
    });
  }

  #addBatch(batch: TableBatch): void {
    const places = this.#places(batch, batch.layout.columns);
    if (places.length === 0) return;
    for (let i = 0; i < batch.size; i++) {
      if ((batch.ops[i]! & OP.kind) === OP.delete) continue;
      const buffer = batch.buffers[i]!;
      scratch.read(buffer, batch.at[i]!);
      for (const place of places) {
        const start = scratch.start[place.at]!;
        if (start >= 0) this.#take(place, buffer.toString('utf8', start, scratch.end[place.at]));
      }
    }
  }

  #addChunk(chunk: ChunkBatch): void {
    const places = this.#places(chunk, chunk.columns);
    if (places.length === 0 || chunk.rowCount === 0) return;
    const lines = chunkLines(chunk);
    const bounds = new Int32Array(2 * chunk.columns.length);
    for (let line = 0; line < lines.count; line++) {
      splitCopyLine(lines.bytes, line === 0 ? 0 : lines.ends[line - 1]!, bounds);
      for (const place of places) {
        const key = copyFieldText(lines.bytes, bounds[2 * place.at]!, bounds[2 * place.at + 1]!);
        if (key !== null) this.#take(place, key);
      }
    }
  }

  #take({ keys, map }: Place, key: string): void {
    if (!keys.has(key) && !this.#isKnown(map, key)) keys.add(key);
  }
}
