/**
 * SQL that finds conflicts in one target table. Guarantee: rows are held against each other column by column, as text, under the target's own types; so
 * equal is what PostgreSQL shows as equal, whether or not the type has an operator for it.
 */
import { quoteIdent } from '#schemas/table.ts';
import type { TableSql } from './statements.ts';

export class ConflictSql {
  readonly #sql: TableSql;
  readonly #hasCasts: boolean;
  readonly #version: string | undefined;

  constructor(sql: TableSql) {
    this.#sql = sql;
    this.#hasCasts = sql.table.columns.some(({ cast }) => cast !== undefined);
    const { conflict } = sql.table;
    this.#version = typeof conflict === 'object' ? conflict.version : undefined;
  }

  /** As values arrive. `e`: entry of the batch; `z`: its newest row. */
  get #raw(): string {
    return `pg_temp.cf_c${this.#sql.id}`;
  }

  /** As the target has them. */
  get #typed(): string {
    return this.#hasCasts ? `pg_temp.cf_g${this.#sql.id}` : this.#raw;
  }

  /** Temporary tables, empty. In the transaction: a rollback may have taken them. */
  prepare(): readonly string[] {
    const tables = this.#hasCasts ? (['c', 'g'] as const) : (['c'] as const);
    return tables.flatMap((kind) => [
      `CREATE TEMP TABLE IF NOT EXISTS cf_${kind}${this.#sql.id} ON COMMIT DELETE ROWS AS SELECT ${this.#columns(kind)} FROM ${this.#sql.name} WITH NO DATA`,
      `TRUNCATE pg_temp.cf_${kind}${this.#sql.id}`,
    ]);
  }

  #columns(kind: 'c' | 'g'): string {
    const columns = this.#sql.table.columns.map(({ target, cast }, i) =>
      cast === undefined || kind === 'g' ? `${quoteIdent(target)} AS c${i}` : `NULL::${cast.fromType} AS c${i}`,
    );
    return [...columns, 'NULL::int4 AS e', 'NULL::boolean AS z'].join(', ');
  }

  copy(columns: readonly number[], numbered: boolean): string {
    return `COPY ${this.#raw} (${[...columns.map((i) => `c${i}`), ...(numbered ? ['e', 'z'] : [])].join(', ')}) FROM STDIN`;
  }

  /** Behind the COPY. */
  complete(): readonly string[] {
    if (!this.#hasCasts) return [];
    const values = this.#sql.table.columns.map(({ cast }, i) => (cast === undefined ? `s.c${i}` : cast.sql.split('$$').join(`s.c${i}`)));
    const names = this.#sql.table.columns.map((_, i) => `c${i}`);
    return [
      `INSERT INTO ${this.#typed} (${[...names, 'e', 'z'].join(', ')}) SELECT ${[...values, 's.e', 's.z'].join(', ')} FROM ${this.#raw} s`,
    ];
  }

  #join(): string {
    const equal = this.#sql.key.map((i) => `t.${this.#target(i)} = s.c${i}`).join(' AND ');
    return `FROM ${this.#typed} s JOIN ${this.#sql.name} t ON ${equal}`;
  }

  #target(i: number): string {
    return quoteIdent(this.#sql.table.columns[i]!.target);
  }

  /** Nobody writes the rows from here to the end of the transaction. */
  lock(): string {
    return `SELECT 1 ${this.#join()} WHERE s.z IS NOT FALSE FOR UPDATE OF t`;
  }

  #equal(): string {
    const others = this.#sql.table.columns.map((_, i) => i).filter((i) => !this.#sql.key.includes(i));
    return others.length === 0 ? 'true' : others.map((i) => `t.${this.#target(i)}::text IS NOT DISTINCT FROM s.c${i}::text`).join(' AND ');
  }

  /** The row of the target is newer. A row without a version is older than any. */
  #newer(row: string, column: string): string {
    if (this.#version === undefined) return 'false';
    const own = `${row}.${quoteIdent(this.#version)}`;
    return `coalesce(${own} > ${column}, ${own} IS NOT NULL AND ${column} IS NULL)`;
  }

  get #versionAt(): number {
    return this.#sql.table.columns.findIndex(({ target }) => target === this.#version);
  }

  /** Of each entry that has a row: its number, whether it is one of those expected, whether it is newer than the newest of these. */
  found(): string {
    const newer = `s.z AND ${this.#newer('t', `s.c${this.#versionAt}`)}`;
    return `SELECT s.e::text, bool_or(${this.#equal()})::text, bool_or(${newer})::text ${this.#join()} GROUP BY s.e`;
  }

  /** Newest rows of these entries, where there is none. Parameter: the entries. */
  insertAbsent(): string {
    return `${this.#insert()} WHERE s.z AND s.e = ANY ($1::int4[]) ON CONFLICT (${this.#keys()}) DO NOTHING`;
  }

  #insert(): string {
    const all = this.#sql.table.columns.map((_, i) => i);
    const overriding = this.#sql.table.overridesIdentity ? ' OVERRIDING SYSTEM VALUE' : '';
    return `INSERT INTO ${this.#sql.name} AS t (${all.map((i) => this.#target(i)).join(', ')})${overriding} SELECT ${all.map((i) => `s.c${i}`).join(', ')} FROM ${this.#typed} s`;
  }

  #keys(): string {
    return this.#sql.table.targetKey.map(quoteIdent).join(', ');
  }

  /** How many rows of a chunk find another one that is older, or newer. */
  countCopied(): string {
    const newer = this.#newer('t', `s.c${this.#versionAt}`);
    return `SELECT count(*) FILTER (WHERE NOT (${newer}))::text, count(*) FILTER (WHERE ${newer})::text ${this.#join()} WHERE NOT (${this.#equal()})`;
  }

  /** A chunk's rows, as the policy has it. */
  writeCopied(): string {
    const { conflict, columns } = this.#sql.table;
    const set = columns.map((_, i) => i).filter((i) => !this.#sql.key.includes(i));
    if (conflict === 'target-wins' || set.length === 0) return `${this.#insert()} ON CONFLICT (${this.#keys()}) DO NOTHING`;
    const values = set.map((i) => `${this.#target(i)} = EXCLUDED.${this.#target(i)}`).join(', ');
    const guard = this.#version === undefined ? '' : ` WHERE NOT (${this.#newer('t', `EXCLUDED.${quoteIdent(this.#version)}`)})`;
    return `${this.#insert()} ON CONFLICT (${this.#keys()}) DO UPDATE SET ${values}${guard}`;
  }
}
