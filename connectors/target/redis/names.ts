/**
 * Names of our own keys. Guarantee: all begin with `crossfade:`, which no row's key does; state lies in one slot, the guard of an absent row
 * in the slot of that row.
 */
export interface OwnKeys {
  readonly progress: string;
  readonly tables: string;
  readonly markers: string;
  readonly bookmark: string;
  readonly lock: string;
  readonly audit: string;
  /** What guards of absent rows begin with. */
  readonly guards: string;
}

export function ownKeys(name: string): OwnKeys {
  const state = `crossfade:{${name}}`;
  return {
    progress: `${state}:progress`,
    tables: `${state}:tables`,
    markers: `${state}:markers`,
    bookmark: `${state}:bookmark`,
    lock: `${state}:lock`,
    audit: `${state}:audit`,
    guards: `crossfade:${name}:gone:`,
  };
}

/** Key of the guard that stays when a row goes. */
export function guardKey(keys: OwnKeys, rowKey: string, tagged: boolean): string {
  return tagged ? keys.guards + rowKey : `${keys.guards}{${rowKey}}`;
}
