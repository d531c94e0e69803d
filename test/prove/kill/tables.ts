/**
 * The tables of the kill test and the ledger on the target. Guarantee: each row version that the load writes carries an op id of its
 * own, so an op id stands for exactly one position of the stream; the ledger's trigger fires in the sink's transaction (ENABLE ALWAYS), so
 * it holds exactly what was committed. Folding may leave out an op that a later one of the same key overtook; it can never repeat one.
 */

/** Op ids below this belong to the rows that were there before the load. */
export const FIRST_STREAMED_OP = 1_000_000_000;

export const TABLES = ['acct', 'item', 'pair', 'journal', 'keyless'] as const;
export type KillTable = (typeof TABLES)[number];

const SHAPES = `
create table acct (id integer primary key, op bigint not null, balance bigint not null);
create table item (id bigint primary key, op bigint not null, payload text not null);
create table pair (a integer, b text collate "C", op bigint not null, amount numeric(14,4), primary key (a, b));
create table journal (op bigint primary key, amount bigint not null);
create table keyless (op bigint not null, note text);
alter table keyless replica identity full;
`;

export function sourceSql(rows: number): string {
  const accounts = Math.ceil(rows / 20);
  return `${SHAPES}
create sequence op start ${FIRST_STREAMED_OP};
create sequence item_id start ${rows * 10};
create table control (stop boolean not null);
insert into control values (false);
insert into acct select i, i, 1000 from generate_series(1, ${accounts}) i;
-- Wide, since a table under 8 MB is copied as one chunk.
insert into item select i, i, repeat(md5(i::text), 15) from generate_series(1, ${rows}) i;
insert into pair select i % 100, 'key ' || i, i, i / 7.0 from generate_series(1, ${accounts}) i;
insert into keyless select i, 'note ' || i % 10 from generate_series(1, 500) i;
create table history (table_name text not null, what text not null, lsn pg_lsn not null, xid xid8 not null, was text, is_now text, at timestamptz not null);
create function note_in_history() returns trigger language plpgsql as $$
begin insert into public.history values (tg_table_name, tg_op, pg_current_wal_insert_lsn(), pg_current_xact_id(), old::text, new::text, clock_timestamp()); return null; end $$;
${TABLES.map((table) => `create trigger history after insert or update or delete on ${table} for each row execute function note_in_history();`).join('\n')}
${loadProcedure(rows, accounts)}`;
}

/** One writer: small transactions of every kind, until told to stop. */
function loadProcedure(rows: number, accounts: number): string {
  return `
create procedure load(seed float8) language plpgsql as $load$
declare r float8; n int; x int; y int; z int; begin
  perform setseed(seed);
  loop
    exit when (select stop from control);
    r := random(); n := 1 + floor(random() * 4);
    x := 1 + floor(random() * ${accounts}); y := 1 + floor(random() * ${accounts});
    z := 1 + floor(random() * ${rows}); -- a variable: random() in a WHERE clause reads the whole table
    if r < 0.35 then
      -- Locks in key order, so that two writers never wait for each other.
      update acct set balance = balance - n, op = nextval('op') where id = least(x, y);
      update acct set balance = balance + n, op = nextval('op') where id = greatest(x, y);
      insert into journal values (nextval('op'), n);
    elsif r < 0.55 then
      update item set payload = md5(random()::text), op = nextval('op') where id = z;
    elsif r < 0.70 then
      insert into item select nextval('item_id'), nextval('op'), md5(random()::text) from generate_series(1, n);
    elsif r < 0.78 then
      delete from item where id = z;
    elsif r < 0.84 then
      update item set id = nextval('item_id'), op = nextval('op') where id = z;
    elsif r < 0.90 then
      insert into pair values (x % 100, 'key ' || y, nextval('op'), n) on conflict (a, b) do update set op = excluded.op, amount = excluded.amount;
    elsif r < 0.94 then
      insert into keyless select nextval('op'), 'note ' || n from generate_series(1, n);
    elsif r < 0.96 then
      delete from keyless where ctid = (select ctid from keyless order by op limit 1 for update skip locked);
    elsif r < 0.98 then
      begin
        update item set op = nextval('op'), payload = 'never' where id = x;
        raise exception 'undone';
      exception when raise_exception then null;
      end;
    else
      update item set payload = md5(payload), op = nextval('op') where id between x and x + 40;
    end if;
    commit;
    perform pg_sleep(random() * 0.012);
  end loop; end $load$;`;
}

export function targetSql(): string {
  const triggers = TABLES.map(
    (table) =>
      `create trigger ledger after insert or update or delete on ${table} for each row execute function note_in_ledger(); alter table ${table} enable always trigger ledger;`,
  );
  return `${SHAPES}
create table ledger (table_name text not null, op bigint not null, what text not null, row_text text not null, xid xid8 not null, at timestamptz not null);
create function note_in_ledger() returns trigger language plpgsql as $$
begin insert into public.ledger values (tg_table_name, coalesce(new.op, old.op), tg_op, coalesce(new, old)::text, pg_current_xact_id(), clock_timestamp()); return null; end $$;
${triggers.join('\n')}`;
}

/** Small chunks and a slow copy while the copy is being killed; then as fast as it goes. */
export function fileBody(copy: 'slow' | 'fast'): string {
  const tables = TABLES.map((table) => `  - from: public.${table}`).join('\n');
  const settings =
    copy === 'slow'
      ? `{ parallel: 2, chunkRows: ${CHUNK_ROWS}, chunkTargetMs: 10, maxRowsPerSecond: ${SLOW_ROWS_PER_SECOND} }`
      : `{ parallel: 2, chunkRows: ${CHUNK_ROWS} }`;
  return `tables:\n${tables}\ncopy: ${settings}\nheartbeatSeconds: 1`;
}

export const CHUNK_ROWS = 400;
const SLOW_ROWS_PER_SECOND = 2_000;
