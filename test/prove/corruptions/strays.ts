/**
 * Changes that are lost or altered on their way: by the pipeline's own test hook, before the log has them or behind it. Guarantee: what goes astray is what
 * is in the ledger, and nothing else: the hook goes by texts that are written here alone, once for each corruption.
 */
import { execute } from '#test/support/application.ts';
import type { Corrupting, Corruption, Expected } from './corruption.ts';
import { type TableKind, whereSql } from './table-kinds.ts';

const WAYS = {
  'changes lost before the log': { way: 'reader', deed: 'lose', text: 'LOSTFIRST' },
  'changes lost behind the log': { way: 'sink', deed: 'lose', text: 'LOSTLAST' },
  'change altered before the log': { way: 'reader', deed: 'alter', text: 'BENTFIRST' },
  'change altered behind the log': { way: 'sink', deed: 'alter', text: 'BENTLAST' },
} as const;
export type StrayDeed = keyof typeof WAYS;
export const STRAY_DEEDS = Object.keys(WAYS) as readonly StrayDeed[];

/** For the process whose changes go astray. Re-copied rows are none: they come as they are. */
export const STRAY_ENVIRONMENT = {
  CROSSFADE_TEST_ASTRAY: Object.values(WAYS)
    .map(({ way, deed, text }) => `${way}:${deed}:${text}`)
    .join(),
};

/** An altered text ends with this. */
const ALTERED = '?';

/** In one transaction, of which all is lost: a row changes, another goes, and a third one, which went before, comes again. */
export async function strayOf(stage: Corrupting, table: TableKind, deed: StrayDeed): Promise<Pick<Corruption, 'n' | 'atMs' | 'expected'>> {
  const { sourceUrl, numbers } = stage;
  const { from } = table;
  const { text, deed: what } = WAYS[deed];
  const n = numbers.draw(table, false);
  const update = `UPDATE ${from} SET ${table.setText(text)} WHERE ${whereSql(table, [n])}`;
  if (what === 'alter') {
    const expected = strayedRows(table, await keysOf(stage, table, n), { n, asked: text, arrived: text.slice(0, -1) + ALTERED });
    await execute(sourceUrl, update);
    return { n, atMs: Date.now(), expected };
  }
  const [gone, renewed] = [numbers.draw(table, false), numbers.draw(table, false)];
  const [changedKeys, goneKeys, renewedKeys] = [
    await keysOf(stage, table, n),
    await keysOf(stage, table, gone),
    await keysOf(stage, table, renewed),
  ];
  const deleteSql = (number: number): string => `DELETE FROM ${from} WHERE ${whereSql(table, [number])}`;
  await execute(sourceUrl, deleteSql(renewed));
  await execute(
    sourceUrl,
    `BEGIN; ${update}; ${deleteSql(gone)}; INSERT INTO ${from} SELECT ${table.row} FROM (VALUES (${renewed})) x(n); COMMIT`,
  );
  const one = { from, to: table.to, columns: [], rows: 1 };
  return {
    n,
    atMs: Date.now(),
    expected: summed([
      ...strayedRows(table, changedKeys, { n, asked: text, arrived: undefined }),
      ...goneKeys.map((key): Expected => ({ ...one, key, kind: 'extra' })),
      ...renewedKeys.map((key): Expected => ({ ...one, key, kind: 'missing' })),
    ]),
  };
}

interface Strayed {
  readonly n: number;
  readonly asked: string;
  readonly arrived: string | undefined;
}

function strayedRows(table: TableKind, keys: readonly Expected['key'][], { n, asked, arrived }: Strayed): Expected[] {
  const { from, to } = table;
  if (table.strayed !== undefined) return table.strayed(n, asked, arrived).map((row) => ({ from, to, ...row, columns: [], rows: 1 }));
  return keys.map((key) => ({ from, to, key, kind: 'different', columns: [table.text], rows: 1 }));
}

/** What the rows that a number has on the target are named by. @throws Error where it has none */
async function keysOf(
  { targetUrl }: Corrupting,
  { name, to, named, find, findAll = find }: TableKind,
  n: number,
): Promise<Expected['key'][]> {
  const rows = await execute(targetUrl, `SELECT ${named.length === 0 ? '1 AS one' : named.join(', ')} FROM ${to} WHERE ${findAll(n)}`);
  if (rows.length === 0) throw new Error(`${name} ${n} is not on the target`);
  return rows.map((row) => (named.length === 0 ? null : row));
}

/** Rows without a key are told together. */
function summed(expected: readonly Expected[]): Expected[] {
  const kinds = Map.groupBy(expected, ({ key, kind }) => JSON.stringify([key, kind]));
  return [...kinds.values()].map((some) => ({ ...some[0]!, rows: some.length }));
}
