/**
 * Random changes to the zoo's tables: inserts, updates of some columns, deletes, key changes, and keys replaced by an equal one of another
 * text; in transactions of one change and of hundreds. Guarantee: which changes are made follows from the seed.
 */
import { quoteIdent, quoteLiteral } from '#schemas/table.ts';
import type { ApplicationSession } from '#test/support/application.ts';
import type { Random } from '#test/support/random.ts';
import { awkwardText, pick } from './random-values.ts';
import { columnValue, insertKeyed, insertOthers, insertWide, type KeyTable, type WideTable, type Zoo } from './zoo.ts';

const ROWS_PER_INSERT = 50;
const LARGEST_TRANSACTION = 200;
const note = awkwardText();

export class ZooWriter {
  readonly #zoo: Zoo;
  readonly #random: Random;
  readonly #ids = new Map<WideTable, number[]>();
  #next = 1;
  /** Row changes that reached the source. */
  changes = 0;
  transactions = 0;

  constructor(zoo: Zoo, random: Random) {
    this.#zoo = zoo;
    this.#random = random;
    for (const table of zoo.wide) this.#ids.set(table, []);
  }

  /** Rows that are there before the copy: in all wide tables together, and in each table of a key type. @returns how many. */
  async fill(session: ApplicationSession, rows: { readonly wide: number; readonly keyed: number }): Promise<number> {
    const random = this.#random;
    const each = Math.ceil(rows.wide / this.#zoo.wide.length);
    for (const table of this.#zoo.wide) {
      for (let left = each; left > 0; left -= ROWS_PER_INSERT)
        await session.query(insertWide(random, table, this.#newIds(table, Math.min(left, ROWS_PER_INSERT))));
    }
    for (const table of this.#zoo.keyed) await session.query(insertKeyed(random, table, rows.keyed));
    await session.query(insertOthers(random, rows.keyed));
    const names = [...this.#zoo.wide, ...this.#zoo.keyed].map((table) => `(select count(*) from ${table.name})`);
    const [counted] = await session.query(`select (${names.join(' + ')})::text as n`);
    return Number(counted?.['n']);
  }

  #newIds(table: WideTable, count: number): number[] {
    const ids = Array.from({ length: count }, () => this.#next++);
    this.#ids.get(table)?.push(...ids);
    return ids;
  }

  /** One transaction. */
  async write(session: ApplicationSession): Promise<void> {
    const random = this.#random;
    const large = random.chance(0.05);
    const statements = Array.from({ length: large ? random.between(60, LARGEST_TRANSACTION) : random.between(1, 3) }, () =>
      random.chance(0.6) ? this.#wideChange() : this.#keyChange(),
    );
    const results = await session.client.query(statements.join(';\n'));
    for (const result of Array.isArray(results) ? results : [results])
      this.changes += (result as { rowCount: number | null }).rowCount ?? 0;
    this.transactions++;
  }

  #wideChange(): string {
    const random = this.#random;
    const table = pick(random, this.#zoo.wide);
    const ids = this.#ids.get(table) ?? [];
    const roll = random.next();
    if (ids.length === 0 || roll < 0.35) return insertWide(random, table, this.#newIds(table, 1));
    const at = random.between(0, ids.length - 1);
    const row = table.keyless ? `ctid = (select min(ctid) from ${table.name})` : `id = ${ids[at]}`;
    if (roll > 0.9) {
      ids.splice(at, 1);
      return `delete from ${table.name} where ${row}`;
    }
    const columns = Array.from({ length: random.between(1, 5) }, () => pick(random, table.columns));
    const set = [
      ...new Map(columns.map((column) => [column.name, `${quoteIdent(column.name)} = ${columnValue(random, column)}`])).values(),
    ];
    if (roll > 0.82 && !table.keyless) {
      set.push(`id = ${this.#next}`);
      ids[at] = this.#next++;
    }
    return `update ${table.name} set ${set.join(', ')} where ${row}`;
  }

  #keyChange(): string {
    const random = this.#random;
    const roll = random.next();
    if (roll < 0.06) return this.#otherChange();
    const table = pick(random, this.#zoo.keyed);
    const { kind, name } = table;
    const row = `k = (select k from ${name} order by k offset ${random.between(0, 30)} limit 1)`;
    const fresh = `${quoteLiteral(kind.make(random))}::${kind.sql}`;
    if (roll < 0.3) return insertKeyed(random, table, 1);
    if (roll < 0.45) return `update ${name} set n = n + 1, note = ${quoteLiteral(note(random))} where ${row}`;
    if (roll < 0.6) return `delete from ${name} where ${row}`;
    if (kind.twin !== undefined && roll < 0.85) return this.#twinChange(table, row);
    return `update ${name} t set k = ${fresh} where ${row} and not exists (select from ${name} o where o.k = ${fresh} and o.ctid <> t.ctid)`;
  }

  /** The key becomes an equal one, in place or as a row of its own after a delete; by which the new row may not be lost. */
  #twinChange({ name, kind }: KeyTable, row: string): string {
    const random = this.#random;
    if (random.chance(0.5)) return `update ${name} set k = ${kind.twin}, n = n + 1 where ${row}`;
    const held = `tw${random.between(0, 1_000_000_000)}`;
    return `create temp table ${held} on commit drop as select (${kind.twin})::${kind.sql} as k, n, note from ${name} where ${row};
      delete from ${name} where ${row}; insert into ${name} select * from ${held} on conflict do nothing`;
  }

  #otherChange(): string {
    const random = this.#random;
    const text = quoteLiteral(note(random));
    const row = `k = (select k from app.alone order by k offset ${random.between(0, 5)} limit 1)`;
    return pick(random, [
      insertOthers(random, 1),
      `delete from app.alone where ${row}`,
      `update app.alone set k = ${text} where ${row} and not exists (select from app.alone where k = ${text})`,
      `update app.paired set c = c * -1, b = b + interval '1 us' where ctid = (select min(ctid) from app.paired)`,
      `update app.paired set note = ${text} where ctid = (select max(ctid) from app.paired)`,
      `delete from app.paired where ctid = (select min(ctid) from app.paired)`,
    ]);
  }
}
