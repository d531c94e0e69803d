/**
 * Rows that changed between the two states, one by one. Guarantee: each touched key is judged by folding its changes over the row that
 * lacks them (align.ts), exactly once; what the sums and listings hold of these keys is named, so that it can be taken out of them.
 */
import type { DifferenceSample } from '#schemas/reconcile/verify-result.ts';
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { withoutMark } from '#schemas/mapping/key-map.ts';
import { guarded } from '#schemas/test-hooks.ts';
import { rowsAt } from '#connectors/probe/postgres/computed-scan.ts';
import { isRow, rowsIn } from '#connectors/probe/postgres/exploded-rows.ts';
import { isDoubled, keyId, mapTexts, normalizeOnTarget, type ProbedRow } from '#connectors/probe/postgres/rows-by-key.ts';
import type { Scan, TableProbe, Texts } from '#connectors/probe/postgres/table-scan.ts';
import type { RowChange, Side, TableChanges, Values } from './change-collector.ts';
import { differencesIn } from './exploded-differences.ts';
import { rowSelected } from './row-selected.ts';
import { foldChanges, type KeyedChange } from './fold.ts';

export interface TouchedRows {
  /** Rows of both snapshots that the sums count and this judges. */
  readonly sourceRows: readonly ProbedRow[];
  readonly targetRows: readonly ProbedRow[];
  readonly sourceKeys: ReadonlySet<string>;
  readonly targetKeys: ReadonlySet<string>;
  readonly differences: readonly DifferenceSample[];
  /** Rows that the source has of these keys at the applied LSN. */
  readonly rowsAtApplied: number;
  /** Keys with a value that neither side nor the stream tells. */
  readonly unknown: number;
}

export interface BothScans {
  readonly source: Scan;
  readonly target: Scan;
}

/** Parts of the table that are judged each by itself: which one a key is in, by the text of its first column. */
export interface Parts {
  readonly count: number;
  readonly of: (firstKey: string | null | undefined) => number | undefined;
}

/**
 * All keys touched are folded, for a row may have come from outside of what is compared; those of no part are then left aside.
 * @returns by part.
 */
export async function judgeTouched(scans: BothScans, changes: TableChanges, parts: Parts): Promise<TouchedRows[]> {
  const probe = scans.source.probe;
  const ahead = changes.ahead.map((change) => keyedChange(probe, change));
  const behind = changes.behind.map((change) => keyedChange(probe, change));
  const sides = new Map<string, Side>();
  for (const change of ahead) for (const key of keysOf(change)) sides.set(key, 'ahead');
  for (const change of behind) for (const key of keysOf(change)) sides.set(key, 'behind');
  const keys = [...sides.keys()];
  const sourceKeys = keys.map((key) => JSON.parse(key) as Texts);
  const targetKeys = await mapKeys(scans, sourceKeys);
  const [sourceFound, targetFound] = await Promise.all([rowsAt(scans.source, sourceKeys), rowsAt(scans.target, targetKeys)]);
  const targetKeyOf = new Map(keys.map((key, i) => [key, targetKeys[i]!]));
  const targetOf = new Map(keys.map((key, i) => [key, targetFound.get(keyId(targetKeys[i]!))]));
  const forward = foldChanges(ahead, (key) => sourceFound.get(key)?.raw);
  const backward = foldChanges(
    await onTarget(scans, changes.behind),
    (key) => targetOf.get(key)?.texts ?? childless(probe, targetKeyOf.get(key)!),
  );
  const expected = await mapFolded(scans, forward.rows);

  const pairs = keys.map((key, i): KeyPair => {
    const selected = sourceFound.get(key);
    const there = targetOf.get(key)?.texts;
    const sourceKey = sourceKeys[i]!;
    const targetKey = targetKeys[i]!;
    if (sides.get(key) === 'ahead') return { key, sourceKey, targetKey, source: expected.get(key), target: there };
    // Several rows of one key stay several, whatever the target has still to be told.
    const stays = isDoubled(there) ? there : undefined;
    const here = selected?.selected === true ? selected.texts : undefined;
    const then = backward.rows.get(key) as Texts | undefined;
    return { key, sourceKey, targetKey, source: here, target: stays ?? (isRow(probe.mapping, then) ? then : undefined) };
  });
  // A key on both sides would break the proof in align.ts; nothing is claimed about it.
  const isKnown = ({ key }: KeyPair): boolean =>
    !forward.unknown.has(key) && !backward.unknown.has(key) && !(forward.rows.has(key) && backward.rows.has(key));
  const rows = { source: [...sourceFound.values()].filter((row) => row.selected), target: [...targetFound.values()] };
  return byPart(scans, parts, { pairs, isKnown, rows, sides, targetOf });
}

interface Judged extends Found {
  readonly pairs: readonly KeyPair[];
  readonly isKnown: (pair: KeyPair) => boolean;
  readonly rows: { readonly source: readonly ProbedRow[]; readonly target: readonly ProbedRow[] };
}

async function byPart(scans: BothScans, parts: Parts, { pairs, isKnown, rows, ...found }: Judged): Promise<TouchedRows[]> {
  const { mapping } = scans.source.probe;
  const pairsOf = Map.groupBy(pairs, ({ sourceKey }) => parts.of(sourceKey[0]));
  // Both sides spell a key that ranges are made of alike.
  const rowPart = ({ key }: ProbedRow): number | undefined => parts.of(key[0]) ?? (guarded('verify-range') ? undefined : 0);
  const sourceOf = Map.groupBy(rows.source, rowPart);
  const targetOf = Map.groupBy(rows.target, rowPart);
  const judged: TouchedRows[] = [];
  for (let part = 0; part < parts.count; part++) {
    const own = pairsOf.get(part) ?? [];
    const known = own.filter(isKnown);
    judged.push({
      sourceRows: sourceOf.get(part) ?? [],
      targetRows: targetOf.get(part) ?? [],
      sourceKeys: new Set(own.map(({ key }) => key)),
      targetKeys: new Set(own.map(({ targetKey }) => keyId(targetKey))),
      differences: await differencesOf(scans, known),
      rowsAtApplied: countApplied(mapping, own, found),
      unknown: own.length - known.length,
    });
  }
  return judged;
}

/** The rows of one key on both sides. */
export interface KeyPair {
  /** JSON text of the source's. */
  readonly key: string;
  readonly sourceKey: Texts;
  readonly targetKey: Texts;
  readonly source: Texts | undefined;
  readonly target: Texts | undefined;
}

/** On the target a parent without children is no row, and yet nothing of it is unknown. */
export function childless({ mapping }: TableProbe, key: Texts): Texts | undefined {
  if (mapping.explode === undefined) return undefined;
  return mapping.columns.map(({ target }) => key[mapping.targetKey.indexOf(target)] ?? null);
}

interface Found {
  readonly sides: ReadonlyMap<string, Side>;
  readonly targetOf: ReadonlyMap<string, ProbedRow | undefined>;
}

/** Of keys that the target has still to catch up with, the target's own count is corrected by what differs. */
function countApplied(mapping: TableMapping, pairs: readonly KeyPair[], { sides, targetOf }: Found): number {
  const count = (texts: Texts | undefined): number => (texts === undefined ? 0 : Number(rowsIn(mapping, texts)));
  let rows = 0;
  for (const { key, source, target } of pairs) {
    if (sides.get(key) === 'ahead') rows += count(source);
    else rows += count(targetOf.get(key)?.texts) + count(source) - count(target);
  }
  return rows;
}

export function keysOf({ key, oldKey }: KeyedChange): string[] {
  return oldKey === undefined ? [key] : [oldKey, key];
}

function keyOf(probe: TableProbe, values: Values): string {
  return keyId(probe.mapping.sourceKey.map((name) => values[probe.sourceColumns.indexOf(name)]));
}

export function keyedChange(probe: TableProbe, change: RowChange): KeyedChange {
  if (change.kind === 'delete') return { key: keyOf(probe, change.old), oldKey: undefined, next: undefined };
  const key = keyOf(probe, change.next);
  if (change.kind === 'insert' || change.old === undefined) return { key, oldKey: undefined, next: change.next };
  const oldKey = keyOf(probe, change.old);
  // A full old row also has what the new one leaves out.
  const next = change.oldFull ? change.next.map((value, i) => (value === undefined ? change.old?.[i] : value)) : change.next;
  return { key, oldKey: oldKey === key ? undefined : oldKey, next };
}

/** The same changes in the target's columns and texts; keys stay the source's. */
export async function onTarget({ source }: BothScans, changes: readonly RowChange[]): Promise<KeyedChange[]> {
  const { probe, client } = source;
  const keyed = changes.map((change) => keyedChange(probe, change));
  const mapped = await mapTexts(
    client,
    probe,
    keyed.map(({ next }) => inTargetOrder(probe, next)),
  );
  return keyed.map((change, i) => {
    if (!change.next) return change;
    const values = change.next;
    const selected = rowSelected(probe.mapping.filter, (column) => values[probe.sourceColumns.indexOf(column)]);
    const next = selected === undefined ? mapped[i]!.map(() => undefined) : selected ? mapped[i]! : undefined;
    return { ...change, next };
  });
}

function inTargetOrder(probe: TableProbe, values: Values | undefined): (string | null | undefined)[] {
  return values === undefined ? probe.mapping.columns.map(() => null) : probe.image(values);
}

/** Target key texts of source keys. */
export async function mapKeys({ source }: BothScans, keys: readonly Texts[]): Promise<Texts[]> {
  const { probe, client } = source;
  const rows = keys.map((key) => rowWithKey(probe.mapping, key));
  // Of most keys both sides have one text.
  const mapped = probe.key.every((i) => probe.columns[i]!.onText === undefined) ? rows : await mapTexts(client, probe, rows);
  return mapped.map((row) => probe.key.map((i) => row[i] ?? null));
}

function rowWithKey(mapping: TableMapping, key: Texts): (string | null)[] {
  return mapping.columns.map((column) => {
    const at = mapping.sourceKey.indexOf(column.source.name);
    return at < 0 ? null : key[at]!;
  });
}

export async function mapFolded({ source }: BothScans, rows: ReadonlyMap<string, Values | undefined>): Promise<Map<string, Texts>> {
  const { probe, client } = source;
  const selected = [...rows].filter(
    ([, values]) => values && rowSelected(probe.mapping.filter, (column) => values[probe.sourceColumns.indexOf(column)]),
  );
  const mapped = await mapTexts(
    client,
    probe,
    selected.map(([, values]) => inTargetOrder(probe, values)),
  );
  const images = selected.map(([key], i) => [key, mapped[i] as Texts] as const);
  return new Map(images.filter(([, texts]) => isRow(probe.mapping, texts)));
}

/** What differs between the rows of each pair, which are of one state. */
export async function differencesOf(scans: BothScans, pairs: readonly KeyPair[]): Promise<DifferenceSample[]> {
  if (pairs.length === 0) return [];
  const unequal = pairs.filter(
    ({ source, target }) => (source === undefined) !== (target === undefined) || columnsThatDiffer(scans, source, target).length > 0,
  );
  const { mapping } = scans.source.probe;
  if (mapping.explode !== undefined) return unequal.flatMap(({ targetKey, ...one }) => differencesIn(mapping, { ...one, key: targetKey }));
  const confirmed = await confirmOnTarget(scans, unequal);
  return confirmed.flatMap((one): DifferenceSample[] => {
    const { probe } = scans.source;
    const base = { key: keyObject(probe, one.targetKey), sourceKey: one.sourceKey.map((text) => text ?? '') };
    if (!one.target) return one.source ? [{ ...base, kind: 'missing', columns: [] }] : [];
    if (!one.source) return [{ ...base, kind: 'extra', columns: [] }];
    const columns = columnsThatDiffer(scans, one.source, one.target);
    return columns.length > 0 ? [{ ...base, kind: 'different', columns }] : [];
  });
}

export function keyObject(probe: TableProbe, key: Texts): Readonly<Record<string, string | null>> {
  return Object.fromEntries(probe.mapping.targetKey.map((name, i) => [name, withoutMark(key[i] ?? null)]));
}

export function columnsThatDiffer({ source }: BothScans, one: Texts | undefined, other: Texts | undefined): string[] {
  if (!one || !other) return [];
  return source.probe.mapping.columns.flatMap((column, i) => (one[i] === other[i] ? [] : [column.target]));
}

/** Texts of types that the source server does not know are read once more by the target's own types. */
async function confirmOnTarget({ source, target }: BothScans, pairs: readonly KeyPair[]): Promise<readonly KeyPair[]> {
  if (source.probe.columns.every((column) => column.settled)) return pairs;
  const both = pairs.filter((pair) => pair.source !== undefined);
  const texts = await normalizeOnTarget(
    target.client,
    source.probe,
    both.map((pair) => pair.source!),
  );
  const normal = new Map(both.map((pair, i) => [pair.key, texts[i]!]));
  return pairs.map((pair) => ({ ...pair, source: normal.get(pair.key) ?? pair.source }));
}
