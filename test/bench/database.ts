/** One session of the bench. Guarantee: values come back as text, and closing is safe at any time. */
import pg from 'pg';

export class Database implements AsyncDisposable {
  readonly url: string;
  private readonly client: pg.Client;

  private constructor(url: string, client: pg.Client) {
    this.url = url;
    this.client = client;
  }

  static async open(url: string): Promise<Database> {
    const client = new pg.Client({ connectionString: url, types: { getTypeParser: () => (value: string | Buffer) => value as string } });
    // A server stopped under an idle session reports it here; the next query says so too.
    client.on('error', () => undefined);
    await client.connect();
    await client.query('set client_min_messages = warning');
    return new Database(url, client);
  }

  async another(): Promise<Database> {
    return await Database.open(this.url);
  }

  async run(sql: string): Promise<void> {
    await this.client.query(sql);
  }

  /** Rows changed by one statement. */
  async changed(sql: string): Promise<number> {
    return (await this.client.query(sql)).rowCount ?? 0;
  }

  async rows(sql: string): Promise<readonly Readonly<Record<string, string | null>>[]> {
    return (await this.client.query<Record<string, string | null>>(sql)).rows;
  }

  /** The only value of the first row; undefined for no row or null. */
  async value(sql: string): Promise<string | undefined> {
    const [row] = await this.rows(sql);
    return row === undefined ? undefined : (Object.values(row)[0] ?? undefined);
  }

  async text(sql: string): Promise<string> {
    const value = await this.value(sql);
    if (value === undefined) throw new Error(`no value from: ${sql}`);
    return value;
  }

  async close(): Promise<void> {
    await this.client.end().catch(() => undefined);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** Count and checksum of each table: the same text on both sides when the rows are the same. */
export async function checksums(database: Database, tables: readonly string[]): Promise<string> {
  const lines: string[] = [];
  for (const table of tables) {
    const [row] = await database.rows(
      `select count(*) as n, coalesce(sum(hashtextextended(x::text, 0)::numeric), 0) as sum from ${table} x`,
    );
    lines.push(`${table} ${row?.['n']} ${row?.['sum']}`);
  }
  return lines.join('\n');
}

export async function waitUntil(
  done: () => Promise<boolean>,
  options: { readonly what: string; readonly timeoutMs: number; readonly everyMs: number },
): Promise<void> {
  const deadline = Date.now() + options.timeoutMs;
  while (!(await done())) {
    if (Date.now() > deadline) throw new Error(`not within ${options.timeoutMs / 1000} s: ${options.what}`);
    await new Promise((resolve) => setTimeout(resolve, options.everyMs));
  }
}
