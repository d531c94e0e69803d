/**
 * Gives ids to the source's keys (`crossfade.key_map`). Guarantee: before a row or a reference is written, its key has an id; no key ever has
 * two and no id two keys, whoever asks at the same time and wherever a process dies.
 *
 * Allocation is a transaction of its own, one statement over keys in one order: it waits for another one's statement at most, holding keys
 * that are smaller than the one it waits for, so nobody waits in a circle; a round that is undone leaves ids behind that its repeat finds. Its
 * commit need not reach the disk by itself: a round's own commit stands behind it in the WAL, so no row is there without its key's entry.
 */
import type pg from 'pg';
import { PipelineError } from '#schemas/errors.ts';
import type { KeyMapColumn } from '#schemas/mapping/key-map.ts';
import { quoteIdent, quoteLiteral } from '#schemas/table.ts';
import { failpoint, guarded } from '#schemas/test-hooks.ts';
import type { Work } from '#connectors/target/target.ts';
import { KeysOfWork } from './work-keys.ts';
import { isTransient, StatementError } from './wire.ts';

/** Keys of a domain that are remembered as known; entries are never removed while a migration runs. */
const KNOWN_MAX = 200_000;
const UNIQUE_VIOLATION = '23505';

interface Domain {
  readonly map: KeyMapColumn;
  readonly known: Set<string>;
  /** Undefined until it is asked for. */
  sql: string | undefined;
}

export class KeyAllocator {
  readonly #open: () => Promise<pg.Client>;
  readonly #domains = new Map<string, Domain>();
  #session: Promise<pg.Client> | undefined;
  #last: Promise<unknown> = Promise.resolve();

  /** `open` makes a session of its own: nothing of a round is undone with it. */
  constructor(open: () => Promise<pg.Client>) {
    this.#open = open;
  }

  /** Every key that the work writes has an id when it resolves. */
  async ensure(work: readonly Work[]): Promise<void> {
    const keys = new KeysOfWork((map, key) => this.#domain(map).known.has(key));
    for (const item of work) keys.add(item);
    if (keys.found.size === 0) return;
    // The lanes share one session.
    const turn = this.#last.then(async () => this.#allocate(keys));
    this.#last = turn.catch(() => undefined);
    await turn;
    failpoint('sink.keys-allocated');
  }

  #domain(map: KeyMapColumn): Domain {
    let domain = this.#domains.get(map.domain);
    if (domain === undefined) this.#domains.set(map.domain, (domain = { map, known: new Set(), sql: undefined }));
    return domain;
  }

  async #allocate({ found }: KeysOfWork): Promise<void> {
    const client = await (this.#session ??= this.#open());
    for (const [map, keys] of found) {
      const domain = this.#domain(map);
      domain.sql ??= await allocationSql(client, map);
      try {
        const allocated = client.query(domain.sql, [[...keys]]);
        failpoint('sink.keys-sent');
        await allocated;
      } catch (error) {
        throw explained(error as Error & { code?: string; constraint?: string }, map);
      }
      if (domain.known.size + keys.size > KNOWN_MAX) domain.known.clear();
      for (const key of keys) domain.known.add(key);
    }
  }

  async close(): Promise<void> {
    await this.#session?.then(async (client) => client.end()).catch(() => undefined);
  }
}

/** Parameter: keys. Of those that have an id nothing is taken from the sequence. */
async function allocationSql(client: pg.Client, map: KeyMapColumn): Promise<string> {
  const [name, domain] = [quoteLiteral(map.name), quoteLiteral(map.domain)];
  const has = `SELECT FROM crossfade.key_map m WHERE m.name = ${name} AND m.domain = ${domain} AND m.source_key = u.key COLLATE "C"`;
  const once = guarded('key-once');
  return `INSERT INTO crossfade.key_map (name, domain, source_key, target_key)
    SELECT ${name}, ${domain}, k.key, (${await nextIdSql(client, map)})::text
    FROM (SELECT u.key COLLATE "C" AS key FROM unnest($1::text[]) AS u (key) WHERE ${once ? `NOT EXISTS (${has})` : 'true'} ORDER BY 1) k
    ON CONFLICT (source_key, domain, name) ${once ? 'DO NOTHING' : 'DO UPDATE SET target_key = EXCLUDED.target_key'}`;
}

/** What the target itself would give a row: its sequence's next value, or the column's default. */
async function nextIdSql(client: pg.Client, { ids }: KeyMapColumn): Promise<string> {
  const { rows } = await client.query<{ sequence: string | null; expression: string | null; type: string }>(
    `SELECT pg_get_serial_sequence($1, $2) AS sequence, pg_get_expr(d.adbin, d.adrelid) AS expression, t.typname AS type
     FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
     WHERE a.attrelid = $1::regclass AND a.attname = $2 AND NOT a.attisdropped`,
    [`${quoteIdent(ids.schema)}.${quoteIdent(ids.table)}`, ids.column],
  );
  const [column] = rows;
  if (typeof column?.expression === 'string') return column.expression;
  if (typeof column?.sequence === 'string') return `nextval(${quoteLiteral(column.sequence)}::regclass)`;
  if (column?.type === 'uuid') return 'gen_random_uuid()';
  throw new PipelineError('CF-5012', `"${ids.column}" of ${ids.schema}.${ids.table} has no sequence any more that ids could come from`);
}

function explained(error: Error & { code?: string; constraint?: string }, { domain, ids }: KeyMapColumn): Error {
  if (error.code === UNIQUE_VIOLATION && error.constraint === 'key_map_id')
    return new PipelineError(
      'CF-5012',
      `${ids.schema}.${ids.table}.${ids.column} hands out an id that another key of ${domain} has: its sequence was set back`,
      { cause: error },
    );
  const statement = new StatementError(error, 0);
  if (statement.lost || isTransient(statement) || statement.sqlState === '42501') return statement;
  return new PipelineError('CF-5012', `no id for a key of ${domain}: ${error.message}`, { cause: error });
}
