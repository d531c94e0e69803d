/**
 * What a table without a key gained and lost between the two states. Guarantee: rows of S + ahead - behind = rows of T as multisets of
 * canonical rows, where a row is its own key.
 */
import { invariant } from '#schemas/errors.ts';
import { digestTexts, mapTexts } from '#connectors/probe/postgres/rows-by-key.ts';
import type { ListedRow } from '#connectors/probe/postgres/table-scan.ts';
import { rowSelected } from './row-selected.ts';
import type { RowChange, TableChanges, Values } from './change-collector.ts';
import type { BothScans } from './touched-rows.ts';

interface SignedRow {
  readonly values: Values;
  readonly sign: 1n | -1n;
}

/** Undefined when a change does not carry the whole old row (the table was not REPLICA IDENTITY FULL). */
export async function keylessDeltas({ source }: BothScans, changes: TableChanges): Promise<ListedRow[] | undefined> {
  const { probe, client, plan } = source;
  const signed = [...signedRows(changes.ahead, 1n), ...signedRows(changes.behind, -1n)];
  if (signed.some(({ values }) => values.includes(undefined))) return undefined;
  const selected = signed.filter(
    ({ values }) => rowSelected(probe.mapping.filter, (column) => values[probe.sourceColumns.indexOf(column)]) === true,
  );
  const mapped = await mapTexts(
    client,
    probe,
    selected.map(({ values }) => probe.image(values)),
  );
  const digests = await digestTexts(client, plan, mapped as (string | null)[][]);
  invariant(digests.length === selected.length, 'one digest per row');
  return digests.map(({ hash, sum }, i) => ({ hash, a: sum.a, b: sum.b, rows: selected[i]!.sign, key: [], sourceKey: [] }));
}

function signedRows(changes: readonly RowChange[], sign: 1n | -1n): SignedRow[] {
  const minus = sign === 1n ? -1n : 1n;
  return changes.flatMap((change): SignedRow[] => {
    if (change.kind === 'insert') return [{ values: change.next, sign }];
    const { old } = change;
    // Without the old row in full nothing says which row went: an absent value marks it.
    const gone: SignedRow = { values: old && change.oldFull ? old : [undefined], sign: minus };
    if (change.kind === 'delete') return [gone];
    return [gone, { values: change.next.map((value, i) => (value === undefined ? old?.[i] : value)), sign }];
  });
}
