/**
 * Chinook and Pagila from ../shared/data, and writers that change them. Guarantee: both sides get the dump's own schema, the target
 * without its rows; where the files are absent the proof is skipped, not passed.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pipeline as pipe } from 'node:stream/promises';
import { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { from as copyFrom } from 'pg-copy-streams';
import pg from 'pg';
import { execute, openSession } from '#test/support/application.ts';
import type { Random } from '#test/support/random.ts';
import { Skipped } from './proof.ts';

const DATA = join(import.meta.dirname, '..', '..', '..', 'shared', 'data');

export interface SampleDatabase {
  readonly name: 'chinook' | 'pagila';
  /** One transaction each; random() is the server's. */
  readonly writes: readonly string[];
}

const someone = (table: string, key: string): string => `(select ${key} from ${table} order by random() limit 1)`;

export const CHINOOK: SampleDatabase = {
  name: 'chinook',
  writes: [
    `update invoice set total = round((random() * 100)::numeric, 2) where invoice_id = ${someone('invoice', 'invoice_id')}`,
    `insert into invoice_line select (select max(invoice_line_id) + 1 from invoice_line), invoice_id, ${someone('track', 'track_id')}, 0.99, 2 from invoice order by random() limit 1`,
    `delete from invoice_line where invoice_line_id = ${someone('invoice_line', 'invoice_line_id')}`,
    `insert into playlist_track select ${someone('playlist', 'playlist_id')}, ${someone('track', 'track_id')} on conflict do nothing`,
    `delete from playlist_track where (playlist_id, track_id) = (select playlist_id, track_id from playlist_track order by random() limit 1)`,
    `update track set unit_price = unit_price + 0.01, composer = nullif(composer, '') where track_id = ${someone('track', 'track_id')}`,
    `update customer set company = 'Café ' || md5(random()::text), fax = null where customer_id = ${someone('customer', 'customer_id')}`,
    `update employee set reports_to = (select max(employee_id) from employee where employee_id < 4) where employee_id = 8`,
    `insert into artist select max(artist_id) + 1, 'Artist ' || md5(random()::text) from artist`,
    `update playlist_track set playlist_id = 18 where (playlist_id, track_id) = (select playlist_id, track_id from playlist_track p where playlist_id <> 18 and not exists (select 1 from playlist_track q where q.playlist_id = 18 and q.track_id = p.track_id) order by random() limit 1)`,
    `update album set title = left(reverse(title), 160) where album_id between 10 and 40`,
  ],
};

export const PAGILA: SampleDatabase = {
  name: 'pagila',
  writes: [
    `insert into rental (rental_date, inventory_id, customer_id, staff_id) select clock_timestamp(), ${someone('inventory', 'inventory_id')}, ${someone('customer', 'customer_id')}, 1`,
    `update rental set return_date = clock_timestamp() where rental_id = ${someone('rental', 'rental_id')}`,
    `insert into payment (customer_id, staff_id, rental_id, amount, payment_date) select customer_id, staff_id, rental_id, round((random() * 9)::numeric, 2), timestamptz '2022-01-05 00:00:00+00' + random() * interval '200 days' from rental order by random() limit 1`,
    `delete from payment where payment_id = ${someone('payment', 'payment_id')}`,
    `update payment set payment_date = timestamptz '2022-01-05 00:00:00+00' + random() * interval '200 days' where payment_id = ${someone('payment', 'payment_id')}`,
    `update film set description = description || ' – ' || left(md5(random()::text), 4), special_features = array['Trailers', 'Deleted Scenes'], rating = 'NC-17', release_year = 2007 where film_id = ${someone('film', 'film_id')}`,
    `update customer set activebool = not activebool, email = null where customer_id = ${someone('customer', 'customer_id')}`,
    `insert into film_actor select ${someone('actor', 'actor_id')}, ${someone('film', 'film_id')} on conflict do nothing`,
    `delete from film_actor where (actor_id, film_id) = (select actor_id, film_id from film_actor order by random() limit 1)`,
    `update staff set picture = decode(md5(random()::text), 'hex') where staff_id = 1`,
    `update actor set first_name = upper(md5(random()::text)) where actor_id between 50 and 60`,
  ],
};

function pathOf({ name }: SampleDatabase): string {
  return join(DATA, `${name}.sql`);
}

export function hasSample(sample: SampleDatabase): boolean {
  return existsSync(pathOf(sample));
}

export async function loadSample(url: string, sample: SampleDatabase): Promise<void> {
  const path = pathOf(sample);
  if (!hasSample(sample)) throw new Skipped(`${path} is not there`);
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    for (const part of splitDump(readFileSync(path, 'utf8'))) {
      if (part.rows === undefined) await client.query(part.sql);
      else await pipe(Readable.from([part.rows]), client.query(copyFrom(part.sql)));
    }
  } finally {
    await client.end();
  }
}

/** Schema and no rows. */
export async function loadSampleEmpty(url: string, sample: SampleDatabase): Promise<void> {
  await loadSample(url, sample);
  const tables = await tablesOf(url);
  await execute(url, `truncate ${tables.map((table) => `public."${table}"`).join(', ')} cascade`);
}

/** Tables that are not partitions, in name order. */
export async function tablesOf(url: string): Promise<readonly string[]> {
  const rows = await execute(
    url,
    `select relname as name from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') and not relispartition order by 1`,
  );
  return rows.map((row) => row['name'] ?? '');
}

interface DumpPart {
  readonly sql: string;
  /** The rows of a COPY … FROM stdin. */
  readonly rows?: string;
}

/** pg_dump's plain form: SQL with blocks of COPY rows that end with `\.`. */
function splitDump(dump: string): readonly DumpPart[] {
  const parts: DumpPart[] = [];
  let sql: string[] = [];
  const lines = dump.split('\n');
  for (let at = 0; at < lines.length; at++) {
    const line = lines[at] ?? '';
    if (!/^COPY .* FROM stdin;$/.test(line)) {
      sql.push(line);
      continue;
    }
    const end = lines.indexOf('\\.', at);
    parts.push(
      { sql: sql.join('\n') },
      {
        sql: line.replace(/;$/, ''),
        rows: lines
          .slice(at + 1, end)
          .map((row) => `${row}\n`)
          .join(''),
      },
    );
    sql = [];
    at = end;
  }
  return [...parts, { sql: sql.join('\n') }];
}

export interface Writer extends AsyncDisposable {
  /** @returns transactions committed. */
  stop(): Promise<number>;
}

const PAUSE_MS = 4;

/** One connection that writes until stopped. An error of the sample's own constraints ends nothing: that transaction did not happen. */
export async function startWriter(url: string, sample: Pick<SampleDatabase, 'writes'>, random: Random): Promise<Writer> {
  const session = await openSession(url);
  await session.query('set search_path = public');
  const stopping = new AbortController();
  let committed = 0;
  const loop = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      const write = sample.writes[random.between(0, sample.writes.length - 1)] ?? '';
      try {
        await session.query(write);
        committed++;
      } catch (error) {
        if (!(error instanceof pg.DatabaseError) || !error.code?.startsWith('23')) throw error;
      }
      await delay(PAUSE_MS);
    }
  };
  const running = loop();
  running.catch(() => undefined); // thrown by stop
  return {
    stop: async () => {
      stopping.abort();
      await running;
      return committed;
    },
    [Symbol.asyncDispose]: async () => {
      stopping.abort();
      await running.catch(() => undefined);
      await session[Symbol.asyncDispose]();
    },
  };
}
