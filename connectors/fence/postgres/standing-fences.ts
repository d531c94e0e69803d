/** Fences that refuse writes on a side, whosever they are. Guarantee: as their triggers say, whatever a file says; of roots and plain tables, not of what hangs below them. */
import { connect, queryRows } from '#connectors/postgres/session.ts';
import type { TableName } from '#schemas/mapping/compiled-mapping.ts';

interface StandingFence {
  readonly migration: string;
  readonly table: TableName;
  /** As `rowsText` gives them; undefined: all. */
  readonly rows: string | undefined;
  /** Pipelines that may write them, besides its own. */
  readonly exempt: readonly string[];
}

export async function readStandingFences(url: string): Promise<StandingFence[]> {
  const client = await connect(url, { applicationName: 'crossfade fences', role: 'source' });
  try {
    const found = await queryRows(
      client,
      `SELECT n.nspname AS schema, c.relname AS table, encode(t.tgargs, 'hex') AS args
         FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE t.tgfoid = to_regprocedure('crossfade.refuse_write()') AND t.tgenabled = 'A' AND t.tgname ~ '^crossfade_.*_(row|ins)$'
          AND NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = c.oid) ORDER BY 1, 2`,
    );
    return found.map((row) => {
      const [migration = '', , rows, exempt = ''] = Buffer.from(row['args']!, 'hex').toString('utf8').split('\0');
      const isWhole = rows === undefined || rows === '';
      return {
        migration,
        table: { schema: row['schema']!, name: row['table']! },
        rows: isWhole ? undefined : rows,
        exempt: exempt === '' ? [] : exempt.split(','),
      };
    });
  } finally {
    await client.end().catch(() => undefined);
  }
}
