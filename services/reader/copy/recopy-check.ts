/**
 * Whether a re-copy that was asked for can be made. Guarantee: what passes is read by the source without an error of the request's own
 * making, so a request never holds a table or ends its reader; nothing is written. Its keys then stand as the stream has them: a chunk's window, which
 * knows keys by their texts, would take no notice of what is written to row 7 while 007 is read.
 */
import type { CopySource, KeyColumn } from '#connectors/source/copy-source.ts';
import { PipelineError } from '#schemas/errors.ts';
import type { RecopyRequest } from '#schemas/recopy.ts';

export interface RecopiedTable {
  readonly schema: string;
  readonly name: string;
  /** Empty: the table has no key, and any request for it is one for all of it. */
  readonly key: readonly KeyColumn[];
}

/** Without a look at the source. */
function checkForm(table: RecopiedTable, request: RecopyRequest): void {
  if (request.kind === 'keys') {
    if (request.keys.length === 0) throw refused(table, 'no key is given');
    const width = table.key.length;
    const at = width === 0 ? -1 : request.keys.findIndex((key) => key.length !== width);
    if (at >= 0) {
      const names = table.key.map(({ name }) => name).join(', ');
      throw refused(
        table,
        `key ${at + 1} of ${request.keys.length} has ${request.keys[at]!.length} values, the key (${names}) has ${width}`,
      );
    }
  }
  // PostgreSQL's text ends there, and with it the statement.
  if (rowsOf(request).some((row) => row.some((value) => value.includes('\0')))) throw refused(table, 'a value holds the character NUL');
}

/** @returns the request as it is to be made. @throws PipelineError CF-1009; what the source says when it cannot be asked */
export async function checkRecopy(source: CopySource, table: RecopiedTable, request: RecopyRequest): Promise<RecopyRequest> {
  checkForm(table, request);
  const rows = rowsOf(request);
  const key = request.kind === 'range' ? table.key.slice(0, 1) : table.key;
  if (key.length === 0 || rows.length === 0) return request;
  const misfit = await source.firstMisfit(key, rows);
  if (misfit === undefined) return request.kind === 'keys' ? { ...request, keys: await source.canonicalKeys(key, rows) } : request;
  const types = key.map(({ name, type }) => `${name} ${type}`).join(', ');
  throw refused(table, `(${rows[misfit.index]!.join(', ')}) is no value of (${types}): ${misfit.why}`);
}

/** The values that the source has to take. */
function rowsOf(request: RecopyRequest): readonly (readonly string[])[] {
  if (request.kind === 'keys') return request.keys;
  if (request.kind !== 'range') return [];
  return [request.from, request.to].flatMap((bound) => (bound === undefined ? [] : [[bound]]));
}

function refused({ schema, name }: RecopiedTable, why: string): PipelineError {
  return new PipelineError('CF-1009', `table ${schema}.${name} cannot be copied again as asked: ${why}`);
}
