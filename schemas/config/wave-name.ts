/** Names that waves go by. */

/** The wave of the tables that belong to no unit. */
export const SHARED_WAVE = 'shared';

/** Of a wave's own migration: slot, publication, state, journal. */
export function waveName(name: string, wave: string): string {
  return `${name}_${wave}`;
}
