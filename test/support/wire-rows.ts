/** Rows of texts through a wire format and back, for tests. Guarantee: what is compared is what a reader of the topic would get. */
import { makeRowFields } from '#schemas/wire/fields.ts';
import { ABSENT_FIELD, NULL_FIELD, type RowEncoder, type RowFields, type WireFormat, type WireSource } from '#schemas/wire/wire.ts'; // prettier-ignore

/** Text, null, or undefined for absent. */
export type TextValue = string | null | undefined;

export const A_SOURCE: WireSource = {
  commitLsn: 0x16b374d848n,
  commitTimeMicros: 1_700_000_000_123_456n,
  xid: 4_000_000_000,
  snapshot: false,
};

export function rowOf(values: readonly TextValue[]): RowFields {
  const row = makeRowFields(values.length);
  const parts = values.map((value) => Buffer.from(value ?? '', 'utf8'));
  // Not at 0, as in a tuple.
  let at = 3;
  values.forEach((value, i) => {
    row.from[i] = at;
    row.length[i] = value === null ? NULL_FIELD : value === undefined ? ABSENT_FIELD : parts[i]!.length;
    at += parts[i]!.length;
  });
  row.buffer = Buffer.concat([Buffer.from('abc'), ...parts]);
  return row;
}

export function textsOf(row: RowFields | undefined, count: number): TextValue[] | undefined {
  if (row === undefined) return undefined;
  return Array.from({ length: count }, (_, i) => {
    const length = row.length[i]!;
    if (length === NULL_FIELD) return null;
    return length === ABSENT_FIELD ? undefined : row.buffer.toString('utf8', row.from[i], row.from[i]! + length);
  });
}

export interface ThereAndBack {
  readonly before: TextValue[] | undefined;
  readonly after: TextValue[] | undefined;
  readonly key: TextValue[] | undefined;
  /** Columns that needed the exact header. */
  readonly exact: readonly string[];
}

/** Encodes an update of both rows and decodes it; the key is that of `after`. */
export async function thereAndBack(
  format: WireFormat,
  encoder: RowEncoder,
  rows: { readonly before?: readonly TextValue[]; readonly after: readonly TextValue[] },
): Promise<ThereAndBack> {
  const before = rows.before === undefined ? undefined : rowOf(rows.before);
  const { key, value, absent, exact } = encoder.encode({ op: 'u', before, after: rowOf(rows.after), source: A_SOURCE });
  if (!format.knows(value)) await format.learn(value);
  const event = format.decode(value, { absent, exact });
  const count = event.columns.length;
  const texts = exact === undefined ? {} : (JSON.parse(exact.toString('utf8')) as Record<string, Record<string, string>>);
  const decoded = { before: textsOf(event.before, count), after: textsOf(event.after, count) };
  if (key !== undefined && !format.knows(key)) await format.learn(key);
  const decodedKey = key === undefined ? undefined : format.decodeKey(key);
  return { ...decoded, key: textsOf(decodedKey?.row, decodedKey?.columns.length ?? 0), exact: Object.keys(texts['a'] ?? {}) };
}
