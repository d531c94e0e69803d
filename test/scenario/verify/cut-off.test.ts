/** A comparison that is given up leaves nothing running on the server: neither its statement nor its slot. */
import { expect, test } from 'vitest';
import { connect, queryRow } from '#connectors/postgres/session.ts';
import { cutOffBy, openSession } from '#connectors/probe/postgres/held-snapshot.ts';
import { freshDatabase } from '#test/support/postgres.ts';

for (const version of [14, 18] as const) {
  test(`what a signal cuts off ends on the server too, on PostgreSQL ${version}`, async () => {
    await using database = await freshDatabase(version);
    const observer = await connect(database.url, { applicationName: 'observer', role: 'source' });
    try {
      const left = async (): Promise<string | null | undefined> =>
        (
          await queryRow(
            observer,
            `SELECT (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'crossfade verify')
               || ' ' || (SELECT count(*) FROM pg_replication_slots WHERE database = current_database()) AS n`,
          )
        )?.['n'];
      // A database's own limits of what may be idle, or run long, end no comparison.
      const limits = ['idle_session_timeout', 'idle_in_transaction_session_timeout', 'statement_timeout'];
      await observer.query(
        `DO $$ BEGIN ${limits.map((name) => `EXECUTE format('ALTER DATABASE %I SET ${name} = 1', current_database());`).join(' ')} END $$`,
      );
      const stop = new AbortController();
      const sleeping = cutOffBy(stop.signal, async () => {
        const client = await openSession(database.url, 'source');
        for (const name of limits) expect(await queryRow(client, `SHOW ${name}`)).toEqual({ [name]: '0' });
        await client.query(`SELECT pg_create_logical_replication_slot('cut_off_${version}', 'pgoutput', true)`);
        await client.query('SELECT pg_sleep(300)');
      });
      sleeping.catch(() => undefined);
      await expect
        .poll(async () => (await queryRow(observer, `SELECT FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'`)) !== undefined)
        .toBe(true);
      expect(await left()).toBe('1 1');
      stop.abort();
      await expect(sleeping).rejects.toThrow(/^Connection terminated/);
      await expect.poll(left, { timeout: 30_000 }).toBe('0 0');
    } finally {
      await observer.end();
    }
  });
}
