/**
 * Sums, listings and single rows of a side, whether its columns can be computed in SQL or not. Guarantee: the same answer for both: a
 * source with computed columns is read as texts, mapped by the shared row function, and digested by the same SQL as all else.
 */
import { quoteIdent } from '#schemas/table.ts';
import { queryRows } from '#connectors/postgres/session.ts';
import { outputText } from './column-sql.ts';
import { REFUSED } from './row-image.ts';
import { digestSelect } from './row-sql.ts';
import { digestsByKey, keyId, rowsByKey, textArrays, textRows, type ProbedRow } from './rows-by-key.ts';
import {
  addTo,
  bucketOf,
  bucketSums,
  declaredSums,
  cursor,
  fromItem,
  listRows,
  scanConditions,
  slices,
  type Buckets,
  type BucketSum,
  type ListedRow,
  type Scan,
  type Texts,
} from './table-scan.ts';

const BATCH_ROWS = 2_000;

function isComputedSide({ side, probe }: Scan): boolean {
  return side === 'source' && probe.mapping.steps !== undefined;
}

/** As `bucketSums`. */
export async function sumsOf(scan: Scan, mask: bigint, within?: Buckets): Promise<Map<string, BucketSum>> {
  if (!isComputedSide(scan)) return bucketSums(scan, mask, within);
  const sums = new Map<string, BucketSum>();
  const isWanted = selector(within);
  const { summed = [] } = scan;
  for await (const { hash, sum, texts } of digestedRows(scan, true)) {
    if (!isWanted(hash)) continue;
    // A row that the mapping refuses has no numbers.
    const numbers = texts.some((text) => text === REFUSED) ? [] : declaredSums(summed.map((column) => texts[column]!));
    addTo(sums, bucketOf(hash, mask), { ...sum, ...numbers });
  }
  return sums;
}

function selector(buckets: Buckets | undefined): (hash: bigint) => boolean {
  if (buckets === undefined) return () => true;
  const names = new Set(buckets.names);
  return (hash) => names.has(bucketOf(hash, buckets.mask));
}

/** As `listRows`; what differs must fit into memory. */
export async function* rowsOf(scan: Scan, buckets: Buckets): AsyncGenerator<ListedRow> {
  if (!isComputedSide(scan)) {
    yield* listRows(scan, buckets);
    return;
  }
  const isWanted = selector(buckets);
  const { probe } = scan;
  const found: ListedRow[] = [];
  for await (const { hash, sum, texts, raw } of digestedRows(scan, false)) {
    if (!isWanted(hash)) continue;
    const sourceKey = probe.mapping.sourceKey.map((name) => raw[probe.sourceColumns.indexOf(name)] ?? null);
    found.push({ hash, a: sum.a, b: sum.b, rows: 1n, key: probe.key.map((i) => texts[i]!), sourceKey });
  }
  yield* found.toSorted((one, other) => (one.hash < other.hash ? -1 : one.hash > other.hash ? 1 : 0));
}

/** As `rowsByKey`. */
export async function rowsAt(scan: Scan, keys: readonly Texts[]): Promise<Map<string, ProbedRow>> {
  const found = await rowsByKey(scan, keys);
  if (!isComputedSide(scan) || found.size === 0) return found;
  const rows = [...found.values()];
  const digested = await digestImages(
    scan,
    rows.map((row) => row.raw),
  );
  return new Map(rows.map((row, i) => [keyId(row.key), { ...row, ...pick(digested[i]!) }]));
}

/** As `digestsByKey`. */
export async function digestsAt(scan: Scan, keys: readonly Texts[]): ReturnType<typeof digestsByKey> {
  return isComputedSide(scan) ? rowsAt(scan, keys) : digestsByKey(scan, keys);
}

function pick({ texts, hash, sum }: DigestedRow): Pick<ProbedRow, 'texts' | 'hash' | 'sum'> {
  return { texts, hash, sum };
}

interface DigestedRow {
  readonly raw: Texts;
  readonly texts: Texts;
  readonly hash: bigint;
  readonly sum: BucketSum;
}

async function* digestedRows(scan: Scan, renews: boolean): AsyncGenerator<DigestedRow> {
  const { client, probe, side } = scan;
  const select = probe.sourceColumns.map((name, i) => `${outputText(`t.${quoteIdent(name)}`)} AS c${i}`).join(', ');
  for (const [i, slice] of slices(scan).entries()) {
    // As in table-scan.ts: who waits to alter the table waits for one slice.
    if (renews && i > 0) await scan.renew();
    const where = scanConditions(scan, slice)
      .map((one) => `(${one})`)
      .join(' AND ');
    const sql = `SELECT ${select} FROM ${fromItem(probe, side, scan.shape)}${where === '' ? '' : ` WHERE ${where}`}`;
    let batch: Texts[] = [];
    for await (const row of cursor(client, sql)) {
      batch.push(probe.sourceColumns.map((_, c) => row[`c${c}`] ?? null));
      if (batch.length < BATCH_ROWS) continue;
      yield* await digestImages(scan, batch);
      batch = [];
    }
    yield* await digestImages(scan, batch);
  }
}

/** Of whole source rows. A refused row is counted under its key, with a digest that no row has. */
async function digestImages(scan: Pick<Scan, 'client' | 'probe' | 'plan'>, rows: readonly Texts[]): Promise<DigestedRow[]> {
  if (rows.length === 0) return [];
  const { client, probe, plan } = scan;
  const images = rows.map((row) => probe.image(row) as (string | null)[]);
  const values = probe.columns.map((column, i) => (column.onText === undefined ? `u.c${i}` : column.onText(`u.c${i}`)));
  const texts = values.map((value, i) => ({ expression: outputText(value), name: `m${i}` }));
  const width = values.length;
  const select = digestSelect(plan, {
    from: textRows(width),
    where: [],
    values,
    key: probe.key,
    extra: [...texts, { expression: 'u.n', name: 'n' }],
  });
  const names = texts.map(({ name }) => `, d.${name}`).join('');
  const sql = `SELECT d.hk::text AS h, d.a::text AS x, d.b::text AS y${names} FROM (${select}) d ORDER BY d.n`;
  const sent = images.map((image) => image.map((value) => (value === REFUSED ? null : value)));
  const answer = await queryRows(client, sql, textArrays(sent, width));
  return answer.map((row, i) => {
    const image = images[i]!;
    return {
      raw: rows[i]!,
      texts: image.map((value, c) => (value === REFUSED ? REFUSED : (row[`m${c}`] ?? null))),
      hash: BigInt(row['h']!),
      sum: { rows: 1n, a: BigInt(row['x']!) + (image.includes(REFUSED) ? 1n : 0n), b: BigInt(row['y']!) },
    };
  });
}
