/** SQL that takes rows away. Guarantee: of rows that several tables feed none goes while another one has it. */
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { quoteIdent, quoteTable } from '#schemas/table.ts';

/**
 * Takes our rows `t` away; `using` is joined. Of rows that others feed too only our columns: what is left of them goes with the last of those
 * that had them.
 */
export function deleteSql(table: TableMapping, using: string | undefined, where: string): string {
  const name = quoteTable(table.to);
  const { merge } = table;
  const remove = (condition: string): string => `DELETE FROM ${name} t${using === undefined ? '' : ` USING ${using}`} WHERE ${condition}`;
  if (merge === undefined) return remove(where);
  const others = `(${merge.others.map((column) => `t.${quoteIdent(column)} IS NOT NULL`).join(' OR ')})`;
  return `WITH cleared AS (${clearSql(table, using, `${where} AND ${others}`)}) ${remove(`${where} AND NOT ${others}`)}`;
}

/** Our columns of the rows `t` as they are where we have no row. */
export function clearSql(table: TableMapping, using: string | undefined, where: string): string {
  const own = table.columns
    .filter(({ target }) => !table.targetKey.includes(target))
    .map(({ target }) => `${quoteIdent(target)} = DEFAULT`);
  return `UPDATE ${quoteTable(table.to)} t SET ${own.join(', ')}${using === undefined ? '' : ` FROM ${using}`} WHERE ${where}`;
}
