/**
 * Whether a table, as an application names it, is one of those that a pattern of the file means. Guarantee: as schemas/mapping/table-pattern.ts decides for
 * names that need no quotes; the client has nothing of the mapping with it.
 */
export function isTableOf(pattern: string, table: string): boolean {
  const parts = pattern.split('*').map((part) => part.replaceAll('"', '').replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`));
  return new RegExp(`^${parts.join('[^.]*')}$`).test(table);
}
