/** The tables of a session. Guarantee: each pair of a source table and a target is there once, and found by the pair and by the source. */
import { pairId, tableId, type Pair } from '#schemas/mapping/compiled-mapping.ts';
import type { SinkTable } from './sink-table.ts';

const NONE: readonly SinkTable[] = [];

export class SessionTables implements Iterable<SinkTable> {
  #list = NONE;
  #byPair: ReadonlyMap<string, SinkTable> = new Map();
  #bySource: ReadonlyMap<string, readonly SinkTable[]> = new Map();

  /** In the order of the mapping's list. */
  replace(tables: readonly SinkTable[]): void {
    this.#list = tables;
    this.#byPair = new Map(tables.map((table) => [pairId(table.mapping), table]));
    const named = tables.flatMap((table) => [table.mapping.from, ...(table.mapping.formerly ?? [])].map((name) => ({ name, table })));
    const grouped = Map.groupBy(named, ({ name }) => tableId(name));
    this.#bySource = new Map(Array.from(grouped, ([id, own]) => [id, own.map(({ table }) => table)]));
  }

  at(pair: number): SinkTable | undefined {
    return this.#list[pair];
  }

  get(pair: Pair): SinkTable | undefined {
    return this.#byPair.get(pairId(pair));
  }

  /** One for each target of the source table. */
  of(from: Pair['from']): readonly SinkTable[] {
    return this.#bySource.get(tableId(from)) ?? NONE;
  }

  [Symbol.iterator](): Iterator<SinkTable> {
    return this.#list.values();
  }
}
