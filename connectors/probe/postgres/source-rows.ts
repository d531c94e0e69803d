/**
 * Rows of the source as texts, for a target that has no SQL: all of a table, or those of keys. Guarantee: exactly the rows of the snapshot that
 * the mapping selects; a key finds a row only by the very text that the row's key has.
 */
import { quoteIdent } from '#schemas/table.ts';
import { queryRows } from '#connectors/postgres/session.ts';
import { outputText } from './column-sql.ts';
import { conditions, cursor, fromItem, slices, type Scan, type TableProbe, type Texts } from './table-scan.ts';

export type SourceScan = Pick<Scan, 'client' | 'probe' | 'shape' | 'renew'>;

/** Texts of `probe.sourceColumns`, in parts. */
export async function* sourceRows(scan: SourceScan, batchRows: number): AsyncGenerator<readonly Texts[]> {
  const { client, probe, shape } = scan;
  for (const [i, slice] of slices({ shape }).entries()) {
    // As in table-scan.ts: who waits to alter the table waits for one slice.
    if (i > 0) await scan.renew();
    const where = [...conditions(probe, 'source'), ...slice].map((one) => `(${one})`).join(' AND ');
    const sql = `SELECT ${columnList(probe)} FROM ${fromItem(probe, 'source', shape)}${where === '' ? '' : ` WHERE ${where}`}`;
    let batch: Texts[] = [];
    for await (const row of cursor(client, sql)) {
      batch.push(textsIn(row, probe));
      if (batch.length < batchRows) continue;
      yield batch;
      batch = [];
    }
    if (batch.length > 0) yield batch;
  }
}

function columnList(probe: TableProbe): string {
  return probe.sourceColumns.map((name, i) => `${outputText(`t.${quoteIdent(name)}`)} AS c${i}`).join(', ');
}

function textsIn(row: Record<string, string | null>, probe: TableProbe): Texts {
  return probe.sourceColumns.map((_, i) => row[`c${i}`] ?? null);
}

/** none: the source has no such row. never: it cannot have one, for no key is written so. */
export type KeyStanding = { readonly kind: 'row'; readonly texts: Texts } | { readonly kind: 'none' | 'never' };

/** What the source has under each key, in their order. */
export async function sourceRowsAt(scan: SourceScan, keys: readonly Texts[]): Promise<KeyStanding[]> {
  if (keys.length === 0) return [];
  const { client } = scan;
  await client.query('SAVEPOINT keys');
  try {
    return await askKeys(scan, keys);
  } catch (error) {
    if ((error as { code?: string }).code?.startsWith('22') !== true) throw error;
    await client.query('ROLLBACK TO SAVEPOINT keys');
  } finally {
    await client.query('RELEASE SAVEPOINT keys').catch(() => undefined);
  }
  // One of them is no value of its column's type.
  if (keys.length === 1) return [{ kind: 'never' }];
  const half = keys.length >> 1;
  return [...(await sourceRowsAt(scan, keys.slice(0, half))), ...(await sourceRowsAt(scan, keys.slice(half)))];
}

async function askKeys({ client, probe, shape }: SourceScan, keys: readonly Texts[]): Promise<KeyStanding[]> {
  const { mapping } = probe;
  const columns = mapping.sourceKey.map((name, i) => {
    const { source } = mapping.columns[probe.key[i]!]!;
    const comparable = source.builtin || source.typtype !== 'b';
    const [ref, asked] = [outputText(`t.${quoteIdent(name)}`), comparable ? `(u.k${i})::${source.baseType}` : `u.k${i}`];
    return {
      match: comparable ? `t.${quoteIdent(name)} = ${asked}` : `(${ref}) COLLATE "C" = u.k${i}`,
      text: `(${ref}) COLLATE "C" = u.k${i}`,
      asked: `(${outputText(asked)}) COLLATE "C"`,
      i,
    };
  });
  const chosen = [...conditions(probe, 'source'), ...columns.map(({ text }) => text)].map((one) => `(${one})`).join(' AND ');
  const on = columns.map(({ match }) => match).join(' AND ');
  const lists = columns.map(({ i }) => `$${i + 1}::text[]`).join(', ');
  const names = columns.map(({ i }) => `k${i}`).join(', ');
  const canonical = columns.map(({ asked, i }) => `${asked} = u.k${i}`).join(' AND ');
  const rows = await queryRows(
    client,
    `SELECT u.n::text AS n, coalesce(${chosen}, false)::text AS there, (${canonical})::text AS canonical, ${columnList(probe)}
     FROM unnest(${lists}) WITH ORDINALITY AS u(${names}, n) LEFT JOIN ${fromItem(probe, 'source', shape)} ON ${on}`,
    columns.map(({ i }) => keys.map((key) => key[i] ?? null)),
  );
  const standing: KeyStanding[] = keys.map(() => ({ kind: 'none' }));
  for (const row of rows) {
    const at = Number(row['n']) - 1;
    if (row['there'] === 'true') standing[at] = { kind: 'row', texts: textsIn(row, probe) };
    else if (row['canonical'] !== 'true') standing[at] = { kind: 'never' };
  }
  return standing;
}
