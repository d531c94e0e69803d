/** Details of audit records, which any version may have written. Guarantee: what is not there, or is something else than expected, is undefined. */
import type { Details } from '../migration/audit-record.ts';

export function textIn(details: Details | undefined, key: string): string | undefined {
  const value = details?.[key];
  if (typeof value === 'number') return String(value);
  return typeof value === 'string' && value !== '' ? value : undefined;
}

export function numberIn(details: Details | undefined, key: string): number | undefined {
  const value = details?.[key];
  return typeof value === 'number' && Number.isFinite(value) ? value : undefined;
}

export function flagIn(details: Details | undefined, key: string): boolean | undefined {
  const value = details?.[key];
  return typeof value === 'boolean' ? value : undefined;
}

export function blockIn(details: Details | undefined, key: string): Details | undefined {
  return asBlock(details?.[key]);
}

/** Its entries that are blocks themselves. */
export function blocksIn(details: Details | undefined, key: string): readonly Details[] {
  const value = details?.[key];
  if (!Array.isArray(value)) return [];
  return (value as readonly unknown[]).flatMap((one): Details[] => {
    const block = asBlock(one);
    return block === undefined ? [] : [block];
  });
}

export function textsIn(details: Details | undefined, key: string): readonly string[] {
  const value = details?.[key];
  return Array.isArray(value) ? value.filter((one) => typeof one === 'string') : [];
}

function asBlock(value: unknown): Details | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Details) : undefined;
}
