/**
 * SQL over the map from a source table's keys to the ids that its rows have on the target (`crossfade.key_map`). Guarantee: within one
 * migration a key has one id and an id one key, for ever; a key without an id makes a statement fail and is never written as null, and an
 * id without a key is told apart from every key.
 */
import { quoteLiteral } from '../table.ts';

/** Of a column that holds ids: a table's own, or those of the table that it refers to. */
export interface KeyMapColumn {
  /** The migration's name. */
  readonly name: string;
  /** The source table whose keys they stand for. */
  readonly domain: string;
  /** Column of the target that hands out new ids. */
  readonly ids: { readonly schema: string; readonly table: string; readonly column: string };
  /** The row's own id, not a reference. */
  readonly own: boolean;
}

/** Constants of a cast's SQL, where two dollars in a row would stand for the value. */
function literal(text: string): string {
  return `(${text
    .split(/(?<=\$)(?=\$)/)
    .map((part) => quoteLiteral(part))
    .join(' || ')})`;
}

/** Compared in the collation of the map's indexes, or they would be of no use. */
function entries({ name, domain }: KeyMapColumn): string {
  return `FROM crossfade.key_map m WHERE m.name = ${literal(name)} AND m.domain = ${literal(domain)}`;
}

/** The id of the key that `key` gives as text; null stays null. The server's own message names the key that has none. */
export function idSql(map: KeyMapColumn, key: string, type: string): string {
  return `(coalesce((SELECT m.target_key ${entries(map)} AND m.source_key = (${key}) COLLATE "C"), ${literal(`no id for the key of ${map.domain} `)} || (${key}))::${type})`;
}

/** As `idSql`, null where the key has none: for conditions. */
export function idOrNullSql(map: KeyMapColumn, key: string, type: string): string {
  return `((SELECT m.target_key ${entries(map)} AND m.source_key = (${key}) COLLATE "C")::${type})`;
}

const NO_KEY = '\u0001';

/** The key whose id `id` is, as the source's text. */
export function sourceKeySql(map: KeyMapColumn, id: string): string {
  return `(CASE WHEN ${id} IS NOT NULL THEN coalesce((SELECT m.source_key ${entries(map)} AND m.target_key = (${id})::text COLLATE "C"), '${NO_KEY}no key has the id ' || (${id})::text) END)`;
}

/** True for what `sourceKeySql` gives for an id of nobody's. */
export function isNoKey(text: string | null | undefined): boolean {
  return text?.startsWith(NO_KEY) === true;
}

/** Of such a text, what is to be read. */
export function withoutMark(text: string | null): string | null {
  return isNoKey(text) ? text!.slice(NO_KEY.length) : text;
}
