/**
 * Keys as an operator writes them. Guarantee: every key that is handed on has a value for each key column, and the source takes each
 * value for one of the column's type; so a typo is refused here and never becomes a durable request that cannot be read.
 */
import { connect, queryRow } from '#connectors/postgres/session.ts';
import { messageOf, PipelineError } from '#schemas/errors.ts';
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';

/** A line is a value, or a JSON array of texts and numbers for a composite key. Empty lines are passed over. */
export function parseKeys(text: string, path: string, columns: readonly string[]): string[][] {
  const keys: string[][] = [];
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (line === '') continue;
    const key = line.startsWith('[') ? parseArray(line) : [line];
    if (key === undefined || key.length !== columns.length) {
      const form =
        columns.length === 1
          ? 'one value'
          : `${columns.length} values as a JSON array: [${columns.map((name) => JSON.stringify(name)).join(', ')}]`;
      throw new PipelineError('CF-1007', `line ${index + 1} of ${path} is not a key; expected ${form}`, {
        path,
        line: index + 1,
        remedy: 'Mend the line named.',
      });
    }
    keys.push(key);
  }
  if (keys.length === 0) throw new PipelineError('CF-1007', `${path} names no key`, { path, remedy: 'Write a key per line.' });
  return keys;
}

/** Numbers keep the text that stands there: 64-bit keys must not be rounded. */
function parseArray(line: string): string[] | undefined {
  try {
    const values = JSON.parse(line, (_name, value: unknown, context?: { readonly source?: string }) =>
      typeof value === 'number' ? (context?.source ?? String(value)) : value,
    ) as unknown;
    return Array.isArray(values) && values.every((value) => typeof value === 'string') ? values : undefined;
  } catch {
    return undefined;
  }
}

/** @throws PipelineError CF-1007 when the source refuses a value, CF-2001 when it cannot be reached. */
export async function checkKeyValues(
  sourceUrl: string,
  table: Pick<TableMapping, 'columns' | 'sourceKey'>,
  keys: readonly (readonly string[])[],
): Promise<void> {
  const client = await connect(sourceUrl, { applicationName: 'crossfade repair', role: 'source' });
  try {
    for (const [position, name] of table.sourceKey.entries()) {
      const type = table.columns.find((column) => column.source.name === name)?.source.baseType;
      if (type === undefined) continue;
      // count() must look at the value, or the cast would never be made.
      await queryRow(client, `SELECT pg_catalog.count(u.value::${type}) FROM pg_catalog.unnest($1::text[]) AS u (value)`, [
        keys.map((key) => key[position]),
      ]);
    }
  } catch (error) {
    if ((error as { code?: string }).code?.startsWith('22') !== true) throw error;
    throw new PipelineError('CF-1007', `a key is not of its column's type: ${messageOf(error)}`, {
      cause: error,
      remedy: 'Mend the value named.',
    });
  } finally {
    await client.end();
  }
}
