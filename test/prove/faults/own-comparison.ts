/** What a fault did to the target, by plain SQL. Guarantee: shares nothing with verify; two listings are compared text by text. */
import { isDeepStrictEqual } from 'node:util';
import { openSession, type TextRow } from '#test/support/application.ts';
import { LISTINGS } from './tables.ts';

export interface Damage {
  readonly table: string;
  /** Key columns and their texts; of a table without a key the row. */
  readonly key: string;
  readonly kind: 'missing' | 'extra' | 'different';
  readonly columns: readonly string[];
}

/** By table, by key. */
export type TargetState = ReadonlyMap<string, ReadonlyMap<string, TextRow>>;

export async function readState(url: string): Promise<TargetState> {
  await using session = await openSession(url);
  const state = new Map<string, Map<string, TextRow>>();
  for (const { table, key, sql } of LISTINGS) {
    const rows = new Map<string, TextRow>();
    for (const row of await session.query(sql)) {
      const name = keyText(key.length === 0 ? row : Object.fromEntries(key.map((column) => [column, row[column]!])));
      let place = name;
      for (let again = 2; rows.has(place); again++) place = `${name} ${again}`;
      rows.set(place, row);
    }
    state.set(table, rows);
  }
  return state;
}

export function keyText(key: Readonly<Record<string, string | null>>): string {
  return Object.keys(key)
    .toSorted((one, other) => (one < other ? -1 : 1))
    .map((column) => `${column}=${key[column]}`)
    .join(' ');
}

export function damageOf(whole: TargetState, found: TargetState): readonly Damage[] {
  return LISTINGS.flatMap(({ table }) => {
    const [before, after] = [whole.get(table)!, found.get(table)!];
    const keys = [...new Set([...before.keys(), ...after.keys()])];
    return keys.flatMap((key): Damage[] => {
      const [row, other] = [before.get(key), after.get(key)];
      if (isDeepStrictEqual(row, other)) return [];
      if (row === undefined) return [{ table, key, kind: 'extra', columns: [] }];
      if (other === undefined) return [{ table, key, kind: 'missing', columns: [] }];
      return [{ table, key, kind: 'different', columns: Object.keys(row).filter((column) => row[column] !== other[column]) }];
    });
  });
}
