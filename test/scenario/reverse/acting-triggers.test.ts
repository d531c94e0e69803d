/** Triggers of the source that would change what comes back: named before the cut-over, with SQL that keeps them off our rows and no others. */
import { describe, expect, test } from 'vitest';
import { actingTriggers } from '#connectors/target/postgres/preflight/acting-triggers.ts';
import { connect } from '#connectors/postgres/session.ts';
import type { TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { triggersGate } from '#services/control/gates/triggers-gate.ts';
import { SideSessions } from '#services/control/postgres/sessions.ts';
import { freshDatabase, versions } from '#test/support/postgres.ts';
import { execute } from '#test/support/application.ts';

const TABLES = `
  CREATE TABLE item (id int PRIMARY KEY, v text, seen text DEFAULT 'nobody');
  CREATE TABLE bill (id int, day int, seen text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
  CREATE TABLE bill_a PARTITION OF bill FOR VALUES FROM (0) TO (10);
  CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.seen := TG_NAME; RETURN NEW; END $$;
  CREATE FUNCTION knows() RETURNS trigger LANGUAGE plpgsql
    AS $$ BEGIN IF current_setting('crossfade.pipeline', true) <> '' THEN RETURN NEW; END IF; NEW.seen := 'x'; RETURN NEW; END $$;
  CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
  CREATE TRIGGER plain BEFORE UPDATE ON item FOR EACH ROW EXECUTE FUNCTION touch();
  CREATE TRIGGER "when" BEFORE UPDATE OF v ON item FOR EACH ROW WHEN (NEW.v = 'go' OR NEW.v = ') EXECUTE FUNCTION (') EXECUTE FUNCTION touch();
  CREATE TRIGGER always BEFORE INSERT ON item FOR EACH ROW EXECUTE FUNCTION touch();
  ALTER TABLE item ENABLE ALWAYS TRIGGER always;
  CREATE TRIGGER replica BEFORE INSERT ON item FOR EACH ROW EXECUTE FUNCTION touch();
  ALTER TABLE item ENABLE REPLICA TRIGGER replica;
  CREATE TRIGGER asleep BEFORE UPDATE ON item FOR EACH ROW EXECUTE FUNCTION touch();
  ALTER TABLE item DISABLE TRIGGER asleep;
  CREATE TRIGGER after AFTER INSERT OR UPDATE ON item FOR EACH ROW EXECUTE FUNCTION audit();
  CREATE TRIGGER each BEFORE UPDATE ON item FOR EACH STATEMENT EXECUTE FUNCTION audit();
  CREATE TRIGGER knowing BEFORE UPDATE ON item FOR EACH ROW EXECUTE FUNCTION knows();
  CREATE TRIGGER cloned BEFORE INSERT ON bill FOR EACH ROW EXECUTE FUNCTION touch();
  CREATE TRIGGER leaf BEFORE INSERT ON bill_a FOR EACH ROW EXECUTE FUNCTION touch()`;

const ITEM = { schema: 'public', name: 'item' };
const BILL = { schema: 'public', name: 'bill' };

describe.each(versions(14))('on PostgreSQL %i', (version) => {
  test('named are those that act on a sink’s rows; the SQL printed has them rest there, and act on everybody else’s as before', async () => {
    await using database = await freshDatabase(version);
    await execute(database.url, TABLES);
    const role = `sink_${process.pid}_${version}`;
    await execute(database.url, `CREATE ROLE ${role} LOGIN PASSWORD 'x'; GRANT ALL ON ALL TABLES IN SCHEMA public TO ${role}`);
    const url = database.url.replace(/\/\/[^@/]*@/, `//${role}:x@`);
    const named = async (as: string): Promise<string[]> => {
      await using client = await clientOf(as);
      return (await actingTriggers(client, [BILL, ITEM])).triggers.map(({ title }) => title);
    };
    // A superuser has ordinary ones rest.
    expect(await named(database.url)).toEqual(['"always" on "public"."item"', '"replica" on "public"."item"']);
    const plain = ['"cloned" on "public"."bill"', '"leaf" on "public"."bill_a"', '"always" on "public"."item"'];
    expect(await named(url)).toEqual([...plain, '"plain" on "public"."item"', '"when" on "public"."item"']);

    const accept: string[] = [];
    const gate = triggersGate({
      migration: { cutover: { accept }, reverse: { mapping: { tables: [BILL, ITEM].map((to) => ({ to }) as TableMapping) } } },
      sessions: new SideSessions({ source: url, target: url }, 'shop'),
    });
    const look = async () => gate.look({ kind: 'cutover', drill: false, phase: 'begin' });
    const closed = await look();
    expect(closed).toMatchObject({ closed: { code: 'CF-8206' }, evidence: expect.stringContaining(plain.join(', ')) as string });
    expect(closed.closed!.remedy).toMatch(version === 14 ? /^CREATE OR REPLACE TRIGGER/ : /^GRANT SET ON PARAMETER/);
    accept.push('public.bill', 'public.item');
    expect(await look()).toMatchObject({ evidence: expect.stringMatching(/^accepted: "cloned"/) as string });

    await using client = await clientOf(url);
    for (const { sql } of (await actingTriggers(client, [BILL, ITEM])).triggers) await execute(database.url, sql);
    expect((await actingTriggers(client, [BILL, ITEM])).triggers).toEqual([]);
    expect(await look()).toEqual({ evidence: 'none of the source changes a row that comes back' });

    await client.query(`SET crossfade.pipeline = 'shop_reverse'`);
    const seen = async (id: number): Promise<string> => {
      await client.query(`INSERT INTO public.item VALUES (${id}, 'a', 'me'); INSERT INTO public.bill VALUES (${id}, 1, 'me')`);
      const after = `SELECT seen FROM public.item WHERE id = ${id} UNION ALL SELECT seen FROM public.bill WHERE id = ${id}`;
      const first = await client.query<{ seen: string }>(after);
      await client.query(`UPDATE public.item SET v = 'go' WHERE id = ${id}`);
      return [...first.rows, ...(await client.query<{ seen: string }>(after)).rows].map((row) => row.seen).join(' ');
    };
    expect(await seen(1)).toBe('me me me me');
    await client.query('RESET crossfade.pipeline');
    expect(await seen(2)).toBe('always leaf when leaf');
    await execute(database.url, `DROP OWNED BY ${role} CASCADE; DROP ROLE ${role}`);
  });
});

async function clientOf(url: string): Promise<Awaited<ReturnType<typeof connect>> & AsyncDisposable> {
  const client = await connect(url, { applicationName: 'test', role: 'source' });
  return Object.assign(client, { [Symbol.asyncDispose]: async () => client.end() });
}
