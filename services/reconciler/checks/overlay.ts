/**
 * Both sides of a table at one common state: what the source's snapshot has *and* the target has applied. Guarantee: with these rows in place
 * of the touched keys', source and target hold the same rows, mapped, whatever commits lie between the two snapshots; where that cannot be
 * told, there is a reason in place of it.
 *
 * Why (words of align.ts): V are the transactions that the source's snapshot sees, A and B the changes that only the target has, and only the
 * source. The source with A folded over it holds V ∪ A; the target with B folded over it holds {commit LSN < X} ∪ B: the same set. No key is
 * in both A and B, so each key's row is that of one prefix of its own changes on both sides. Any question that is asked of these rows on both
 * sides has one answer, if the target is right; no quiet moment is needed.
 */
import type { Inconclusive } from '#schemas/reconcile/verify-result.ts';
import type { Overlay } from '#connectors/probe/postgres/checks/view-sql.ts';
import { rowsAt } from '#connectors/probe/postgres/computed-scan.ts';
import { keyId } from '#connectors/probe/postgres/rows-by-key.ts';
import type { TableProbe, Texts } from '#connectors/probe/postgres/table-scan.ts';
import type { TableChanges } from '../change-collector.ts';
import { foldChanges } from '../fold.ts';
import { rowSelected } from '../row-selected.ts';
import { type BothScans, childless, keyedChange, keysOf, mapFolded, mapKeys, onTarget } from '../touched-rows.ts';

export interface Overlays {
  readonly source: Overlay | undefined;
  readonly target: Overlay | undefined;
}

/** More touched keys than this are not carried as parameters of a query. */
const KEYS_MAX = 20_000;

export async function overlaysOf(scans: BothScans, changes: TableChanges): Promise<Overlays | Inconclusive> {
  const { probe } = scans.source;
  if (changes.voided !== undefined) return changes.voided;
  const count = changes.ahead.length + changes.behind.length;
  if (count === 0) return { source: undefined, target: undefined };
  const { to } = probe.mapping;
  const name = `${to.schema}.${to.name}`;
  if (probe.key.length === 0) return { cause: 'changed', message: `rows of ${name} changed meanwhile, and they have no key` };
  if (count > KEYS_MAX) return { cause: 'volume', message: `more than ${KEYS_MAX} rows of ${name} changed meanwhile` };
  if (changes.behind.length > 0 && !isPlain(probe))
    return { cause: 'changed', message: `the target lacks changes of ${name}, whose rows are put together from several` };
  const source = await sourceOverlay(scans, changes);
  const target = await targetOverlay(scans, changes);
  const both = new Set(source?.ids);
  if (source === UNKNOWN || target === UNKNOWN || target?.ids.some((id) => both.has(id)) === true)
    return { cause: 'changed', message: `changed rows of ${name} cannot be made whole from the stream` };
  return { source: source?.overlay, target: target?.overlay };
}

/** Rows of the target are told apart by their keys alone, and hold what the mapping gives. */
function isPlain({ mapping }: TableProbe): boolean {
  const { share, merge, explode, columns } = mapping;
  return share === undefined && merge === undefined && explode === undefined && columns.every(({ keyMap }) => keyMap === undefined);
}

const UNKNOWN = { overlay: undefined, ids: [] };

interface Laid {
  readonly overlay: Overlay | undefined;
  /** Source keys. */
  readonly ids: readonly string[];
}

async function sourceOverlay(scans: BothScans, changes: TableChanges): Promise<Laid | undefined> {
  const { probe } = scans.source;
  if (changes.ahead.length === 0) return undefined;
  const ahead = changes.ahead.map((change) => keyedChange(probe, change));
  const ids = [...new Set(ahead.flatMap((change) => keysOf(change)))];
  const keys = ids.map((id) => JSON.parse(id) as Texts);
  const found = await rowsAt(scans.source, keys);
  const { rows, unknown } = foldChanges(ahead, (key) => found.get(key)?.raw);
  if (unknown.size > 0) return UNKNOWN;
  const raw = [...rows.values()].filter((values) => values !== undefined) as Texts[];
  const selected = raw.filter(
    (values) => rowSelected(probe.mapping.filter, (column) => values[probe.sourceColumns.indexOf(column)]) === true,
  );
  const mapped = [...(await mapFolded(scans, rows)).values()];
  return { overlay: { keys, raw: selected, mapped }, ids };
}

async function targetOverlay(scans: BothScans, changes: TableChanges): Promise<Laid | undefined> {
  const { probe } = scans.source;
  if (changes.behind.length === 0) return undefined;
  const behind = await onTarget(scans, changes.behind);
  const ids = [...new Set(behind.flatMap((change) => keysOf(change)))];
  const sourceKeys = ids.map((id) => JSON.parse(id) as Texts);
  const keys = await mapKeys(scans, sourceKeys);
  const found = await rowsAt(scans.target, keys);
  const keyOf = new Map(ids.map((id, i) => [id, keys[i]!]));
  const base = (id: string): Texts | undefined => found.get(keyId(keyOf.get(id)!))?.texts ?? childless(probe, keyOf.get(id)!);
  const { rows, unknown } = foldChanges(behind, base);
  if (unknown.size > 0) return UNKNOWN;
  const mapped = [...rows.values()].filter((values) => values !== undefined) as Texts[];
  return { overlay: { keys, raw: [], mapped }, ids };
}
