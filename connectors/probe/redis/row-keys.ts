/**
 * Keys of rows, both ways. Guarantee: `keyOf` and `valuesOf` are each other's inverse on every key that the template gives (templates are such
 * that there is one way to read a key: key-template.ts), and `valuesOf` denies every other key.
 */
import { encodeKeyPart, keyPrefix, type KeyTemplate } from '#schemas/mapping/redis/key-template.ts';
import { mastersOf, type StoreClient } from './connection.ts';

/** Undefined: a value is NULL. */
export function nameOf({ parts }: KeyTemplate, valueOf: (column: string) => string | null): string | undefined {
  let name = '';
  for (const part of parts) {
    const value = part.kind === 'text' ? undefined : valueOf(part.name);
    if (value === null) return undefined;
    name += part.kind === 'text' ? part.text : encodeKeyPart(value!);
  }
  return name;
}

const VALUE = String.raw`((?:[A-Za-z0-9\-_.~\u0080-\uffff]|%[0-9A-F]{2})*)`;

/** @returns reads the values of `columns` out of a key; undefined: the key is none of the template's. */
export function keyReader({ parts }: KeyTemplate, columns: readonly string[]): (key: string) => string[] | undefined {
  const text = parts.map((part) => (part.kind === 'text' ? part.text.replaceAll(/[^A-Za-z0-9]/g, String.raw`\$&`) : VALUE));
  const pattern = new RegExp(`^${text.join('')}$`);
  const named = parts.flatMap((part) => (part.kind === 'column' ? [part.name] : []));
  const places = columns.map((column) => named.indexOf(column) + 1);
  return (key) => {
    const match = pattern.exec(key);
    if (match === null) return undefined;
    // A column that stands there twice has one value.
    if (named.some((name, i) => match[i + 1] !== match[named.indexOf(name) + 1])) return undefined;
    const values = places.map((place) => decode(match[place]!));
    return values.every((value) => value !== undefined) ? values : undefined;
  };
}

/** Undefined where no value is written so. */
function decode(part: string): string | undefined {
  if (!part.includes('%')) return part;
  const value = part.replaceAll(/%([0-9A-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  return encodeKeyPart(value) === part ? value : undefined;
}

const SCAN_COUNT = 1_000;

/** Keys that begin as the template's do, some of them more than once; all that were there throughout. */
export async function* keysLike(client: StoreClient, template: KeyTemplate): AsyncGenerator<readonly string[]> {
  const match = `${keyPrefix(template).replaceAll(/[\\*?[\]]/g, String.raw`\$&`)}*`;
  for (const server of mastersOf(client)) {
    let cursor = '0';
    do {
      const [next, found] = await server.scan(cursor, 'MATCH', match, 'COUNT', SCAN_COUNT);
      cursor = next;
      yield found;
    } while (cursor !== '0');
  }
}
