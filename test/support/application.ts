/**
 * A session as an application would open it: default search_path, no settings of ours. Guarantee: values come as PostgreSQL's own text,
 * and the session ends with `await using`.
 */
import pg from 'pg';

export type TextRow = Record<string, string | null>;

export interface ApplicationSession extends AsyncDisposable {
  /** Rows of the (last) statement. */
  query(sql: string, values?: readonly unknown[]): Promise<TextRow[]>;
  readonly client: pg.Client;
}

export async function openSession(url: string): Promise<ApplicationSession> {
  const client = new pg.Client({
    connectionString: url,
    application_name: 'test application',
    types: { getTypeParser: () => (value: string) => value },
  });
  client.on('error', () => undefined); // a killed server: the next query fails with the cause
  await client.connect();
  return {
    client,
    query: async (sql, values) => {
      const result: pg.QueryResult<TextRow> | pg.QueryResult<TextRow>[] = await client.query<TextRow>(
        sql,
        values === undefined ? undefined : [...values],
      );
      return Array.isArray(result) ? ((result as pg.QueryResult<TextRow>[]).at(-1)?.rows ?? []) : result.rows;
    },
    [Symbol.asyncDispose]: async () => client.end().catch(() => undefined),
  };
}

/** One session for these statements; the rows of the last. */
export async function execute(url: string, ...statements: readonly string[]): Promise<TextRow[]> {
  await using session = await openSession(url);
  let rows: TextRow[] = [];
  for (const statement of statements) rows = await session.query(statement);
  return rows;
}
