/**
 * SQL for one target table. Guarantee: identifiers are quoted, a value reaches its column only through the target type's own input
 * or the declared cast, and no value is ever cast to a type with a modifier (an explicit cast would cut it silently). Where rows are softly
 * deleted, every row that is written is marked (alive, or since when it is not), and a part of a row is written to a living one only.
 */
import type { ColumnMapping, SoftDelete, TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { aliveSql, marksSql, mayOutlive, softDeleteOf } from '#schemas/mapping/kept-rows.ts';
import { ownOrNobodysSql, shareSql } from '#schemas/mapping/share.ts';
import { quoteIdent, quoteTable, type CatalogTable } from '#schemas/table.ts';
import { clearSql, deleteSql } from './delete-sql.ts';
import { mayHaveTwins, needsNamedType } from './key-type.ts';

export type StageKind = 's' | 'd' | 'f';

export class TableSql {
  readonly table: TableMapping;
  readonly id: number;
  readonly name: string;
  /** Indexes in `table.columns` of the key, in the order of `targetKey`. */
  readonly key: readonly number[];
  readonly partitioned: boolean;
  /** A row that is new at the source may be there. */
  readonly mayOutlive: boolean;
  /** Deletes mark rows instead. */
  readonly soft: SoftDelete | undefined;
  /** Key columns: never in SET. */
  readonly #unsettable: ReadonlySet<string>;
  /** Columns that an upsert of a row with an equal key leaves alone. */
  readonly #unwritten: ReadonlySet<string>;
  readonly #cache = new Map<string, string>();

  constructor(table: TableMapping, id: number, catalog: CatalogTable | undefined) {
    this.table = table;
    this.id = id;
    this.name = quoteTable(table.to);
    this.key = table.targetKey.map((name) => table.columns.findIndex((column) => column.target === name));
    this.partitioned = catalog?.kind === 'p';
    this.soft = softDeleteOf(table);
    this.mayOutlive = mayOutlive(table);
    const share = (table.share ?? []).map(({ target }) => target);
    this.#unsettable = new Set([...table.targetKey, ...share]);
    const keys = this.key.filter((i) => !mayHaveTwins(table.columns[i]!)).map((i) => table.columns[i]!.target);
    this.#unwritten = new Set([...keys, ...share]);
  }

  /** Rows cannot go straight into the target: values are cast, or marks are added. */
  get isStaged(): boolean {
    return this.soft !== undefined || this.isMerged || this.table.columns.some((column) => column.cast !== undefined);
  }

  /** A key that goes may equal one that is written, and not be the same. */
  get hasTwins(): boolean {
    return this.key.some((i) => mayHaveTwins(this.table.columns[i]!));
  }

  /** A row that is written is one row of the target, neither more nor fewer. */
  get countsRows(): boolean {
    return true;
  }

  /** Others may have made the row: nothing is inserted that is not an upsert. */
  get isMerged(): boolean {
    return this.table.merge !== undefined;
  }

  #column(i: number): ColumnMapping {
    return this.table.columns[i]!;
  }

  #target(i: number): string {
    return quoteIdent(this.#column(i).target);
  }

  #cached(kind: string, columns: readonly number[], make: () => string): string {
    const id = `${kind}:${columns.join()}`;
    let sql = this.#cache.get(id);
    if (sql === undefined) this.#cache.set(id, (sql = make()));
    return sql;
  }

  /** The value of column i on its way in, from SQL text that gives it as `stageType`. */
  #value(i: number, sql: string): string {
    const cast = this.#column(i).cast;
    return cast === undefined ? sql : cast.sql.split('$$').join(sql);
  }

  /** The same where a row is looked for. */
  #sought(i: number, sql: string): string {
    const within = this.#column(i).cast?.inCondition;
    return within === undefined ? this.#value(i, sql) : within.split('$$').join(sql);
  }

  #parameter(i: number, n: number): string {
    const cast = this.#column(i).cast;
    return cast === undefined ? `$${n}` : this.#value(i, `($${n}::${cast.fromType})`);
  }

  /** A parameter that is compared with its column. */
  #keyParameter(i: number, n: number): string {
    const { cast, targetBaseType } = this.#column(i);
    if (cast !== undefined) return this.#sought(i, `($${n}::${cast.fromType})`);
    return needsNamedType(this.#column(i)) ? `$${n}::${targetBaseType}` : `$${n}`;
  }

  #overriding(): string {
    return this.table.overridesIdentity ? ' OVERRIDING SYSTEM VALUE' : '';
  }

  #onConflict(columns: readonly number[]): string {
    const keys = [...this.table.targetKey, ...(this.table.share ?? []).map(({ target }) => target)].map(quoteIdent).join(', ');
    const set = columns
      .filter((i) => !this.#unwritten.has(this.#column(i).target))
      .map((i) => `${this.#target(i)} = EXCLUDED.${this.#target(i)}`)
      .concat(this.#marks().map(({ column }) => `${column} = EXCLUDED.${column}`));
    return set.length === 0 ? ` ON CONFLICT (${keys}) DO NOTHING` : ` ON CONFLICT (${keys}) DO UPDATE SET ${set.join(', ')}`;
  }

  /** What a row has beside its values: see `marksSql`. */
  #marks(moment?: string): { readonly column: string; readonly sql: string }[] {
    const marks = this.soft === undefined ? [] : marksSql(this.soft, moment);
    return marks.map(({ column, sql }) => ({ column: quoteIdent(column), sql }));
  }

  #markSet(moment: string): string[] {
    return this.#marks(moment).map(({ column, sql }) => `${column} = ${sql}`);
  }

  /** Behind a condition. */
  #andAlive(qualifier: string): string {
    return this.soft === undefined ? '' : ` AND ${aliveSql(this.soft, qualifier)}`;
  }

  /** True when an update with these columns has something to set. */
  settable(columns: readonly number[]): boolean {
    return this.soft !== undefined || columns.some((i) => !this.#unsettable.has(this.#column(i).target));
  }

  get all(): readonly number[] {
    return this.table.columns.map((_, i) => i);
  }

  /** Temporary tables: `s` typed as the values arrive, `d` keys as they arrive, `f` typed as the target. */
  stage(kind: StageKind): string {
    return `pg_temp.cf_${kind}${this.id}`;
  }

  get stageKinds(): readonly StageKind[] {
    return this.key.length > 0 ? ['s', 'd', 'f'] : ['s', 'f'];
  }

  createStage(kind: StageKind): string {
    const typed = (i: number, as: string): string => {
      const cast = this.#column(i).cast;
      return cast === undefined || kind === 'f' ? `${this.#target(i)} AS ${as}` : `NULL::${cast.fromType} AS ${as}`;
    };
    const columns = kind === 'd' ? this.key.map((i, n) => typed(i, `k${n}`)) : this.all.map((i) => typed(i, `c${i}`));
    // When the row was deleted.
    if (this.soft !== undefined) columns.push('NULL::timestamptz AS a');
    // `f0…` is the old key of a row whose absent columns are taken from there.
    if (kind === 's') columns.push(...this.key.map((i, n) => typed(i, `f${n}`)));
    return `CREATE TEMP TABLE cf_${kind}${this.id} ON COMMIT DELETE ROWS AS SELECT ${columns.join(', ')} FROM ${this.name} WITH NO DATA`;
  }

  copyTarget(columns: readonly number[]): string {
    return this.#cached('copy', columns, () => `COPY ${this.name} (${columns.map((i) => this.#target(i)).join(', ')}) FROM STDIN`);
  }

  copyStage(columns: readonly number[], beside: { readonly oldKey?: boolean; readonly time?: boolean } = {}): string {
    const names = columns.map((i) => `c${i}`);
    if (beside.oldKey === true) names.push(...this.key.map((_, n) => `f${n}`));
    if (beside.time === true && this.soft !== undefined) names.push('a');
    return `COPY ${this.stage('s')} (${names.join(', ')}) FROM STDIN`;
  }

  /** `timed`: with the time of each delete, where rows are softly deleted. */
  copyKeys(timed = false): string {
    const names = this.key.map((_, n) => `k${n}`);
    if (timed && this.soft !== undefined) names.push('a');
    return `COPY ${this.stage('d')} (${names.join(', ')}) FROM STDIN`;
  }

  clearStage(kind: StageKind): string {
    return `TRUNCATE ${this.stage(kind)}`;
  }

  insertFromStage(columns: readonly number[]): string {
    return this.isMerged ? this.upsertFromStage(columns) : this.#cached('insert-stage', columns, () => this.#insertStaged(columns));
  }

  upsertFromStage(columns: readonly number[]): string {
    return this.#cached('upsert-stage', columns, () => this.#insertStaged(columns) + this.#onConflict(columns));
  }

  #insertStaged(columns: readonly number[]): string {
    const values = columns.map((i) => this.#value(i, `s.c${i}`));
    return `${this.#insertHead(columns)} SELECT ${this.#withMarks(values, 's.a')} FROM ${this.stage('s')} s`;
  }

  #insertHead(columns: readonly number[]): string {
    const names = [...columns.map((i) => this.#target(i)), ...this.#marks().map(({ column }) => column)];
    return `INSERT INTO ${this.name} (${names.join(', ')})${this.#overriding()}`;
  }

  /** Values for `#insertHead`. */
  #withMarks(values: readonly string[], moment: string): string {
    return [...values, ...this.#marks(moment).map(({ sql }) => sql)].join(', ');
  }

  updateFromStage(columns: readonly number[]): string {
    return this.#cached('update-stage', columns, () => {
      const set = columns
        .filter((i) => !this.#unsettable.has(this.#column(i).target))
        .map((i) => `${this.#target(i)} = ${this.#value(i, `s.c${i}`)}`)
        .concat(this.#markSet('s.a'));
      return `UPDATE ${this.name} t SET ${set.join(', ')} FROM ${this.stage('s')} s WHERE ${this.#keyEquals('c')}${this.#andAlive('t.')}`;
    });
  }

  /** The rest of a condition by key: of a table that is shared, our rows only. */
  #own(alias = ''): string {
    const sql = shareSql(this.table, (column) => alias + quoteIdent(column));
    return sql === undefined ? '' : ` AND ${sql}`;
  }

  /** The same where rows are taken away. */
  #removable(): string {
    const sql = ownOrNobodysSql(this.table, (column) => `t.${quoteIdent(column)}`);
    return sql === undefined ? '' : ` AND ${sql}`;
  }

  /** `t.key = s.key` where the stage names its key columns `c<index>` or `k<n>` / `f<n>`. */
  #keyEquals(names: 'c' | 'k' | 'f', own: string = this.#own('t.')): string {
    const equal = this.key.map((i, n) => `t.${this.#target(i)} = ${this.#sought(i, `s.${names}${names === 'c' ? i : n}`)}`).join(' AND ');
    return equal + own;
  }

  /** Whatever the file says of deletes: to write the rows anew. `more` is a further condition. */
  removeByKeys(more = ''): string {
    return deleteSql(this.table, `${this.stage('d')} s`, this.#keyEquals('k', this.#removable()) + more);
  }

  /** Of merged rows: only our columns go; the row itself `deleteByKeys` takes, later. */
  clearByKeys(): string {
    return clearSql(this.table, `${this.stage('d')} s`, this.#keyEquals('k'));
  }

  clearOne(): string {
    return this.#cached('clear-one', [], () => clearSql(this.table, undefined, this.#whereKey('t.') + this.#own('t.')));
  }

  /** `spares`: but for keys that equal one in `s`, of rows that were written before. Marks are made before rows are written, and spare none. */
  deleteByKeys(spares = false): string {
    if (this.soft !== undefined)
      return `UPDATE ${this.name} t SET ${this.#deadSet('s.a')} FROM ${this.stage('d')} s WHERE ${this.#keyEquals('k')}${this.#andAlive('t.')}`;
    const equal = this.key.map((i, n) => `${this.#value(i, `w.c${i}`)} = ${this.#value(i, `s.k${n}`)}`).join(' AND ');
    return this.removeByKeys(spares ? ` AND NOT EXISTS (SELECT FROM ${this.stage('s')} w WHERE ${equal})` : '');
  }

  #deadSet(time: string): string {
    return this.#markSet(time).join(', ');
  }

  /** All rows, where they are softly deleted. Parameter: the time. */
  deleteAllSoftly(): string {
    return `UPDATE ${this.name} SET ${this.#deadSet('$1::timestamptz')} WHERE ${aliveSql(this.soft!)}${this.#own()}`;
  }

  /** Rows of the stage that the target does not have. */
  missingFromStage(): string {
    const keys = this.key.map((i) => `s.c${i}::text`).join(', ');
    return `SELECT ${keys} FROM ${this.stage('s')} s WHERE NOT EXISTS (SELECT FROM ${this.name} t WHERE ${this.#keyEquals('c')}${this.#andAlive('t.')})`;
  }

  /** Staged keys for which `f` has no row. `_strict`: the target has every row of the source. */
  missingFromFinal(_strict: boolean): string {
    const keys = this.key.map((i) => `s.c${i}::text`).join(', ');
    const equal = this.key.map((i) => `f.c${i} = ${this.#value(i, `s.c${i}`)}`).join(' AND ');
    return `SELECT ${keys} FROM ${this.stage('s')} s WHERE NOT EXISTS (SELECT FROM ${this.stage('f')} f WHERE ${equal})`;
  }

  /** Makes staged rows whole in `f`: `columns` from the stage, the rest from the target row of the old (or same) key. */
  completeFromStage(columns: readonly number[], from: 'own' | 'old'): string {
    const given = new Set(columns);
    const values = this.all.map((i) => (given.has(i) ? this.#value(i, `s.c${i}`) : `t.${this.#target(i)}`)).join(', ');
    const into = this.all.map((i) => `c${i}`).join(', ');
    return `INSERT INTO ${this.stage('f')} (${into}${this.#andTime('')}) SELECT ${values}${this.#andTime('s.')} FROM ${this.stage('s')} s JOIN ${this.name} t ON ${this.#keyEquals(from === 'own' ? 'c' : 'f')}${this.#andAlive('t.')}`;
  }

  /** Partial rows without the row they complete, as if absent were null: only with the guard `carry` switched off. */
  stageToFinal(columns: readonly number[]): string {
    const values = columns.map((i) => this.#value(i, `s.c${i}`)).join(', ');
    const into = columns.map((i) => `c${i}`).join(', ');
    return `INSERT INTO ${this.stage('f')} (${into}${this.#andTime('')}) SELECT ${values}${this.#andTime('s.')} FROM ${this.stage('s')} s`;
  }

  #andTime(qualifier: string): string {
    return this.soft === undefined ? '' : `, ${qualifier}a`;
  }

  deleteByFinal(): string {
    const equal = this.key.map((i) => `t.${this.#target(i)} = f.c${i}`).join(' AND ');
    return deleteSql(this.table, `${this.stage('f')} f`, equal + this.#removable());
  }

  insertFromFinal(): string {
    return this.isMerged ? this.upsertFromFinal() : this.#insertFinal();
  }

  #insertFinal(): string {
    return `${this.#insertHead(this.all)} SELECT ${this.#withMarks(
      this.all.map((i) => `f.c${i}`),
      'f.a',
    )} FROM ${this.stage('f')} f`;
  }

  /** Only the rows whose keys stand in `d`. */
  insertFromFinalByKeys(): string {
    const equal = this.key.map((i, n) => `f.c${i} = ${this.#value(i, `s.k${n}`)}`).join(' AND ');
    return `${this.#insertHead(this.all)} SELECT ${this.#withMarks(
      this.all.map((i) => `f.c${i}`),
      'f.a',
    )} FROM ${this.stage('f')} f JOIN ${this.stage('d')} s ON ${equal}${this.isMerged ? this.#onConflict(this.all) : ''}`;
  }

  upsertFromFinal(): string {
    return this.#insertFinal() + this.#onConflict(this.all);
  }

  /** Removes one row of the target for each row of `f`, equal as text. */
  removeByFinal(): string {
    const targets = this.all.map((i) => `t.${this.#target(i)}`).join(', ');
    const staged = this.all.map((i) => `f.c${i}`).join(', ');
    return `WITH s AS MATERIALIZED (SELECT r, count(*) AS n FROM (SELECT ROW(${staged})::text AS r FROM ${this.stage('f')} f) x GROUP BY r),
      c AS MATERIALIZED (SELECT t.tableoid AS o, t.ctid AS i, s.n, row_number() OVER (PARTITION BY s.r) AS k
        FROM ${this.name} t JOIN s ON s.r = ROW(${targets})::text)
      DELETE FROM ${this.name} d USING c WHERE d.ctid = c.i AND d.tableoid = c.o AND c.k <= c.n`;
  }

  insertOne(columns: readonly number[]): string {
    return this.isMerged ? this.upsertOne(columns) : this.#cached('insert-one', columns, () => this.#insertValues(columns));
  }

  upsertOne(columns: readonly number[]): string {
    return this.#cached('upsert-one', columns, () => this.#insertValues(columns) + this.#onConflict(columns));
  }

  #insertValues(columns: readonly number[]): string {
    const values = columns.map((i, n) => this.#parameter(i, n + 1));
    return `${this.#insertHead(columns)} VALUES (${this.#withMarks(values, `$${columns.length + 1}::timestamptz`)})`;
  }

  /** Parameters in the order of `columns`, the key's among them. */
  updateOne(columns: readonly number[]): string {
    return this.#cached('update-one', columns, () => {
      const set: string[] = [];
      const where: string[] = [];
      columns.forEach((i, n) => {
        const value = this.#parameter(i, n + 1);
        if (this.key.includes(i)) where.push(`${this.#target(i)} = ${this.#keyParameter(i, n + 1)}`);
        else set.push(`${this.#target(i)} = ${value}`);
      });
      return `UPDATE ${this.name} SET ${[...set, ...this.#markSet(`$${columns.length + 1}::timestamptz`)].join(', ')} WHERE ${where.join(' AND ')}${this.#own()}${this.#andAlive('')}`;
    });
  }

  /** Gives the row of an old key its new key and the columns that came with it. Parameters: `columns`, then the old key. */
  moveOne(columns: readonly number[]): string {
    return this.#cached('move-one', columns, () => {
      const set = columns.map((i, n) => `${this.#target(i)} = ${this.#parameter(i, n + 1)}`).join(', ');
      const where = this.key.map((i, n) => `${this.#target(i)} = ${this.#keyParameter(i, columns.length + n + 1)}`).join(' AND ');
      return `UPDATE ${this.name} SET ${set} WHERE ${where}${this.#own()}`;
    });
  }

  #whereKey(alias = ''): string {
    return this.key.map((i, n) => `${alias}${this.#target(i)} = ${this.#keyParameter(i, n + 1)}`).join(' AND ');
  }

  /** As `removeByKeys`. Parameters: the key in the order of `targetKey`. */
  removeOne(): string {
    return this.#cached('remove-one', [], () => deleteSql(this.table, undefined, this.#whereKey('t.') + this.#removable()));
  }

  /** Parameters: the key in the order of `targetKey`, and the time where rows are softly deleted. */
  deleteOne(): string {
    if (this.soft === undefined) return this.removeOne();
    const time = `$${this.key.length + 1}::timestamptz`;
    return this.#cached(
      'delete-one',
      [],
      () => `UPDATE ${this.name} SET ${this.#deadSet(time)} WHERE ${this.#whereKey()}${this.#own()}${this.#andAlive('')}`,
    );
  }
}
