/**
 * What differs between a parent's children on both sides. Guarantee: each child that is missing, too many or other than the source's is named once
 * by its own key; of children with one key as many are compared as both sides have.
 */
import type { DifferenceSample } from '#schemas/reconcile/verify-result.ts';
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { rowsAt } from '#connectors/probe/postgres/computed-scan.ts';
import { childrenOf, type ChildTexts } from '#connectors/probe/postgres/exploded-rows.ts';
import { keyId } from '#connectors/probe/postgres/rows-by-key.ts';
import type { Texts } from '#connectors/probe/postgres/table-scan.ts';
import type { RowDifference } from './merge.ts';
import type { BothScans } from './touched-rows.ts';

export interface Parent {
  readonly key: Texts;
  /** Empty: not known. */
  readonly sourceKey: Texts;
  readonly source: Texts | undefined;
  readonly target: Texts | undefined;
}

export function differencesIn(mapping: TableMapping, { key, sourceKey, source, target }: Parent): DifferenceSample[] {
  const names = columnsOf(mapping);
  const keys = mapping.explode!.key.map((name) => names.indexOf(name));
  const byKey = (children: Texts | undefined): Map<string, (ChildTexts | undefined)[]> =>
    Map.groupBy(childrenOf(children?.at(-1)), (child) => keyId(keys.map((i) => child?.[i] ?? null)));
  const [here, there] = [byKey(source), byKey(target)];
  const parent = mapping.targetKey.map((name, i) => [name, key[i] ?? null] as const);
  return [...new Set([...here.keys(), ...there.keys()])].flatMap((id): DifferenceSample[] => {
    const [ours, theirs] = [here.get(id) ?? [], there.get(id) ?? []];
    const child = (JSON.parse(id) as (string | null)[]).map((text, i) => [mapping.explode!.key[i]!, text] as const);
    const base = {
      key: Object.fromEntries([...parent, ...child]),
      ...(sourceKey.length > 0 && { sourceKey: sourceKey.map((text) => text ?? '') }),
    };
    const surplus = ours.length - theirs.length;
    const kind = surplus > 0 ? 'missing' : 'extra';
    return [
      ...Array.from({ length: Math.abs(surplus) }, () => ({ ...base, kind, columns: [] }) as const),
      ...differing(ours, theirs, names).map((columns) => ({ ...base, kind: 'different', columns }) as const),
    ];
  });
}

function columnsOf({ explode }: TableMapping): readonly string[] {
  return [...explode!.parts.map(({ target }) => target), ...(explode!.ordinal === undefined ? [] : [explode!.ordinal.target])];
}

/** Columns that differ, of each pair that does. The target has one child of a key, unless its index is gone. */
function differing(
  ours: readonly (ChildTexts | undefined)[],
  theirs: readonly (ChildTexts | undefined)[],
  names: readonly string[],
): string[][] {
  const left = [...theirs];
  const unmatched = ours.filter((child) => {
    const same = left.findIndex((other) => keyId(other ?? []) === keyId(child ?? []));
    if (same >= 0) left.splice(same, 1);
    return same < 0;
  });
  return unmatched.slice(0, left.length).map((child, n) => names.filter((_, i) => child?.[i] !== left[n]?.[i]));
}

/** Reads the children of parents that a listing found to differ. */
export async function nameChildren(scans: BothScans, differences: readonly RowDifference[]): Promise<DifferenceSample[]> {
  const { mapping } = scans.source.probe;
  const named = differences.map((one) => ({ one, sourceKey: one.sourceKey.length > 0 ? one.sourceKey : sameKey(mapping, one.key) }));
  const [here, there] = await Promise.all([
    rowsAt(
      scans.source,
      named.flatMap(({ one, sourceKey }) => (one.kind === 'extra' || sourceKey.length === 0 ? [] : [sourceKey])),
    ),
    rowsAt(
      scans.target,
      named.flatMap(({ one }) => (one.kind === 'missing' ? [] : [one.key])),
    ),
  ]);
  return named.flatMap(({ one, sourceKey }) => {
    const source = one.kind === 'extra' ? undefined : here.get(keyId(sourceKey))?.texts;
    const target = one.kind === 'missing' ? undefined : there.get(keyId(one.key))?.texts;
    return differencesIn(mapping, { key: one.key, sourceKey, source, target });
  });
}

/** The parent's key on the source, where it has the same texts there. */
function sameKey({ columns, targetKey }: TableMapping, key: Texts): Texts {
  const same = targetKey.every((name) => {
    const column = columns.find(({ target }) => target === name)!;
    return column.cast === undefined && column.source.baseType === column.targetBaseType;
  });
  return same ? key : [];
}
