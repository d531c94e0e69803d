/**
 * One text for an answer of a store, for comparing two of them. Guarantee: equal for values that an application cannot tell apart by content: keys in
 * any order, dates by their instant, absent and undefined alike; what differs in type (1 and "1") differs here. Texts are quoted, so no value can
 * look like the structure around it.
 */
export function canonicalValue(value: unknown): string {
  if (value === null || value === undefined) return 'null';
  if (typeof value === 'string') return JSON.stringify(value);
  if (typeof value === 'bigint') return `n${value}`;
  if (typeof value === 'number') return Object.is(value, -0) ? '0' : String(value);
  if (typeof value === 'boolean') return String(value);
  if (typeof value !== 'object') return typeof value;
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? 'd' : `d${value.toISOString()}`;
  if (value instanceof Uint8Array) return `x${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('hex')}`;
  if (Array.isArray(value)) return `[${value.map(canonicalValue).join(',')}]`;
  if (value instanceof Map)
    return `m${canonicalValue([...value].toSorted(([a], [b]) => compareText(canonicalValue(a), canonicalValue(b))))}`;
  if (value instanceof Set) return `s[${[...value].map(canonicalValue).toSorted(compareText).join(',')}]`;
  if ('toJSON' in value && typeof value.toJSON === 'function') return canonicalValue((value.toJSON as () => unknown)());
  const entries = Object.entries(value).filter(([, inner]) => inner !== undefined);
  return `{${entries
    .toSorted(([a], [b]) => compareText(a, b))
    .map(([key, inner]) => `${JSON.stringify(key)}:${canonicalValue(inner)}`)
    .join(',')}}`;
}

/** By code units: the same on every machine. */
function compareText(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}
