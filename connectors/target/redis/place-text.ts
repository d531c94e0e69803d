/** A place as text. Guarantee: of fixed width (24), and in text order as the places are; nothing is below the empty text. */
import type { Place } from '#connectors/target/target.ts';

export function placeText({ lsn, ordinal }: Place): string {
  return lsn.toString(16).padStart(16, '0') + ordinal.toString(16).padStart(8, '0');
}
