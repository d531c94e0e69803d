/**
 * Rows that the mapping made nothing of, on their way into crossfade.blocked. Guarantee: none of them is written to the target; each blocks
 * its key in the transaction that applies the others, or (where the file says so, or nothing names the row) holds its table and no other.
 */
import type { Held, Work } from '#connectors/target/target.ts';
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import type { RowFault } from '#schemas/mapping/unmappable-row.ts';
import { BLOCKED_MAX, blockedKey, type BlockedChanges, type RowValues } from './blocked-rows.ts';
import { entryValues, withoutEntries } from './refusable-rows.ts';
import { setsAside, type SetAside } from './set-aside.ts';

type WorkWithRows = Exclude<Work, { kind: 'keys' }>;

/** One of them; the key is undefined where it cannot be told. */
interface Unmapped {
  readonly key: readonly string[] | undefined;
  readonly fault: RowFault;
  readonly cause: 'mapping' | 'moved';
  readonly values: RowValues;
  readonly queued: number;
}

export function hasUnmapped(work: Work): boolean {
  if (work.kind === 'keys') return false;
  return work.kind === 'chunk' ? work.unmapped.length > 0 : work.unmapped.size > 0;
}

/** Screened work without them, or why its table has to be held. */
export function withoutUnmapped({ blocked, found }: SetAside, work: Work): { readonly work: Work } | { readonly held: Held } {
  if (work.kind === 'keys' || !hasUnmapped(work)) return { work };
  const { table } = work;
  const rows = rowsOf(work);
  const held = heldBy(rows, table, blocked);
  if (held !== undefined) return { held };
  for (const { key, fault, cause, values, queued } of rows) {
    const { code: sqlState, message } = fault;
    const blockedAs = blockedKey(key!);
    blocked.block(table, blockedAs, { cause, sqlState, message, constraint: '', values });
    for (let i = 0; i < queued; i++) blocked.queue(table, blockedAs);
    found.push({ table, key: key!.join(', '), message });
  }
  return { work: work.kind === 'chunk' ? { ...work, unmapped: [] } : withoutEntries(work, new Set(work.unmapped.keys())) };
}

function heldBy(rows: readonly Unmapped[], table: TableMapping, blocked: BlockedChanges): Held | undefined {
  const halting = setsAside(table) ? rows.find(({ key }) => key === undefined) : rows[0];
  if (halting !== undefined) {
    const { code, message } = halting.fault;
    return { table, key: halting.key?.join(', ') ?? '', message: `${code}: ${message}` };
  }
  const keys = blocked.keys(table);
  const added = rows.filter(({ key }) => !keys.has(blockedKey(key!))).length;
  if (keys.size + added <= BLOCKED_MAX) return undefined;
  const { code, message } = rows.at(-1)!.fault;
  return { table, key: '', message: `more than ${BLOCKED_MAX} rows of the table are set aside, the last one with: ${code} ${message}` };
}

function rowsOf(work: WorkWithRows): readonly Unmapped[] {
  const { table } = work;
  if (work.kind === 'chunk') return work.unmapped.map((line) => ({ ...line, key: keyOf(line.values, table), cause: 'mapping', queued: 0 }));
  return Array.from(work.unmapped, ([entry, why]) => {
    const values = entryValues(work, entry) ?? {};
    return { ...why, key: keyOf(values, table), values };
  });
}

function keyOf(values: RowValues, { targetKey }: TableMapping): readonly string[] | undefined {
  const key = targetKey.map((name) => values[name]);
  return key.length > 0 && key.every((text) => typeof text === 'string') ? key : undefined;
}
