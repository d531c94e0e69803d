/** Canonical digests of rows of texts, by TypeScript and by SQL, in one form. */
import type pg from 'pg';
import { queryRows } from '#connectors/postgres/session.ts';
import { digestSelect, type DigestPlan } from '#connectors/probe/postgres/row-sql.ts';
import { textArrays, textRows } from '#connectors/probe/postgres/rows-by-key.ts';
import { laneValue } from '#schemas/reconcile/lookup3.ts';
import type { RowDigester } from '#schemas/reconcile/row-digester.ts';

export interface RowDigest {
  readonly keyHash: bigint;
  readonly a: bigint;
  readonly b: bigint;
}

export type TextRow = readonly (string | null)[];

/** @param key Indexes of the key's columns; empty: the row is its own key. */
export function digestInTypeScript(digester: RowDigester, row: TextRow, key: readonly number[]): RowDigest {
  digester.begin();
  for (const value of row) digester.text(value);
  digester.row();
  if (key.length === 0) digester.key();
  else if (key.length === 1) {
    const bytes = Buffer.from(row[key[0]!] ?? '');
    digester.keyOf(bytes, 0, bytes.length);
  } else {
    digester.begin();
    for (const i of key) digester.text(row[i]!);
    digester.key();
  }
  return lastDigest(digester);
}

export function lastDigest({ lanes, keyLanes }: RowDigester): RowDigest {
  return { keyHash: laneValue(keyLanes, 0), a: laneValue(lanes, 0), b: laneValue(lanes, 2) };
}

/** Digests of a sub-select's rows, in the order of its column n. */
export async function digestsOf(client: pg.ClientBase, select: string, values: readonly unknown[] = []): Promise<RowDigest[]> {
  const rows = await queryRows(client, `SELECT d.hk::text AS hk, d.a::text AS a, d.b::text AS b FROM (${select}) d ORDER BY d.n`, values);
  return rows.map((row) => ({ keyHash: BigInt(row['hk']!), a: BigInt(row['a']!), b: BigInt(row['b']!) }));
}

export async function digestTextsInSql(
  client: pg.ClientBase,
  plan: DigestPlan,
  rows: readonly TextRow[],
  key: readonly number[],
): Promise<RowDigest[]> {
  const width = rows[0]!.length;
  const values = Array.from({ length: width }, (_, i) => `u.c${i}`);
  const select = digestSelect(plan, { from: textRows(width), where: [], values, key, extra: [{ expression: 'u.n', name: 'n' }] });
  return digestsOf(client, select, textArrays(rows, width));
}
