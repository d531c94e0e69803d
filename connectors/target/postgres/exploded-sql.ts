/**
 * SQL for a target table whose rows are elements of an array of their parent's row. Guarantee: a parent that is written whole leaves exactly its
 * own children, whatever stood there; of a parent whose array was left alone no child is touched; no statement needs to know how many
 * children there were. The array is taken apart by PostgreSQL itself, in the statement that applies the batch.
 *
 * In the staging tables a row of `s` is a parent (its key, the array as it came), a row of `f` a child as the target has it, or a parent
 * alone (`m`), for one that has no children any more.
 */
import type { Explode, ExplodedPart, TableMapping } from '#schemas/mapping/compiled-mapping.ts';
import { quoteIdent, quoteLiteral, type CatalogTable } from '#schemas/table.ts';
import { mayHaveTwins } from './key-type.ts';
import { TableSql, type StageKind } from './statements.ts';

interface Child {
  /** Quoted column of the target. */
  readonly target: string;
  /** From the staged parent `s` and its element `e`. */
  readonly value: string;
  readonly isKey: boolean;
}

/** Types into which a text need not be read. */
const TEXTS: ReadonlySet<string> = new Set(['text', 'character varying']);

export class ExplodedSql extends TableSql {
  readonly #explode: Explode;
  /** Index in `table.columns` of the array. */
  readonly #array: number;
  readonly #children: readonly Child[];
  /** Children of elements and parents that are gone stay. */
  readonly #keeps: boolean;
  readonly #made = new Map<string, string>();

  constructor(table: TableMapping, id: number, catalog: CatalogTable | undefined) {
    super(table, id, catalog);
    this.#explode = table.explode!;
    this.#array = table.columns.length - 1;
    this.#keeps = table.deletes !== undefined;
    this.#children = this.#allChildren();
  }

  override get isStaged(): boolean {
    return true;
  }

  /** How many rows of the target a parent is, nobody counts. */
  override get countsRows(): boolean {
    return false;
  }

  #allChildren(): readonly Child[] {
    const { parts, ordinal, key } = this.#explode;
    const child = (target: string, value: string): Child => ({ target: quoteIdent(target), value, isKey: key.includes(target) });
    return [
      ...this.key.map((i) => ({ target: quoteIdent(this.table.columns[i]!.target), value: this.#parentKey(i, `s.c${i}`), isKey: true })),
      ...parts.map((part) => child(part.target, this.#partValue(part))),
      ...(ordinal === undefined ? [] : [child(ordinal.target, `e.n::${ordinal.targetBaseType}`)]),
    ];
  }

  #parentKey(i: number, sql: string): string {
    const cast = this.table.columns[i]!.cast;
    return cast === undefined ? sql : cast.sql.split('$$').join(sql);
  }

  #partValue(part: ExplodedPart): string {
    const text = this.#partText(part);
    if (part.cast !== undefined) return part.cast.sql.split('$$').join(`(${text})::${part.cast.fromType}`);
    return TEXTS.has(part.targetBaseType) ? text : `(${text})::${part.targetBaseType}`;
  }

  #partText({ path, targetBaseType }: ExplodedPart): string {
    const { array } = this.#explode;
    if (array === 'array') return 'e.v';
    const [from, keys] = path === undefined ? ['e.v', []] : [this.#object(), path];
    // A JSON value as such, of which null is one; else the text that it holds.
    if (targetBaseType === 'json' || targetBaseType === 'jsonb') return `(${from} #> ${pathSql(keys)})::text`;
    return `(${from} #>> ${pathSql(keys)})`;
  }

  /** The element, which must be an object: nothing but a failing cast lets plain SQL refuse a row. */
  #object(): string {
    const { array, name } = this.#explode;
    const message = `'element ' || e.n || ${quoteLiteral(` of ${name} is no object`)}`;
    return `CASE WHEN ${array}_typeof(e.v) = 'object' THEN e.v ELSE to_${array}((${message})::integer) END`;
  }

  #names(prefix = ''): string {
    return this.#children.map(({ target }) => prefix + target).join(', ');
  }

  #once(kind: string, make: () => string): string {
    let sql = this.#made.get(kind);
    if (sql === undefined) this.#made.set(kind, (sql = make()));
    return sql;
  }

  /** Children of the staged parents `s`. */
  #wanted(parents: string): string {
    const { array } = this.#explode;
    const ref = `s.c${this.#array}`;
    const elements =
      array === 'array' ? `unnest(${ref})` : `${array}_array_elements(CASE WHEN ${array}_typeof(${ref}) <> 'null' THEN ${ref} END)`;
    const values = this.#children.map(({ value }, n) => `${value} AS x${n}`).join(', ');
    return `SELECT ${values} FROM ${parents} s CROSS JOIN LATERAL ${elements} WITH ORDINALITY AS e(v, n)`;
  }

  /** Conditions that a child `t` is one of the parent whose key is given. */
  #ofParent(keys: readonly string[]): string {
    return this.key.map((i, n) => `t.${quoteIdent(this.table.columns[i]!.target)} = ${keys[n]!}`).join(' AND ');
  }

  get #keyColumns(): readonly { readonly child: Child; readonly n: number }[] {
    return this.#children.flatMap((child, n) => (child.isKey ? [{ child, n }] : []));
  }

  /** Deletes the children of these parents that are not among `rows`. By a set operation: joins that hash are switched off for the session. */
  #deleteGone(parents: string, keys: readonly string[], rows: string): string {
    const columns = this.#keyColumns;
    const there = `SELECT ${columns.map(({ child }) => `t.${child.target}`).join(', ')} FROM ${parents} s JOIN ${this.name} t ON ${this.#ofParent(keys)}`;
    const same = columns.map(({ child }) => `t.${child.target} = g.${child.target}`).join(' AND ');
    return `DELETE FROM ${this.name} t USING (${there} EXCEPT SELECT ${columns.map(({ n }) => `w.x${n}`).join(', ')} FROM ${rows}) g WHERE ${same}`;
  }

  /** A child that is as it was is not written again. */
  #onConflict(): string {
    const target = this.#keyColumns.map(({ child }) => child.target).join(', ');
    const parents = new Set(
      this.key.filter((i) => !mayHaveTwins(this.table.columns[i]!)).map((i) => quoteIdent(this.table.columns[i]!.target)),
    );
    const set = this.#children.filter((child) => !parents.has(child.target));
    const row = (prefix: string): string => `ROW(${set.map((child) => prefix + child.target).join(', ')})::text`;
    const assign = set.map((child) => `${child.target} = EXCLUDED.${child.target}`).join(', ');
    return ` ON CONFLICT (${target}) DO UPDATE SET ${assign} WHERE ${row('c.')} IS DISTINCT FROM ${row('EXCLUDED.')}`;
  }

  #insertFrom(rows: string): string {
    const overriding = this.table.overridesIdentity ? ' OVERRIDING SYSTEM VALUE' : '';
    return `INSERT INTO ${this.name} AS c (${this.#names()})${overriding} SELECT ${this.#children.map((_, n) => `w.x${n}`).join(', ')} FROM ${rows}`;
  }

  /** All children of these staged parents, and no other ones. */
  #put(parents: string): string {
    const wanted = `WITH wanted AS MATERIALIZED (${this.#wanted(parents)})`;
    const keys = this.key.map((i) => this.#parentKey(i, `s.c${i}`));
    const gone = this.#keeps ? '' : `, gone AS (${this.#deleteGone(parents, keys, 'wanted w')})`;
    return `${wanted}${gone} ${this.#insertFrom('wanted w')}${this.#onConflict()}`;
  }

  /** Of parents that have none. Children that stay may be in the way of new ones. */
  #insert(parents: string): string {
    return this.#keeps ? this.#put(parents) : this.#insertFrom(`(${this.#wanted(parents)}) w`);
  }

  /** One parent from the parameters of a statement. */
  #given(columns: readonly number[]): string {
    return `(SELECT ${columns.map((i, n) => `$${n + 1}::${this.#stagedType(i)} AS c${i}`).join(', ')})`;
  }

  #stagedType(i: number): string {
    const { cast, targetBaseType } = this.table.columns[i]!;
    return cast?.fromType ?? targetBaseType;
  }

  override settable(columns: readonly number[]): boolean {
    return columns.includes(this.#array);
  }

  override createStage(kind: StageKind): string {
    if (kind === 'd') return super.createStage(kind);
    const target = (i: number): string => quoteIdent(this.table.columns[i]!.target);
    const key = (i: number, as: string): string =>
      this.table.columns[i]!.cast === undefined ? `${target(i)} AS ${as}` : `NULL::${this.#stagedType(i)} AS ${as}`;
    const columns =
      kind === 'f'
        ? [...this.#children.map((child, n) => `${child.target} AS x${n}`), 'NULL::boolean AS m']
        : [
            ...this.key.map((i) => key(i, `c${i}`)),
            `NULL::${this.#stagedType(this.#array)} AS c${this.#array}`,
            ...this.key.map((i, n) => key(i, `f${n}`)),
          ];
    return `CREATE TEMP TABLE cf_${kind}${this.id} ON COMMIT DELETE ROWS AS SELECT ${columns.join(', ')} FROM ${this.name} WITH NO DATA`;
  }

  override insertFromStage(): string {
    return this.#once('insert-stage', () => this.#insert(this.stage('s')));
  }

  override upsertFromStage(): string {
    return this.#once('upsert-stage', () => this.#put(this.stage('s')));
  }

  override insertOne(columns: readonly number[]): string {
    return this.#once(`insert-one:${columns.join()}`, () => this.#insert(this.#given(columns)));
  }

  override upsertOne(columns: readonly number[]): string {
    return this.#once(`upsert-one:${columns.join()}`, () => this.#put(this.#given(columns)));
  }

  /** Nothing stays of what is written anew, but for children that are kept. */
  override removeByKeys(more = ''): string {
    return super.removeByKeys(this.#keeps ? ' AND false' : more);
  }

  override removeOne(): string {
    return this.#keeps ? `${super.removeOne()} AND false` : super.removeOne();
  }

  /**
   * Parents whose array stands with their old key, into `f` with the new one. What is under the new key on the target goes even where the
   * parent has no children, so each comes alone, too.
   */
  override completeFromStage(): string {
    const alone = this.#alone();
    const moved = this.#children.map(({ target }, n) =>
      n < this.key.length ? this.#parentKey(this.key[n]!, `s.c${this.key[n]!}`) : `t.${target}`,
    );
    const old = this.#ofParent(this.key.map((i, n) => this.#parentKey(i, `s.f${n}`)));
    return `${alone} UNION ALL SELECT ${moved.join(', ')}, false FROM ${this.stage('s')} s JOIN ${this.name} t ON ${old}`;
  }

  override stageToFinal(): string {
    return `${this.#alone()} UNION ALL SELECT ${this.#children.map((_, n) => `w.x${n}`).join(', ')}, false FROM (${this.#wanted(this.stage('s'))}) w`;
  }

  /** Begins an INSERT into `f`; what follows says what types the nulls have. */
  #alone(): string {
    const keys = this.key.map((i) => this.#parentKey(i, `s.c${i}`));
    const rest = this.#children.slice(this.key.length).map(() => 'NULL');
    return `INSERT INTO ${this.stage('f')} SELECT ${[...keys, ...rest].join(', ')}, true FROM ${this.stage('s')} s`;
  }

  /** A parent without children cannot be told from one that is not there; while the table is copying any may be missing. */
  override missingFromFinal(strict: boolean): string {
    const keys = this.key.map((i) => `s.c${i}::text`).join(', ');
    return `SELECT ${keys} FROM ${this.stage('s')} s${strict ? ' WHERE false' : ''}`;
  }

  override deleteByFinal(): string {
    if (!this.#keeps)
      return `DELETE FROM ${this.name} t USING ${this.stage('f')} f WHERE ${this.#ofParent(this.key.map((_, n) => `f.x${n}`))}`;
    const same = this.#keyColumns.map(({ child, n }) => `t.${child.target} = f.x${n}`).join(' AND ');
    return `DELETE FROM ${this.name} t USING ${this.stage('f')} f WHERE ${same}`;
  }

  override insertFromFinal(): string {
    return this.#insertFrom(`${this.stage('f')} w WHERE NOT w.m`);
  }

  override insertFromFinalByKeys(): string {
    const same = this.key.map((i, n) => `w.x${n} = ${this.#parentKey(i, `s.k${n}`)}`).join(' AND ');
    return this.#insertFrom(`${this.stage('f')} w JOIN ${this.stage('d')} s ON ${same} WHERE NOT w.m`);
  }

  override upsertFromFinal(): string {
    const rows = `${this.stage('f')} w WHERE NOT w.m`;
    const keys = this.key.map((_, n) => `s.x${n}`);
    const parents = `(SELECT ${this.key.map((_, n) => `x${n}`).join(', ')} FROM ${this.stage('f')} WHERE m)`;
    const gone = this.#keeps ? '' : `WITH gone AS (${this.#deleteGone(parents, keys, rows)}) `;
    return `${gone}${this.#insertFrom(rows)}${this.#onConflict()}`;
  }
}

function pathSql(path: readonly string[]): string {
  return path.length === 0 ? `'{}'` : `ARRAY[${path.map(quoteLiteral).join(', ')}]`;
}

/** What the target says of a parent that it refuses, as an operator reads it. */
export function refusalText(
  { explode }: TableMapping,
  { message, sqlState }: { readonly message: string; readonly sqlState?: string },
): string {
  if (explode === undefined) return message;
  if (sqlState === '21000') return `two elements of ${explode.name} have the same ${explode.key.join(', ')}`;
  return /"(element \d+ of .+ is no object)"$/s.exec(message)?.[1] ?? message;
}
