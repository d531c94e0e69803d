/**
 * What Redis says of a migration. Guarantee: read by commands of verify's own; `applied` is a floor (rows are written before it, docs/redis.md),
 * so every change below it is in the rows that are read afterwards.
 */
import { parseLsn, type Lsn } from '#schemas/lsn.ts';
import { tableId } from '#schemas/mapping/compiled-mapping.ts';
import type { StoreClient } from './connection.ts';

export interface StoreState {
  readonly mode: string;
  readonly applied: Lsn | undefined;
  readonly logOffset: number | undefined;
  readonly systemId: string | undefined;
  /** Of the migration's life there; what the guards of its rows begin with. */
  readonly generation: string;
  /** By `tableId` of the source table. */
  readonly tables: ReadonlyMap<string, StoredTable>;
}

export interface StoredTable {
  readonly state: string;
  readonly error: string | undefined;
  /** Another text: the table was emptied, or rows of it were copied again. */
  readonly copies: string;
}

/** Undefined when the migration has never run against this server. */
export async function readStoreState(client: StoreClient, name: string): Promise<StoreState | undefined> {
  const row = await client.hgetall(`crossfade:{${name}}:progress`);
  if (row['epoch'] === undefined) return undefined;
  // After the position: a table that was held at or below it is told so here.
  const texts = await client.hgetall(`crossfade:{${name}}:tables`);
  return {
    mode: row['mode'] ?? '',
    applied: row['appliedLsn'] ? parseLsn(row['appliedLsn']) : undefined,
    logOffset: row['logOffset'] ? Number(row['logOffset']) : undefined,
    systemId: row['systemId'],
    generation: row['generation'] ?? '',
    tables: new Map(Object.values(texts).flatMap(storedTable)),
  };
}

interface TableText {
  readonly from: { readonly schema: string; readonly name: string };
  readonly state: string;
  readonly error?: string;
  readonly floor?: string;
  readonly rowsCopied: number;
}

function storedTable(text: string): (readonly [string, StoredTable])[] {
  const table = JSON.parse(text) as TableText | null;
  if (table === null) return [];
  const { from, state, error, floor = '', rowsCopied } = table;
  return [[tableId(from), { state, error, copies: `${floor} ${rowsCopied}` }]];
}
