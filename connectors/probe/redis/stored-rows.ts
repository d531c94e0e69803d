/**
 * Rows as they stand in Redis. Guarantee: each is read by one command, so it is one state of its key, and a value equals a source text only
 * where it is what docs/redis.md says of that text: the form is read here by rules of verify's own, not by the store's.
 */
import { isUtf8 } from 'node:buffer';
import { isComputed, type ColumnMapping, type TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { isJson } from '#schemas/mapping/steps/json-text.ts';
import type { StoreClient } from './connection.ts';
import { jsonMembers } from './json-members.ts';

export interface StoredRow {
  /** By place in the mapping's columns; null: NULL. */
  equals(column: number, text: string | null): boolean;
  /** Where in the stream the row was last written, as it stands there. */
  readonly guard: string | undefined;
  /** No value of the table's form: nothing can be written there. */
  readonly isForeign: boolean;
}

const GUARD = '_cf';
const FOREIGN: StoredRow = { equals: () => false, guard: undefined, isForeign: true };
/** Of the right type, and yet no row: the next write replaces it. */
const BROKEN: StoredRow = { ...FOREIGN, isForeign: false };

/** @returns undefined for a key that is not there. */
export async function readStored(
  client: StoreClient,
  table: TableMapping,
  keys: readonly string[],
): Promise<readonly (StoredRow | undefined)[]> {
  const fields = [GUARD, ...table.columns.map(({ target }) => target)];
  const forms = table.columns.map((column, i) => formOf(column, isComputed(table.steps, i)));
  const read =
    table.redis?.form === 'json'
      ? async (key: string) => objectRow(await client.getBuffer(key), table, forms)
      : async (key: string) => hashRow(await client.hmgetBuffer(key, ...fields));
  return Promise.all(
    keys.map(async (key) =>
      read(key).catch((error: unknown) => {
        if (error instanceof Error && error.message.startsWith('WRONGTYPE')) return FOREIGN;
        throw error;
      }),
    ),
  );
}

/** Whether the key is a member of the set. */
export async function isMember(client: StoreClient, set: string, key: string): Promise<boolean> {
  try {
    return (await client.sismember(set, key)) === 1;
  } catch (error) {
    if (error instanceof Error && error.message.startsWith('WRONGTYPE')) return false;
    throw error;
  }
}

const SCAN_COUNT = 1_000;

/** None of a key that is no set. */
export async function* membersOf(client: StoreClient, set: string): AsyncGenerator<readonly string[]> {
  let cursor = '0';
  do {
    const [next, members] = await client.sscan(set, cursor, 'COUNT', SCAN_COUNT).catch((error: unknown): [string, string[]] => {
      if (error instanceof Error && error.message.startsWith('WRONGTYPE')) return ['0', []];
      throw error;
    });
    cursor = next;
    yield members;
  } while (cursor !== '0');
}

function textOf(bytes: Buffer): string | undefined {
  const text = bytes.toString('utf8');
  return text.includes('\uFFFD') && !isUtf8(bytes) ? undefined : text;
}

function hashRow([guard, ...values]: readonly (Buffer | null)[]): StoredRow | undefined {
  // No row is without its key's fields.
  if (guard === null && values.every((value) => value === null)) return undefined;
  return {
    equals: (column, text) => {
      const value = values[column] ?? null;
      return value === null || text === null ? value === text : textOf(value) === text;
    },
    guard: guard ? textOf(guard) : undefined,
    isForeign: false,
  };
}

type JsonForm = 'number' | 'boolean' | 'json' | 'string';

function objectRow(bytes: Buffer | null, { columns }: TableMapping, forms: readonly JsonForm[]): StoredRow | undefined {
  if (bytes === null) return undefined;
  const members = jsonMembers(textOf(bytes) ?? '');
  if (members === undefined) return BROKEN;
  const guard = members.get(GUARD);
  return {
    equals: (column, text) => {
      const value = members.get(columns[column]!.target);
      return value !== undefined && saysText(value, text, forms[column]!);
    },
    guard: guard?.startsWith('"') === true ? (JSON.parse(guard) as string) : undefined,
    isForeign: false,
  };
}

const NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:e[+-]?\d+)?$/i;

function saysText(value: string, text: string | null, form: JsonForm): boolean {
  if (text === null) return value === 'null';
  if (form === 'number' && NUMBER.test(text)) return value === text;
  if (form === 'boolean' && /^(?:t|f|true|false)$/.test(text)) return value === (text.startsWith('t') ? 'true' : 'false');
  // A computed text need not be JSON: then it stands there as a string.
  if (form === 'json' && isJson(text)) return value === text;
  return value.startsWith('"') && (JSON.parse(value) as string) === text;
}

const NUMBERS: ReadonlySet<string> = new Set(['smallint', 'integer', 'bigint', 'oid', 'real', 'double precision', 'numeric']);

/** docs/redis.md, by the type's name below any domain. */
function formOf({ source, targetBaseType, targetUnderDomain = targetBaseType }: ColumnMapping, computed: boolean): JsonForm {
  const type = computed ? targetUnderDomain : (source.domainBase ?? source).baseType;
  if (NUMBERS.has(type)) return 'number';
  if (type === 'boolean') return 'boolean';
  return type === 'json' || type === 'jsonb' ? 'json' : 'string';
}
